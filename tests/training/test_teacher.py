"""Learning from mixtures alone: what the teacher makes of them, and whole runs."""

import shutil

import pytest
import soundfile
import torch

from tfswa_unet import models
from tfswa_unet.bundle import load_model, save_bundle
from tfswa_unet.errors import ConfigError, DataError, ModelError
from tfswa_unet.training.builder import build_run
from tfswa_unet.training.fit import fit
from tfswa_unet.training.teacher import Teacher, shuffled


@pytest.fixture(scope="module")
def bundles(make_config, tmp_path_factory):
    """Save a small model of some stems as a bundle."""
    folder = tmp_path_factory.mktemp("teachers")

    def save(stems=("vocals", "drums", "bass", "other"), **changes):
        torch.manual_seed(0)
        values = {**make_config()["model"], "stems": {stem: [stem] for stem in stems}, **changes}
        path = folder / f"{len(list(folder.iterdir()))}.safetensors"
        facts = {"sources": [{"folder": "a", "source": "theirs", "licence": "CC0"}]}
        return save_bundle(path, models.build(values), facts)

    return save


@pytest.fixture(scope="module")
def music(tmp_path_factory, songs):
    """Mixtures in two folders, and songs with stems that validate."""
    folder = tmp_path_factory.mktemp("music")
    for number, song in enumerate(("train/a", "train/b")):
        audio, rate = soundfile.read(songs / song / "mixture.wav")
        (folder / "music" / f"album {number}").mkdir(parents=True)
        soundfile.write(folder / "music" / f"album {number}" / "song.flac", audio, rate)
    shutil.copytree(songs / "valid", folder / "songs" / "valid")
    return ["data=[unlabelled,folders]"], [
        f"data.sets.unlabelled.root={folder / 'music'}",
        f"data.sets.folders.root={folder / 'songs'}",
        "data.root=null",
    ]


def _teacher(path, stems=("vocals", "drums", "bass", "other"), batch_size=3, **model):
    return Teacher(str(path), stems, {"rate": 44_100, "channels": 2, **model}, batch_size)


@pytest.mark.parametrize("stems", [("vocals", "drums", "bass", "other"), ("bass", "vocals")])
def test_stems_are_the_teachers_in_another_order_and_sum_to_what_was_there(bundles, stems):
    path = bundles()
    teacher, batch = _teacher(path, stems), 0.1 * torch.randn(3, 1, 2, 4_000)
    torch.manual_seed(3)
    remixed = teacher(batch)
    alone = load_model(path)
    with torch.no_grad():
        expected = dict(zip(alone.stems, alone(batch[:, 0]).unbind(1), strict=True))
    torch.manual_seed(3)
    kept = [expected[stem] for stem in stems]
    if len(stems) == 2:
        kept.append(batch[:, 0] - sum(kept))
    orders = [torch.randperm(3) for _ in kept]
    assert len({tuple(order.tolist()) for order in orders}) > 1
    for number, (order, stem) in enumerate(zip(orders, kept, strict=True)):
        assert torch.equal(remixed[:, number], stem[order])
    assert torch.allclose(remixed.sum((0, 1)), batch.sum((0, 1)), atol=1e-4)
    assert teacher.covers_mixture == (len(stems) == 4)


def test_shuffled_gives_every_example_away_whole():
    stems = torch.arange(5.0)[:, None, None, None].expand(5, 3, 1, 2).clone()
    torch.manual_seed(0)
    after = shuffled(stems)
    assert all(sorted(after[:, stem, 0, 0].tolist()) == [0, 1, 2, 3, 4] for stem in range(3))
    assert not torch.equal(after[:, 0], after[:, 1])


