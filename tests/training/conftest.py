from pathlib import Path

import numpy as np
import pytest
import soundfile
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

CONF = Path(__file__).parents[2] / "conf"
SMALL = [
    "model=tfswa_tiny",
    "model.n_fft=256",
    "model.hop=64",
    "model.network.widths=[8,16]",
    "model.network.depths=[1,1]",
    "model.network.mlp_ratios=[1,1]",
    "model.network.head_width=8",
    "augmentation=none",
    "loss=fast",
    "data.seconds=0.2",
    "data.batch_size=2",
    "data.workers=0",
    "data.samples_per_epoch=8",
    "data.validation_seconds=0.2",
    "data.validation_per_track=1",
    "scheduler.warmup_steps=2",
    "trainer.accelerator=cpu",
    "trainer.devices=1",
    "callbacks.progress_bar=false",
    "callbacks.samples.every_n_epochs=null",
    "logger=csv",
]


@pytest.fixture(scope="session")
def songs(tmp_path_factory):
    """Three songs of four stems, MUSDB18-HQ's layout, half a second each."""
    root = tmp_path_factory.mktemp("songs")
    rng = np.random.default_rng(0)
    for split, name in [("train", "a"), ("train", "b"), ("valid", "c"), ("test", "d")]:
        folder = root / split / name
        folder.mkdir(parents=True)
        stems = {stem: 0.1 * rng.standard_normal((22_050, 2)) for stem in ("vocals", "drums", "bass", "other")}
        for stem, audio in [*stems.items(), ("mixture", sum(stems.values()))]:
            soundfile.write(folder / f"{stem}.wav", audio, 44_100)
    return root


@pytest.fixture
def config(songs):
    """Compose a small training configuration with overrides, as plain values."""

    def values(*overrides, small=True):
        with initialize_config_dir(str(CONF), version_base="1.3"):
            composed = compose("train", [*(SMALL if small else []), f"data.root={songs}", *overrides])
        plain = OmegaConf.to_container(composed, resolve=True)
        plain.pop("experiment", None)
        return plain

    return values
