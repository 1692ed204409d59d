from __future__ import annotations

import json
import os
import shutil
import threading

import numpy as np
import pytest
import soundfile

from tests.audio.sounds import png
from tfswa_unet import audio
from tfswa_unet.errors import AudioError, ConfigError
from tfswa_unet.inference import Cancelled, Separator, separate_file, separate_files

RATE = 8000
FOUR = {"vocals": 0.4, "drums": 0.3, "bass": 0.2, "other": 0.05}


@pytest.fixture
def separator(gains):
    return Separator(gains(FOUR), device="cpu", segment_seconds=0.5, overlap_seconds=0.1, precision="fp32")


@pytest.fixture
def song(tmp_path, noise):
    path = tmp_path / "in" / "song.wav"
    path.parent.mkdir()
    audio.write(path, noise(2, 5 * RATE + 3), RATE, tags={"title": "A song", "artist": "Someone"})
    return path


def everything(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_stems_have_the_song_s_rate_channels_length_and_tags(separator, song, tmp_path):
    result = separate_file(separator, song, tmp_path / "out")
    mixture = audio.read(song)
    assert result.status == "done"
    assert everything(tmp_path / "out") == ["song", *(f"song/{name}.wav" for name in sorted(FOUR))]
    assert result.seconds == mixture.shape[1] / RATE
    assert result.null_db == pytest.approx(20 * np.log10(0.05), abs=1e-3)
    for name, path in result.files.items():
        info = audio.probe(path)
        assert (info.rate, info.channels, info.length) == (RATE, 2, mixture.shape[1])
        assert info.tags["title"] == "A song"
        np.testing.assert_allclose(audio.read(path), FOUR[name] * mixture, atol=1e-7)


def test_a_file_gives_exactly_what_an_array_gives(blur, song, tmp_path):
    separator = Separator(blur(30), device="cpu", segment_seconds=0.5, overlap_seconds=0.1, batch=3, precision="fp32")
    result = separate_file(separator, song, tmp_path / "out")
    for name, stem in separator.separate(audio.read(song), RATE).items():
        np.testing.assert_array_equal(audio.read(result.files[name]), stem)


@pytest.mark.parametrize(("rate", "channels", "length"), [(48000, 1, 50_001), (22050, 2, 1), (44100, 2, 12_345)])
def test_any_rate_channels_and_length_come_back(separator, tmp_path, noise, rate, channels, length):
    audio.write(tmp_path / "x.flac", noise(channels, length), rate, "flac16")
    result = separate_file(separator, tmp_path / "x.flac", tmp_path / "out", format="flac24")
    for path in result.files.values():
        info = audio.probe(path)
        assert (info.rate, info.channels, info.length, path.suffix) == (rate, channels, length, ".flac")


@pytest.mark.parametrize("settings", [{"residual": "stem"}, {"residual": "spread"}, {"two_stems": "vocals"}])
@pytest.mark.parametrize("rate", [RATE, 11025])
def test_written_stems_sum_to_the_song(separator, tmp_path, noise, settings, rate):
    mixture = noise(2, 3 * rate)
    audio.write(tmp_path / "x.wav", mixture, rate)
    result = separate_file(separator, tmp_path / "x.wav", tmp_path / "out", **settings)
    total = sum(audio.read(path) for path in result.files.values())
    np.testing.assert_allclose(total, mixture, atol=1e-4)
    assert result.null_db < -120
    assert sorted(result.files) == (["no_vocals", "vocals"] if "two_stems" in settings else sorted(FOUR))


def test_residual_is_a_file_of_its_own_where_other_is_not_written(separator, song, tmp_path):
    result = separate_file(separator, song, tmp_path / "out", stems=["vocals"], residual="stem")
    np.testing.assert_allclose(audio.read(result.files["residual"]), 0.6 * audio.read(song), atol=1e-6)
    assert separate_file(separator, song, tmp_path / "out", stems=["vocals"]).null_db is None


def test_shared_gain_keeps_the_balance_and_clamp_does_not(gains, tmp_path, noise):
    separator = Separator(gains({"loud": 8.0, "soft": 1.0}), device="cpu", segment_seconds=0.5, overlap_seconds=0.1)
    mixture = noise(2, 4 * RATE)
    audio.write(tmp_path / "x.wav", mixture, RATE)

    def stems(**settings):
        result = separate_file(separator, tmp_path / "x.wav", tmp_path / "out", **settings)
        return result.gain, {name: audio.read(path) for name, path in result.files.items()}

    gain, shared = stems(format="wav24")
    assert gain == pytest.approx(1 / (8 * np.abs(mixture).max()), rel=1e-6)
    assert np.abs(shared["loud"]).max() == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(shared["loud"], 8 * shared["soft"], atol=2e-6)
    gain, clamped = stems(clip="clamp")
    assert gain == 1
    np.testing.assert_allclose(clamped["loud"], np.clip(8 * mixture, -1, 1), atol=1e-6)
    gain, free = stems()
    assert gain == 1
    np.testing.assert_allclose(free["loud"], 8 * mixture, atol=1e-6)


def test_shared_gain_leaves_quiet_stems_alone(separator, song, tmp_path):
    result = separate_file(separator, song, tmp_path / "out", format="wav16")
    assert result.gain == 1
    np.testing.assert_allclose(audio.read(result.files["vocals"]), 0.4 * audio.read(song), atol=2**-15)


def test_cover_art_is_copied_where_the_format_has_room(separator, tmp_path, noise):
    song, cover = tmp_path / "song.flac", audio.Cover("png", 8, 8, png(8, 8))
    with audio.Writer(song, RATE, 2, "flac16", {}, cover) as writer:
        writer.write(noise(2, 100))
    for format, wanted in (("m4a", cover), ("wav16", None)):
        result = separate_file(separator, song, tmp_path / "out", format=format)
        assert {audio.read_cover(path) for path in result.files.values()} == {wanted}
    bare = separate_file(separator, song, tmp_path / "out", format="m4a", tags=False)
    assert audio.read_cover(bare.files["bass"]) is None


def test_tags_can_be_left_out(separator, song, tmp_path):
    result = separate_file(separator, song, tmp_path / "out", tags=False)
    assert not audio.probe(result.files["bass"]).tags


def test_existing_stems_are_skipped_only_when_all_are_there(separator, song, tmp_path):
    first = separate_file(separator, song, tmp_path / "out")
    separator.model.calls.clear()
    assert separate_file(separator, song, tmp_path / "out", skip_existing=True).status == "skipped"
    assert separator.model.calls == []
    first.files["bass"].unlink()
    assert separate_file(separator, song, tmp_path / "out", skip_existing=True).status == "done"
    assert first.files["bass"].is_file()


@pytest.mark.parametrize("format", ["wav32f", "wav16", "flac24"])
def test_nothing_is_left_when_the_model_raises_in_mid_file(gains, song, tmp_path, format):
    class Breaking(gains):
        def forward(self, mixture):
            if len(self.calls) == 5:
                raise RuntimeError("broken")
            return super().forward(mixture)

    separator = Separator(Breaking(FOUR), device="cpu", segment_seconds=0.5, overlap_seconds=0.1)
    before = everything(tmp_path)
    with pytest.raises(RuntimeError, match="broken"):
        separate_file(separator, song, tmp_path / "out", format=format)
    assert len(separator.model.calls) == 5
    assert everything(tmp_path) == before


def test_cancelling_leaves_nothing_and_keeps_an_earlier_result(separator, song, tmp_path):
    first = separate_file(separator, song, tmp_path / "out", stems=["bass"])
    kept, before = first.files["bass"].read_bytes(), everything(tmp_path)
    with pytest.raises(Cancelled):
        separate_file(separator, song, tmp_path / "out", cancel=lambda: len(separator.model.calls) > 15)
    assert everything(tmp_path) == before
    assert first.files["bass"].read_bytes() == kept


def test_no_stem_appears_before_the_last_is_complete(separator, song, tmp_path, monkeypatch):
    seen, written = [], audio.Writer.__exit__

    def closing(self, *details):
        seen.append(everything(tmp_path / "in") == ["song.wav"] and not (tmp_path / "out").exists())
        return written(self, *details)

    monkeypatch.setattr(audio.Writer, "__exit__", closing)
    separate_file(separator, song, tmp_path / "out")
    assert seen == [True] * 4


def test_progress_ends_with_the_song(separator, song, tmp_path):
    seen = []
    separate_file(separator, song, tmp_path / "out", on_progress=lambda *numbers: seen.append(numbers))
    assert seen[-1] == (5 * RATE + 3, 5 * RATE + 3)
    assert len(seen) > 5


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"format": "wav32"}, r"unknown format 'wav32' \(did you mean wav32f\?\): expected one of wav16, "),
        ({"clip": "soft"}, "unknown clip 'soft': expected one of none, shared, clamp"),
        ({"stems": ["drum"]}, r"no stem 'drum' \(did you mean drums\?\)"),
        ({"two_stems": "voice"}, "no stem 'voice'"),
        ({"template": "{artist}/{stem}.{ext}"}, r"unknown field \{artist\}"),
        ({"template": "../{track}/{stem}.{ext}"}, "outside"),
        ({"template": "{track}.{ext}"}, r"add \{stem\}"),
        ({"stream": 3}, "stream 3 does not exist"),
        ({"format": "opus"}, None),
    ],
)
def test_what_cannot_work_is_refused_before_the_model_runs(separator, song, tmp_path, settings, sentence):
    if sentence is None:  # a rate that the format cannot hold
        audio.write(song, np.zeros((2, 100), np.float32), 11025)
        sentence = "opus cannot hold 11025 Hz"
    before = everything(tmp_path)
    with pytest.raises((ConfigError, AudioError), match=sentence):
        separate_file(separator, song, tmp_path / "out", **settings)
    assert separator.model.calls == []
    assert everything(tmp_path) == before


