"""A checkpoint scored as eval.py does it."""

import json
import os

import numpy as np
import pytest
import soundfile

from tests.small import write_songs
from tfswa_unet import bundles, models
from tfswa_unet.bundle import save_bundle
from tfswa_unet.config import choice
from tfswa_unet.errors import ConfigError, DataError, ModelError
from tfswa_unet.evaluation import scorer
from tfswa_unet.evaluation.estimates import SavedStems
from tfswa_unet.evaluation.results import read_result
from tfswa_unet.evaluation.run import score_checkpoint
from tfswa_unet.files import content_hash
from tfswa_unet.inference.presets import OVERLAP_SECONDS, SEGMENT_SECONDS


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
        "estimates": None,
        "data": {**choice("data", "musdb18hq"), "root": str(files / "songs")},
        "split": "test",
        "references": ["mixture", "irm"],
        "equaliser": None,
        "out": str(tmp_path / "scores"),
        "metrics": "sdr",
        "segments": None,
        "evaluator": "torch",
        "max_tracks": None,
        "max_seconds": None,
        "workers": 1,
        "pictures": 1,
        "report": False,
        "device": "cpu",
        "precision": "fp32",
        "segment": 1.0,
        "overlap": 0.2,
        "batch": None,
        "wiener": False,
        "paths": {},
    }


def test_scores_table_and_files(settings, tmp_path, capsys):
    score_checkpoint({**settings, "report": True})
    printed = capsys.readouterr().out
    for row in ("vocals", "average", "mixture", "irm", "tfswa_tiny", "scores.json", "report.html"):
        assert row in printed
    scores = json.loads((tmp_path / "scores" / "scores.json").read_text())
    # A fresh model gives each stem about a quarter of the mixture, so an error of (1 − ¼)² + 3 · ¼² times its power.
    assert scores["scores"]["model"]["average"]["SDR"] == pytest.approx(-10 * np.log10(0.75), abs=0.5)
    assert scores["scores"]["mixture"]["average"]["SDR"] == pytest.approx(-10 * np.log10(3), abs=0.1)
    assert (tmp_path / "scores" / "pictures" / "song.png").is_file()
    assert scores["parameters"] > 1000
    assert read_result(tmp_path / "scores").real_time_factor > 0
    assert (tmp_path / "scores" / "report.html").read_text().count("<audio") == 12


def test_segments_are_scored_in_place_of_windows_and_named(settings, tmp_path, capsys):
    score_checkpoint({**settings, "segments": 1.9, "pictures": 0})
    record = json.loads((tmp_path / "scores" / "scores.json").read_text())
    assert record["metric"]["name"] == "BSSEval v4, 1.9 s segments"
    assert (record["metric"]["window_seconds"], record["metric"]["hop_seconds"]) == (1.9, 1.9)
    assert "(SDR to SAR of segments of 1.9 s)" in capsys.readouterr().out
    assert record["nan"]["model"]["vocals"]["frames"] == 1
    # One segment is nearly all of the track.
    assert record["scores"]["model"]["vocals"]["SDR"] == pytest.approx(
        record["scores"]["model"]["vocals"]["uSDR"], abs=0.1
    )


def test_an_equaliser_fitted_on_other_songs_has_its_row_and_record(settings, tmp_path, capsys):
    songs = write_songs(tmp_path / "studio", songs=[("train", "a"), ("train", "b"), ("valid", "c")])
    score_checkpoint({**settings, "equaliser": str(songs), "pictures": 0})
    assert "equaliser" in capsys.readouterr().out.split("SDR of reference methods")[1].splitlines()[1]
    scores = json.loads((tmp_path / "scores" / "scores.json").read_text())
    assert {key: scores["equaliser"][key] for key in ("data", "songs", "seconds", "rate")} == {
        "data": "studio",
        "songs": 2,
        "seconds": 1.0,
        "rate": 44_100,
    }
    # A quarter of the mixture each, as for a fresh model; a fit on one second is not quite as good.
    assert scores["scores"]["equaliser"]["average"]["SDR"] == pytest.approx(-10 * np.log10(0.75), abs=0.2)


