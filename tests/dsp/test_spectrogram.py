import numpy as np
import pytest
import scipy.signal
import torch

from tfswa_unet.dsp import (
    frames,
    istft,
    level,
    pieces,
    spectrogram,
    stack_subbands,
    stft,
    stft_pieces,
    unstack_subbands,
)


@pytest.mark.parametrize("shape", [(1,), (2, 511), (3, 2, 44_100), (2, 1, 2, 5_000)])
@pytest.mark.parametrize(("n_fft", "hop"), [(2048, 512), (2048, 441), (1024, 256)])
def test_round_trip(shape, n_fft, hop):
    waveform = torch.randn(shape)
    back = istft(stft(waveform, n_fft, hop), n_fft, hop, shape[-1])
    assert back.shape == waveform.shape
    assert (back - waveform).norm() / waveform.norm() < 1e-6


def test_frames_come_before_bins():
    spectrum = stft(torch.randn(2, 3, 10_000), 2048, 512)
    assert spectrum.shape == (2, 3, frames(10_000, 512), 1025)


def test_equals_scipy():
    waveform = torch.randn(8_192, dtype=torch.float64)
    ours = stft(waveform, 1024, 256)
    transform = scipy.signal.ShortTimeFFT(scipy.signal.windows.hann(1024, sym=False), 256, fs=1)
    theirs = transform.stft(waveform.numpy(), p0=0, p1=len(ours)).T
    # SciPy counts phase from the window's start, torch from its first sample too, both centred on sample p · hop.
    assert np.abs(np.abs(theirs) - ours.abs().numpy()).max() < 1e-9


def test_float32_under_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        spectrum = stft(torch.randn(2, 4_096).bfloat16(), 1024, 256)
    assert spectrum.dtype == torch.complex64


def _torch_stft(waveform, n_fft, hop):
    window = torch.hann_window(n_fft, dtype=waveform.dtype)
    options = {"window": window, "center": True, "pad_mode": "constant", "return_complex": True}
    return torch.stft(waveform, n_fft, hop, **options).transpose(-1, -2)


def _torch_istft(spectrum, n_fft, hop, length):
    window = torch.hann_window(n_fft, dtype=spectrum.real.dtype)
    return torch.istft(spectrum.transpose(-1, -2), n_fft, hop, window=window, center=True, length=length)


@pytest.mark.parametrize("length", [1, 63, 64, 1_000])
@pytest.mark.parametrize(("n_fft", "hop"), [(64, 16), (64, 32), (64, 13)])
@pytest.mark.parametrize("cached", [1, 2**16])
def test_values_and_gradients_equal_torchs(n_fft, hop, length, cached, monkeypatch):
    monkeypatch.setattr("tfswa_unet.dsp.spectrogram.CACHED", cached)
    torch.manual_seed(0)
    waveform = torch.randn(3, length, dtype=torch.float64, requires_grad=True)
    spectra = [f(waveform, n_fft, hop) for f in (stft, _torch_stft)]
    assert torch.allclose(*spectra, atol=1e-12)
    weight = torch.randn_like(spectra[0])
    gradients = [torch.autograd.grad((x * weight).real.sum(), waveform)[0] for x in spectra]
    assert torch.allclose(*gradients, atol=1e-12)

    spectrum = (spectra[0] * weight).detach().requires_grad_()
    waveforms = [f(spectrum, n_fft, hop, length) for f in (istft, _torch_istft)]
    assert torch.allclose(*waveforms, atol=1e-12)
    gradients = [torch.autograd.grad(x.pow(3).sum(), spectrum)[0] for x in waveforms]
    assert torch.allclose(*gradients, atol=1e-12)


@pytest.mark.parametrize(("threads", "rows"), [(1, 2), (3, 6)])
def test_pieces_cover_all_signals_once_and_fit_the_caches(threads, rows, monkeypatch):
    monkeypatch.setattr(spectrogram, "CACHED", 90)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    signals = torch.arange(7 * 40).view(7, 5, 8)
    parts = [signals[piece] for piece in pieces(signals)]
    assert torch.equal(torch.cat(parts), signals)
    assert [len(part) for part in parts[:-1]] == [rows] * (len(parts) - 1)


def test_a_signal_is_never_cut():
    assert pieces(torch.zeros(1).expand(2, spectrogram.CACHED * 1_000)) == [slice(0, 1), slice(1, 2)]


def test_other_devices_take_all_at_once():
    assert pieces(torch.zeros(2, spectrogram.CACHED * 1_000, device="meta")) == [slice(None)]


def test_root_mean_square_of_each_example():
    sine = torch.sin(torch.arange(44_100) * 0.1).expand(2, -1)
    levels = level(torch.stack([sine, 0.1 * sine]))
    assert torch.allclose(levels, torch.tensor([0.5**0.5, 0.1 * 0.5**0.5]), rtol=1e-3)


def test_silence_can_be_divided_by():
    silence = torch.zeros(1, 2, 100)
    assert torch.equal(silence / level(silence), silence)


def test_inverse_but_for_the_nyquist_bin():
    maps = torch.randn(2, 3, 7, 33)
    back = unstack_subbands(stack_subbands(maps, 4), 4)
    assert torch.equal(back[..., :-1], maps[..., :-1])
    assert torch.equal(back[..., -1], maps[..., -2])


def test_a_band_holds_neighbouring_bins():
    bins = torch.arange(33.0).expand(1, 2, 5, 33)
    bands = stack_subbands(bins, 4)
    assert bands.shape == (1, 8, 5, 8)
    assert torch.equal(bands[0, 1, 0], torch.arange(8.0, 16.0))
    assert torch.equal(bands[0, 4, 0], torch.arange(0.0, 8.0))


@pytest.mark.parametrize(("length", "count"), [(1, 4), (63, 1), (1000, 5), (1024, 16), (1024, 40)])
def test_pieces_of_a_spectrogram_are_those_of_the_whole(length, count):
    waveform = torch.randn(2, 3, length, dtype=torch.float64)
    pieces = list(stft_pieces(waveform, 64, 32, count))
    assert {piece.shape[-2] for piece in pieces[:-1]} <= {count}
    torch.testing.assert_close(torch.cat(pieces, dim=-2), stft(waveform, 64, 32))
