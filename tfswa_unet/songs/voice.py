"""Synthetic singing: glottal source, formants, consonants and vibrato."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.fft
from numpy.lib.stride_tricks import sliding_window_view

from tfswa_unet.songs.score import Note, Score, harmony, melody
from tfswa_unet.songs.sounds import HOP, Wavetable, control_points, hertz, noise, pan, phase, place, smooth, upsample

WIDTHS = np.array([90.0, 110.0, 170.0, 250.0, 300.0])  # Hz, of the formants
PEAKS = np.array([16.0, 15.0, 13.0, 12.0, 11.0])  # dB, of the formants over the valleys
WINDOW = 0.023  # s, of the filter's frames
Syllable = tuple[str | None, str]  # consonant and vowel


@dataclass(frozen=True)
class Vowel:
    """Vowel: formant frequencies in Hz, and the dB of treble that rounded lips take away."""

    formants: tuple[float, float, float, float, float]
    dull: float


VOWELS = {
    "a": Vowel((730, 1090, 2440, 3400, 4500), 0),
    "æ": Vowel((660, 1720, 2410, 3400, 4500), 0),
    "ɛ": Vowel((530, 1840, 2480, 3500, 4500), 1),
    "i": Vowel((270, 2290, 3010, 3600, 4600), 3),
    "ɔ": Vowel((570, 840, 2410, 3300, 4400), 6),
    "u": Vowel((300, 870, 2240, 3300, 4400), 10),
    "ʌ": Vowel((640, 1190, 2390, 3400, 4500), 1),
    "ɝ": Vowel((490, 1350, 1690, 3300, 4400), 5),
}


@dataclass(frozen=True)
class Consonant:
    """Consonant: noise around `centre` Hz, `octaves` wide, for `seconds` after `closure` seconds of silence."""

    centre: float
    octaves: float
    seconds: float
    level: float
    closure: float


CONSONANTS = {
    "s": Consonant(7000, 0.5, 0.11, 0.9, 0.0),
    "ʃ": Consonant(3400, 0.6, 0.09, 0.7, 0.0),
    "f": Consonant(5500, 1.5, 0.07, 0.25, 0.0),
    "h": Consonant(1500, 1.5, 0.06, 0.20, 0.0),
    "t": Consonant(4500, 0.9, 0.022, 0.60, 0.03),
    "k": Consonant(2000, 0.7, 0.025, 0.55, 0.035),
    "p": Consonant(900, 1.2, 0.012, 0.45, 0.03),
    "d": Consonant(4000, 1.0, 0.010, 0.25, 0.02),
}


@dataclass(frozen=True)
class Voice:
    """Voice type: MIDI number of its centre, scale of the formants, and ranges of the singing style."""

    centre: float
    size: float
    breath: tuple[float, float]
    vibrato: tuple[float, float]  # semitones
    softness: tuple[float, float]  # dB per octave that quiet singing loses in the treble


VOICES = {
    "bass": Voice(48, 0.94, (0.02, 0.06), (0.1, 0.5), (2, 5)),
    "baritone": Voice(53, 1.0, (0.02, 0.08), (0.1, 0.6), (2, 5)),
    "tenor": Voice(58, 1.04, (0.02, 0.08), (0.1, 0.7), (1, 4)),
    "alto": Voice(62, 1.12, (0.03, 0.12), (0.1, 0.6), (2, 5)),
    "soprano": Voice(67, 1.18, (0.03, 0.1), (0.2, 0.8), (2, 5)),
    "whisperer": Voice(57, 1.08, (0.15, 0.4), (0.0, 0.2), (3, 7)),
}


@dataclass(frozen=True)
class SingingStyle:
    """Singing style in one song: breath noise, vibrato in Hz and semitones, glide, scoop, spectral tilt."""

    size: float
    breath: float
    vibrato_rate: float
    vibrato_depth: float
    glide: float  # s
    scoop: float  # semitones below the first note of a phrase
    softness: float  # dB per octave
    presence: float  # dB around 3 kHz
    air: float  # dB per octave above 4 kHz


@dataclass(frozen=True)
class Performance:
    """Control signals of a sung melody, all (t,) at the control rate but the formants (5, t)."""

    pitch: np.ndarray
    effort: np.ndarray
    formants: np.ndarray  # Hz
    dull: np.ndarray  # dB
    hiss: np.ndarray
    hiss_centre: np.ndarray  # Hz
    hiss_octaves: np.ndarray


def vocals(score: Score, rng: np.random.Generator, rate: int) -> np.ndarray:
    """Vocal stem before the mix: a lead, with doubles, a harmony and an echo in some songs; (2, t)."""
    length, voice = round(score.seconds * rate), VOICES[score.voice]
    style = draw_style(voice, rng)
    notes = melody(score, "vocals", voice.centre + rng.uniform(-3, 3), rng)
    syllables = [_syllable(rng) for _ in notes]
    lead = perform(notes, syllables, style, rng, length, rate)
    voices, places, gains = [glottal_source(lead, style, rng, length, rate)], [0.0], [1.0]
    if rng.random() < 0.35:
        for side in (-1, 1):
            voices.append(glottal_source(_double(lead, rng, rate), style, rng, length, rate))
            places.append(side * rng.uniform(0.4, 1.0))
            gains.append(rng.uniform(0.15, 0.4))
    if rng.random() < 0.3:
        upper = perform(harmony(score, notes, int(rng.choice([2, -3, 4]))), syllables, style, rng, length, rate)
        voices.append(glottal_source(upper, style, rng, length, rate))
        places.append(rng.uniform(-0.7, 0.7))
        gains.append(rng.uniform(0.25, 0.6))
    out = np.zeros((2, length), np.float32)
    for sound, position, gain in zip(filter_vocal_tract(voices, lead, style, rng, rate), places, gains, strict=True):
        out += pan(sound, position) * np.float32(gain)
    if rng.random() < 0.25:
        _echo(out, score.beat * float(rng.choice([0.5, 0.75, 1.0])), rng.uniform(0.1, 0.35), rate)
    return out


def draw_style(voice: Voice, rng: np.random.Generator) -> SingingStyle:
    """Draw a singing style of a voice type."""
    return SingingStyle(
        size=voice.size * rng.uniform(0.95, 1.05),
        breath=rng.uniform(*voice.breath),
        vibrato_rate=rng.uniform(4.8, 6.6),
        vibrato_depth=rng.uniform(*voice.vibrato),
        glide=rng.uniform(0.03, 0.09),
        scoop=rng.uniform(0, 2),
        softness=rng.uniform(*voice.softness),
        presence=rng.uniform(0, 6),
        air=rng.uniform(0, 6),
    )


def perform(
    notes: list[Note], syllables: list[Syllable], style: SingingStyle, rng: np.random.Generator, length: int, rate: int
) -> Performance:
    """Control signals of notes, each sung on a syllable (consonant or None, vowel)."""
    count, control = control_points(length), rate / HOP
    pitch, sway, effort = np.full(count, notes[0].pitch if notes else 60.0), np.zeros(count), np.zeros(count)
    formants, dull = np.repeat(np.array(VOWELS["ʌ"].formants)[:, None], count, axis=1), np.zeros(count)
    hiss, hiss_centre, hiss_octaves = np.zeros(count), np.full(count, 4000.0), np.ones(count)
    free = 0  # the control point at which the note before ended
    for note, (consonant, vowel) in zip(notes, syllables, strict=True):
        a, b = round(note.start * control), round((note.start + note.seconds) * control)
        voiced = a
        if consonant:
            sound = CONSONANTS[consonant]
            burst = a + round(sound.closure * control)
            voiced = min(burst + round(sound.seconds * control), (a + b) // 2)
            hiss[burst:voiced] = sound.level * note.velocity
            hiss_centre[free:voiced], hiss_octaves[free:voiced] = sound.centre * rng.uniform(0.9, 1.1), sound.octaves
        pitch[a:] = note.pitch
        if a - free > 0.15 * control:
            pitch[free : voiced + round(0.03 * control)] = note.pitch - style.scoop
        effort[voiced + 1 : max(voiced, b - round(0.02 * control))] = note.velocity * rng.uniform(0.9, 1.0)
        sway[a + round(0.22 * control) : b] = note.seconds > 0.4
        formants[:, free:] = np.array(VOWELS[vowel].formants)[:, None]
        dull[free:] = VOWELS[vowel].dull
        free = b
    shake = np.sin(2 * np.pi * style.vibrato_rate * np.arange(count) / control + rng.uniform(0, 6))
    drift = 0.9 * smooth(rng.standard_normal(count), 0.15, rate)
    return Performance(
        pitch=smooth(pitch, style.glide, rate) + style.vibrato_depth * smooth(sway, 0.2, rate) * shake + drift,
        effort=smooth(effort, 0.03, rate),
        formants=smooth(formants, 0.06, rate) * style.size,
        dull=smooth(dull, 0.06, rate),
        hiss=smooth(hiss, 0.006, rate),
        hiss_centre=hiss_centre,
        hiss_octaves=hiss_octaves,
    )


def glottal_source(
    performance: Performance, style: SingingStyle, rng: np.random.Generator, length: int, rate: int
) -> np.ndarray:
    """Glottal source: a pulse train with breath noise; (t,)."""
    frequency = hertz(performance.pitch)
    harmonics = np.arange(1, 400)
    pulses = Wavetable(1 / harmonics, rng.uniform(-0.6, 0.6, len(harmonics)) - np.pi / 2, rate)
    effort = upsample(performance.effort, length)
    voiced = pulses(phase(upsample(frequency, length), rate), frequency)
    return (voiced + np.float32(style.breath) * noise(rng, length)) * effort


def filter_vocal_tract(
    sounds: list[np.ndarray], performance: Performance, style: SingingStyle, rng: np.random.Generator, rate: int
) -> list[np.ndarray]:
    """Filter sources (t,) by time-varying formants, and add the consonants to the first; (t,) each."""
    length = len(sounds[0])
    size = 2 ** round(np.log2(WINDOW * rate))
    frames = -(-length // (size // 2)) + 1
    at = np.minimum(np.arange(frames) * (size // 2) // HOP, control_points(length) - 1)
    frequency = np.maximum(np.arange(size // 2 + 1) * rate / size, 20.0).astype(np.float32)
    shape = _vowels(performance, style, at, frequency)
    spectra = [_analyse(sound, size, frames) * shape for sound in sounds]
    hiss = noise(rng, length) * upsample(performance.hiss, length)
    away = (np.log2(frequency) - np.log2(performance.hiss_centre[at, None])) / performance.hiss_octaves[at, None]
    spectra[0] += _analyse(hiss, size, frames) * np.exp(-np.square(away.astype(np.float32)))
    return [_synthesise(spectrum, length) for spectrum in spectra]


def _syllable(rng: np.random.Generator) -> Syllable:
    consonant = str(rng.choice(list(CONSONANTS))) if rng.random() < 0.65 else None
    return consonant, str(rng.choice(list(VOWELS)))


def _double(lead: Performance, rng: np.random.Generator, rate: int) -> Performance:
    drift = smooth(rng.standard_normal(len(lead.pitch)), 0.3, rate)
    return replace(lead, pitch=lead.pitch + rng.uniform(-0.08, 0.08) + 2 * drift)


def _echo(out: np.ndarray, seconds: float, gain: float, rate: int) -> None:
    """Three echoes that alternate between the sides."""
    dry = out.copy()
    for k in range(1, 4):
        place(out, dry[:: -1 if k % 2 else 1], round(k * seconds * rate), gain**k)


def _vowels(performance: Performance, style: SingingStyle, at: np.ndarray, frequency: np.ndarray) -> np.ndarray:
    """Magnitude of the vocal tract over frames and bins; (n, f)."""
    octaves = np.log2(frequency / 400).clip(0, None)
    rounded = np.log2(frequency / 1200).clip(0, 1)
    lift = style.presence * np.exp(-np.square(np.log2(frequency / 3000)))
    lift += style.air * np.log2(frequency / 4000).clip(0, None)
    quiet = style.softness * (1 - performance.effort[at]).clip(0, 1)
    loss = quiet[:, None].astype(np.float32) * octaves + performance.dull[at, None].astype(np.float32) * rounded - lift
    shape = np.exp(loss.astype(np.float32) * np.float32(-np.log(10) / 20))
    for centre, width, peak in zip(performance.formants, WIDTHS, PEAKS, strict=True):
        away = (frequency - centre[at, None].astype(np.float32)) / np.float32(width * style.size)
        shape *= 1 + np.float32(10 ** (peak / 20) - 1) / (1 + np.square(away))
    return shape


def _analyse(sound: np.ndarray, size: int, frames: int) -> np.ndarray:
    half = size // 2
    padded = np.pad(sound, (half, (frames + 1) * half - half - len(sound)))
    return scipy.fft.rfft(sliding_window_view(padded, size)[::half] * _window(size))


def _synthesise(spectrum: np.ndarray, length: int) -> np.ndarray:
    frames = scipy.fft.irfft(spectrum) * _window(2 * (spectrum.shape[1] - 1))
    half = frames.shape[1] // 2
    return (frames[:-1, half:] + frames[1:, :half]).reshape(-1)[:length]


def _window(size: int) -> np.ndarray:
    return np.sin(np.pi * (np.arange(size, dtype=np.float32) + 0.5) / size)
