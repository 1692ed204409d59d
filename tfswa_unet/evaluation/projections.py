"""BSSEval version 4: estimates projected on the true stems by filters fitted to the whole track.

Source: doi:10.1007/978-3-319-93764-9_28; museval.metrics.bss_eval, whose numbers these are.
"""

from __future__ import annotations

import torch
from scipy.fft import next_fast_len
from torch import Tensor
from torch.fft import irfft, rfft

from tfswa_unet.evaluation.metrics import windowed_sdr, windows
from tfswa_unet.evaluation.toeplitz import solve

TAPS = 512  # of the filters
BLOCK = 16  # times as long as the filters are the transforms that correlate whole tracks
AT_ONCE = 1 << 16  # samples per channel in the windows that are transformed at once: what a cache holds
EPSILON = torch.finfo(torch.float64).eps  # what museval adds to the diagonal
# A channel is a multiple of others where no more than this of its energy differs: float64 sees no less.
DEPENDENT = 1e-14


def bss_eval(references: Tensor, estimates: Tensor, window: int, hop: int, taps: int = TAPS) -> Tensor:
    """SDR, ISR, SIR and SAR of BSSEval version 4 (images, time-invariant filters), window by window.

    An estimate is the true stem, and three errors. The filters of `taps` taps that bring all channels of its own stem
    nearest to it over the whole track give the spatial error, those of all stems the interference; the rest are
    artifacts. In each window, cut out of the track before it is filtered, the ratios are, of energies,

        SDR  true / (spatial + interference + artifacts)        ISR  true / spatial
        SIR  (true + spatial) / interference                    SAR  (true + spatial + interference) / artifacts

    Windows and NaN are those of `windowed_sdr` with museval's rule for silence; a ratio whose error is 0 is +inf.
    Everything is computed in float64 on the device of `references`.

    Args:
        references: the true stems, (s, c, t).
        estimates: as `references`.
        window: samples.
        hop: samples between the starts of windows.
        taps: length of the filters in samples.

    Returns:
        SDR, ISR, SIR, SAR in dB, float64, (s, 4, windows).
    """
    length = references.shape[-1]
    of_own, of_all = projection_filters(references, estimates, taps)
    count, window = windows(length, window, hop), min(window, length)
    fft = 2 * next_fast_len((window + taps) // 2, real=True)
    own, rest = _responses(of_own, of_all, fft)
    together = max(1, AT_ONCE // fft)
    scores = []
    for first in range(0, count, together):
        last = min(first + together, count) - 1
        stretch = slice(first * hop, last * hop + window)
        true, estimate = references[..., stretch], estimates[..., stretch]
        energies = _energies(true, estimate, own, rest, window, hop, fft)
        ratios = torch.where(energies[1] == 0, torch.inf, 10 * torch.log10(energies[0] / energies[1]))
        sdr = windowed_sdr(true, estimate, window, hop, museval_nan=True)
        scores.append(torch.cat([sdr[None], ratios.masked_fill(sdr.isnan(), torch.nan)]))
    return torch.cat(scores, dim=-1).movedim(0, 1)


def projection_filters(references: Tensor, estimates: Tensor, taps: int) -> tuple[Tensor, Tensor]:
    """Filters that bring the true stems nearest to each estimate over the whole track, by least squares.

    The normal equations hold correlations of channels delayed by 0 … taps − 1 samples. They are the same for every
    estimate, so that one factorisation serves them all. Channels that are multiples of others get no filter.

    Args:
        references: (s, c, t).
        estimates: (s, c, t).
        taps: length of the filters in samples.

    Returns:
        float64 filters to the channels of the estimates: from the channels of the own stem, (s, c, c, taps), and from
        those of all stems, (s·c, s·c, taps); the estimates' channels come first.
    """
    s, c, _ = references.shape
    all_channels = s * c
    found = correlations(references.flatten(0, 1), estimates.flatten(0, 1), taps)
    among, across = found.split(all_channels, dim=1)
    own = torch.stack([_fit(among[i, i], across[i, i]) for i in _blocks(s, c)])
    if s == 1:
        return own, own[0]
    return own, _fit(among, across)


def correlations(references: Tensor, estimates: Tensor, taps: int) -> Tensor:
    """Correlations of channels over the whole track: Σ_t x_i(t) y_j(t + lag) at lags of 0 … taps − 1 samples.

    Args:
        references: x, (c, t).
        estimates: further channels, (c, t).
        taps: number of lags.

    Returns:
        float64 (c, 2c, taps); y are the references, and after them the estimates.
    """
    channels, length = references.shape
    fft = BLOCK * taps
    block = fft - taps + 1
    shape = channels, channels + len(estimates), fft // 2 + 1
    total = torch.zeros(shape, dtype=torch.complex128, device=references.device)
    for start in range(0, length, block):
        reach = slice(start, start + fft)
        ahead = torch.cat([references[:, reach], estimates[:, reach]]).double()
        here = rfft(ahead[:channels, :block], n=fft)
        total.addcmul_(here.conj()[:, None], rfft(ahead, n=fft))
    return irfft(total, n=fft)[..., :taps]


def independent(covariance: Tensor) -> list[int]:
    """Channels that are no multiples of those before them, nor sums of such, by their covariance (c, c)."""
    kept: list[int] = []
    left = covariance.cpu().clone()
    energies = left.diagonal().clone()
    for channel, energy in enumerate(energies.tolist()):
        own = left[channel, channel].item()
        if own > DEPENDENT * energy:
            kept.append(channel)
            left -= left[:, channel : channel + 1] * left[channel] / own
    return kept


def _fit(among: Tensor, across: Tensor) -> Tensor:
    """Filters (m, c, taps) from correlations (c, c, taps) of channels and (c, m, taps) of them with m estimates."""
    filters = torch.zeros_like(across)
    kept = independent(among[..., 0])
    if not kept:
        return filters.transpose(0, 1)
    energies = among[kept, kept, 0]
    scale = energies.rsqrt()  # channels of unit energy: no number depends on how loud they are
    correlation = among[kept][:, kept] * scale[:, None, None] * scale[:, None]
    correlation.diagonal()[0] += EPSILON / energies  # at a lag of 0
    filters[kept] = solve(correlation, across[kept] * scale[:, None, None]) * scale[:, None, None]
    return filters.transpose(0, 1)


def _responses(of_own: Tensor, of_all: Tensor, fft: int) -> tuple[Tensor, Tensor]:
    """Frequency responses of the filters that give the spatial error and the interference, of a channel's each."""
    s, c, _, _ = of_own.shape
    spatial, interference = of_own.clone(), of_all.clone()
    spatial.diagonal(dim1=1, dim2=2)[:, 0] -= 1
    for stem, i in enumerate(_blocks(s, c)):
        interference[i, i] -= of_own[stem]
    return rfft(spatial, n=fft), rfft(interference, n=fft)


def _energies(true: Tensor, estimate: Tensor, own: Tensor, rest: Tensor, window: int, hop: int, fft: int) -> Tensor:
    """Numerators and denominators of ISR, SIR and SAR, (2, 3, s, windows), by Parseval's theorem."""
    s, c, _ = true.shape
    true, estimate = (rfft(x.unfold(-1, window, hop).double(), n=fft) for x in (true, estimate))
    spatial = _filtered(own.movedim(2, 0), true.movedim(1, 0)[:, :, None])
    interference = _filtered(rest.movedim(1, 0), true.flatten(0, 1)).unflatten(0, (s, c))
    near = true + spatial
    both = near + interference
    parts = true, near, both, spatial, interference, estimate - both
    return torch.stack([_energy(part, fft) for part in parts]).unflatten(0, (2, 3))


def _filtered(responses: Tensor, spectra: Tensor) -> Tensor:
    """Sum over the first axis of responses (c, …, f) times spectra (c, …, windows, f): (…, windows, f)."""
    total = responses[0, ..., None, :] * spectra[0]
    for response, spectrum in zip(responses[1:], spectra[1:], strict=True):
        total.addcmul_(response[..., None, :], spectrum)
    return total


def _energy(spectrum: Tensor, fft: int) -> Tensor:
    """Energy (s, windows) of the real signals whose one-sided spectra are (s, c, windows, f), channels summed."""
    both_sides = 2 * torch.linalg.vector_norm(torch.view_as_real(spectrum), dim=(-2, -1)).square()
    once = spectrum[..., 0].abs().square() + spectrum[..., -1].abs().square()  # at 0 Hz and at half the rate
    return ((both_sides - once) / fft).sum(1)


def _blocks(stems: int, channels: int) -> list[slice]:
    return [slice(stem * channels, (stem + 1) * channels) for stem in range(stems)]
