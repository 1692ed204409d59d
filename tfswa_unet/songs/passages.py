"""Recorded passages arranged in a song: sung phrases between rests, and stretches of an album's stems."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from tfswa_unet.data.augmentation.pitch import shift, stretch
from tfswa_unet.songs.recordings import Instrument, Passage, load, load_untouched
from tfswa_unet.songs.sampler import Sampler, Touch, stereo, varispeed
from tfswa_unet.songs.samples import nearest_octave
from tfswa_unet.songs.score import Score, harmony, melody
from tfswa_unet.songs.sounds import noise, pan, place
from tfswa_unet.songs.writing import RATE

SPOKEN = ("speech", "spoken", "shout", "voice")  # in the names of sources that hardly sing
SPOKEN_SHARE = 0.2  # of the weight that a sung source of the same length has
SAME_SPEED = 0.03  # relative difference of tempos that is not stretched
SPEEDS = (0.8, 1.25)  # within which a phrase is stretched to the song's tempo
TAPE = 2.0  # semitones up to which pitch and speed are moved together
FADE = 0.008  # s at both ends of a passage
CROSS = 0.08  # s of cross-fade between stretches of an album
STRETCH = (4, 14)  # s of such a stretch
TUNINGS = (0.0, 0.0, -2.0, -1.0, 1.0, 2.0)  # semitones that an album is moved by
BREATH = (0.18, 0.35)  # s
CHOIR = ("voices",)  # in the names of instruments that sing chords


@dataclass(frozen=True)
class Singing:
    """Arrangement of a singer: how long the rests between phrases are in beats, and what is added to the lead."""

    rest: float
    double: bool
    harmony: bool
    echo: bool
    breaths: bool


def sung_phrases(score: Score, passages: Sequence[Passage], rng: np.random.Generator) -> np.ndarray:
    """Phrases of one singer on the beats of a song, moved to its key and tempo where theirs are known; (2, t).

    Between them lie rests, breaths before them; the lead may be doubled, harmonised and echoed.
    """
    singer = draw_source(passages, rng)
    style = Singing(
        rest=float(rng.choice([0.0, 1.0, 2.0, 4.0])),
        double=bool(rng.random() < 0.25),
        harmony=bool(rng.random() < 0.2),
        echo=bool(rng.random() < 0.2),
        breaths=bool(rng.random() < 0.3),
    )
    chosen = [singer[int(i)] for i in rng.choice(len(singer), min(len(singer), 5), replace=False)]
    wander = int(rng.integers(-2, 3))  # semitones of a singer whose key is not known
    lead = np.zeros((2, round(score.seconds * RATE)), np.float32)
    bars = score.playing("vocals")
    start = 0.0
    for bar in bars:
        while start < score.time(bar + 1, 0):
            start = max(start, score.time(bar, float(rng.choice([0, 0, 4, 8]))))
            phrase = fitted(chosen[int(rng.integers(len(chosen)))], score, wander)
            if style.breaths and start > 0.5:
                place(lead, _breath(rng), round((start - rng.uniform(0.3, 0.4)) * RATE), rng.uniform(0.01, 0.05))
            place(lead, phrase, round(start * RATE), rng.uniform(0.6, 1.0))
            start += phrase.shape[1] / RATE + (style.rest + float(rng.choice([0, 0.5, 1, 2]))) * score.beat
    return _arranged(lead, style, score, rng)


def sung_notes(score: Score, singers: Sequence[Instrument], rng: np.random.Generator) -> np.ndarray:
    """Melody, or chords of a choir, sung on recorded vowels; (2, t)."""
    singer = singers[int(rng.integers(len(singers)))]
    centre = float(np.median([note.pitch for note in singer.notes]))
    touch = Touch(float(rng.uniform(0.05, 0.3)), legato=True, slide=float(rng.choice([0.0, 0.06, 0.12])))
    sampler, out = Sampler(singer, touch, rng), np.zeros((2, round(score.seconds * RATE)), np.float32)
    notes = melody(score, "vocals", centre, rng)
    sampler.play(out, notes)
    if any(name in singer.name for name in CHOIR) or rng.random() < 0.2:
        for thirds in (2, 4):
            Sampler(singer, touch, rng).play(out, harmony(score, notes, thirds))
    return out


def album_stretches(score: Score, stem: str, passages: Sequence[Passage], rng: np.random.Generator) -> np.ndarray:
    """Stretches of one source's passages, cross-faded, in the bars where the stem plays; (2, t)."""
    source = draw_source(passages, rng)
    out = np.zeros((2, round(score.seconds * RATE)), np.float32)
    semitones = float(rng.choice(TUNINGS))
    for start, end in _spans(score, stem):
        at = start
        while end - at > 2 * CROSS:  # what is shorter would be nothing but fades
            sound = varispeed(load(source[int(rng.integers(len(source)))].path), semitones)
            longest = round(rng.uniform(*STRETCH) * RATE)
            first = int(rng.integers(max(1, sound.shape[1] - longest)))
            sound = stereo(sound[:, first : first + min(longest, round((end - at) * RATE))])
            place(out, _faded(sound, CROSS), round(at * RATE))
            at += sound.shape[1] / RATE - CROSS
    return out


