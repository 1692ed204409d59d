from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
import torchaudio

from tests.audio.sounds import chirp
from tfswa_unet import audio
from tfswa_unet.errors import AudioError

RATES = [(48000, 44100), (44100, 48000), (96000, 44100), (22050, 44100), (44100, 16000), (8000, 44100)]


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.mark.parametrize(("source", "target"), RATES)
def test_the_whole_agrees_with_torchaudio_in_double_precision(source, target):
    sound = chirp(0.5, rate=source)
    reference = torchaudio.functional.resample(
        torch.from_numpy(sound).double(),
        source,
        target,
        lowpass_filter_width=64,
        rolloff=0.9475937167399596,
        resampling_method="sinc_interp_kaiser",
        beta=14.769656459379492,
    ).numpy()
    ours = audio.resample(sound, source, target)
    assert ours.dtype == np.float32
    assert ours.shape == (2, math.ceil(sound.shape[1] * target / source))
    np.testing.assert_allclose(ours, reference, atol=3e-6)


@pytest.mark.parametrize(("source", "target"), RATES)
def test_a_sine_stays_a_sine_at_its_place(source, target):
    frequency = 0.2 * min(source, target)
    sine = np.sin(2 * np.pi * frequency * np.arange(source // 2) / source)[np.newaxis].astype(np.float32)
    ours = audio.resample(sine, source, target)
    expected = np.sin(2 * np.pi * frequency * np.arange(ours.shape[1]) / target)
    assert np.abs(ours[0] - expected)[2000:-2000].max() < 2e-5


@pytest.mark.parametrize(("source", "target"), [*RATES, (44100, 44100)])
@pytest.mark.parametrize("length", [1, 100, 20_011])
@pytest.mark.parametrize("most", [50, 7000])
def test_streamed_equals_whole(source, target, length, most):
    sound = chirp(1, rate=44100)[:, :length]
    resampler = audio.StreamResampler(source, target, 2)
    generator = np.random.default_rng(length)
    pieces, start = [], 0
    while start < length:
        size = int(generator.integers(0, most))
        pieces.append(resampler.push(sound[:, start : start + size]))
        start += size
    pieces.append(resampler.flush())
    streamed = np.concatenate(pieces, axis=1)
    whole = audio.resample(sound, source, target)
    assert streamed.shape == whole.shape == (2, math.ceil(length * target / source))
    np.testing.assert_allclose(streamed, whole, atol=1e-5)


def test_the_stream_gives_its_output_along_the_way():
    resampler = audio.StreamResampler(48000, 44100, 1)
    given = 0
    for block in range(1, 21):
        given += resampler.push(np.zeros((1, 4800), np.float32)).shape[1]
        assert 4410 * block - 400 < given <= 4410 * block
    assert given + resampler.flush().shape[1] == 88200


def test_frequencies_above_the_new_band_are_removed():
    sine = np.sin(2 * np.pi * 21000 * np.arange(48000) / 48000)[np.newaxis].astype(np.float32)
    assert np.abs(audio.resample(sine, 48000, 32000))[:, 500:-500].max() < 1e-4


def test_impossible_rates_and_shapes_are_refused():
    with pytest.raises(AudioError, match="rates are at least 1 Hz"):
        audio.StreamResampler(44100, 0, 2)
    with pytest.raises(AudioError, match="from 48000 Hz to 47999 Hz, whose ratio is 47999/48000: resample to a common"):
        audio.resample(chirp(0.1), 48000, 47999)
    with pytest.raises(AudioError, match=r"shape \(3, 10\) was given, \(2, t\) is expected"):
        audio.StreamResampler(48000, 44100, 2).push(np.zeros((3, 10), np.float32))
    with pytest.raises(AudioError, match=r"\(c, t\) is expected"):
        audio.resample(np.zeros(10, np.float32), 48000, 44100)


def test_reading_audio_needs_neither_torch_nor_the_codecs_to_import():
    code = "import sys, tfswa_unet.audio; print({'torch', 'torchaudio', 'av', 'soundfile'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
