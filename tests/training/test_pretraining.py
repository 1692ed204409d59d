"""Pre-training on songs without stems, and going on from what it has learned."""

import csv
import shutil

import pytest
import soundfile
import torch
from omegaconf import OmegaConf

from tfswa_unet.bundle import load_model, read_facts, save_bundle
from tfswa_unet.config import from_values
from tfswa_unet.errors import ConfigError, ModelError
from tfswa_unet.training.builder import build_run, make_module
from tfswa_unet.training.config import TrainConfig
from tfswa_unet.training.fit import fit
from tfswa_unet.training.pretraining import FLOOR, evenly, info_nce


@pytest.fixture(scope="module")
def values(make_config):
    """A small configuration with changes, each `key=value`; the songs come with mixtures."""
    # The losses of the other small ones have no place in it.
    composed = {**make_config("task=pretrain", "data=musdb18hq"), "loss": None}

    def change(*changes):
        return OmegaConf.to_container(OmegaConf.merge(composed, OmegaConf.from_dotlist(list(changes))))

    return change


@pytest.fixture
def module(values):
    """Make the Lightning module of a changed configuration."""

    def make(*changes):
        torch.manual_seed(0)
        return make_module(from_values(TrainConfig, values(*changes), ""), True)

    return make


@pytest.fixture
def batch():
    """Three songs, a noise of its own each, as pairs (b, 2, c, t)."""
    generator = torch.Generator().manual_seed(0)
    return 0.1 * torch.randn(3, 2, 2, 4_410, generator=generator)


def loss_of(made, batch):
    torch.manual_seed(1)
    return made.loss_of(batch)[0].item()


@pytest.mark.parametrize(
    "change",
    [
        "task.masked.weight=0.5",
        "task.masked.share=0.7",
        "task.masked.patch=[4,64]",
        "task.masked.patch=[8,16]",
        "task.contrastive.weight=0.2",
        "task.contrastive.temperature=0.3",
        "task.contrastive.features=64",
    ],
)
def test_every_setting_changes_the_loss(module, batch, change):
    assert loss_of(module(change), batch) != pytest.approx(loss_of(module(), batch), abs=1e-6)


def test_what_has_no_weight_is_left_out(module, batch):
    for name, other in (("masked", "contrastive"), ("contrastive", "masked")):
        made = module(f"task.{name}.weight=0")
        total, terms = made.loss_of(batch)
        assert list(terms) == [other]
        total.backward()
        # DDP waits for gradients of all parameters.
        assert all(parameter.grad is not None for parameter in made.parameters())


def test_hidden_patches_are_not_seen_and_they_alone_are_compared(module, batch, monkeypatch):
    made = module()
    torch.nn.init.zeros_(made.predict.weight)
    torch.nn.init.constant_(made.predict.bias, -1.0)
    made.hidden_value.data.fill_(7.0)
    segments, shown = batch.flatten(0, 1), []
    answer = made.model.maps
    monkeypatch.setattr(made.model, "maps", lambda seen: shown.append(seen[0]) or answer(seen))
    error, _ = made.examine(segments, torch.Generator().manual_seed(0))

    hidden = shown[0] == 7.0
    assert torch.equal(hidden, hidden[:, :1].expand_as(hidden))  # the same in all maps
    assert 0.3 < hidden.float().mean() < 0.7
    frames, bins = made.task.masked.patch
    block = hidden[:, 0, : 2 * frames, : 2 * bins].unflatten(1, (2, frames)).unflatten(3, (2, bins))
    assert torch.equal(block, block[:, :, :1, :, :1].expand_as(block))  # by whole patches
    seen = made.model.analyse(segments)[2][0]
    assert torch.equal(shown[0][~hidden], seen[~hidden])

    c = made.model.model_config
    window = torch.hann_window(c.n_fft)
    spectrum = torch.stft(
        segments.flatten(0, 1), c.n_fft, c.hop, window=window, pad_mode="constant", return_complex=True
    )
    magnitude = spectrum.mT.unflatten(0, (6, 2)).abs() * 2 / c.n_fft**0.5
    level = segments.square().mean(dim=(1, 2)).sqrt()
    truth = (magnitude / level[:, None, None, None] + FLOOR).log10()
    where = hidden[:, :1].expand_as(truth)
    inner = slice(4, -4)  # frames that no edge reaches
    assert truth.shape == where.shape
    expected = (truth + 1)[:, :, inner][where[:, :, inner]].abs().mean()
    assert error.item() == pytest.approx(expected.item(), rel=0.05)


