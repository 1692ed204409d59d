from __future__ import annotations

import shutil

import numpy as np
import pytest

from tests.doctor.conftest import RATE, sound, write
from tfswa_unet import audio
from tfswa_unet.doctor import diagnose

ALL = "drums, vocals, mixture"


def replace_song(clean, to, change, suffix=".wav", format="wav32f", rate=RATE):
    """Put a changed copy of train/a in the place of another song."""
    for stem in ("vocals", "drums", "mixture"):
        copied = change(audio.read(clean / "train/a" / f"{stem}.wav"))
        (clean / to / f"{stem}.wav").unlink()
        audio.write(clean / to / f"{stem}{suffix}", copied, rate, format=format)


def test_a_copied_song_in_another_split_is_a_leak(clean, found):
    shutil.rmtree(clean / "test/t")
    shutil.copytree(clean / "train/a", clean / "test/renamed")
    assert found(clean) == [("error", "leak", "test/renamed", ALL)]
    finding = diagnose(clean, workers=1).findings[0]
    assert finding.what == "holds the very samples of train/a"
    assert {path.parent.name for path in finding.paths} == {"renamed"}


def test_a_copied_song_in_its_own_split_is_a_warning(clean, found):
    shutil.rmtree(clean / "train/b")
    shutil.copytree(clean / "train/a", clean / "train/b")
    assert found(clean) == [("warning", "duplicate", "train/b", ALL)]


def test_one_copied_stem_is_named_with_what_it_was_called(clean, found):
    vocals, drums = audio.read(clean / "train/a/vocals.wav"), sound(50)
    for stem, x in {"drums": vocals, "vocals": drums, "mixture": vocals + drums}.items():
        write(clean / "test/t" / f"{stem}.wav", x)
    assert found(clean) == [("error", "leak", "test/t", "drums")]
    assert diagnose(clean, workers=1).findings[0].what == "holds the very samples of train/a (vocals)"


def test_flac_of_the_same_samples_is_an_exact_copy(clean, found):
    for song in ("train/a", "train/b"):
        for path in (clean / song).iterdir():
            write(path, np.round(audio.read(path) * 2**15) / 2**15, subtype="PCM_16")
    replace_song(clean, "test/t", lambda x: x, ".flac", "flac24")
    assert ("error", "leak", "test/t", ALL) in found(clean)
    assert diagnose(clean, workers=1).findings[0].what == "holds the very samples of train/a"


@pytest.mark.parametrize(
    ("change", "suffix", "format", "rate"),
    [
        (lambda x: 0.05 * x, ".wav", "wav32f", RATE),
        (lambda x: -3 * x, ".wav", "wav16", RATE),
        (lambda x: x, ".mp3", "mp3", RATE),
        (lambda x: 2 * x, ".ogg", "ogg", RATE),
        (lambda x: audio.resample(x, RATE, 16_000), ".wav", "wav32f", 16_000),
        (lambda x: x[:, : 5 * RATE + 100], ".wav", "wav32f", RATE),
    ],
    ids=["quieter", "inverted", "mp3", "ogg", "resampled", "cut"],
)
def test_the_same_audio_in_another_form_is_a_leak(clean, found, change, suffix, format, rate):
    replace_song(clean, "test/t", change, suffix, format, rate)
    assert [finding for finding in found(clean) if finding[1] == "leak"] == [("error", "leak", "test/t", ALL)]
    finding = next(each for each in diagnose(clean, workers=1).findings if each.check == "leak")
    assert finding.what == "holds the same audio as train/a"


def test_a_stem_twice_in_one_song(clean, found):
    vocals = audio.read(clean / "train/a/vocals.wav")
    write(clean / "train/a/drums.wav", vocals)
    write(clean / "train/a/mixture.wav", vocals + vocals)
    assert found(clean) == [("error", "duplicate", "train/a", "vocals")]
    assert diagnose(clean, workers=1).findings[0].what == "holds the very samples of drums"


def test_a_mixture_of_one_sounding_stem_is_no_duplicate(clean, found):
    vocals = audio.read(clean / "train/a/vocals.wav")
    write(clean / "train/a/drums.wav", 0 * vocals)
    write(clean / "train/a/mixture.wav", vocals)
    assert found(clean) == [("warning", "silent", "train/a", "drums")]


def test_silence_and_steady_tones_are_nobodys_copy(clean, found):
    for number, song in enumerate(("train/a", "test/t")):
        # These beat against tenths of a second in one rhythm, by 0.2 %.
        tone = np.tile(0.1 * np.sin(2 * np.pi * (443 + 5 * number) * np.arange(6 * RATE) / RATE), (2, 1))
        write(clean / song / "vocals.wav", tone.astype(np.float32))
        write(clean / song / "drums.wav", 0 * tone)
        write(clean / song / "mixture.wav", tone.astype(np.float32))
    assert {finding[1] for finding in found(clean)} == {"silent"}


def test_songs_of_one_band_are_told_apart(tmp_path):
    from tfswa_unet.songs import write_dataset

    write_dataset(tmp_path / "band", 3, 6.0, 1, band=0, workers=1)
    assert diagnose(tmp_path / "band", workers=1).findings == ()
