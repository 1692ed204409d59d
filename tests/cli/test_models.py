from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from tfswa_unet import models
from tfswa_unet.bundle import fingerprint, load_model, read_facts, save_bundle
from tfswa_unet.cli import main
from tfswa_unet.evaluation.bsseval import TrackScores
from tfswa_unet.evaluation.report import Scores, aggregate, describe
from tfswa_unet.evaluation.settings import EvaluationSettings
from tfswa_unet.evaluation.tracks import ScoredTrack
from tfswa_unet.files import content_hash
from tfswa_unet.types import Track


def test_a_checkpoint_becomes_a_bundle_that_says_where_it_comes_from(checkpoint, small, capsys):
    assert main(["bundle", str(checkpoint)]) == 0
    path = checkpoint.with_suffix(".safetensors")
    assert capsys.readouterr().out == (
        f"{path}: vocals, drums, bass, other at 44100 Hz, {path.stat().st_size / 1e6:.1f} MB, {fingerprint(path)}\n"
    )
    assert all(torch.equal(value, small.state_dict()[name]) for name, value in load_model(path).state_dict().items())
    training = read_facts(path)["training"]
    assert training["epoch"] == 5
    assert training["checkpoint"] == fingerprint(checkpoint)


def test_the_name_can_be_chosen_but_not_its_ending(checkpoint, tmp_path, capsys):
    assert main(["bundle", str(checkpoint), "-o", str(tmp_path / "new" / "m.safetensors")]) == 0
    assert (tmp_path / "new" / "m.safetensors").is_file()
    assert main(["bundle", str(checkpoint), "-o", str(tmp_path / "m.pt")]) == 1
    assert "a bundle's name ends in .safetensors, got '.pt'" in capsys.readouterr().err
    assert not (tmp_path / "m.pt").exists()


