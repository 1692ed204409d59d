"""One thread for every process of the tests, small data sets on disk, and a browser where one is installed."""

from __future__ import annotations

import os
import shutil

# Before torch is imported, here and in what tests start: several processes with a pool each would wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from tfswa_unet.types import Source, Track

MUSDB = ("mixture", "vocals", "drums", "bass", "other")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
AXE = Path(__file__).parents[1] / "web" / "node_modules" / "axe-core" / "axe.min.js"
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")

# Gradients start here, once: where a model is exported first, torch starts threads for them, after which no process
# that is forked from this one can train.
torch.ones(1, requires_grad=True).backward()


def noise(seed: int, channels: int, length: int) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal((channels, length)).astype(np.float32)


@pytest.fixture
def write_wav():
    """Write audio (c, t), exactly as it is where the name ends in .wav."""

    def write(path: Path, audio: np.ndarray, rate: int = 8_000) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, audio.T, rate, subtype="FLOAT" if path.suffix == ".wav" else None)
        return path

    return write


@pytest.fixture
def write_song(write_wav):
    """Write a song's folder with one noise file a stem."""

    def write(folder: Path, stems=MUSDB, length: int = 400, rate: int = 8_000, channels: int = 2) -> Path:
        for k, stem in enumerate(stems):
            name = stem if "." in stem else f"{stem}.wav"
            write_wav(folder / name, noise(k, channels, length), rate)
        return folder

    return write


@pytest.fixture
def make_track(tmp_path, write_wav):
    """Write stems (c, t) and return their track."""

    def make(name: str, stems: dict[str, np.ndarray], rate: int = 8_000) -> Track:
        sources = {stem: Source(write_wav(tmp_path / name / f"{stem}.wav", x, rate)) for stem, x in stems.items()}
        length = next(iter(stems.values())).shape[-1]
        return Track(name, "train", rate, length, sources)

    return make


@pytest.fixture(scope="session")
def chromium():
    """The browser; the test is skipped where there is none."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make browser")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip("Chromium is not installed: make browser")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def accessible():
    """See that axe-core finds no fault in a page, light or dark; the test is skipped where it is not there."""
    if not AXE.is_file():
        pytest.skip("axe-core has not been fetched: make web/node_modules")
    source = AXE.read_text(encoding="utf-8")

    def check(page) -> None:
        page.evaluate(f"() => {{ {source} }}")
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
            assert len(found["passes"]) > 5  # it saw something
            faults = [
                f"{scheme}: {fault['impact']} {fault['id']}: {node['html'][:200]}"
                for fault in found["violations"]
                for node in fault["nodes"]
            ]
            assert faults == []

    return check
