"""What whole commands are run with in tests: a small model, short segments, songs of half a second."""

import numpy as np
import soundfile

NETWORK = [
    "subbands=4",
    "n_fft=256",
    "hop=64",
    "network.widths=[8,16]",
    "network.depths=[1,1]",
    "network.mlp_ratios=[1,1]",
]
OVERRIDES = [
    *(f"model.{setting}" for setting in NETWORK),
    "model.network.head_width=8",
    "model.network.convolutions=[]",
    "model.network.patch=[2,2]",
    "model.network.detail=4",
    "data.seconds=0.2",
    "data.batch_size=2",
    "data.workers=0",
    "data.samples_per_epoch=8",
    "data.validation_seconds=0.2",
    "scheduler.warmup_steps=2",
    "trainer.max_epochs=1",
    "trainer.accelerator=cpu",
    "trainer.devices=1",
    "callbacks.progress_bar=false",
]
STEMS = ("vocals", "drums", "bass", "other")


def write_songs(root, songs=(("train", "a"), ("train", "b"), ("valid", "c"), ("test", "d")), samples=22_050, level=0.1):
    """Songs of four stems in MUSDB18-HQ's layout."""
    rng = np.random.default_rng(0)
    for split, name in songs:
        folder = root / split / name
        folder.mkdir(parents=True)
        stems = {stem: level * rng.standard_normal((samples, 2)) for stem in STEMS}
        for stem, audio in [*stems.items(), ("mixture", sum(stems.values()))]:
            soundfile.write(folder / f"{stem}.wav", audio, 44_100)
    return root


def write_samples(root):
    """Recordings that songs can be rendered from: a note of bass and of a keyboard, a kick, and two phrases."""
    time = np.arange(44_100) / 44_100
    rng = np.random.default_rng(0)
    tone = np.sin(2 * np.pi * 110 * time) * np.exp(-3 * time)
    phrases = {f"vocals/anna/{name}": rng.uniform(-1, 1, 50_000) for name in ("first", "second")}
    sounds = {**phrases, "drums/studio/kick_01": tone[:9_000], "bass/low/low_045": tone, "other/keys/key_045": tone}
    for name, sound in sounds.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / f"{name}.wav", 0.5 * sound, 44_100)
    return root
