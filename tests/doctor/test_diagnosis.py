"""Every fault, planted alone in a clean data set, is found in its track and stem, and nothing else is."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.doctor.conftest import RATE, sound, write
from tfswa_unet import audio
from tfswa_unet.data import load_tracks
from tfswa_unet.doctor import diagnose
from tfswa_unet.errors import ConfigError, DataError


def rewrite(root, song, stem, change, rate=RATE, subtype="FLOAT"):
    """Change a stem, and the mixture so that it stays the sum."""
    before = audio.read(root / song / f"{stem}.wav")
    after = change(before.copy())
    write(root / song / f"{stem}.wav", after, rate, subtype)
    if after.shape == before.shape and np.isfinite(after).all():
        mixture = audio.read(root / song / "mixture.wav")
        write(root / song / "mixture.wav", mixture - before + after)


def only(root, stem, check):
    finding = [each for each in diagnose(root, workers=1).findings if each.check == check and each.stem == stem]
    assert len(finding) == 1
    return finding[0]


def test_a_clean_data_set_has_no_findings(clean):
    diagnosis = diagnose(clean, workers=1)
    assert diagnosis.findings == ()
    assert (diagnosis.kind, diagnosis.songs, diagnosis.files) == ("folders", 4, 12)
    assert diagnosis.seconds == pytest.approx(12 * 6)


def test_synthetic_songs_are_clean(tmp_path):
    from tfswa_unet.songs import write_dataset

    write_dataset(tmp_path / "made", 2, 2.0, 0, workers=1)
    diagnosis = diagnose(tmp_path / "made", workers=1)
    assert diagnosis.kind == "musdb18hq"
    assert diagnosis.findings == ()


def test_a_shorter_stem(clean, found):
    rewrite(clean, "train/b", "drums", lambda x: x[:, :-800])
    assert found(clean) == [("error", "length", "train/b", "drums")]
    assert only(clean, "drums", "length").what == "has 47200 samples where the song's other files have 48000"


def test_another_rate_in_a_track(clean, found):
    rewrite(clean, "train/b", "drums", lambda x: x, rate=11_025)
    assert found(clean) == [("error", "rate", "train/b", "drums")]


def test_another_number_of_channels_in_a_track(clean, found):
    drums = audio.read(clean / "train/b/drums.wav").mean(axis=0, keepdims=True)
    vocals = audio.read(clean / "train/b/vocals.wav")
    write(clean / "train/b/drums.wav", drums)
    write(clean / "train/b/mixture.wav", vocals + drums)
    assert found(clean) == [("warning", "channels", "train/b", "drums")]


def test_a_whole_track_at_another_rate(clean, found):
    for path in (clean / "test/t").iterdir():
        write(path, audio.read(path), rate=16_000)
    assert found(clean) == [("warning", "rate", "test/t", "drums")]
    assert "16000 Hz where most songs have 8000" in only(clean, "drums", "rate").what


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers(clean, found, value):
    def spoil(x):
        x[1, 8_000:8_003] = value
        return x

    rewrite(clean, "valid/v", "vocals", spoil)
    assert ("error", "nan", "valid/v", "vocals") in found(clean)
    assert len(found(clean)) == 1
    assert only(clean, "vocals", "nan").what == "3 samples are NaN or infinite, the first at 1.000 s"


def test_dc_offset(clean, found):
    shift = np.array([[0], [-0.02]], np.float32)
    rewrite(clean, "test/t", "drums", lambda x: x - x.mean(axis=1, keepdims=True) + shift)
    findings = found(clean)
    assert ("warning", "dc-offset", "test/t", "drums") in findings
    assert {finding[1] for finding in findings} == {"dc-offset"}  # of the mixture too
    assert only(clean, "drums", "dc-offset").what == "DC offset of -0.0200 (-34 dBFS)"


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_clipping(clean, found, subtype):
    def clip(x):
        x[0, 16_000:16_003] = 1
        x[1, 40_000:40_100] = -1
        return x

    rewrite(clean, "train/a", "vocals", clip, subtype=subtype)
    findings = found(clean)
    assert ("warning", "clipping", "train/a", "vocals") in findings
    assert {finding[1] for finding in findings} == {"clipping"}  # of the mixture too
    assert only(clean, "vocals", "clipping").what == "2 runs of samples are clipped at full scale, the first at 2.000 s"


def test_a_peak_at_full_scale_is_no_clipping(clean, found):
    def peak(x):
        x[0, 16_000:16_002] = 1
        return x

    rewrite(clean, "train/a", "vocals", peak)
    assert found(clean) == []


def test_a_silent_stem(clean, found):
    rewrite(clean, "train/a", "drums", lambda x: 0 * x)
    assert found(clean) == [("warning", "silent", "train/a", "drums")]


def test_a_mostly_silent_stem(clean, found):
    rewrite(clean, "train/a", "drums", lambda x: np.where(np.arange(x.shape[1]) < 4_000, x, 0).astype(np.float32))
    assert found(clean) == [("warning", "mostly-silent", "train/a", "drums")]
    assert only(clean, "drums", "mostly-silent").what == "is silent for 92% of 6.0 s: 0.5 s of sound"


def test_a_mixture_that_is_not_the_sum(clean, found):
    write(clean / "train/a/mixture.wav", audio.read(clean / "train/a/vocals.wav"))
    assert found(clean) == [("error", "sum", "train/a", "mixture")]


def test_a_mixture_at_another_level_is_told_as_such(clean, found):
    mixture = audio.read(clean / "train/a/mixture.wav")
    write(clean / "train/a/mixture.wav", 0.5 * mixture)
    # 20 log10(|0.5 − 1| / 0.5) = 0 dB
    what = only(clean, "mixture", "sum").what
    assert what.startswith("differs from the sum of the stems by 0.0 dB of its energy, and by -")
    assert what.endswith("dB from the sum at -6.0 dB")


def test_the_residual_is_in_decibels(clean, found):
    mixture = audio.read(clean / "train/a/mixture.wav")
    other = sound(99)
    other *= 10 ** (-25 / 20) * np.sqrt(np.square(mixture).mean() / np.square(other).mean())
    write(clean / "train/a/mixture.wav", mixture + other)
    assert found(clean) == [("warning", "sum", "train/a", "mixture")]
    assert "by -25.0 dB of its energy" in only(clean, "mixture", "sum").what


def test_a_missing_stem(clean, found):
    (clean / "test/t/drums.wav").unlink()
    (clean / "test/t/mixture.wav").unlink()
    assert found(clean) == [("warning", "missing", "test/t", "drums"), ("warning", "missing", "test/t", "mixture")]


def test_a_missing_stem_of_musdb18hq_is_an_error_and_the_others_are_still_examined(tmp_path, found):
    for number, name in enumerate("ab"):
        for k, stem in enumerate(("vocals", "drums", "bass", "other")):
            write(tmp_path / "train" / name / f"{stem}.wav", sound(10 * number + k))
    (tmp_path / "train/b/bass.wav").unlink()
    write(tmp_path / "train/b/drums.wav", 0 * sound(0))
    findings = found(tmp_path)
    assert findings[0] == ("error", "missing", "train/b", "bass")
    assert findings[1:] == [("warning", "silent", "train/b", "drums")]


def test_an_unreadable_file_does_not_stop_the_examination(clean, found):
    (clean / "train/a/vocals.wav").write_bytes(b"no audio at all")
    rewrite(clean, "train/b", "drums", lambda x: 0 * x)
    assert found(clean) == [("error", "unreadable", "train/a", "vocals"), ("warning", "silent", "train/b", "drums")]


def test_an_empty_file(clean, found):
    (clean / "train/a/vocals.wav").write_bytes(b"")
    assert found(clean) == [("error", "unreadable", "train/a", "vocals")]


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_a_truncated_file(clean, found, suffix):
    path = clean / "train/a/vocals.wav"
    whole = audio.read(path)
    path.unlink()
    path = path.with_suffix(suffix)
    soundfile.write(path, whole.T, RATE, subtype="PCM_16")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert found(clean) == [("error", "unreadable", "train/a", "vocals")]


def test_a_decoder_that_breaks_is_a_finding(clean, found, monkeypatch):
    real = audio.probe

    def probe(path, stream=0):
        if path.name == "drums.wav" and path.parent.name == "a":
            raise RuntimeError("out of luck")
        return real(path, stream)

    monkeypatch.setattr(audio, "probe", probe)
    assert found(clean) == [("error", "unreadable", "train/a", "drums")]
    assert only(clean, "drums", "unreadable").what == "cannot be decoded (RuntimeError: out of luck)"


def test_empty_folders(clean, found):
    (clean / "train" / "c").mkdir()
    shutil.rmtree(clean / "test" / "t")
    assert found(clean) == [("warning", "empty", "test/", ""), ("warning", "empty", "train/c", "")]


def test_two_files_for_a_stem(clean, found):
    soundfile.write(clean / "train/b/drums.flac", sound(77).T, RATE)
    assert ("error", "two-files", "train/b", "drums") in found(clean)
    assert only(clean, "drums", "two-files").what == "drums.flac and drums.wav are two files for one stem"


def test_a_song_in_train_and_valid_under_one_name(clean, found):
    shutil.copytree(clean / "valid/v", clean / "train/v")
    assert found(clean) == [("warning", "set-aside", "train/v", "")]


def test_what_loading_refuses_is_found_as_an_error(clean, found):
    for plant in (
        lambda: rewrite(clean, "train/b", "drums", lambda x: x[:, :-800]),
        lambda: (clean / "train/b/drums.wav").write_bytes(b"broken"),
    ):
        plant()
        with pytest.raises(Exception, match="drums"):
            load_tracks("folders", clean)
        assert any(finding[0] == "error" and finding[3] == "drums" for finding in found(clean))


def test_a_stem_of_several_files_is_summed_and_each_file_is_examined(clean, found):
    drums = audio.read(clean / "train/a/drums.wav")
    (clean / "train/a/drums.wav").unlink()
    write(clean / "train/a/drums/kick.wav", 0.25 * drums)
    write(clean / "train/a/drums/snare.wav", 0.75 * drums)
    assert found(clean) == []
    write(clean / "train/a/drums/kick.wav", 0.25 * drums[:, 100:])
    assert found(clean) == [("error", "length", "train/a", "drums (kick.wav)")]


def test_stretches_of_a_table_are_examined_by_themselves(tmp_path, found):
    a, b = sound(0), sound(1)
    b[:, 1_000] = np.nan
    write(tmp_path / "all.wav", np.concatenate([a, b], axis=1))
    rows = ["track,stem,path,split,start,duration", "a,vocals,all.wav,train,0,6", "b,vocals,all.wav,test,6,6"]
    (tmp_path / "songs.csv").write_text("\n".join(rows))
    assert found(tmp_path / "songs.csv") == [("error", "nan", "test/b", "vocals")]
    assert only(tmp_path / "songs.csv", "vocals", "nan").what.endswith("the first at 0.125 s")


def test_several_processes_find_the_same(clean):
    rewrite(clean, "train/b", "drums", lambda x: 0 * x)
    (clean / "train/a/vocals.wav").write_bytes(b"no audio at all")
    told = []
    several = diagnose(clean, workers=2, on_progress=lambda done, total: told.append((done, total)))
    assert several == diagnose(clean, workers=1)
    assert told == [(k, 4) for k in range(5)]


def test_it_is_json(clean):
    rewrite(clean, "train/b", "drums", lambda x: x[:, :-800])
    told = json.loads(json.dumps(diagnose(clean, workers=1).as_dict()))
    assert (told["errors"], told["warnings"], told["songs"]) == (1, 0, 4)
    assert told["findings"][0]["paths"] == [str(clean / "train/b/drums.wav")]


def test_refusals(tmp_path):
    with pytest.raises(DataError, match="nowhere does not exist: give the folder"):
        diagnose(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"No songs found under .*: expected .*<song>/<stem>\.wav"):
        diagnose(tmp_path)
    with pytest.raises(ConfigError, match=r"--kind 'folder' .did you mean folders"):
        diagnose(tmp_path, "folder")
    with pytest.raises(ConfigError, match="--workers is 0: expected 1 or more"):
        diagnose(tmp_path, workers=0)
    (tmp_path / "song.wav").write_bytes(b"")
    with pytest.raises(DataError, match=r"song.wav is no data set of kind auto: give a folder of songs"):
        diagnose(tmp_path / "song.wav")


def test_musdb18_files_are_examined_stream_by_stream(tmp_path, found):
    packaged = next((Path(find_spec("stempeg").origin).parent / "data").glob("*.stem.mp4"))
    for split, name in (("train", "a"), ("test", "b")):
        (tmp_path / split).mkdir()
        (tmp_path / split / f"{name}.stem.mp4").symlink_to(packaged)
    assert found(tmp_path) == [("error", "leak", "test/b", "vocals, drums, bass, other, mixture")]
    (tmp_path / "test/b.stem.mp4").unlink()
    (tmp_path / "test/b.stem.mp4").write_bytes(packaged.read_bytes()[: packaged.stat().st_size // 2])
    assert {finding[:3] for finding in found(tmp_path)} == {("error", "unreadable", "test/b")}
