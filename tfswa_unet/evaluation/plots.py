"""A picture of a separated track: spectrograms of mixture and stems on one colour scale."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from tfswa_unet.dsp import stft
from tfswa_unet.evaluation.tracks import Audio, Stems
from tfswa_unet.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

N_FFT = 4096
FULL_SCALE = (N_FFT / 4) ** 2  # power of a full-scale sine under a Hann window
COLUMNS = 1600  # about as many frames as the picture has pixels across
BANDS = 256
LOWEST = 40.0  # Hz
DEPTH = 80.0  # dB below the mixture's loudest point
TICKS = {100: "100", 300: "300", 1000: "1k", 3000: "3k", 10000: "10k", 20000: "20k"}  # Hz


def spectrograms(
    path: Path, mixture: Audio, stems: Stems, rate: int, title: str, references: Stems | None = None
) -> None:
    """Draw the mixture above its stems and save a PNG.

    Levels are in dB on one scale for all panels, over time in s and frequency in Hz on a logarithmic axis. True stems,
    if given, stand to the right of the estimates, and what the estimates leave of the mixture beside the mixture.

    Args:
        path: PNG file; its folder is made where missing.
        mixture: (c, t).
        stems: name → (c, t).
        rate: Hz.
        title: line above the picture, such as the track's name.
        references: name → (c, t), under the names of `stems`.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows: list[list[tuple[str, Audio]]] = [[("mixture", mixture)], *([(name, stem)] for name, stem in stems.items())]
    if references is not None:
        left = "all stems" if len(stems) > 1 else next(iter(stems))
        rows[0].append((f"mixture − {left}", mixture - np.sum(list(stems.values()), axis=0)))
        rows[1:] = [[(f"{name}, estimate", stem), (f"{name}, true", references[name])] for name, stem in stems.items()]
    figure = Figure(figsize=(6 + 5 * len(rows[0]), 0.8 + 1.7 * len(rows)), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(rows), len(rows[0]), sharex=True, sharey=True, squeeze=False)
    top = float(band_levels(mixture, rate).max())
    for axes, (label, signal) in zip(grid.flat, (panel for row in rows for panel in row), strict=True):
        image = _draw(axes, signal, rate, label, top)
    for axes in grid[-1]:
        axes.set_xlabel("time (s)")
    for axes in grid[:, 0]:
        axes.set_ylabel("frequency (Hz)")
    figure.suptitle(title, fontsize=13, fontweight="bold")
    figure.colorbar(image, ax=grid, label="level (dB, 0 = full-scale sine)", fraction=0.03, pad=0.01)
    with replacing(path.with_suffix(".png")) as temporary:
        figure.savefig(temporary, format="png")


def band_levels(signal: Audio, rate: int) -> NDArray[np.float64]:
    """Mean power in dB of bands that are equally wide on a logarithmic frequency axis, (bands, frames)."""
    hop = max(N_FFT // 4, signal.shape[-1] // COLUMNS)
    power = stft(torch.from_numpy(np.ascontiguousarray(signal)), N_FFT, hop).abs().square().mean(0).double().numpy()
    # The running sum, read off at the bands' edges, averages many bins into high bands and shares one among low ones.
    total = np.pad(np.cumsum(power, axis=1), ((0, 0), (1, 0)))
    edges = np.geomspace(LOWEST, rate / 2, BANDS + 1) / rate * N_FFT + 0.5
    at_edges = np.stack([np.interp(edges, np.arange(total.shape[1]), frame) for frame in total], axis=1)
    return 10 * np.log10(np.diff(at_edges, axis=0) / np.diff(edges)[:, None] / FULL_SCALE + 1e-16)


def _draw(axes: Axes, signal: Audio, rate: int, label: str, top: float) -> AxesImage:
    low, high = np.log10(LOWEST), np.log10(rate / 2)
    image = axes.imshow(
        band_levels(signal, rate),
        origin="lower",
        aspect="auto",
        extent=(0, signal.shape[-1] / rate, low, high),
        vmin=top - DEPTH,
        vmax=top,
        cmap="magma",
        interpolation="nearest",
    )
    ticks = {hz: text for hz, text in TICKS.items() if LOWEST <= hz <= rate / 2}
    axes.set_yticks([np.log10(hz) for hz in ticks], list(ticks.values()))
    axes.set_title(label, loc="left", fontsize=10)
    return image
