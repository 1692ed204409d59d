"""Loops with a beat, a library of them, and a folder of recordings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.songs.sounds import SOUNDS, write_sounds
from tfswa_unet.songs import synthesize
from tfswa_unet.songs.compose import compose
from tfswa_unet.songs.recordings import scan
from tfswa_unet.songs.score import Score, Section
from tfswa_unet.types import STEMS

SEEDS = range(8)
SECONDS = 8.0
RATE = 44_100


def beat(bpm: float, beats: int, rate: int, seed: int = 0) -> np.ndarray:
    """Noise hits on every eighth, those on the beat louder, (1, t)."""
    rng = np.random.default_rng(seed)
    audio = np.zeros(round(beats * 60 / bpm * rate), np.float32)
    for eighth in range(2 * beats):
        start = round(eighth * 30 / bpm * rate)
        length = min(len(audio) - start, rate // 11)
        hit = 0.3 * np.exp(-np.arange(length) / (rate / 70)) * rng.standard_normal(length)
        audio[start : start + length] += hit * (1 if eighth % 2 == 0 else 0.4)
    return audio[None]


def tone(frequency: float, seconds: float, rate: int) -> np.ndarray:
    return 0.2 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate, dtype=np.float32)[None]


def harmonics(pitch: float, seconds: float, rate: int = RATE, decay: float = 3.0) -> np.ndarray:
    """Decaying tone of a MIDI number with six harmonics, its peak at a half, (1, t)."""
    time = np.arange(round(seconds * rate)) / rate
    frequency = 440 * 2 ** ((pitch - 69) / 12)
    parts = [np.sin(2 * np.pi * k * frequency * time + k) / k for k in range(1, 7) if k * frequency < 0.45 * rate]
    sound = np.sum(parts, axis=0) * np.exp(-decay * time)
    return (0.5 * sound / np.abs(sound).max()).astype(np.float32)[None]


def burst(seconds: float, rate: int = RATE, seed: int = 0) -> np.ndarray:
    """Decaying noise, (1, t)."""
    length = round(seconds * rate)
    fall = np.exp(-5 * np.arange(length) / length)
    return (0.2 * np.random.default_rng(seed).standard_normal(length) * fall).astype(np.float32)[None]


def phrase(pitches: tuple[float, ...], seconds: float) -> np.ndarray:
    """Tones after each other over `seconds`, (1, t)."""
    return np.concatenate([harmonics(pitch, seconds / len(pitches), decay=1.0) for pitch in pitches], axis=1)


def peak_pitch(sound: np.ndarray) -> float:
    """MIDI number of the strongest partial of a sound (c, t) at 44.1 kHz, within a few cents."""
    mono = sound.mean(axis=0)
    size = 2**18
    spectrum = np.abs(np.fft.rfft(mono * np.hanning(len(mono)), size))
    return float(69 + 12 * np.log2(max(1, int(spectrum.argmax())) * RATE / size / 440))


def write_recordings(root: Path) -> Path:
    """Write a small folder of recordings: notes, kits, phrases and a chord, and the table of their sources beside."""
    sounds = {f"bass/upright/pizz_0{pitch}": harmonics(pitch, 0.5) for pitch in (34, 40)}
    sounds["bass/upright/pizz_046"] = harmonics(34, 0.5)  # named an octave too high
    sounds["bass/upright/pizz_045"] = burst(0.5)  # no pitch to hear: the name is believed
    sounds |= {
        f"other/piano/grand_0{pitch}_v{velocity}": velocity / 127 * harmonics(pitch, 0.6)
        for pitch in (60, 67)
        for velocity in (40, 110)
    }
    sounds["other/piano/felt c4"] = harmonics(59.8, 0.5)  # no pitch in its name
    sounds["other/strums/strum_amajor_01"] = sum(harmonics(pitch, 1.2) for pitch in (57, 61, 64)) / 3
    sounds["vocals/anna/verse 120 bpm e-minor"] = phrase((64, 67, 71), 1.5)
    sounds["vocals/anna/chorus 120 bpm g-major"] = phrase((67, 71, 74), 1.5)
    sounds["vocals/speech of ben/one"] = burst(1.5, seed=1)
    sounds["vocals/choir/voices_ah_060"] = harmonics(60, 0.6)
    sounds["drums/studio/kick_01"] = harmonics(30, 0.2, decay=20)
    sounds |= {f"drums/studio/snare_0{k}": burst(0.15, seed=k) for k in (1, 2)}
    sounds["drums/studio/hat_01"] = burst(0.3, seed=3)
    sounds["drums/club/kick_01"] = harmonics(32, 0.2, decay=20)
    sounds["drums/club/clap_01"] = burst(0.1, seed=4)
    sounds["drums/jam/beat 100bpm"] = beat(100, 3, RATE)
    for name, sound in sounds.items():
        path = root / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, sound.T, RATE, subtype="FLOAT")
    sources = sorted({(name.split("/")[1], name.split("/")[0]) for name in sounds})
    rows = ["folder\tsource\tlicence\tstem", *(f"{folder}\t{folder}\tCC0-1.0\t{stem}" for folder, stem in sources)]
    (root.parent / "SOURCES.tsv").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture(scope="session")
def recordings_folder(tmp_path_factory) -> Path:
    """A small folder of recordings; tests that change it copy it first."""
    return write_recordings(tmp_path_factory.mktemp("recorded") / "recordings")


@pytest.fixture(scope="module")
def samples(tmp_path_factory) -> Path:
    """A smaller one, which is quickly listened to; tests that change it copy it first."""
    return write_sounds(tmp_path_factory.mktemp("recordings") / "samples", SOUNDS)


@pytest.fixture(scope="module")
def recordings(samples):
    """What was heard in it."""
    return scan(samples, workers=1)


@pytest.fixture
def make_score():
    """Score of 8 s: four bars on the tonic in C major at 120 bpm, in which all stems play but those that rest."""

    def make(rests: dict[int, set[str]] | None = None, **changes) -> Score:
        sections = [
            Section(bar, 1, chorus=False, energy=0.8, active=frozenset(STEMS) - (rests or {}).get(bar, set()))
            for bar in range(4)
        ]
        plain = {
            "tempo": 120.0,
            "beats": 4,
            "swing": 0.0,
            "looseness": 0.0,
            "root": 48.0,
            "scale": (0, 2, 4, 5, 7, 9, 11),
            "verse": (0,),
            "seventh": False,
            "sections": tuple(sections),
        }
        return replace(compose(np.random.default_rng(0), 8.0), **(plain | changes))

    return make


@pytest.fixture
def library(tmp_path, write_wav):
    """Three samples a stem, two octaves a stem: what is heard tells which sample it is."""
    root = tmp_path / "samples"
    for k, stem in enumerate(("vocals", "drums", "bass", "other")):
        for i in range(3):
            write_wav(root / stem / f"{stem} {i} 120bpm.wav", tone(100 * 2 ** (2 * k + i / 2), 1, 22_050), 22_050)
    return root


@pytest.fixture(scope="session")
def songs():
    """Eight synthetic songs of 8 s."""
    return [synthesize(seed, SECONDS) for seed in SEEDS]
