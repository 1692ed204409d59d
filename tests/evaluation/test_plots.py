from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tests.evaluation.conftest import noise
from tfswa_unet.evaluation import plots
from tfswa_unet.evaluation.plots import band_levels, spectrograms

RATE = 44100


def tone(hz, seconds=1.0):
    return np.tile(0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE), (2, 1)).astype(np.float32)


def test_picture_is_a_png_with_content(tmp_path):
    stems = {"vocals": tone(440), "bass": noise(1, 1.0, rate=RATE)}
    path = tmp_path / "new" / "picture.png"
    spectrograms(path, stems["vocals"] + stems["bass"], stems, RATE, "A song")
    assert [file.name for file in path.parent.iterdir()] == ["picture.png"]
    with Image.open(path) as image:
        image.verify()
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert image.width > 800
        assert image.height > 400
        assert np.asarray(image.convert("L")).std() > 20


def test_true_stems_widen_the_picture(tmp_path):
    stems = {"vocals": tone(440)}
    sizes = []
    for references in (None, {"vocals": tone(440)}):
        spectrograms(tmp_path / "p.png", tone(440), stems, RATE, "A song", references)
        with Image.open(tmp_path / "p.png") as image:
            sizes.append(image.width)
    assert sizes[1] > sizes[0]


@pytest.mark.parametrize("hz", [60, 440, 5000, 15000])
def test_a_tone_stands_at_its_frequency(hz):
    levels = band_levels(tone(hz), RATE)[:, 4:-4].mean(axis=1)
    edges = np.geomspace(plots.LOWEST, RATE / 2, plots.BANDS + 1)
    peak = levels.argmax()
    # Bins are 11 Hz apart and shared among the lowest bands: that is the precision there.
    assert edges[peak] - 11 <= hz <= edges[peak + 1] + 11
    # Half of full scale is a quarter of its power, and a Hann window spreads a line's power over 1.5 bins.
    widths = np.diff(edges) / RATE * plots.N_FFT
    assert np.sum(10 ** (levels / 10) * widths) == pytest.approx(0.25 * 1.5, rel=0.05)


@pytest.mark.parametrize("length", [1, 100, 3000])
def test_short_and_silent_stems_are_drawn(tmp_path, length):
    silence = np.zeros((1, length), np.float32)
    spectrograms(tmp_path / "p.png", silence, {"vocals": silence}, 8000, "silence")
    assert (tmp_path / "p.png").stat().st_size > 5000


def test_a_failed_picture_leaves_nothing(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    def fail(self, path, **settings):
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        spectrograms(tmp_path / "p.png", tone(440), {"vocals": tone(440)}, RATE, "A song")
    assert list(tmp_path.iterdir()) == []