def excerpt_stretches(seconds: float, excerpt: Mapping[str, Path], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Stretches of a song's excerpt, cross-faded, the same of all its stems and mixed as they were; each (2, t).

    Raises AudioError and DataError for a recording that cannot be read.
    """
    semitones, length = float(rng.choice(TUNINGS)), round(seconds * RATE)
    sounds = {stem: stereo(varispeed(load_untouched(path), semitones)) for stem, path in excerpt.items()}
    shortest = min(sound.shape[1] for sound in sounds.values())
    out = {stem: np.zeros((2, length), np.float32) for stem in sounds}
    at, cross = 0, round(CROSS * RATE)
    while length - at > 2 * cross:
        size = min(round(rng.uniform(*STRETCH) * RATE), shortest)
        first = int(rng.integers(shortest - size + 1))
        for stem, sound in sounds.items():
            place(out[stem], _faded(sound[:, first : first + size], CROSS), at)
        at += max(size - cross, 2 * cross)
    return out


def draw_source(passages: Sequence[Passage], rng: np.random.Generator) -> list[Passage]:
    """Draw a source by the root of its length, those that are spoken less, and give its passages."""
    sources: dict[str, list[Passage]] = defaultdict(list)
    for passage in passages:
        sources[passage.source].append(passage)
    names = sorted(sources)
    weights = np.array([np.sqrt(sum(passage.seconds for passage in sources[name])) for name in names])
    weights *= [SPOKEN_SHARE if any(word in name for word in SPOKEN) else 1.0 for name in names]
    return sources[names[int(rng.choice(len(names), p=weights / weights.sum()))]]


def fitted(passage: Passage, score: Score, wander: int) -> np.ndarray:
    """Passage moved to the key and tempo of a song where its own are known, else by `wander` semitones; (2, t)."""
    sound = load(passage.path)
    semitones = float(wander)
    if passage.key is not None:
        tonic = score.root + (-3 if passage.key.minor and score.scale[2] == 4 else 0)  # the relative minor
        tonic += 3 if not passage.key.minor and score.scale[2] == 3 else 0
        semitones = float((tonic - passage.key.tonic + 6) % 12 - 6)
    speed = 1.0
    if passage.bpm is not None:
        speed = score.tempo / nearest_octave(passage.bpm, score.tempo)
        speed = speed if SPEEDS[0] <= speed <= SPEEDS[1] else 1.0
    if abs(semitones) <= TAPE:
        sound, speed = varispeed(sound, semitones), speed / 2 ** (semitones / 12) if passage.bpm else 1.0
    else:
        sound = shift(torch.tensor(sound), semitones).numpy()
    if abs(speed - 1) > SAME_SPEED:
        sound = stretch(torch.tensor(sound), speed).numpy()
    return _faded(stereo(sound), FADE)


def _spans(score: Score, stem: str) -> list[tuple[float, float]]:
    """Starts and ends in s of the neighbouring bars in which a stem plays."""
    spans: list[tuple[float, float]] = []
    for bar in score.playing(stem):
        start, end = score.time(bar, 0), min(score.time(bar + 1, 0), score.seconds)
        if spans and spans[-1][1] == start:
            start = spans.pop()[0]
        spans.append((start, end))
    return spans


def _arranged(lead: np.ndarray, style: Singing, score: Score, rng: np.random.Generator) -> np.ndarray:
    out = lead.copy()
    if style.double:
        for side in (-1, 1):
            double = varispeed(lead, rng.uniform(-0.12, 0.12) / 4)
            place(out, pan(double.mean(axis=0), 0.7 * side), round(rng.uniform(0.008, 0.03) * RATE), 0.5)
    if style.harmony:
        higher = shift(torch.from_numpy(lead.mean(axis=0, keepdims=True)), float(rng.choice([3, 4, 7, -5]))).numpy()[0]
        place(out, pan(higher, rng.uniform(-0.6, 0.6)), 0, rng.uniform(0.3, 0.6))
    if style.echo:
        late, gain = round(score.beat * float(rng.choice([0.5, 0.75, 1.0])) * RATE), rng.uniform(0.2, 0.45)
        for repeat in range(1, 4):
            place(out, lead, repeat * late, gain**repeat)
    return out


def _breath(rng: np.random.Generator) -> np.ndarray:
    length = round(rng.uniform(*BREATH) * RATE)
    swell = np.sin(np.linspace(0, np.pi, length, dtype=np.float32)) ** 2
    sound = np.diff(noise(rng, length + 1)) * swell  # brighter than white, as air between the teeth
    return stereo(sound[None])


def _faded(sound: np.ndarray, seconds: float) -> np.ndarray:
    size = min(round(seconds * RATE), sound.shape[1] // 2)
    ramp = np.linspace(0, 1, size, dtype=np.float32)
    faded = sound.copy()
    faded[:, :size] *= ramp
    faded[:, faded.shape[1] - size :] *= ramp[::-1]
    return faded
