"""The page of web/ built with a small model, served as `make web` serves it, and opened in the browser."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tfswa_unet import audio

ROOT = Path(__file__).parents[2]
RUNTIME = ROOT / "web" / "node_modules" / "onnxruntime-web"
# Four stems at 16 kHz: `tests.export.conftest.small` with the weights that it draws, written by `tfswa export`, with
# shorter segments in its facts.
MODEL, RATE = Path(__file__).with_name("small.onnx"), 16_000
TOOL = [sys.executable, "tools/web.py"]
SEGMENT, OVERLAP = 3.0, 0.5  # s
SECONDS = 7.3  # three segments, of which the last one slides back


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The folder of the page with that model; skipped where it cannot be built."""
    if not RUNTIME.is_dir():
        pytest.skip("onnxruntime-web has not been fetched: make web/node_modules")
    out = tmp_path_factory.mktemp("site")
    subprocess.run([*TOOL, "build", "--model", str(MODEL), "--out", str(out)], cwd=ROOT, check=True, timeout=300)
    return out


@pytest.fixture(scope="session")
def served(site):
    """Serve the page's folder; gives its address."""
    command = [*TOOL, "serve", "--folder", str(site), "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        yield process.stdout.readline().strip()
        process.terminate()


@pytest.fixture(scope="session")
def song(tmp_path_factory):
    """A song at the model's rate, as a wav file: tones that come and go over noise, silent at first."""
    time = np.arange(int(SECONDS * RATE)) / RATE
    tones = [np.sin(2 * np.pi * pitch * time) * (np.sin(speed * time) > 0) for pitch, speed in ((220, 3), (1_330, 7))]
    hiss = 0.2 * np.random.default_rng(0).standard_normal((2, len(time)))
    samples = 0.2 * np.stack([tones[0] + tones[1], tones[0] - tones[1]]) + 0.2 * hiss
    samples[:, : RATE // 2] = 0
    path = tmp_path_factory.mktemp("songs") / "a song.wav"
    audio.write(path, samples.astype(np.float32), RATE)
    return path


@pytest.fixture
def visit(chromium, served, request, tmp_path):
    """Open the page, wait for the model, and see at the end that it asked nobody else and the console stayed empty.

    Screenshots are kept below the folder that SCREENSHOTS names, else with the test's own files.
    """
    contexts, troubles, asked = [], [], []
    folder = Path(os.environ.get("SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)

    def visit(width=1280, address=served, **options):
        context = chromium.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: troubles.append(message.text) if _is_trouble(message) else None)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        context.on("request", lambda sent: asked.append((sent.method, sent.url.removeprefix("blob:"))))
        page.goto(address)
        page.get_by_text("Ready: it gives").wait_for()
        return page

    yield visit
    for number, context in enumerate(contexts):
        for page in context.pages:
            page.screenshot(path=folder / f"{request.node.name}-{number}.png", full_page=True)
        context.close()
    assert troubles == []
    assert {method for method, _ in asked} == {"GET"}
    assert all(url.startswith("http://127.0.0.1:") for _, url in asked), asked


def _is_trouble(message):
    return message.type != "log" and "blocked by Playwright" not in message.text
