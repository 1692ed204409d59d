"""A few notes, hits and phrases, and the folder of recordings that they make."""

import numpy as np
import soundfile

RATE = 44_100


def tone(pitch, seconds, decay=0.4):
    """A plucked tone (t,) of some harmonics."""
    time = np.arange(round(seconds * RATE)) / RATE
    hertz = 440 * 2 ** ((pitch - 69) / 12)
    return sum(np.sin(2 * np.pi * k * hertz * time) / k for k in range(1, 6)) * np.exp(-time / decay)


def burst(seed, seconds, decay):
    """A burst of noise (t,)."""
    time = np.arange(round(seconds * RATE)) / RATE
    return np.random.default_rng(seed).standard_normal(len(time)) * np.exp(-time / decay)


SOUNDS = {
    "bass/upright/pizz_034.wav": tone(34, 0.8),
    "bass/upright/pizz_041.wav": tone(41, 0.8),
    "other/piano/key_060.wav": tone(60, 0.7),
    "other/piano/key_067.wav": tone(67, 0.7),
    "drums/studio/kick_01.wav": tone(30, 0.3, 0.1),
    "drums/studio/snare_01.wav": burst(0, 0.25, 0.06),
    "drums/studio/hat_01.wav": burst(1, 0.1, 0.02),
    "vocals/anna/first.wav": np.concatenate([tone(57, 0.8, 2.0), tone(60, 0.7, 2.0)]),
    "vocals/anna/second.wav": np.concatenate([tone(62, 0.8, 2.0), tone(59, 0.7, 2.0)]),
}


def write_sounds(root, sounds):
    for name, sound in sounds.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / name, 0.5 * sound / max(1e-9, np.abs(sound).max()), RATE)
    return root