def test_info_nce_is_the_log_loss_of_naming_the_other_segment():
    generator = torch.Generator().manual_seed(0)
    found = torch.nn.functional.normalize(torch.randn(6, 5, generator=generator), dim=-1)
    losses = []
    for k in range(6):
        weights = {j: torch.exp(found[k] @ found[j] / 0.2) for j in range(6) if j != k}
        losses.append(-torch.log(weights[k ^ 1] / sum(weights.values())))
    assert info_nce(found, 0.2).item() == pytest.approx(torch.stack(losses).mean().item(), rel=1e-5)
    assert info_nce(found[:2], 0.2) == 0


def test_validation_looks_at_segments_all_over_a_song():
    song = torch.arange(100.0).expand(2, 100)
    assert evenly(song, 20, 16)[:, 0, 0].tolist() == [0, 20, 40, 60, 80]
    assert evenly(song, 20, 3)[:, 0, 0].tolist() == [0, 40, 80]
    assert evenly(song, 90, 16)[:, 0, 0].tolist() == [0, 10]
    short = evenly(song, 130, 16)
    assert short.shape == (2, 2, 130)
    assert not short[..., 100:].any()


@pytest.fixture(scope="module")
def pretrained(values, tmp_path_factory):
    """The folder of a pre-training of six steps."""
    folder = tmp_path_factory.mktemp("pretrained")
    fit(values("trainer.max_epochs=2", "trainer.max_steps=6", "trainer.log_every_n_steps=1"), folder)
    return folder


def test_it_trains_validates_and_keeps_the_best(pretrained):
    with (pretrained / "csv" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    scores = [float(row["val/loss"]) for row in rows if row.get("val/loss")]
    for row in (row for row in rows if row.get("val/loss")):
        parts = sum(float(row[f"val/loss_{name}"]) for name in ("masked", "contrastive"))
        assert float(row["val/loss"]) == pytest.approx(parts, rel=1e-5)
        assert row["val/loss"] != row["val_raw/loss"]
    assert any(row.get("train/masked") and row.get("train/contrastive") for row in rows)
    best = torch.load(pretrained / "checkpoints" / "best.ckpt", weights_only=True)
    state = best["callbacks"]["Checkpoints"]
    assert (state["monitor"], state["best_score"]) == ("val/loss", pytest.approx(min(scores)))
    assert best["callbacks"]["Pieces"]["pieces"][0]["best_sdr"] is None  # which it has not


def test_a_run_that_is_taken_up_again_ends_alike(make_config, values, tmp_path):
    steps = ["trainer.max_epochs=2", "trainer.max_steps=6", "trainer.log_every_n_steps=1"]
    fit(values("trainer.max_epochs=2", "trainer.max_steps=3", "scheduler.floor=1"), tmp_path / "first")
    last = tmp_path / "first" / "checkpoints" / "last.ckpt"
    fit(values(*steps, "scheduler.floor=1", f"resume={last}"), tmp_path / "second")
    fit(values(*steps, "scheduler.floor=1"), tmp_path / "whole")
    states = [
        torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True) for name in ("second", "whole")
    ]
    for key in ("state_dict", "current_model_state"):
        assert all(torch.equal(value, states[1][key][name]) for name, value in states[0][key].items())
    assert "project.0.weight" in states[0]["state_dict"]
    with pytest.raises(ConfigError, match="is of another run: task is pretrain there and separation here"):
        build_run(make_config(f"resume={last}"), tmp_path / "stems")


