"""Spectrograms of blocks are those of the whole, as soon as they can be."""

import pytest
import torch

from tfswa_unet.dsp import StreamTransform, istft, stft

N_FFT, HOP = 64, 16


def streamed(signal, size, n_fft, hop):
    """Frames and samples that come of blocks of so many samples, and how late the samples were at most."""
    transform, spectra, samples, late, given = StreamTransform(n_fft, hop), [], [], 0, 0
    for start, block in zip(range(0, signal.shape[-1], size), signal.split(size, -1), strict=True):
        late = max(late, start + block.shape[-1] - given)
        spectra.append(transform.analyse(block))
        samples.append(transform.synthesise(spectra[-1])) if spectra[-1].shape[-2] else None
        given = sum(each.shape[-1] for each in samples)
    spectra.append(transform.ending())
    samples.append(transform.rest(spectra[-1]))
    return torch.cat(spectra, -2), torch.cat(samples, -1), late


@pytest.mark.parametrize(("n_fft", "hop"), [(64, 16), (64, 32), (60, 17)])
@pytest.mark.parametrize("length", [1, 15, 16, 63, 64, 65, 1_000])
@pytest.mark.parametrize("size", [1, 7, 16, 2_000])
def test_frames_and_samples_are_those_of_the_whole(n_fft, hop, length, size):
    signal = torch.randn(2, length, dtype=torch.float64)
    spectrum, samples, late = streamed(signal, size, n_fft, hop)
    assert torch.allclose(spectrum, stft(signal, n_fft, hop), atol=1e-12)
    assert samples.shape == signal.shape
    assert torch.allclose(samples, signal, atol=1e-12)
    assert late <= n_fft - 1 + size


def test_any_spectrogram_comes_back_as_istft_has_it():
    signal, change = torch.randn(2, 777, dtype=torch.float64), torch.rand(2, 777 // HOP + 1, N_FFT // 2 + 1)
    transform, parts, done = StreamTransform(N_FFT, HOP), [], 0
    for block in signal.split(100, -1):
        spectrum = transform.analyse(block)
        parts.append(transform.synthesise(spectrum * change[:, done : done + spectrum.shape[-2]]))
        done += spectrum.shape[-2]
    parts.append(transform.rest(transform.ending() * change[:, done:]))
    expected = istft(stft(signal, N_FFT, HOP) * change, N_FFT, HOP, 777)
    assert torch.allclose(torch.cat(parts, -1), expected, atol=1e-12)
