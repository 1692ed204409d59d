from __future__ import annotations

import io

import numpy as np
import pytest
import scipy.signal
import soundfile
import torch

from tests.data.augmentation.conftest import strong
from tfswa_unet.errors import ConfigError


def music(count: int, length: int, channels: int = 2) -> torch.Tensor:
    """Brown-ish noise (count, 1, c, t), which codecs keep, at half of full scale."""
    white = np.random.default_rng(0).standard_normal((count, 1, channels, length))
    brown = scipy.signal.lfilter([1], [1, -0.95], white)
    return torch.from_numpy(brown / np.abs(brown).max() / 2).float()


def error_db(before: torch.Tensor, after: torch.Tensor) -> float:
    return float(10 * torch.log10((after - before).square().mean() / before.square().mean()))


def delay(before: torch.Tensor, after: torch.Tensor) -> int:
    """Samples by which `after` comes later, where the cross-correlation is highest."""
    correlation = scipy.signal.correlate(after.numpy(), before.numpy(), method="fft")
    return int(correlation.argmax()) - (len(before) - 1)


@pytest.mark.parametrize(
    ("rate", "kbps", "length", "channels"),
    [
        (44_100, 128, 20_000, 2),
        (44_100, 40, 20_001, 2),  # frames too small for the note of the encoder's delay
        (48_000, 320, 1_152, 2),
        (32_000, 64, 9_999, 1),
        (22_050, 16, 12_345, 1),
        (24_000, 64, 3_000, 2),
        (8_000, 16, 8_000, 2),
    ],
)
def test_length_and_place_stay(rate, kbps, length, channels):
    stems = music(1, length, channels)
    result = strong("mp3", p=1.0, kbps=[kbps], rate=rate).train()(stems)
    assert result.shape == stems.shape
    assert delay(stems[0, 0, 0], result[0, 0, 0]) == 0
    assert -60 < error_db(stems, result) < -3


def test_fewer_bits_cost_more(generator):
    stems = music(1, 30_000)
    errors = [error_db(stems, strong("mp3", p=1.0, kbps=[kbps]).train()(stems)) for kbps in (40, 64, 128, 320)]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] - errors[3] > 10


def test_the_file_in_between_has_the_bit_rate_asked_for(monkeypatch):
    sizes = []
    read = soundfile.read
    monkeypatch.setattr(soundfile, "read", lambda f, **kw: sizes.append(len(f.getvalue())) or read(f, **kw))
    for rate, kbps in ((44_100, 40), (44_100, 160), (22_050, 24), (11_025, 56)):
        strong("mp3", p=1.0, kbps=[kbps], rate=rate).train()(music(1, 3 * rate))
        assert sizes[-1] * 8 / 3_000 == pytest.approx(kbps, rel=0.07)  # with a frame or two of padding


def test_it_is_what_soundfile_makes_of_a_file(tmp_path):
    stems = music(1, 20_000)
    file = io.BytesIO()
    soundfile.write(
        file, stems[0, 0].numpy().T, 44_100, format="MP3", bitrate_mode="CONSTANT", compression_level=(320 - 96) / 288
    )
    file.seek(0)
    expected, _ = soundfile.read(file, dtype="float32")
    assert torch.equal(strong("mp3", p=1.0, kbps=[96]).train()(stems)[0, 0], torch.from_numpy(expected.T))


def test_levels_above_full_scale_stay():
    stems = 20 * music(1, 20_000)
    result = strong("mp3", p=1.0, kbps=[192]).train()(stems)
    assert error_db(stems, result) < -15
    assert result.abs().max() > 0.9 * stems.abs().max()


def test_every_bit_rate_of_the_list_is_drawn(generator):
    results = strong("mp3", p=1.0, kbps=[64, 96, 192], generator=generator).train()(
        music(1, 4_000).expand(20, 1, 2, -1)
    )
    assert len(results.flatten(1).unique(dim=0)) == 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rate": 96_000}, r"rate of augmentation Mp3 is 96000, expected one of 8000, .* 48000 Hz, or mp3=null"),
        ({"kbps": [100]}, r"kbps of augmentation Mp3 is \[100\], expected some of 40, 48, .* 320 at 44100 Hz"),
        ({"kbps": [128], "rate": 8_000}, r"kbps of augmentation Mp3 is \[128\], expected some of 16, .* 64 at 8000 Hz"),
        ({"kbps": []}, r"kbps of augmentation Mp3 is \[\], "),
        ({"kbps": 128}, r"augmentation.mp3.kbps is 128, expected a list"),
    ],
)
def test_rates_that_mp3_lacks_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        strong("mp3", **settings)


def test_more_than_two_channels_are_refused():
    with pytest.raises(ConfigError, match="Mp3 got 3 channels, expected 1 or 2: set"):
        strong("mp3", p=1.0).train()(torch.ones(1, 1, 3, 100))


def test_a_library_without_mp3_is_named(monkeypatch):
    monkeypatch.setattr(soundfile, "available_formats", lambda: {"WAV": "x"})
    with pytest.raises(ConfigError, match=r"Mp3 needs a libsndfile that writes MP3, .*, got .*: update soundfile"):
        strong("mp3")
