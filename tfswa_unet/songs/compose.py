"""Random scores: form, harmony, sounds and mix of a synthetic song."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tfswa_unet.songs.bass import BASSES
from tfswa_unet.songs.drums import GROOVES, KITS
from tfswa_unet.songs.instruments import LAYERS
from tfswa_unet.songs.score import Score, Section, Strip
from tfswa_unet.songs.sounds import draw_room
from tfswa_unet.songs.voice import VOICES
from tfswa_unet.types import STEMS

SCALES: dict[str, tuple[int, ...]] = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "harmonic minor": (0, 2, 3, 5, 7, 8, 11),
}
BRIGHT = (
    (0, 4, 5, 3),
    (0, 5, 3, 4),
    (5, 3, 0, 4),
    (0, 3, 0, 4),
    (0, 2, 3, 4),
    (1, 4, 0, 0),
    (0, 3, 4, 4),
    (3, 4, 5, 0),
)
DARK = ((0, 5, 2, 6), (0, 3, 4, 0), (0, 6, 5, 6), (0, 5, 3, 4), (0, 3, 6, 2), (5, 6, 0, 0), (0, 0, 3, 4), (0, 2, 6, 3))

PRESENCE = {"vocals": 0.85, "drums": 0.9, "bass": 0.9, "other": 0.95}
LEVELS = {"vocals": 0.3, "drums": -0.4, "bass": 0.2, "other": -0.4}  # dB: keeps all four of comparable loudness
SENDS = {"vocals": (-20.0, -9.0), "drums": (-26.0, -11.0), "bass": (-50.0, -26.0), "other": (-20.0, -8.0)}
LEAST_SHARE = 0.4  # of the song in which each stem plays
BAND = ("voice", "kit", "bass", "layers", "lead", "room", "strips")  # what of a score is the band's


def compose(rng: np.random.Generator, seconds: float) -> Score:
    """Draw the score of a song of `seconds` s."""
    tempo, beats = rng.uniform(70, 160), 3 if rng.random() < 0.12 else 4
    bars = int(np.ceil(seconds * tempo / 60 / beats))
    scale = str(rng.choice(list(SCALES)))
    chords = BRIGHT if scale in ("major", "mixolydian") else DARK
    verse, chorus = (chords[k] for k in rng.choice(len(chords), 2, replace=False))
    count = int(rng.choice([1, 2, 3], p=[0.2, 0.45, 0.35]))
    return Score(
        seconds=seconds,
        tempo=tempo,
        beats=beats,
        swing=rng.uniform(0.1, 0.6) if rng.random() < 0.3 else 0.0,
        looseness=float(rng.choice([0.0, 0.003, 0.007])),
        root=48 + rng.integers(-6, 6) + rng.uniform(-0.25, 0.25),
        scale=SCALES[scale],
        verse=verse,
        chorus=chorus,
        seventh=bool(rng.random() < 0.35),
        sections=_sections(rng, bars),
        voice=str(rng.choice(list(VOICES))),
        kit=str(rng.choice(list(KITS))),
        groove=str(rng.choice(list(GROOVES))),
        bass=str(rng.choice(list(BASSES))),
        layers=tuple(str(name) for name in rng.choice(list(LAYERS), count, replace=False)),
        lead=bool(rng.random() < 0.3),
        room=draw_room(rng),
        strips={stem: _strip(rng, stem) for stem in STEMS},
    )


def played_by(score: Score, other: Score) -> Score:
    """Score with the voice, kit, bass, instruments, room and mix of another score."""
    return replace(score, **{name: getattr(other, name) for name in BAND})


def _sections(rng: np.random.Generator, bars: int) -> tuple[Section, ...]:
    lengths: list[int] = []
    while sum(lengths) < bars:
        lengths.append(min(int(rng.choice([2, 4, 8], p=[0.15, 0.65, 0.2])), bars - sum(lengths)))
    plays = {stem: rng.random(len(lengths)) < PRESENCE[stem] for stem in STEMS}
    for turns in plays.values():
        if np.dot(turns, lengths) < LEAST_SHARE * bars:
            turns[:] = True
    sections, first = [], 0
    for k, length in enumerate(lengths):
        active = frozenset(stem for stem in STEMS if plays[stem][k])
        chorus = bool(rng.random() < 0.45)
        energy = rng.uniform(0.7, 1.0) if chorus else rng.uniform(0.3, 0.8)
        sections.append(Section(first, length, chorus, energy, active))
        first += length
    return tuple(sections)


def _strip(rng: np.random.Generator, stem: str) -> Strip:
    return Strip(
        level=LEVELS[stem] + rng.uniform(-2, 2),
        send=rng.uniform(*SENDS[stem]),
        tilt=rng.uniform(-4, 4),
        drive=rng.uniform(0.2, 1.0) if rng.random() < 0.35 else 0.0,
    )
