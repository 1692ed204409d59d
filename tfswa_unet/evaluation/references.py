"""Reference methods that estimates are compared with: the mixture itself, and masks and filters of the true stems."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from tfswa_unet.config import Registry
from tfswa_unet.dsp import apply_filter, istft, stft, stft_pieces
from tfswa_unet.evaluation.tracks import Audio, Stems
from tfswa_unet.types import MIXTURE

# Methods that know the true stems: the mixture and these → an estimate of each.
REFERENCES: Registry[Callable[[Audio, Stems], dict[str, Audio]]] = Registry("references")
N_FFT, HOP = 2048, 512  # samples; of all of them, with a Hann window
ALPHA = 1.0  # of magnitudes, in the ratio of the ideal ratio mask
SMALL = 1e-10  # of the mixture's mean power: what the Wiener filter adds to its covariance
# Whole songs in blocks, so that memory does not grow with the song; a multiple of the hop keeps the frames' grid.
BLOCK = 1024 * HOP


@REFERENCES.register(MIXTURE)
def mixture_as_estimate(mixture: Audio, targets: Stems) -> dict[str, Audio]:
    """The mixture (c, t) as the estimate of every stem: what doing nothing scores."""
    return dict.fromkeys(targets, mixture)


@REFERENCES.register("irm")
def ideal_ratio_mask(mixture: Audio, targets: Stems) -> dict[str, Audio]:
    """Ideal ratio mask, of the true magnitudes: what a mask with the mixture's phase can reach.

    Each stem is the mixture's STFT times |S|^α / Σ |S|^α, every channel by itself; Hann window of 2048, hop 512.
    α = 1 is the ratio of magnitudes, IRM1 of SiSEC 2018; the oracle script of that campaign takes α = 2, the ratio of
    powers, with hop 1024 unless told otherwise.

    Args:
        mixture: (c, t).
        targets: the true stems, each (c, t), which together make the mixture.

    Returns:
        stems (c, t) under the names of `targets`.

    Source: doi:10.1007/978-3-319-93764-9_28.
    """
    return _separated(mixture, targets, _ratios)


@REFERENCES.register("ibm")
def ideal_binary_mask(mixture: Audio, targets: Stems) -> dict[str, Audio]:
    """Ideal binary mask: a stem has those bins of the mixture in which it is louder than all others together.

    Bins with |S|² > |X − S|², a local criterion of 0 dB, every channel by itself; shapes and spectra as of
    `ideal_ratio_mask`. Stems need not sum to the mixture, as a bin may belong to none.

    Source: doi:10.1007/0-387-22794-6_12.
    """
    return _separated(mixture, targets, _louder)


@REFERENCES.register("mwf")
def multichannel_wiener(mixture: Audio, targets: Stems) -> dict[str, Audio]:
    """Multichannel Wiener filter with ideal powers and covariances: what a linear filter across channels can reach.

    Each stem j has a power v_j(n, f), the mean of its |S_j|² over channels, and for the whole track a spatial
    covariance R_j(f) = Σ_n S_j S_jᴴ / Σ_n v_j. Its estimate is v_j R_j (Σ_k v_k R_k)⁻¹ X, all stems summing to the
    mixture. Shapes and spectra as of `ideal_ratio_mask`; nothing is iterated.

    Source: doi:10.1109/TASL.2010.2050716.
    """
    covariances = _spatial_covariances(targets)
    small = SMALL * (float(np.square(mixture, dtype=np.float64).mean()) * N_FFT or 1.0)

    def filtered(spectrum: Tensor, stems: Tensor) -> Tensor:
        powers = stems.abs().square().mean(1).double()
        wide = spectrum.to(torch.complex128)
        return apply_filter(wide[None], powers[None], covariances[None], small)[0].to(spectrum)

    return _separated(mixture, targets, filtered)


def blocks(length: int) -> Iterator[tuple[slice, slice, slice]]:
    """Blocks of a signal whose STFT is changed: samples to read, those of them to keep, and these within the former."""
    for start in range(0, length, BLOCK):
        stop = min(start + BLOCK, length)
        # Frames that reach into the block need samples up to one window length beyond it.
        low, high = max(0, start - N_FFT), min(length, stop + N_FFT)
        yield slice(low, high), slice(start, stop), slice(start - low, stop - low)


def _separated(mixture: Audio, targets: Stems, separate: Callable[[Tensor, Tensor], Tensor]) -> dict[str, Audio]:
    """Stems that `separate` makes of the STFTs of mixture (c, n, f) and true stems (s, c, n, f)."""
    stacked = np.stack(list(targets.values()))
    estimate = np.empty_like(stacked)
    for read, kept, within in blocks(mixture.shape[-1]):
        spectrum, stems = (stft(torch.from_numpy(x[..., read]), N_FFT, HOP) for x in (mixture, stacked))
        estimate[..., kept] = istft(separate(spectrum, stems), N_FFT, HOP, read.stop - read.start).numpy()[..., within]
    return dict(zip(targets, estimate, strict=True))


def _ratios(mixture: Tensor, stems: Tensor) -> Tensor:
    weights = stems.abs() ** ALPHA
    return weights / (weights.sum(0) + torch.finfo(weights.dtype).tiny) * mixture


def _louder(mixture: Tensor, stems: Tensor) -> Tensor:
    return (stems.abs() > (mixture - stems).abs()) * mixture


def _spatial_covariances(targets: Stems) -> Tensor:
    """R(f) of each stem over the whole track, complex128 (s, c, c, f); zero where it is silent."""
    total, power = torch.zeros(()), torch.zeros(())
    for piece in stft_pieces(torch.from_numpy(np.stack(list(targets.values()))), N_FFT, HOP, BLOCK // HOP):
        stems = piece.to(torch.complex128)
        total = total + torch.einsum("sinf,sjnf->sijf", stems, stems.conj())
        power = power + stems.abs().square().mean(1).sum(1)
    return total / power.clamp_min(torch.finfo(power.dtype).tiny)[:, None, None]
