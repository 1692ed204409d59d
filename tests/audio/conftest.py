from __future__ import annotations

from itertools import chain

import pytest
import soundfile

from tests.audio.sounds import chirp, ffmpeg

# What the decoders meet in the wild: name → FFmpeg's arguments.
ENCODINGS = {
    "cbr.mp3": "-c:a libmp3lame -b:a 320k",
    "reservoir.mp3": "-c:a libmp3lame -b:a 32k -ac 1",
    "vbr.mp3": "-c:a libmp3lame -q:a 4",
    "uncounted.mp3": "-c:a libmp3lame -q:a 2 -write_xing 0",
    "half_rate.mp3": "-c:a libmp3lame -b:a 48k -ar 22050",
    "song.m4a": "-c:a aac -aac_pns 0 -b:a 160k",
    "fast_start.m4a": "-c:a aac -aac_pns 0 -movflags +faststart",
    "bare.aac": "-c:a aac -aac_pns 0",
    "lossless.m4a": "-c:a alac -sample_fmt s32p",
    "song.opus": "-c:a libopus -ar 48000",
    "song.ogg": "-c:a libvorbis",
    "flac_in.ogg": "-c:a flac",
    "song.flac": "-c:a flac",
    "24.flac": "-c:a flac -sample_fmt s32",
    "song.mka": "-c:a aac -aac_pns 0",
    "8.wav": "-c:a pcm_u8",
    "16.wav": "-c:a pcm_s16le",
    "24.wav": "-c:a pcm_s24le",
    "32.wav": "-c:a pcm_s32le",
    "float.wav": "-c:a pcm_f32le",
    "double.wav": "-c:a pcm_f64le",
    "adpcm.wav": "-c:a adpcm_ms",
    "song.aiff": "-c:a pcm_s16be",
}


@pytest.fixture(scope="session")
def encoded(tmp_path_factory):
    """A folder that holds one chirp of 4 s in every encoding."""
    folder = tmp_path_factory.mktemp("encoded")
    soundfile.write(folder / "source.wav", chirp(4.0031).T, 44100, subtype="FLOAT")
    outputs = [[*arguments.split(), folder / name] for name, arguments in ENCODINGS.items()]
    ffmpeg("-i", folder / "source.wav", *chain.from_iterable(outputs))
    return folder
