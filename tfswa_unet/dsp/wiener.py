"""Multichannel Wiener filter: stems from their powers, and from where in the channels they lie."""

from __future__ import annotations

import torch
from torch import Tensor

from tfswa_unet.dsp.spectrogram import istft, stft

N_FFT, HOP = 4096, 1024  # samples, of `wiener_filter`
# A network's powers are wrong by some dB in every bin, its directions are right: powers weigh less than in theory.
POWER = 0.6
SMALL = 1e-4  # of a covariance's mean, added to it so that float32 inverts it where all stems lie in one direction


def wiener_filter(mixture: Tensor, stems: Tensor) -> Tensor:
    """Filter a mixture by a multichannel Wiener filter whose powers and covariances are those of estimated stems.

    Each stem j has a power v_j(n, f), the mean of its |S_j|² over channels, and over the whole of the audio a spatial
    covariance R_j(f) = Σ_n S_j S_jᴴ / Σ_n v_j. It becomes w_j R_j (Σ_k w_k R_k)⁻¹ X with w = v^0.6. What the stems
    leave of the mixture counts as one stem more, which is not given. Takes apart what lies in different directions; of
    one channel it only weighs the stems' powers anew. Computes in float32.

    Args:
        mixture: (b, c, t).
        stems: its estimated stems (b, s, c, t).

    Returns:
        (b, s, c, t).

    Source: doi:10.1109/TASL.2010.2050716; of estimates by a network, doi:10.1109/TASLP.2016.2580946.
    """
    length = mixture.shape[-1]
    rest = (mixture - stems.sum(1))[:, None]
    spectra = stft(torch.cat([stems, rest], dim=1), N_FFT, HOP)
    powers = spectra.abs().square().mean(2)
    covariances = spatial_covariances(spectra, powers)
    # The spectra sum to the mixture's, as the signals do.
    filtered = apply_filter(spectra.sum(1), powers.pow(POWER), covariances)
    return istft(filtered[:, :-1], N_FFT, HOP, length)


def spatial_covariances(spectra: Tensor, powers: Tensor) -> Tensor:
    """Covariances of channels (b, s, c, c, f), over power, of stems (b, s, c, n, f) with powers (b, s, n, f)."""
    total = torch.stack([(row[:, :, None] * spectra.conj()).sum(3) for row in spectra.unbind(2)], dim=2)
    return total / powers.sum(2).clamp_min(torch.finfo(powers.dtype).tiny)[:, :, None, None]


def apply_filter(spectrum: Tensor, powers: Tensor, covariances: Tensor, small: float | None = None) -> Tensor:
    """Wiener filter of a mixture (b, c, n, f) by powers (b, s, n, f) and covariances (b, s, c, c, f) of its stems.

    Args:
        spectrum: complex.
        powers: not negative, in any unit.
        covariances: complex, of unit power.
        small: in the unit of `powers`, what is added to the mixture's covariance so that it can be inverted; None for a
            small share of that covariance itself.

    Returns:
        complex stem spectrograms (b, s, c, n, f), which sum to the mixture but for `small`.
    """
    spread = (powers[:, :, None, None] * covariances[:, :, :, :, None]).sum(1)  # (b, c, c, n, f)
    channels = spread.diagonal(dim1=1, dim2=2)  # (b, n, f, c)
    if small is None:
        floor = SMALL * channels.real.mean(-1, keepdim=True) + torch.finfo(powers.dtype).tiny ** 0.5
        channels += floor
    else:
        channels += small
    whitened = _solve(spread, spectrum)
    return powers[:, :, None] * (covariances[:, :, :, :, None] * whitened[:, None, None]).sum(3)


def _solve(matrices: Tensor, vectors: Tensor) -> Tensor:
    """x of A x = y, for matrices A (b, c, c, n, f) and y (b, c, n, f); in closed form up to stereo."""
    if vectors.shape[1] == 1:
        return vectors / matrices[:, 0]
    if vectors.shape[1] > 2:
        last = torch.linalg.solve(matrices.movedim((1, 2), (-2, -1)), vectors.movedim(1, -1))
        return last.movedim(-1, 1)
    (a, b), (c, d) = (row.unbind(1) for row in matrices.unbind(1))
    left, right = vectors.unbind(1)
    return torch.stack([d * left - b * right, a * right - c * left], 1) / (a * d - b * c)[:, None]