@pytest.mark.parametrize("kind", ["folders", "auto"])
def test_folders_of_songs_some_without_a_stem_some_with_a_mono_one_are_scored(settings, tmp_path, kind):
    write_songs(tmp_path / "corpus", songs=[("valid", "a"), ("valid", "b")])
    for path in (tmp_path / "corpus").rglob("*.wav"):
        sound, rate = soundfile.read(path)
        if path.name != "mixture.wav" and path.parts[-2:] != ("a", "bass.wav"):
            mono = path.parts[-2:] == ("a", "other.wav")
            soundfile.write(path.with_suffix(".flac"), sound[:, 0] if mono else sound, rate)
        path.unlink()
    data = {**choice("data", "folders"), "root": str(tmp_path / "corpus"), "kind": kind}
    scores = score_checkpoint({**settings, "data": data, "split": "valid", "pictures": 0})
    model = scores.methods["model"]
    assert list(model.tracks) == ["a", "b"]
    assert {stem: scores.silent_tracks for stem, scores in model.stems.items() if scores.silent_tracks} == {
        "bass": ("a",)
    }
    assert np.isfinite(model.average["SDR"])


def test_a_packaged_model_is_scored_by_its_name_into_the_current_folder(settings, files, tmp_path, monkeypatch):
    monkeypatch.setattr(bundles, "FOLDER", files)
    monkeypatch.chdir(tmp_path)
    for segments in (None, 2.0):
        score_checkpoint({**settings, "ckpt": "model", "out": None, "pictures": 0, "segments": segments})
    assert (tmp_path / "scores-model-test-2s" / "scores.json").exists()
    scores = json.loads((tmp_path / "scores-model-test" / "scores.json").read_text())
    assert scores["checkpoint"] == {"name": "model.safetensors", "sha256": content_hash(files / "model.safetensors")}


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"split": "dev"}, ConfigError, r"unknown split 'dev': expected one of train, valid, test"),
        ({"ckpt": "gone.ckpt"}, ModelError, r"gone\.ckpt: no such bundle or checkpoint"),
        ({"metrics": "pesq"}, ConfigError, r"unknown metrics 'pesq': expected one of full, sdr"),
        (
            {"references": ["wiener"]},
            ConfigError,
            r"unknown references 'wiener': expected one of mixture, irm, ibm, mwf",
        ),
        ({"precision": "fp8"}, ConfigError, r"unknown precision 'fp8' ?.*: expected one of auto, fp32, bf16"),
        ({"segments": 0.0}, ConfigError, r"segments=0: expected more than 0 seconds, or null for windows of 1 s"),
        ({"workers": "two"}, ConfigError, r"workers is 'two', expected a whole number"),
        ({"max_tracks": 0}, ConfigError, r"max_tracks=0: expected 1 or more"),
        ({"split": "train"}, DataError, r"train"),
        ({"equaliser": "gone"}, DataError, r"gone does not exist, .*: set equaliser=/path/to/songs"),
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


@pytest.fixture
def stems(files, tmp_path):
    """Stems of that song as another tool might have made them: vocals, and all but vocals, with some noise each."""
    rng = np.random.default_rng(1)
    true = {path.stem: soundfile.read(path)[0] for path in (files / "songs/test/song").glob("*.wav")}
    made = {"vocals": true["vocals"], "no_vocals": true["drums"] + true["bass"] + true["other"]}
    for name, sound in made.items():
        path = tmp_path / "others" / "song" / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        noisy = sound + 0.1 * sound.std() * rng.standard_normal(sound.shape)
        soundfile.write(path, noisy, 44_100, subtype="FLOAT")
    return tmp_path / "others"