def test_a_run_from_mixtures_alone(config, music, bundles, tmp_path):
    choice, roots = music
    small = ("data.samples_per_epoch=4", f"paths.cache={tmp_path}")
    run = build_run(config(*choice, *roots, f"teacher={bundles()}", *small), tmp_path / "run")
    assert sorted(track.name for track in run.data.training.reader.tracks) == ["album 0/song", "album 1/song"]
    before = [p.clone() for p in run.module.teacher.model.parameters()]
    run.trainer.fit(run.module, run.data)
    assert run.trainer.global_step == 2
    assert torch.isfinite(run.trainer.callback_metrics["val/sdr"])
    assert all(torch.equal(a, b) for a, b in zip(before, run.module.teacher.model.parameters(), strict=True))
    assert run.module.model.model_config.sums_to_mixture
    checkpoint = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert not any("teacher" in name for name in checkpoint["state_dict"])
    assert {"folder": "a", "source": "theirs", "licence": "CC0"} in checkpoint["callbacks"]["Pieces"]["sources"]


def test_the_command_of_the_docs(config, music, tmp_path):
    choice, roots = music
    values = config("experiment=fast_finetune", "teacher=tfswa_open_small", *choice, *roots, small=False)
    run = build_run(values, tmp_path)
    assert [len(each.reader.lengths) for each in (run.data.training, run.data.validation)] == [2, 1]
    torch.manual_seed(0)
    mixtures = 0.1 * torch.randn(2, 1, 2, 20_000)
    assert run.module.teacher(mixtures).shape == (2, 4, 2, 20_000)


def test_stems_of_the_train_songs_are_never_looked_at(config, bundles, tmp_path):
    torch.manual_seed(0)
    run = build_run(config(f"teacher={bundles()}"), tmp_path)
    batch = next(iter(run.data.ready().train_dataloader()))
    labelled = next(iter(build_run(config(), tmp_path).data.ready().train_dataloader()))
    assert batch.shape == (2, 1, 2, 8_820)
    assert labelled.shape == (2, 4, 2, 8_820)
    run.module.train()
    run.module.log = run.module.log_dict = lambda *_, **__: None
    ones = [run.module.training_step(batch, index).item() for index in (0, 0, 1)]
    assert ones[0] == ones[1] != ones[2]  # remixed by the numbers of the step alone


def test_another_teacher_teaches_something_else(config, bundles, tmp_path):
    losses = []
    for path in (None, bundles(), bundles(mask="sigmoid")):
        fit(config(*([f"teacher={path}"] if path else []), "trainer.max_steps=1"), tmp_path / str(len(losses)))
        state = torch.load(tmp_path / str(len(losses)) / "checkpoints" / "last.ckpt", weights_only=True)
        losses.append(tuple(torch.cat([v.flatten() for v in state["current_model_state"].values()]).tolist()))
    assert len(set(losses)) == 3


def test_one_stem_of_a_teacher_leaves_the_rest_to_the_mixture(config, bundles, tmp_path):
    run = build_run(config(f"teacher={bundles()}", "stems=vocals"), tmp_path)
    assert not run.module.model.model_config.sums_to_mixture
    assert run.module.teacher(torch.randn(2, 1, 2, 8_820)).shape == (2, 2, 2, 8_820)


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        (["teacher=/nowhere.ckpt"], ModelError, r"^/nowhere\.ckpt: no such bundle or checkpoint"),
        (["model.rate=22050"], ConfigError, r"^teacher=\S+ works at 44100 Hz with 2 channels, and the model at 22050"),
        (["data.batch_size=1"], ConfigError, r"^teacher= remixes within a batch: data\.batch_size is 1, expected 2 or"),
    ],
)
def test_teachers_that_cannot_teach(config, bundles, tmp_path, overrides, error, message):
    with pytest.raises(error, match=message):
        build_run(config(f"teacher={bundles()}", *overrides), tmp_path)


def test_a_teacher_without_a_stem(bundles):
    with pytest.raises(ConfigError, match=r" has no stem 'bass': set stems to some of its own, vocals, drums$"):
        _teacher(bundles(("vocals", "drums")))


def test_mixtures_without_a_teacher_or_without_songs_to_validate_with(config, music, bundles, tmp_path):
    choice, roots = music
    with pytest.raises(DataError, match=r"have no stems, from which is learned here: .* by teacher=MODEL"):
        build_run(config(*choice, *roots), tmp_path)
    alone = ["data=unlabelled", roots[0], "data.root=null", f"teacher={bundles()}"]
    with pytest.raises(DataError, match=r"^There are no songs with stems to validate with: add some, as in data="):
        build_run(config(*alone), tmp_path)