def test_a_song_is_never_overwritten_by_its_stems(separator, song, tmp_path):
    with pytest.raises(ConfigError, match=r"song\.wav would overwrite the song .*song\.wav"):
        separate_file(separator, song, tmp_path / "in", stems=["bass"], template="{track}.{ext}")
    with pytest.raises(ConfigError, match=r"would overwrite the song"):
        separate_file(separator, song, tmp_path, stems=["bass"], template="in/{track}.{ext}")


def test_an_output_folder_that_cannot_be_is_refused(separator, song, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"the output folder .*file is a file: name a folder"):
        separate_file(separator, song, tmp_path / "file")
    with pytest.raises(ConfigError, match="file is a file where a folder is needed"):
        separate_file(separator, song, tmp_path / "file" / "out")
    (tmp_path / "out/song/bass.wav").mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"bass\.wav is a folder, a stem is to be written there"):
        separate_file(separator, song, tmp_path / "out")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(ConfigError, match="cannot be written to: choose another output folder"):
        separate_file(separator, song, tmp_path / "new")


@pytest.mark.parametrize(("format", "bytes_a_sample"), [("wav32f", 4), ("wav16", 2 + 4), ("mp3", 1 + 4)])
def test_a_full_disk_is_refused(separator, song, tmp_path, monkeypatch, format, bytes_a_sample):
    needed = 4 * 2 * (5 * RATE + 3) * bytes_a_sample
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=needed - 1))
    with pytest.raises(ConfigError, match=r"need about 0\.\d GB in .*out, 0\.\d GB are free: choose another folder"):
        separate_file(separator, song, tmp_path / "out", format=format)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=needed))
    assert separate_file(separator, song, tmp_path / "out", format=format).status == "done"


