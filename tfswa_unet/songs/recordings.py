"""Recorded samples by stem: instruments by their notes, drum kits by their pieces, and passages to be quoted.

The folder holds vocals/, drums/, bass/ and other/, each with a folder a source; what a file is stands in its name:

    bass/upright/pizz_034_v80.wav       a note: its MIDI pitch, and its velocity where there are layers
    drums/studio/kick_01.wav            a piece of a kit: kick, snare, clap, hat, cymbal, tom or percussion
    vocals/anna/verse 120 bpm e-minor   a passage, with its tempo and key where they are known
    other/strums/strum_amajor_01.wav    a short passage with a key is a chord
    bass/band/song_bass_aligned.wav     an excerpt of a song: drums/band/song_drums_aligned.wav is what sounds with it

What is named as a note is listened to, since names are often an octave off, and a short sound without a pitch in its
name is a note too where it has a clear one and its name no tempo.
"""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from tfswa_unet import audio
from tfswa_unet.data.reading import match_channels
from tfswa_unet.data.tempo import tempo_in_name
from tfswa_unet.data.tempo_key import Key
from tfswa_unet.data.tracks import OnError
from tfswa_unet.errors import DataError, UserError
from tfswa_unet.processes import in_processes, processors
from tfswa_unet.songs.sounds import hertz
from tfswa_unet.songs.writing import RATE
from tfswa_unet.types import STEMS

PIECES = ("kick", "snare", "clap", "hat", "cymbal", "tom", "percussion")
HIT = 3.0  # s; what is longer is no hit of a drum
NOTE = 6.0  # s; what is longer is no note
CHORD = 3.0  # s; what is longer and has a key is a passage
PASSAGE = 1.0  # s; what is shorter and neither note nor hit cannot be used
LONGEST = 20.0  # s of a passage that are read
LOWEST, HIGHEST = 21, 108  # MIDI numbers of notes
CLEAR = 0.8  # share of a sound that comes back after a period, above which it has a pitch
FINE = 4  # lags a sample: the period of a high tone is only some samples long
HELD_OUT = 8  # one instrument, kit or passage in so many is kept for the songs that validate
SILENCE = 0.003  # of the peak, below which a sound has not begun
KEPT = 700  # sounds in memory
CHUNK = 24  # files that a process examines at a time

_PITCH = re.compile(r"_(\d{2,3})(?=_v\d+|$)")
_VELOCITY = re.compile(r"_v(\d{1,3})(?=_|$)")
_KEY = re.compile(r"(?<![a-z])([a-g])[-_ ]?(sharp|flat|#|b)?[-_ ]?(major|minor)")
_LOOP = re.compile(r"loop|groove|beat")
_ALIGNED = re.compile(r"[-_ ]aligned$")
_TONES = {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11}
_SIGNS = {"sharp": 1, "#": 1, "flat": -1, "b": -1, None: 0}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Note:
    """Recorded note: its file, the MIDI number that it sounds at (fractional), and its velocity, 1 to 127."""

    path: Path
    pitch: float
    velocity: int


@dataclass(frozen=True)
class Instrument:
    """Instrument: its notes by rising pitch."""

    name: str
    notes: tuple[Note, ...]


@dataclass(frozen=True)
class Chord:
    """Recorded chord: its file, and its root and mode."""

    path: Path
    key: Key


@dataclass(frozen=True)
class Kit:
    """Drum kit: the recordings of each of its pieces."""

    name: str
    pieces: Mapping[str, tuple[Path, ...]]


@dataclass(frozen=True)
class Passage:
    """Recorded passage: its file, source, length in s, and its tempo in bpm and key where its name tells them."""

    path: Path
    source: str
    seconds: float
    bpm: float | None
    key: Key | None


