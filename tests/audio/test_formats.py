from __future__ import annotations

import re

import numpy as np
import pytest

from tfswa_unet import audio
from tfswa_unet.errors import AudioError


def test_the_names_and_extensions():
    extensions = {name: each.extension for name, each in audio.FORMATS.items()}
    assert extensions == {
        "wav16": ".wav",
        "wav24": ".wav",
        "wav32f": ".wav",
        "flac16": ".flac",
        "flac24": ".flac",
        "mp3": ".mp3",
        "ogg": ".ogg",
        "opus": ".opus",
        "m4a": ".m4a",
    }
    assert [name for name, each in audio.FORMATS.items() if not each.lossless] == ["mp3", "ogg", "opus", "m4a"]


@pytest.mark.parametrize(
    ("format", "rate", "channels", "message"),
    [
        ("wma", 44100, 2, "'wma' is unknown: choose one of wav16, wav24, wav32f, flac16, flac24, mp3, ogg, opus, m4a"),
        ("opus", 44100, 2, "opus cannot hold 44100 Hz, only 8000, 12000, 16000, 24000, 48000 Hz: resample to one"),
        ("mp3", 96000, 2, "mp3 cannot hold 96000 Hz, only"),
        ("ogg", 4000, 2, "ogg cannot hold 4000 Hz, only 8000 to 192000 Hz"),
        ("flac24", 1_000_000, 2, "flac24 cannot hold 1000000 Hz"),
        ("mp3", 44100, 6, "mp3 holds 1 to 2 channels, not 6: choose wav32f or write fewer channels"),
        ("flac16", 44100, 9, "flac16 holds 1 to 8 channels, not 9"),
        ("wav16", 44100, 0, "not 0"),
    ],
)
def test_what_a_format_cannot_hold_is_refused(tmp_path, format, rate, channels, message):
    with pytest.raises(AudioError, match=re.escape(message)):
        audio.check_format(format, rate, channels)
    with pytest.raises(AudioError, match=re.escape(message)):
        audio.Writer(tmp_path / "a", rate, channels, format)
    assert not list(tmp_path.iterdir())


def test_what_is_allowed_can_be_written(tmp_path):
    for name, each in audio.FORMATS.items():
        rates = each.rates if isinstance(each.rates, tuple) else (8000, 22050, 96000, 192000)
        for rate in rates:
            most = min(each.most_channels, 8)
            for channels in (1, most):
                assert audio.check_format(name, rate, channels) is each
                path = tmp_path / f"{name}{rate}{each.extension}"
                audio.write(path, np.full((channels, 4000), 0.25, np.float32), rate, name)
                info = audio.probe(path)
                # Opus is always decoded at 48 kHz (RFC 7845, section 5.1).
                expected = 48000 if name == "opus" else rate
                assert (info.rate, info.channels, info.length) == (expected, channels, 4000 * expected // rate)