def test_more_channels_than_the_model_takes_are_refused(separator, tmp_path, noise):
    audio.write(tmp_path / "x.wav", noise(6, 100), RATE)
    with pytest.raises(AudioError, match=r"x\.wav: the audio has 6 channels, the model separates 2"):
        separate_file(separator, tmp_path / "x.wav", tmp_path / "out")


def test_a_set_goes_on_after_a_song_that_fails(separator, tmp_path, noise):
    folder = tmp_path / "in"
    (folder / "album").mkdir(parents=True)
    for name in ("a", "album/a", "c"):
        audio.write(folder / f"{name}.wav", noise(2, RATE), RATE)
    (folder / "b.wav").write_bytes(b"no audio at all")
    started, told = [], []
    results = separate_files(
        separator,
        [folder],
        tmp_path / "out",
        stems=["bass"],
        on_start=lambda song: started.append(song.track),
        on_result=told.append,
    )
    assert [result.status for result in results] == ["done", "done", "failed", "done"]
    assert told == results
    assert started == ["a", "album/a", "b", "c"]
    assert [path for path in everything(tmp_path / "out") if path.endswith(".wav")] == [
        "a/bass.wav",
        "album/a/bass.wav",
        "c/bass.wav",
    ]
    assert "b.wav" in results[2].error
    plain = json.loads(json.dumps(results[0].plain(), allow_nan=False))
    assert plain["song"].endswith("a.wav")
    assert plain["files"]["bass"].endswith("a/bass.wav")
    assert plain["rtf"] > 0


