"""Vowels and consonants as the singer needs them.

Formants of American English men: Peterson & Barney 1952, doi 10.1121/1.1906875; the fourth and fifth are near constant.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Vowel:
    """Formant frequencies in Hz, and how much of the treble a rounded mouth takes away, in dB."""

    formants: tuple[float, float, float, float, float]
    dull: float


@dataclass(frozen=True)
class Consonant:
    """Noise around a frequency in Hz, as wide as `octaves`, for some seconds at some level after a closure in s."""

    centre: float
    octaves: float
    seconds: float
    level: float
    closure: float


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