def test_half_precision_is_told(checkpoint, small, tmp_path, capsys):
    path = tmp_path / "half.safetensors"
    assert main(["bundle", str(checkpoint), "--half", "-o", str(path)]) == 0
    size = f"{path.stat().st_size / 1e6:.1f} MB in half precision"
    assert capsys.readouterr().out == (f"{path}: vocals, drums, bass, other at 44100 Hz, {size}, {fingerprint(path)}\n")
    assert main(["info", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["precision"] == "fp16"
    before = path.read_bytes()
    assert main(["bundle", str(path), "--half"]) == 0  # in place
    assert read_facts(path)["training"]["checkpoint"] == fingerprint(checkpoint)
    assert read_facts(path)["training"]["epoch"] == 5
    assert path.read_bytes()[-10_000:] == before[-10_000:]


def test_averaged_and_softened_weights_are_told(checkpoint, small, tmp_path, capsys):
    other = models.build(small.config)
    harp = {"folder": "harp", "source": "a harp", "licence": "CC0-1.0"}
    path = save_bundle(tmp_path / "other.safetensors", other, {"sources": [harp, harp]})
    made = tmp_path / "made.safetensors"
    assert main(["bundle", str(checkpoint), "--average", str(path), "--temperature", "2", "-o", str(made)]) == 0
    training = read_facts(made)["training"]
    assert training["averaged_with"] == [fingerprint(path)]
    assert training["sources"] == [harp]
    assert training["temperature"] == 2
    name = "network.head.project.weight"
    mean = (small.state_dict()[name] + other.state_dict()[name]) / 2
    torch.testing.assert_close(load_model(made).state_dict()[name], mean / 2)
    assert main(["bundle", str(made), "--temperature", "1.5"]) == 0
    assert read_facts(made)["training"]["temperature"] == 3
    assert main(["bundle", str(checkpoint), "--temperature", "0", "-o", str(tmp_path / "none.safetensors")]) == 1
    assert "the temperature is 0, expected a number above 0" in capsys.readouterr().err
    assert not (tmp_path / "none.safetensors").exists()


@pytest.fixture
def scores(checkpoint, tmp_path):
    """Write the scores.json of a checkpoint, the one of the fixture if not told otherwise."""

    def write(scored=checkpoint):
        settings = EvaluationSettings("small", checkpoint=scored, data_root=tmp_path / "songs", metrics="sdr")
        rows = {"vocals": {"SDR": np.array([1.0, 5.0, 6.0])}, "drums": {"SDR": np.array([np.nan])}}
        methods = {"model": aggregate([TrackScores("a song", rows, {"uSDR": {"vocals": 4.0, "drums": 2.0}})])}
        tracks = [ScoredTrack(Track("a song", "test", 44_100, 10, {}), {"vocals": ("vocals",)})]
        record = describe(settings, tracks, content_hash(scored))
        path = tmp_path / "scores.json"
        path.write_text(json.dumps(Scores(methods, record).to_dict()))
        return path

    return write


def test_scores_of_a_checkpoint_go_into_its_bundle_and_stay(checkpoint, scores, capsys):
    path = checkpoint.with_suffix(".safetensors")
    assert main(["bundle", str(checkpoint), "--scores", str(scores())]) == 0
    for _ in range(2):
        found = read_facts(path)["evaluation"]
        average = {"SDR": 5.0, "uSDR": 3.0}
        assert found["scores"] == {
            "model": {"vocals": {"SDR": 5.0, "uSDR": 4.0}, "drums": {"SDR": None, "uSDR": 2.0}, "average": average}
        }
        assert (found["data"], found["split"], found["tracks"]) == ("songs", "test", ["a song"])
        assert (found["metric"]["name"], found["metric"]["unit"]) == ("BSSEval v4", "dB")
        assert found["checkpoint"] == {"name": "last.ckpt", "sha256": content_hash(checkpoint)}
        assert main(["bundle", str(path), "--half"]) == 0


def test_scores_of_another_file_or_none_are_refused(bundle, checkpoint, scores, tmp_path, capsys):
    other = scores(bundle)
    (tmp_path / "text.json").write_text("dear diary")
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "part.json").write_text('{"scores": {}}')
    for path, sentence in {
        other: f"scores small.safetensors ({fingerprint(bundle)}), not this file ({fingerprint(checkpoint)}): score",
        tmp_path / "gone.json": "cannot be read (No such file or directory): give the scores.json of eval.py",
        tmp_path / "text.json": "holds no scores (Expecting value",
        tmp_path / "list.json": "holds no scores (list indices",
        tmp_path / "part.json": "holds no scores ('data'): give",
    }.items():
        assert main(["bundle", str(checkpoint), "--scores", str(path)]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"error: {path} {sentence}")
    assert not checkpoint.with_suffix(".safetensors").exists()


def test_info_counts_what_the_model_has(bundle, small, capsys):
    assert main(["info", str(bundle), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    parameters = sum(parameter.numel() for parameter in small.parameters())
    assert (facts["name"], facts["parameters"], facts["rate"]) == ("small", parameters, 44100)
    assert facts["stems"] == list(small.stems)
    assert facts["origin"] == {"epoch": 3}
    assert facts["fingerprint"] == fingerprint(bundle)
    assert facts["config"]["network"]["widths"] == [16, 16]
    assert facts["flops_per_second"] > 2 * parameters
    assert facts["receptive_field"]["fills_segment"] is True
    assert facts["receptive_field"]["seconds"] == facts["receptive_field"]["segment_seconds"]
    assert facts["receptive_field"]["hertz"] == 22_050


def test_info_shows_layers_to_the_depth_asked_for(bundle, small, capsys):
    assert main(["info", str(bundle), "--depth", "1"]) == 0
    shown = capsys.readouterr().out
    total = sum(parameter.numel() for parameter in small.parameters())
    assert f"SpectralModel {total:,}" in shown
    assert f"network TFSWAUNet {total:,}" in shown
    assert "stem ConvStem" not in shown
    assert "receptive field  1.00 s (all) of a segment of 1.00 s, 22,050 Hz (all); with these weights mostly " in shown
    assert main(["info", str(bundle)]) == 0
    stem = sum(parameter.numel() for parameter in small.network.stem.parameters())
    assert f"stem ConvStem {stem:,}" in capsys.readouterr().out


def test_info_sums_pieces_and_counts_sources(checkpoint, capsys):
    piece = {"seconds": 5400.0, "device": "cpu", "device_name": "A Processor", "devices": 1}
    kept = {
        "pieces": [{**piece, "steps": [0, 1000]}, {**piece, "steps": [1000, 2500]}],
        "sources": [{"data_set": "mine", "source": "an album", "licence": "CC0-1.0"}],
    }
    torch.save({**torch.load(checkpoint), "callbacks": {"Pieces": kept}}, checkpoint)
    assert main(["bundle", str(checkpoint)]) == 0
    capsys.readouterr()
    for path in (checkpoint, checkpoint.with_suffix(".safetensors")):
        assert main(["info", str(path), "--depth", "0"]) == 0
        shown = capsys.readouterr().out
        assert " trained  3.00 h, 2,500 steps in 2 pieces on 1 cpu (A Processor)\n" in shown
        assert " sources  1, with their licences in --json\n" in shown
        assert "an album" not in shown
    assert main(["info", str(checkpoint), "--json"]) == 0
    origin = json.loads(capsys.readouterr().out)["origin"]
    assert {name: origin[name] for name in kept} == kept


def test_info_tells_scores_and_switches_in_words(tmp_path, small, capsys):
    scores = {"model": {"vocals": {"SDR": 1.25}, "rest": {"SDR": 4.5}, "average": {"SDR": 2.875}}}
    evaluation = {"scores": scores, "data": "corpus", "split": "valid", "tracks": ["one", "two"]}
    path = save_bundle(tmp_path / "scored.safetensors", small, {"averaged": True, "recipe": {"seed": 0}})
    assert main(["info", str(path), "--depth", "0"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"{'origin':>24}  averaged yes" in lines
    assert f"{'recipe':>24}  in --json" in lines
    assert not any("evaluation" in line for line in lines)
    save_bundle(path, small, {"averaged": False}, evaluation=evaluation)
    assert main(["info", str(path), "--depth", "0"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"{'origin':>24}  averaged no" in lines
    line = "SDR in dB: vocals 1.25, rest 4.50, the average 2.88, on corpus, valid"
    assert f"{'evaluation':>24}  {line}" in lines


def test_info_takes_a_preset_and_a_checkpoint(checkpoint, capsys):
    torch.set_num_threads(1)
    assert main(["info", "tfswa_tiny", "--json"]) == 0
    assert "fingerprint" not in json.loads(capsys.readouterr().out)
    assert main(["info", str(checkpoint), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["origin"]["epoch"] == 5


def test_info_takes_a_packaged_model(default, capsys):
    assert main(["info", "tfswa_open_small", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["origin"], facts["fingerprint"]) == ({"epoch": 3}, fingerprint(default))


def test_info_of_nothing_is_an_error(capsys):
    assert main(["info", "tfswa_hug"]) == 1
    assert "did you mean tfswa_" in capsys.readouterr().err


class Half(torch.nn.Module):
    def forward(self, mixture: torch.Tensor) -> torch.Tensor:
        return 0.5 * mixture[:, None]


FACTS = {
    "format": 1,
    "target": "torchscript",
    "name": "half",
    "stems": ["vocals", "rest"],
    "sums_to_mixture": True,
    "rate": 44_100,
    "channels": 2,
    "precision": "fp32",
    "segment_seconds": 6.0,
    "overlap_seconds": 1.0,
    "licences": {"CC0": 2, "CC BY 4.0": 1},
    "source": {"file": "half.safetensors", "sha256": "ab" * 32},
    "version": "0.1.0",
}


@pytest.fixture
def exported(tmp_path):
    path = tmp_path / "half.pt"
    torch.jit.save(torch.jit.script(Half()), str(path), _extra_files={"tfswa": json.dumps(FACTS)})
    return path


def test_info_of_an_exported_file_is_what_it_says_of_itself(exported, capsys):
    assert main(["info", str(exported), "--json"]) == 0
    added = {"megabytes": round(exported.stat().st_size / 1e6, 1), "fingerprint": fingerprint(exported)}
    assert json.loads(capsys.readouterr().out) == {**FACTS, **added}
    assert main(["info", str(exported)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"{'stems':>24}  vocals, rest" in lines
    assert f"{'fingerprint':>24}  {fingerprint(exported)}" in lines
    exported.write_bytes(exported.read_bytes()[:500])
    assert main(["info", str(exported)]) == 1
    assert "half.pt cannot be loaded" in capsys.readouterr().err


def test_the_card_of_an_exported_file_names_its_source_and_licences(exported, capsys):
    assert main(["card", str(exported)]) == 0
    card = capsys.readouterr().out
    assert card.startswith(
        "# half\n\nSeparates recorded music into vocals and rest. Made from what half.pt says of itself."
    )
    assert f"| file | {exported.stat().st_size / 1e6:.1f} MB, torchscript, fp32 |" in card
    assert "| exported from | half.safetensors, SHA-256 abababababababab… |" in card
    assert "| segments, overlap | 6.0 s, 1.0 s |" in card
    assert "Licences of what it was trained on: CC0 (2), CC BY 4.0 (1). Training, attributions and scores" in card
    assert "any other sound goes into one of these stems" in card
    assert "nothing above 22,050 Hz" in card