def test_songs_that_would_overwrite_each_other_are_refused(separator, tmp_path, noise):
    audio.write(tmp_path / "a.wav", noise(2, 100), RATE)
    audio.write(tmp_path / "a.flac", noise(2, 100), RATE, "flac16")
    with pytest.raises(ConfigError, match=r"a\.\w+ and .*a\.\w+ would both be written to .*vocals\.wav"):
        separate_files(separator, [tmp_path], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_whatever_is_raised_for_a_song_the_next_is_done(separator, song, tmp_path, monkeypatch):
    probe = audio.probe
    monkeypatch.setattr(audio, "probe", lambda path, stream: 1 / 0 if path.name == "a.wav" else probe(path, stream))
    shutil.copy(song, tmp_path / "a.wav")
    broken, done = separate_files(separator, [os.fsencode(tmp_path / "a.wav"), song], tmp_path / "out")
    assert (broken.status, done.status) == ("failed", "done")
    assert broken.error == f"{tmp_path / 'a.wav'}: unexpected ZeroDivisionError: division by zero"


def test_the_first_song_that_fails_is_the_last_where_that_is_asked_for(separator, song, tmp_path):
    (song.parent / "broken.wav").write_bytes(b"no audio")
    results = separate_files(separator, [song.parent], tmp_path / "out", on_error="stop")
    assert [(result.song.name, result.status) for result in results] == [("broken.wav", "failed")]
    assert not (tmp_path / "out").exists()
    results = separator.separate_files([song.parent], tmp_path / "out")
    assert [result.status for result in results] == ["failed", "done"]
    with pytest.raises(ConfigError, match="unknown on_error 'skip'"):
        separate_files(separator, [song], tmp_path / "out", on_error="skip")


@pytest.mark.parametrize("format", ["wav32f", "mp3"])
def test_a_disk_that_fills_up_ends_all_stages_with_its_sentence(separator, song, tmp_path, monkeypatch, format):
    def full(self, block):
        raise AudioError("no room is left")

    monkeypatch.setattr(audio.Writer, "write", full)
    with pytest.raises(AudioError, match="no room is left"):
        separate_file(separator, song, tmp_path / "out", format=format)
    assert everything(tmp_path) == ["in", "in/song.wav"]
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("tfswa-")]


@pytest.mark.parametrize(
    ("rate", "channels", "subtype", "length", "level", "step"),
    [
        (8000, 1, "PCM_16", 9000, 0.5, 2**-15),
        (96_000, 2, "PCM_16", 50_000, 0.5, 2**-15),
        (RATE, 6, "PCM_16", 9000, 0.5, 2**-15),
        (RATE, 2, "PCM_U8", 9000, 0.5, 2**-7),
        (RATE, 2, "PCM_24", 9000, 0.5, 2**-23),
        (RATE, 2, "FLOAT", 9000, 4.0, 0),
        (RATE, 2, "PCM_16", 1, 0.5, 2**-15),
    ],
)
@pytest.mark.parametrize("format", ["wav32f", "flac24"])
def test_every_kind_of_wav_comes_back_as_it_was(gains, tmp_path, rate, channels, subtype, length, level, step, format):
    # Of 6 channels a model of one takes each for itself; the model's rate is the song's, so that nothing is resampled.
    model = gains({"all": 1.0}, rate=rate, channels=1 if channels == 6 else 2)
    separator = Separator(model, "cpu", 0.5, 0.1, precision="fp32")
    sound = level * np.sin(np.arange(length) / 20 + np.arange(channels)[:, None]).astype(np.float32)
    soundfile.write(tmp_path / "x.wav", sound.T, rate, subtype)
    result = separate_file(separator, tmp_path / "x.wav", tmp_path / "out", format=format)
    info = audio.probe(result.files["all"])
    assert (info.rate, info.channels, info.length) == (rate, channels, length)
    loudest = float(np.abs(audio.read(tmp_path / "x.wav")).max())
    assert result.gain == pytest.approx(1 / max(loudest, 1) if format == "flac24" else 1)
    np.testing.assert_allclose(audio.read(result.files["all"]), result.gain * sound, atol=step + 2**-23)


@pytest.mark.parametrize(
    ("seconds", "announced", "sentence"),
    [(0, 0, "holds 0 samples where audio is expected"), (1, 3 * 3600, r"decoded 1\.00 s of 10800\.00 s announced")],
)
def test_a_wav_of_nothing_and_one_that_promises_hours_are_refused(separator, tmp_path, seconds, announced, sentence):
    soundfile.write(tmp_path / "x.wav", np.zeros((seconds * RATE, 2)), RATE, "PCM_16")
    content = bytearray((tmp_path / "x.wav").read_bytes())
    at = content.index(b"data") + 4
    content[at : at + 4] = (announced * RATE * 4).to_bytes(4, "little")
    (tmp_path / "x.wav").write_bytes(content)
    with pytest.raises(AudioError, match=sentence):
        separate_file(separator, tmp_path / "x.wav", tmp_path / "out")
    assert everything(tmp_path) == ["x.wav"]


@pytest.mark.parametrize("format", ["mp3", "ogg", "opus", "m4a"])
def test_lossy_stems_lie_where_the_song_has_them(gains, tmp_path, format):
    separator = Separator(gains({"all": 1.0}, rate=48_000), "cpu", 0.5, 0.1, precision="fp32")
    sound = 0.3 * np.random.default_rng(0).standard_normal((2, 50_000)).astype(np.float32)
    sound = np.apply_along_axis(np.convolve, 1, sound, np.ones(8) / 8, "same").astype(np.float32)
    audio.write(tmp_path / "x.wav", sound, 48_000)
    stem = audio.read(separate_file(separator, tmp_path / "x.wav", tmp_path / "out", format=format).files["all"])
    assert stem.shape == sound.shape
    assert np.argmax(np.correlate(stem[0], sound[0, 300:-300])) == 300