@pytest.mark.parametrize("as_bundle", [False, True])
def test_a_separation_model_begins_with_its_weights_but_for_the_last_layers(
    make_config, pretrained, tmp_path, as_bundle, caplog
):
    path = pretrained / "checkpoints" / "last.ckpt"
    theirs = load_model(path, pretrained=True)
    if as_bundle:
        path = save_bundle(tmp_path / "pretrained.safetensors", theirs, read_facts(path)["training"])
    with pytest.raises(ModelError, match=r"is only pre-trained and gives no stems yet: train it on songs with stems, "):
        load_model(path)
    run = build_run(make_config(f"init_from={path}", "stems=vocals", "seed=5"), tmp_path / "run")
    ours, learned = run.module.model.state_dict(), theirs.state_dict()
    anew = {"network.head.project.weight", "network.head.project.bias"} & set(ours)
    unlike = {name for name in ours if ours[name].shape != learned[name].shape or not ours[name].equal(learned[name])}
    assert anew
    assert "network.head.project.weight" in unlike
    assert unlike <= anew
    assert f"init_from={path} is pre-trained: network.head.project.weight and" in caplog.text
    with pytest.raises(ConfigError, match=r"does not fit this model: network\."):
        build_run(make_config(f"init_from={path}", "model.network.depths=[1,2]"), tmp_path / "deeper")


def test_a_folder_of_songs_without_stems_is_enough(make_config, songs, tmp_path):
    for song in songs.glob("*/*"):
        folder = tmp_path / "music" / song.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(song / "mixture.wav", folder / f"{song.name}.wav")
    given = {**make_config("task=pretrain", f"data.root={tmp_path / 'music'}"), "loss": None}
    run = build_run(given, tmp_path / "run")
    batch = next(iter(run.data.ready().train_dataloader()))
    mixtures = [soundfile.read(path)[0] for path in sorted((tmp_path / "music" / "train").iterdir())]
    size = run.data.training.size
    assert batch.shape == (2, 2, 2, size)
    for segment in batch.flatten(0, 1):
        found = [
            abs(song[k : k + size, 0] - segment[0].numpy()).max() for song in mixtures for k in _near(song, segment)
        ]
        assert min(found, default=1) < 1e-3


def _near(song, segment):
    """Where in a song, to a sample, a segment may begin."""
    return [k for k in abs(song[:, 0] - segment[0, 0].item()).argsort()[:8] if k + segment.shape[-1] <= len(song)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["task.masked.share=1"], r"task\.masked\.share is 1\.0, expected a share between 0 and 1"),
        (["task.masked.patch=[8]"], r"task\.masked\.patch is \[8\], expected frames and bins"),
        (["task.masked.weight=-1"], r"task\.masked\.weight is -1\.0, expected 0 \(off\) or above"),
        (["task.contrastive.temperature=0"], r"task\.contrastive\.temperature is 0\.0, expected a number above 0"),
        (["task.contrastive.features=0"], r"task\.contrastive\.features is 0, expected 1 or more"),
        (
            ["task.masked.weight=0", "task.contrastive.weight=0"],
            "task.masked.weight and task.contrastive.weight is 0 both",
        ),
        (["task.masked.patches=2"], r"unknown key task\.masked\.patches \(did you mean patch\?\)"),
        (["task.name=pretraining"], r"unknown task\.name 'pretraining' \(did you mean pretrain\?\)"),
        (["data.batch_size=1"], "set data.batch_size to 2 or more, or task.contrastive.weight=0"),
        (["strategy.kind=fsdp"], "task=pretrain keeps the weights whole: leave out strategy=fsdp"),
        (["callbacks.samples.every_n_epochs=1"], "task=pretrain has no stems to show"),
        (["augmentation.remix.p=1"], "augmentation.remix puts one song into another, .* set augmentation.remix=null"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(values, tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        build_run(values(*changes), tmp_path)
    assert not list(tmp_path.iterdir())


def test_losses_of_stems_are_refused(make_config, tmp_path):
    with pytest.raises(ConfigError, match="task=pretrain has losses of its own: leave out loss="):
        build_run(make_config("task=pretrain"), tmp_path)
