from __future__ import annotations

import pytest
import torch

from tests.cli.conftest import small_config
from tfswa_unet import bundles, models
from tfswa_unet.bundle import save_bundle

TRAINING = {
    "epoch": 12,
    "step": 30_000,
    "averaged": True,
    "scores": {"val/sdr": 6.543, "val/loss": 0.25},
    "recipe": {"optimizer": {"lr": 0.002, "betas": [0.9, 0.99]}, "augmentation": {}, "seed": 0},
    "pieces": [
        {
            "started": "2026-01-02T03:04:05+00:00",
            "seconds": 7200.0,
            "steps": [0, 20_000],
            "device": "cpu",
            "threads": 2,
            "precision": "fp32",
            "energy_joules": 7.2e5,
        },
        {"started": "2026-01-03", "seconds": 90, "steps": [20_000, 30_000], "energy_joules": None, "commit": "abc"},
    ],
    "sources": [
        {
            "folder": "takes",
            "source": "a | b\nc",
            "version": 2,
            "licence": "CC0",
            "stem": "drums",
            "seconds": 3600,
            "files": 12,
        },
        {"folder": "hums", "source": "https://example.org/hums", "licence": "CC BY 4.0", "stem": "vocals"},
        {"folder": "more", "licence": "CC0", "files": ["x.wav", "y.wav"]},
    ],
}
EVALUATION = {
    "metric": {"name": "BSSEval v4", "unit": "dB", "aggregation": "median over windows"},
    "data": "songs",
    "split": "test",
    "tracks": ["a", "b"],
    "scores": {
        "model": {
            "average": {"SDR": 3.5, "uSDR": 3.0},
            "vocals": {"SDR": 6.0, "uSDR": 5.0},
            "bass": {"SDR": 1.04, "uSDR": 1.0},
            "other": {"SDR": None, "uSDR": None},
        },
        "mixture": {"vocals": {"SDR": -5.0}, "bass": {"SDR": -6.0}, "average": {"SDR": -5.5}},
    },
}


@pytest.fixture(scope="session")
def model():
    """A model that builds in milliseconds."""
    torch.manual_seed(0)
    return models.build(small_config()).eval()


@pytest.fixture
def write(model, tmp_path, monkeypatch):
    """Write a bundle with these facts into what stands in place of the package's folder."""
    monkeypatch.setattr(bundles, "FOLDER", tmp_path)

    def write(name="guitars", training=TRAINING, evaluation=EVALUATION, half=False):
        return save_bundle(tmp_path / f"{name}.safetensors", model, training, evaluation=evaluation, half=half)

    return write
