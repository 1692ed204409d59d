"""Measures of whole tracks beside BSSEval: of spectra, of masking, of leakage into silence, of what stems sum to."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from tfswa_unet.dsp import stft_pieces
from tfswa_unet.evaluation.metrics import si_sdr
from tfswa_unet.evaluation.tracks import REST, Audio, Stems

# What is measured of a stem of a whole track, one number in dB each, in the order of tables: s is the true stem, e its
# estimate. docs/measures.md tells them apart.
WHOLE = {
    "uSDR": "10 log10((sum s^2 + 1e-7) / (sum (s - e)^2 + 1e-7)), where s is not silent throughout",
    "SI-SDR": "10 log10(sum (a s)^2 / sum (a s - e)^2) with a = sum s e / sum s^2",
    "LSD": "log-spectral distance (lower is better), mean over frames",
    "NMR": "noise-to-mask ratio (lower is better), mean over frames in which s is audible",
    "leakage": "energy of e - s relative to the mixture's (lower is better) where s is silent",
}
LOWER_IS_BETTER = {"LSD", "NMR", "leakage"}
NULL_ERROR = "energy of the mixture less all estimates relative to the mixture's, of each track"

WINDOW_SECONDS = 0.0464  # of spectra: the nearest power of two, 2048 samples at 44.1 kHz
FRAMES = 64  # of a spectrogram at a time, so that memory does not grow with the song
FLOOR = 1e-10  # power of a bin, of a full-scale sine's, below which LSD tells nothing apart
BARK = 0.5  # width of the bands in which noise is masked
FULL_SCALE = 92.0  # dB SPL at which a full-scale sine is heard
BEST_NMR = 1e-6  # of a frame
PASSAGE = 0.5  # s, of the frames that are silent or not
SILENCE = 1e-6  # mean square of what counts as silent, at most: −60 dB full scale
BEST_LEAKAGE, BEST_NULL = 1e-10, 1e-15  # of the mixture's energy


def whole_track(references: Stems, estimates: Stems, rate: int, device: str = "cpu") -> dict[str, dict[str, float]]:
    """The measures `WHOLE` but uSDR of each stem but `REST`: measure → stem → dB, NaN where one is not defined.

    Args:
        references: the true stems by name, (c, t), which together make the mixture.
        estimates: (c, t) under the same names.
        rate: Hz.
        device: where it is computed.
    """
    names = [stem for stem in references if stem != REST]
    true, estimate, mixture = (
        torch.from_numpy(each).to(device)
        for each in (*(np.stack([stems[n] for n in names]) for stems in (references, estimates)), _sum(references))
    )
    sounds = true.any(-1).any(-1) & estimate.any(-1).any(-1)
    distance, masked = spectral_measures(true, estimate, rate)
    found = {
        "SI-SDR": si_sdr(true, estimate).masked_fill(~sounds, torch.nan),
        "LSD": distance,
        "NMR": masked,
        "leakage": leakage(true, estimate, mixture, rate),
    }
    return {measure: dict(zip(names, values.tolist(), strict=True)) for measure, values in found.items()}


def spectral_measures(reference: Tensor, estimate: Tensor, rate: int) -> tuple[Tensor, Tensor]:
    """Log-spectral distance and noise-to-mask ratio of whole signals, of the same spectra.

    Both are means over frames: LSD over all of them, of `log_spectral_distance`; NMR, of `noise_to_mask`, over those in
    which some band of the reference is above the threshold in quiet, NaN without any. Spectra have a Hann window of
    46 ms and a hop of half of it.

    Args:
        reference: (s, c, t).
        estimate: (s, c, t).
        rate: Hz.

    Returns:
        LSD and NMR in dB, (s,) each.
    """
    n_fft = 2 ** round(math.log2(WINDOW_SECONDS * rate))
    bands, _, quiet = (each.to(reference) for each in _ear(n_fft, rate))
    distances, ratios, heard = [], [], []
    pieces = (stft_pieces(signals, n_fft, n_fft // 2, FRAMES) for signals in (reference, estimate))
    for true, guess in zip(*pieces, strict=True):
        # A full-scale sine's bins sum to 1: a Hann window shares it among three.
        power, guessed, error = (x.abs().square() / (1.5 * (n_fft / 4) ** 2) for x in (true, guess, true - guess))
        distances.append(log_spectral_distance(power, guessed).mean(1))
        masker = power @ bands
        ratios.append(noise_to_mask(masker, error @ bands, n_fft, rate))
        heard.append((masker > quiet).any(-1).any(1))
    audible = torch.cat(heard, -1)
    ratio = torch.where(audible, torch.cat(ratios, -1), 0).sum(-1) / audible.sum(-1)
    return torch.cat(distances, -1).mean(-1), ratio


def log_spectral_distance(reference: Tensor, estimate: Tensor) -> Tensor:
    """Log-spectral distance of frames: √ mean_f (10·log10(|S|² / |Ŝ|²))², powers being at least `FLOOR`.

    Args:
        reference: powers |S|² (..., n, f), a full-scale sine's being 1.
        estimate: powers |Ŝ|² (..., n, f).

    Returns:
        LSD in dB, (..., n).

    Source: doi:10.1109/TASSP.1976.1162849.
    """
    decibels = 10 * torch.log10(reference.clamp_min(FLOOR) / estimate.clamp_min(FLOOR))
    return decibels.square().mean(-1).sqrt()


def noise_to_mask(masker: Tensor, noise: Tensor, n_fft: int, rate: int) -> Tensor:
    """Noise-to-mask ratio of frames: 10·log10 of the mean over channels and bands of noise N / masking threshold M.

    The true stem masks what the estimate adds to it or lacks. M is the stem's energy in bands of half a Bark, spread
    over its neighbours and lowered by 3 dB up to 12 Bark and by a quarter of the Bark number above, plus the threshold
    in quiet. 0 dB and more is audible; a frame is −60 dB at best.

    Args:
        masker: energies of the true stem, (s, c, n, bands), a full-scale sine's being 1.
        noise: energies of s − ŝ, likewise.
        n_fft: window of the spectra in samples.
        rate: Hz.

    Returns:
        NMR in dB, (s, n).

    Source: the ear model of ITU-R BS.1387 with its offsets; spreading by doi:10.1121/1.383662, Bark by
    doi:10.1121/1.399849, threshold in quiet by doi:10.1016/0378-5955(79)90025-X.
    """
    _, spread, quiet = (each.to(masker) for each in _ear(n_fft, rate))
    ratio = (noise / (masker @ spread + quiet)).mean(-1).mean(1)
    return 10 * torch.log10(ratio.clamp_min(BEST_NMR))


def leakage(reference: Tensor, estimate: Tensor, mixture: Tensor, rate: int) -> Tensor:
    """Energy that leaks into silence: 10·log10(Σ (ŝ − s)² / Σ x²) over the frames in which the true stem s is silent.

    Frames are half a second, without overlap; those are silent whose mean square over channels and samples is at most
    −60 dB full scale. NaN without such frames, or where the mixture x is silent in them; −100 dB at best.

    Args:
        reference: (s, c, t).
        estimate: (s, c, t).
        mixture: (c, t).
        rate: Hz.

    Returns:
        leakage in dB, (s,).
    """
    length = min(round(PASSAGE * rate), reference.shape[-1])
    level, error, whole = (_mean_square(x, length) for x in (reference, estimate - reference, mixture))
    silent = level <= SILENCE
    leaked, there = (torch.where(silent, energy, 0).sum(-1) for energy in (error, whole))
    return 10 * torch.log10((leaked / there).clamp_min(BEST_LEAKAGE))


def null_error(references: Stems, estimates: Stems) -> float | None:
    """Null error of the sum in dB: 10·log10(Σ (x − Σ ŝ)² / Σ x²), how far the stems are from summing to the mixture x.

    None where the stems are not all of the mixture (the references hold `REST`) or it is silent; −150 dB at best.
    """
    if REST in references:
        return None
    mixture = _sum(references).astype(np.float64)
    energy = np.square(mixture).sum()
    left = np.square(mixture - np.sum(list(estimates.values()), axis=0, dtype=np.float64)).sum()
    return float(10 * np.log10(max(left / energy, BEST_NULL))) if energy else None


def bark(frequency: Tensor) -> Tensor:
    """Critical-band rate in Bark of frequencies in Hz; doi:10.1121/1.399849."""
    return 26.81 * frequency / (1960 + frequency) - 0.53


@lru_cache(maxsize=4)
def _ear(n_fft: int, rate: int) -> tuple[Tensor, Tensor, Tensor]:
    """Bins to bands (f, bands), spreading less the offset (bands, bands), threshold in quiet (bands,)."""
    hertz = torch.arange(n_fft // 2 + 1, dtype=torch.float64) * rate / n_fft
    numbers = ((bark(hertz) + 0.53) / BARK).long()
    bands = torch.nn.functional.one_hot(numbers).double()
    centre = (torch.arange(bands.shape[1]) + 0.5) * BARK - 0.53
    apart = centre - centre[:, None] + 0.474  # Bark from masker (rows) to masked (columns)
    spread = 10 ** ((15.81 + 7.5 * apart - 17.5 * (1 + apart.square()).sqrt()) / 10)
    spread = spread / spread.sum(0)  # what is alike in all bands stays as it is
    offset = 10 ** (-torch.where(centre <= 12, 3, 0.25 * centre) / 10)
    kilohertz = (1.96 * (centre + 0.53) / (26.28 - centre)).clamp(0.02, 20)
    quiet = 3.64 * kilohertz**-0.8 - 6.5 * torch.exp(-0.6 * (kilohertz - 3.3) ** 2) + 1e-3 * kilohertz**4
    return bands.float(), (spread * offset).float(), (10 ** ((quiet - FULL_SCALE) / 10)).float()


def _mean_square(signal: Tensor, length: int) -> Tensor:
    """Mean square of frames of `length` samples: (..., c, t) → (..., frames)."""
    return signal.square().mean(-2).unfold(-1, length, length).mean(-1)


def _sum(stems: Stems) -> Audio:
    return np.asarray(np.sum(list(stems.values()), axis=0, dtype=np.float32))
