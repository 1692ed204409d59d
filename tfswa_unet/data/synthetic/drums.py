"""The drummer: grooves, ghost notes, fills and crashes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tfswa_unet.data.synthetic.envelopes import place
from tfswa_unet.data.synthetic.kit import KITS, PIECES
from tfswa_unet.data.synthetic.room import pan
from tfswa_unet.data.synthetic.song import Song

# Sixteen steps a bar; the digit is the velocity in ninths.
GROOVES: dict[str, dict[str, str]] = {
    "rock": {"kick": "9.......8.7.....", "snare": "....9.......9...", "hat": "8.5.8.5.8.5.8.5."},
    "four": {
        "kick": "9...9...9...9...",
        "clap": "....8.......8...",
        "open": "..7...7...7...7.",
        "shaker": "5.3.5.3.5.3.5.3.",
    },
    "funk": {"kick": "9..7..8...7..6..", "snare": "....9..3.2..9..4", "hat": "8565856585658565"},
    "trap": {"kick": "9.....8...7.....", "snare": "........9.......", "hat": "7474777474747777"},
    "ballad": {"kick": "9.......7.......", "snare": "....7.......7...", "ride": "7...5...7...5..."},
    "bossa": {"kick": "8..68..68..68..6", "snare": "6..6..6...6..6..", "shaker": "6464646464646464"},
    "motown": {"kick": "9..7....8..7....", "snare": "8...8...8...8...", "hat": "7.7.7.7.7.7.7.7."},
    "break": {"kick": "9.8.......87....", "snare": "....9..4.4..9..5", "hat": "8.6.8.6.8.6.8.6."},
    "punk": {
        "kick": "9..89...9..89...",
        "snare": "..9...9...9...9.",
        "crash": "7...............",
        "open": "8.8.8.8.8.8.8.8.",
    },
    "train": {"kick": "9...7...9...7...", "snare": "5386538653865386", "tom": "..............4."},
}
TAKES = 2  # recordings of each drum, so that no two hits in a row are the same samples
TIMEKEEPERS = ("hat", "open", "ride", "shaker")
PLACES = {
    "kick": 0.0,
    "snare": 0.1,
    "clap": 0.0,
    "hat": 0.5,
    "open": 0.5,
    "ride": 0.6,
    "crash": 0.7,
    "tom": 0.6,
    "shaker": 0.6,
}
LOUDNESS = {
    "kick": 1.0,
    "snare": 0.8,
    "clap": 0.6,
    "hat": 0.32,
    "open": 0.3,
    "ride": 0.26,
    "crash": 0.45,
    "tom": 0.8,
    "shaker": 0.25,
}


def drums(song: Song, rng: np.random.Generator, rate: int) -> np.ndarray:
    """The drum stem before the desk; (2, t)."""
    kit, length = KITS[song.kit], round(song.seconds * rate)
    hits = list(_hits(song, rng))
    side = rng.choice([-1, 1])
    takes = {}
    for piece in sorted({piece for piece, _, _ in hits}):
        gain = LOUDNESS[piece] * 10 ** (rng.uniform(-3, 3) / 20)
        position = np.clip(side * PLACES[piece] * rng.uniform(0.3, 1.0), -1, 1)
        takes[piece] = [pan(gain * PIECES[piece](kit, rng, rate), position) for _ in range(TAKES)]
    out = np.zeros((2, length), np.float32)
    for piece, start, velocity in hits:
        late = abs(rng.normal(0, song.looseness)) if start < song.looseness else rng.normal(0, song.looseness)
        take = takes[piece][rng.integers(TAKES)]
        place(out, take, round((start + late) * rate), velocity**1.5 * rng.uniform(0.85, 1.0))
    return out


def _hits(song: Song, rng: np.random.Generator) -> Iterator[tuple[str, float, float]]:
    groove = GROOVES[song.groove]
    chorus_time = str(rng.choice(TIMEKEEPERS))
    for bar in song.playing("drums"):
        section = song.section(bar)
        last = bar == section.first + section.bars - 1
        fill = song.steps - int(rng.choice([4, 8])) if last and rng.random() < 0.7 else song.steps
        if bar == section.first and section.energy > 0.6 and rng.random() < 0.8:
            yield "crash", song.time(bar, 0), 1.0
        for piece, pattern in groove.items():
            name = chorus_time if section.chorus and piece in TIMEKEEPERS else piece
            for step in range(fill):
                velocity = int(pattern[step]) / 9 if pattern[step] != "." else 0.0
                if velocity and (rng.random() > 0.06 or step == 0):
                    yield name, song.time(bar, step), velocity * (0.6 + 0.4 * section.energy)
                elif piece in ("kick", "snare") and not velocity and rng.random() < 0.04:
                    yield name, song.time(bar, step), rng.uniform(0.2, 0.5)
        for step in range(fill, song.steps):
            if rng.random() < 0.85:
                piece = str(rng.choice(["snare", "tom", "tom", "kick"]))
                yield piece, song.time(bar, step), rng.uniform(0.5, 1.0)