@dataclass(frozen=True)
class Recordings:
    """What songs are rendered from, by stem; a stem without instruments, kits and passages is not there.

    `excerpts` are passages of several stems that sound together, by stem; they are among `passages` as well.
    """

    instruments: Mapping[str, tuple[Instrument, ...]] = field(default_factory=dict)
    kits: tuple[Kit, ...] = ()
    chords: tuple[Chord, ...] = ()
    passages: Mapping[str, tuple[Passage, ...]] = field(default_factory=dict)
    excerpts: tuple[Mapping[str, Path], ...] = ()

    @property
    def files(self) -> list[Path]:
        """Every file, in order of its name."""
        notes = [note.path for each in self.instruments.values() for one in each for note in one.notes]
        hits = [path for kit in self.kits for paths in kit.pieces.values() for path in paths]
        passages = [passage.path for each in self.passages.values() for passage in each]
        return sorted([*notes, *hits, *passages, *(chord.path for chord in self.chords)])


def scan(
    root: Path,
    *,
    on_error: OnError = "raise",
    workers: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Recordings:
    """List the recordings of root/{vocals,drums,bass,other}/<source>/**, and measure the pitches of notes.

    Raises:
        DataError: no such folder, a stem without recordings, or with `on_error="raise"` a file that is neither note,
            hit nor passage.
        AudioError: with `on_error="raise"` a file that cannot be read.
    """
    files = {stem: _files(root, stem) for stem in STEMS}
    calls = [
        (stem, root, paths[first : first + CHUNK])
        for stem, paths in files.items()
        for first in range(0, len(paths), CHUNK)
    ]
    found: dict[Path, _Examined | UserError] = {}
    for part in in_processes(_examine_all, calls, workers or processors()):
        found |= part
        if on_progress:
            on_progress(len(found), sum(map(len, files.values())))
    examined = []
    for path in sorted(found):
        result = found[path]
        if isinstance(result, UserError):
            if on_error == "raise":
                raise result
            log.warning("left out: %s", result)
        else:
            examined.append(result)
    recordings = _gather(examined)
    for stem in STEMS:
        kits = recordings.kits if stem == "drums" else ()
        if not (recordings.instruments.get(stem) or recordings.passages.get(stem) or kits):
            raise DataError(f"{root / stem} holds nothing that a song can be made from: put recordings there")
    return recordings


def divide(recordings: Recordings, seed: int) -> tuple[Recordings, Recordings]:
    """Split recordings into those to train with and those to validate with: an eighth of each kind, at least one.

    What there is only one of is in both. The passages of an excerpt go where it goes.
    """
    rng = np.random.default_rng(seed)

    def split(items: Sequence) -> tuple[tuple, tuple]:
        order = rng.permutation(len(items)).tolist()
        held = max(1, len(items) // HELD_OUT) if items else 0
        valid = tuple(items[i] for i in sorted(order[:held]))
        return tuple(items[i] for i in sorted(order[held:])) or valid, valid

    instruments = {stem: split(each) for stem, each in recordings.instruments.items()}
    bound = {path for excerpt in recordings.excerpts for path in excerpt.values()}
    passages = {
        stem: split([passage for passage in each if passage.path not in bound])
        for stem, each in recordings.passages.items()
    }
    kits, chords, excerpts = split(recordings.kits), split(recordings.chords), split(recordings.excerpts)

    def side(part: int) -> Recordings:
        paths = {path for excerpt in excerpts[part] for path in excerpt.values()}
        following = {
            stem: tuple(passage for passage in each if passage.path in paths)
            for stem, each in recordings.passages.items()
        }
        return Recordings(
            {stem: each[part] for stem, each in instruments.items()},
            kits[part],
            chords[part],
            {stem: each[part] + following[stem] for stem, each in passages.items()},
            excerpts[part],
        )

    return side(0), side(1)


@lru_cache(KEPT)
def load(path: Path) -> np.ndarray:
    """Read a recording from where it begins to sound, its peak at full scale; (1 or 2, t) at 44.1 kHz.

    Raises AudioError and DataError for a file that cannot be read, is silent, or has more than two channels.
    """
    sound = load_untouched(path)
    level = np.abs(sound).max(axis=0)
    peak = float(level.max(initial=0))
    if not 1e-5 < peak < np.inf:
        raise DataError(f"{path} is silent or not finite: leave it out")
    sound = sound[:, int(np.argmax(level > SILENCE * peak)) :] / np.float32(peak)
    sound.flags.writeable = False
    return sound


def load_untouched(path: Path) -> np.ndarray:
    """Read a recording from its beginning and at its own level; (1 or 2, t) at 44.1 kHz.

    Raises AudioError and DataError for a file that cannot be read or has more than two channels.
    """
    info = audio.probe(path)
    sound = audio.resample(audio.read(path, 0, min(info.length, round(LONGEST * info.rate))), info.rate, RATE)
    return match_channels(sound, 2, str(path)) if sound.shape[0] > 1 else sound


def estimate_pitch(sound: np.ndarray) -> tuple[float, float]:
    """Estimate the pitch of a sound (c, t) at 44.1 kHz: MIDI number, and how clear it is, 0 to 1.

    The normalized square difference of McLeod and Wyvill (A smarter way to find pitch, ICMC 2005) over the third of a
    second after the attack; the shortest period that is nearly as clear as the clearest.
    """
    step = 2
    mono = audio.resample(sound.mean(axis=0, keepdims=True), RATE, RATE // step)[0]
    rate, start = RATE // step, round(0.06 * RATE // step)
    mono = mono[start : start + round(0.35 * rate)]
    if len(mono) < 0.1 * rate or not mono.any():
        return 0.0, 0.0
    spectrum = np.fft.rfft(mono, 2 * len(mono))
    alike = FINE * np.fft.irfft(np.abs(spectrum) ** 2, 2 * FINE * len(mono))[: FINE * len(mono)]
    squares, whole = np.cumsum(np.square(mono, dtype=np.float64)), np.arange(1, len(mono) + 1)
    lags = np.arange(FINE * len(mono)) / FINE
    energy = np.interp(len(mono) - lags, whole, squares) + squares[-1] - np.interp(lags, whole, squares, left=0)
    clarity = 2 * alike / np.maximum(energy, 1e-9)
    low, high = rate / float(hertz(HIGHEST + 0.5)), min(rate / float(hertz(LOWEST - 0.5)), len(mono) / 2)
    inside = np.arange(int(FINE * low), int(FINE * high))
    inside = inside[inside > np.argmax(clarity < 0)]  # behind the peak at lag 0
    peaks = inside[(clarity[inside] > clarity[inside - 1]) & (clarity[inside] >= clarity[inside + 1])]
    if not len(peaks):
        return 0.0, 0.0
    best = int(peaks[np.argmax(clarity[peaks] >= 0.9 * clarity[peaks].max())])
    left, middle, right = clarity[best - 1 : best + 2]
    bend = left - 2 * middle + right
    lag = best + (0.5 * (left - right) / bend if bend < 0 else 0.0)
    return 69 + 12 * float(np.log2(FINE * rate / lag / 440)), float(min(middle, 1.0))


@dataclass(frozen=True)
class _Examined:
    """What a file is: exactly one of note, hit of a piece, chord and passage."""

    path: Path
    stem: str
    source: str
    seconds: float
    pitch: float | None = None
    piece: str | None = None
    chord: Key | None = None


def _files(root: Path, stem: str) -> list[Path]:
    folder = root / stem
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder: recordings lie in {', '.join(f'{each}/' for each in STEMS)} of one")
    found = [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in audio.SUFFIXES and path.is_file() and not path.name.startswith(".")
    ]
    if not found:
        raise DataError(f"{folder} holds no audio files: put recordings of {stem} there, in a folder a source")
    return found


def _examine_all(stem: str, root: Path, paths: Iterable[Path]) -> dict[Path, _Examined | UserError]:
    found: dict[Path, _Examined | UserError] = {}
    for path in paths:
        try:
            found[path] = _examine(stem, root, path)
        except UserError as error:
            found[path] = error
    return found


def _examine(stem: str, root: Path, path: Path) -> _Examined:
    sound = load.__wrapped__(path)  # listened to once, not kept
    seconds, name = sound.shape[1] / RATE, path.stem.rstrip(".").lower()
    source = path.relative_to(root / stem).parts[0]
    known = partial(_Examined, path, stem, source, seconds)
    if stem == "drums":
        piece = next((piece for piece in PIECES if name.startswith(piece)), None)
        if piece and seconds <= HIT and not _LOOP.search(name):
            return known(piece=piece)
    elif seconds <= NOTE and not _LOOP.search(name):
        if stem == "other" and seconds <= CHORD and (key := key_in_name(name)):
            return known(chord=key)
        told = _PITCH.search(name)
        pitch, clarity = estimate_pitch(sound)
        if told is None and stem != "vocals" and clarity >= CLEAR and tempo_in_name(name) is None:
            return known(pitch=pitch)
        if told and (clarity >= CLEAR or LOWEST <= int(told[1]) <= HIGHEST):
            return known(pitch=pitch if clarity >= CLEAR else float(told[1]))
    if seconds < PASSAGE:
        wanted = f"begin with one of {', '.join(PIECES)}" if stem == "drums" else "end in a pitch such as _060"
        raise DataError(f"{path} is {seconds:.2f} s long, and its name does not {wanted}: rename it or leave it out")
    return known()


def key_in_name(name: str) -> Key | None:
    """Key in a file's name, as in "strum_amajor_up" or "verse f-sharp minor"; None where none."""
    found = _KEY.search(name.lower())
    if found is None:
        return None
    return Key((_TONES[found[1]] + _SIGNS[found[2]]) % 12, found[3] == "minor")


def _gather(examined: Sequence[_Examined]) -> Recordings:
    notes: dict[tuple[str, str], list[Note]] = defaultdict(list)
    kits: dict[str, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    together: dict[tuple[str, str], dict[str, Path]] = defaultdict(dict)
    chords, passages = [], defaultdict(list)
    for each in examined:
        name = each.path.stem.rstrip(".").lower()
        if each.pitch is not None:
            velocity = _VELOCITY.search(name)
            called = f"{each.source}/{_instrument(name)}"
            notes[each.stem, called].append(Note(each.path, each.pitch, int(velocity[1]) if velocity else 100))
        elif each.piece:
            kits[each.source][each.piece].append(each.path)
        elif each.chord:
            chords.append(Chord(each.path, each.chord))
        else:
            passage = Passage(each.path, each.source, each.seconds, tempo_in_name(name), key_in_name(name))
            passages[each.stem].append(passage)
            if _ALIGNED.search(name):
                together[each.source, name.replace(each.stem, "")][each.stem] = each.path
    instruments: dict[str, list[Instrument]] = defaultdict(list)
    for (stem, called), played in sorted(notes.items()):
        instruments[stem].append(Instrument(called, tuple(sorted(played, key=lambda note: (note.pitch, note.path)))))
    return Recordings(
        {stem: tuple(each) for stem, each in instruments.items()},
        tuple(Kit(name, {piece: tuple(paths) for piece, paths in pieces.items()}) for name, pieces in kits.items()),
        tuple(chords),
        {stem: tuple(each) for stem, each in passages.items()},
        tuple(each for _, each in sorted(together.items()) if len(each) > 1),
    )


def _instrument(name: str) -> str:
    """Name of the instrument that a note's name begins with."""
    name = _VELOCITY.sub("", name)
    name = _PITCH.sub("", name)
    name = re.sub(r"[-_](?:[a-g][b#]?-?\d|rr\d+)$", "", name)
    return re.sub(r"[-_ ]*\d*$", "", name) or name
