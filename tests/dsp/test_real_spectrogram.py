import pytest
import torch

from tfswa_unet.dsp import Parts, RealFFT, RealTransform, frames, istft, level, stft

EXACT = torch.float64


@pytest.mark.parametrize("n_fft", [2, 8, 96, 250, 1024, 2048])
def test_the_transform_of_frames_is_torchs(n_fft):
    x = torch.randn(3, 2, n_fft, dtype=EXACT)
    fft = RealFFT(n_fft, EXACT)
    assert torch.allclose(torch.complex(*fft(x)), torch.fft.rfft(x), atol=1e-10)
    assert torch.allclose(fft.inverse(*fft(x)), x, atol=1e-10)


@pytest.mark.parametrize(("n_fft", "hop", "multiple"), [(2048, 512, 16), (2048, 441, 32), (96, 48, 1), (128, 24, 4)])
@pytest.mark.parametrize("length", [1, 95, 3_001, 8_192])
def test_spectrograms_are_those_of_stft(n_fft, hop, multiple, length):
    x = torch.randn(2, 2, length, dtype=EXACT)
    theirs, ours = stft(x, n_fft, hop), RealTransform(n_fft, hop, multiple, EXACT).analyse(x)
    n = frames(length, hop)
    assert ours.shape[2] == -(-n // multiple) * multiple
    assert torch.allclose(torch.complex(ours.real, ours.imag)[:, :, :n], theirs, atol=1e-10)


def test_stft_is_torchs_too():
    x = torch.randn(2, 3_001, dtype=EXACT)
    window = torch.hann_window(128, dtype=EXACT)
    theirs = torch.stft(x, 128, 24, window=window, pad_mode="constant", return_complex=True).mT
    ours = RealTransform(128, 24, 1, EXACT).analyse(x[None])
    assert torch.allclose(torch.complex(ours.real, ours.imag)[0], theirs, atol=1e-10)


@pytest.mark.parametrize("length", [1, 23, 3_001])
def test_any_spectrogram_comes_back_as_istft_has_it(length):
    n = frames(length, 24)
    spectrum = torch.randn(2, 3, n, 65, dtype=torch.complex128)
    filled = torch.cat([spectrum, torch.randn(2, 3, -n % 16, 65, dtype=torch.complex128)], 2)  # no part of the waveform
    ours = RealTransform(128, 24, 16, EXACT).synthesise(Parts(filled.real, filled.imag), length)
    spectrum.imag[..., [0, -1]] = 0  # which no real signal has, and torch's FFT passes over
    assert torch.allclose(ours, istft(spectrum, 128, 24, length), atol=1e-10)


@pytest.mark.parametrize("length", [1, 23, 3_001])
def test_levels_are_those_of_whole_waveforms(length):
    x = torch.randn(3, 2, length, dtype=EXACT) * torch.tensor([1, 0.1, 0]).view(3, 1, 1)
    ours = RealTransform(128, 24, 16, EXACT).level(x)
    assert torch.allclose(ours, level(x).double(), rtol=1e-6, atol=0)


def test_maps_end_with_the_waveform():
    maps = RealTransform(128, 32, 4).within(torch.ones(1, 1, 8, 3), 5 * 32)
    assert maps[0, 0, :, 0].tolist() == [1, 1, 1, 1, 1, 1, 0, 0]


def test_parts_calculate_as_complex_numbers_do():
    a, b = torch.randn(2, 2, 3, 4, dtype=torch.complex128).unbind()
    a[0, 0, 0] = 0
    real = torch.randn(2, 3, 4, dtype=EXACT)
    p, q = Parts(a.real, a.imag), Parts(b.real, b.imag)
    for ours, theirs in [
        (p * q, a * b),
        (p * real, a * real),
        (real * p, real * a),
        (p + q, a + b),
        (p - q, a - b),
        (p / 3, a / 3),
        (p.sgn(), a.sgn()),
        (p.sum(1, keepdim=True), a.sum(1, keepdim=True)),
        (p[:, None, 1:], a[:, None, 1:]),
    ]:
        assert torch.allclose(torch.complex(ours.real, ours.imag), theirs, atol=1e-12)
    assert torch.allclose(p.abs(), a.abs())
    assert p.is_complex()
