"""Multichannel Wiener filter of estimated stems: its formula, what it gains, and where it could break."""

import numpy as np
import pytest
import torch

from tfswa_unet.dsp import istft, stft, wiener_filter
from tfswa_unet.dsp.wiener import HOP, N_FFT, POWER, SMALL
from tfswa_unet.evaluation.metrics import sdr

T = 3 * N_FFT + 77


def panned(channels, stems=3, seed=0):
    """Stems (1, s, c, t) of noise, each with gains of its own, and the sum of all but what is left out of the last."""
    generator = torch.Generator().manual_seed(seed)
    gains = torch.rand(1, stems, channels, 1, generator=generator) + 0.1
    return gains * torch.randn(1, stems, 1, T, generator=generator)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_the_filter_is_its_formula(channels):
    torch.manual_seed(0)
    stems = panned(channels) + 0.3 * torch.randn(1, 3, channels, T)
    mixture = stems.sum(1) + 0.1 * torch.randn(1, channels, T)
    rest = mixture - stems.sum(1)
    sources = stft(torch.cat([stems[0], rest]).double(), N_FFT, HOP).numpy()
    x = stft(mixture[0].double(), N_FFT, HOP).numpy()
    powers = np.mean(np.abs(sources) ** 2, axis=1)
    r = np.einsum("sinf,sjnf->sfij", sources, sources.conj()) / powers.sum(1)[..., None, None]
    weights = powers**POWER
    total = np.einsum("snf,sfij->nfij", weights, r)
    mean = np.trace(total, axis1=-2, axis2=-1).real / channels
    whitened = np.linalg.solve(
        total + SMALL * mean[..., None, None] * np.eye(channels), x.transpose(1, 2, 0)[..., None]
    )[..., 0]
    ours = wiener_filter(mixture, stems)[0]
    for stem in range(3):
        expected = np.einsum("fij,nfj->inf", r[stem], whitened) * weights[stem]
        torch.testing.assert_close(
            ours[stem], istft(torch.from_numpy(expected), N_FFT, HOP, T).float(), atol=2e-3, rtol=1e-3
        )


def test_stems_in_different_directions_gain():
    envelopes = torch.rand(1, 3, 1, T // 500 + 1, generator=torch.Generator().manual_seed(0)).square()
    stems = panned(2) * envelopes.repeat_interleave(500, dim=-1)[..., :T]
    mixture = stems.sum(1)
    powers = stft(stems, N_FFT, HOP).abs().square().mean(2, keepdim=True)
    # One mask for both channels, as it were a network's.
    masked = istft(powers / powers.sum(1, keepdim=True) * stft(mixture, N_FFT, HOP)[:, None], N_FFT, HOP, T)
    before, after = (
        torch.stack([sdr(true, one) for true, one in zip(stems[0], each[0], strict=True)]).mean()
        for each in (masked, wiener_filter(mixture, masked))
    )
    assert after > before + 1


def test_a_batch_is_its_examples():
    stems = torch.cat([panned(2), 0.01 * panned(2, seed=1)])
    both = wiener_filter(stems.sum(1), stems)
    for one, alone in zip(both, stems, strict=True):
        torch.testing.assert_close(one, wiener_filter(alone.sum(0)[None], alone[None])[0], atol=1e-6, rtol=1e-4)


def test_one_direction_alone_stays_finite_and_sums_to_the_mixture():
    stems = panned(1).expand(-1, -1, 2, -1)
    mixture = stems.sum(1)
    result = wiener_filter(mixture, stems)
    # The floor of −40 dB takes 5e-5 of it away.
    torch.testing.assert_close(result.sum(1), mixture, atol=2e-3, rtol=1e-3)
    of_mono = wiener_filter(mixture[:, :1], stems[:, :, :1])
    torch.testing.assert_close(result, of_mono.expand_as(result), atol=5e-3, rtol=0)


@pytest.mark.parametrize("length", [1, 2, T])
def test_silence_is_silent_and_short_audio_has_its_length(length):
    silent = torch.zeros(1, 4, 2, length)
    assert torch.equal(wiener_filter(silent.sum(1), silent), silent)
    assert wiener_filter(torch.ones(1, 2, length), silent + 0.25).isfinite().all()


def test_the_level_does_not_matter():
    stems = panned(2)
    quiet = wiener_filter(1e-4 * stems.sum(1), 1e-4 * stems)
    torch.testing.assert_close(1e4 * quiet, wiener_filter(stems.sum(1), stems), atol=1e-3, rtol=1e-3)
