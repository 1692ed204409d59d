"""Signal-to-distortion ratios of estimated stems: over whole signals for validation, over windows for scoring."""

from __future__ import annotations

import torch
from torch import Tensor

# The constant of the demixing challenges: it decides what silence scores.
EPSILON = 1e-7


def sdr(reference: Tensor, estimate: Tensor) -> Tensor:
    """Signal-to-distortion ratio of whole signals, the uSDR of the demixing challenges.

    10·log10((Σ s² + 1e-7) / (Σ (s − ŝ)² + 1e-7)), summed over channels and samples. Silence gives finite numbers:
    0 dB for a silent estimate or for silence estimated as silence, and a large negative value where a silent
    reference got a sounding estimate.

    Args:
        reference: (..., c, t).
        estimate: (..., c, t).

    Returns:
        SDR in dB, (...).

    Source: doi:10.3389/frsip.2021.808395.
    """
    reference, estimate = _wide(reference), _wide(estimate)
    return _decibel(_energy(reference) + EPSILON, _energy(reference - estimate) + EPSILON)


def si_sdr(reference: Tensor, estimate: Tensor) -> Tensor:
    """Scale-invariant SDR of whole signals: the SDR against the reference scaled to fit the estimate best.

    One gain for all channels, so that the balance between channels counts; means are not removed. Silence is
    treated as in `sdr`.

    Args:
        reference: (..., c, t).
        estimate: (..., c, t).

    Returns:
        SI-SDR in dB, (...).

    Source: doi:10.1109/ICASSP.2019.8683855.
    """
    reference, estimate = _wide(reference), _wide(estimate)
    gain = ((reference * estimate).sum((-2, -1)) + EPSILON) / (_energy(reference) + EPSILON)
    target = gain[..., None, None] * reference
    return _decibel(_energy(target) + EPSILON, _energy(target - estimate) + EPSILON)


def windowed_sdr(reference: Tensor, estimate: Tensor, window: int, hop: int, *, museval_nan: bool = False) -> Tensor:
    """SDR of BSSEval version 4, window by window, exactly and without its projections.

    In version 4 the spatial, interference and artifact errors sum to s − ŝ, so its SDR is the plain ratio
    10·log10(Σ s² / Σ (s − ŝ)²). Windows follow museval: full ones only, or one shorter window when the signal is no
    longer than `window`. A perfect window gives +inf. A window where reference or estimate is silent gives NaN for
    that stem; with `museval_nan` it gives NaN for every stem, and channels that cancel count as silent, as in museval.

    Args:
        reference: (..., c, t), with `museval_nan` (..., s, c, t).
        estimate: as `reference`.
        window: samples.
        hop: samples between the starts of windows.
        museval_nan: follow museval's rule for silence, where one stem decides for all.

    Returns:
        SDR in dB, float64, (..., windows).

    Source: doi:10.1007/978-3-319-93764-9_28; museval.metrics.bss_eval.
    """
    reference, estimate = reference.double(), estimate.double()
    signal = _windows(reference.square().sum(-2), window, hop)
    error = _windows((reference - estimate).square().sum(-2), window, hop)
    ratio = _decibel(signal, error)
    if museval_nan:
        silent = (_windows(reference.sum(-2).abs(), window, hop) == 0) | (
            _windows(estimate.sum(-2).abs(), window, hop) == 0
        )
        silent = silent.any(-2, keepdim=True)
    else:
        silent = (signal == 0) | (_windows(estimate.square().sum(-2), window, hop) == 0)
    return ratio.masked_fill(silent, torch.nan)


def windows(length: int, window: int, hop: int) -> int:
    """Number of windows that BSSEval version 4 scores in `length` samples."""
    return (length - window) // hop + 1 if window < length else 1


def _windows(values: Tensor, window: int, hop: int) -> Tensor:
    return values.unfold(-1, min(window, values.shape[-1]), hop).sum(-1)


def _wide(signal: Tensor) -> Tensor:
    return signal if signal.dtype == torch.float64 else signal.float()


def _energy(signal: Tensor) -> Tensor:
    return signal.square().sum((-2, -1))


def _decibel(numerator: Tensor, denominator: Tensor) -> Tensor:
    return 10 * torch.log10(numerator / denominator)