def test_stems_of_another_tool_are_scored(settings, stems, tmp_path, capsys):
    soundfile.write(stems / "song" / "mixture.wav", np.zeros((10, 2)), 44_100)  # is no stem
    score_checkpoint({**settings, "ckpt": None, "estimates": str(stems), "out": None})
    assert "others" in capsys.readouterr().out
    scores = json.loads((tmp_path / "scores-others-test" / "scores.json").read_text())
    found = scores["scores"]["model"]
    assert set(found) == {"vocals", "no_vocals", "average"}
    for stem in ("vocals", "no_vocals"):
        assert found[stem]["SDR"] == pytest.approx(20, abs=0.2)  # dB of that noise
    assert scores["model"] == "others"


def test_stems_of_another_tool_are_scored_again_where_a_file_has_changed(settings, stems, monkeypatch):
    given = {**settings, "ckpt": None, "estimates": str(stems), "pictures": 0, "references": []}
    scored, score_track = [], scorer.score_track
    monkeypatch.setattr(scorer, "score_track", lambda *job: scored.append(job[1]) or score_track(*job))
    for _ in range(2):
        score_checkpoint(given)
    assert scored == ["model"]
    os.utime(stems / "song" / "vocals.wav", ns=(1, 1))
    score_checkpoint(given)
    assert scored == ["model"] * 2


def test_a_lossy_encoders_length_is_forgiven(settings, stems):
    for name, change in (("vocals", lambda x: x[:-2_000]), ("no_vocals", lambda x: np.pad(x, ((0, 2_000), (0, 0))))):
        path = stems / "song" / f"{name}.wav"
        soundfile.write(path, change(soundfile.read(path)[0]), 44_100, subtype="FLOAT")
    scores = score_checkpoint({**settings, "ckpt": None, "estimates": str(stems)})
    assert all(scores.methods["model"].rows[stem]["SDR"] > 14 for stem in ("vocals", "no_vocals"))


def _other_rate(folder):
    soundfile.write(folder / "song/vocals.wav", np.zeros((80_000, 2)), 40_000)


def _short(folder):
    soundfile.write(folder / "song/vocals.wav", np.zeros((40_000, 2)), 44_100)


def _surround(folder):
    soundfile.write(folder / "song/vocals.wav", np.zeros((88_200, 4)), 44_100)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_other_rate, r"vocals.wav has 40000 Hz, its song 44100: write estimates at the song's rate"),
        (_short, r"vocals.wav is 40000 samples long, its song 88200: write estimates as long as the song"),
        (_surround, r"vocals.wav has 4 channels, expected"),
        (lambda folder: (folder / "song").rename(folder / "a song"), "has no stems for the song 'song', but a song:"),
    ],
)
def test_stems_that_do_not_fit_their_song_are_refused(settings, stems, tmp_path, spoil, message):
    spoil(stems)
    with pytest.raises(DataError, match=message):
        score_checkpoint({**settings, "ckpt": None, "estimates": str(stems)})
    assert not (tmp_path / "scores" / "scores.json").exists()


def test_songs_with_other_stems_than_the_first_are_refused(stems):
    (stems / "another").mkdir()
    (stems / "another/vocals.flac").touch()
    with pytest.raises(DataError, match=r"another holds vocals, other songs .*vocals.*: make them alike"):
        SavedStems(stems).plan(["song", "another"])


@pytest.mark.parametrize("given", [{"ckpt": None}, {"estimates": "stems"}])
def test_a_model_or_stems_have_to_be_given_and_not_both(settings, given):
    with pytest.raises(ConfigError, match="give what is to be scored, ckpt=MODEL, or estimates=FOLDER"):
        score_checkpoint({**settings, **given})


def test_estimates_lie_in_a_folder(settings, tmp_path):
    with pytest.raises(DataError, match=r"is not a folder: expected SONG/STEM\.wav in one"):
        score_checkpoint({**settings, "ckpt": None, "estimates": str(tmp_path / "none")})
