"""A checkpoint scored as eval.py does it."""

import json

import numpy as np
import pytest
import soundfile

from tfswa_unet import bundles, models
from tfswa_unet.bundle import save_bundle
from tfswa_unet.config import choice
from tfswa_unet.errors import ConfigError, DataError, ModelError
from tfswa_unet.evaluation.run import score_checkpoint
from tfswa_unet.files import content_hash
from tfswa_unet.inference.overlap_add import OVERLAP_SECONDS, SEGMENT_SECONDS


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with a tiny bundle and one song of two seconds."""
    root = tmp_path_factory.mktemp("evaluation")
    rng = np.random.default_rng(0)
    folder = root / "songs" / "test" / "song"
    folder.mkdir(parents=True)
    stems = {stem: 0.1 * rng.standard_normal((88_200, 2)) for stem in ("vocals", "drums", "bass", "other")}
    for stem, audio in [*stems.items(), ("mixture", sum(stems.values()))]:
        soundfile.write(folder / f"{stem}.wav", audio, 44_100)
    preset = models.preset("tfswa_tiny")
    network = {**preset["network"], "widths": [8, 16], "depths": [1, 1], "mlp_ratios": [1, 1], "head_width": 8}
    save_bundle(
        root / "model.safetensors", models.build({**preset, "n_fft": 256, "hop": 64, "subbands": 4, "network": network})
    )
    return root


@pytest.fixture
def settings(files, tmp_path):
    """The configuration that scores the bundle on the song."""
    return {
        "ckpt": str(files / "model.safetensors"),
        "data": {**choice("data", "musdb18hq"), "root": str(files / "songs")},
        "split": "test",
        "out": str(tmp_path / "scores"),
        "metrics": "sdr",
        "max_tracks": None,
        "max_seconds": None,
        "workers": 1,
        "pictures": 1,
        "device": "cpu",
        "precision": "fp32",
        "segment": 1.0,
        "overlap": 0.2,
        "batch": None,
        "paths": {},
    }


def test_scores_table_and_files(settings, tmp_path, capsys):
    score_checkpoint(settings)
    printed = capsys.readouterr().out
    for row in ("vocals", "average", "mixture", "irm", "tfswa_tiny", "scores.json"):
        assert row in printed
    scores = json.loads((tmp_path / "scores" / "scores.json").read_text())
    # A fresh model gives each stem about a quarter of the mixture, so an error of (1 − ¼)² + 3 · ¼² times its power.
    assert scores["scores"]["model"]["average"]["SDR"] == pytest.approx(-10 * np.log10(0.75), abs=0.5)
    assert scores["scores"]["mixture"]["average"]["SDR"] == pytest.approx(-10 * np.log10(3), abs=0.1)
    assert (tmp_path / "scores" / "pictures" / "song.png").is_file()


def test_a_packaged_model_is_scored_by_its_name_into_the_current_folder(settings, files, tmp_path, monkeypatch):
    monkeypatch.setattr(bundles, "FOLDER", files)
    monkeypatch.chdir(tmp_path)
    score_checkpoint({**settings, "ckpt": "model", "out": None, "pictures": 0})
    scores = json.loads((tmp_path / "scores-model-test" / "scores.json").read_text())
    assert scores["checkpoint"] == {"name": "model.safetensors", "sha256": content_hash(files / "model.safetensors")}


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"split": "dev"}, ConfigError, r"unknown split 'dev': expected one of train, valid, test"),
        ({"ckpt": "gone.ckpt"}, ModelError, r"gone\.ckpt: no such bundle or checkpoint"),
        ({"metrics": "pesq"}, ConfigError, r"unknown metrics 'pesq': expected one of full, sdr"),
        ({"precision": "fp8"}, ConfigError, r"unknown precision 'fp8' ?.*: expected one of auto, fp32, bf16"),
        ({"workers": "two"}, ConfigError, r"workers is 'two', expected a whole number"),
        ({"max_tracks": 0}, ConfigError, r"max_tracks=0: expected 1 or more"),
        ({"split": "train"}, DataError, r"train"),
        ({"spilt": "test"}, ConfigError, r"unknown key spilt \(did you mean split\?\)"),
    ],
)
def test_mistakes(settings, tmp_path, changes, error, message):
    with pytest.raises(error, match=message):
        score_checkpoint({**settings, **changes})
    assert not (tmp_path / "scores").exists()


def test_segments_have_their_default_lengths_where_none_is_asked_for(settings, tmp_path):
    score_checkpoint({**settings, "segment": None, "overlap": None})
    scores = json.loads((tmp_path / "scores" / "scores.json").read_text())
    assert (scores["segment_seconds"], scores["overlap"]) == (SEGMENT_SECONDS, OVERLAP_SECONDS / SEGMENT_SECONDS)
