"""The five-stream file that stempeg carries, against stempeg's own decode by FFmpeg's command."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from tfswa_unet import audio
from tfswa_unet.errors import AudioError


@pytest.fixture(scope="module")
def stem_file():
    spec = find_spec("stempeg")
    assert spec is not None
    assert spec.origin is not None
    return next((Path(spec.origin).parent / "data").glob("*.stem.mp4"))


def test_all_streams_agree_with_stempeg(stem_file):
    import stempeg

    theirs, rate = stempeg.read_stems(str(stem_file), dtype=np.float32)
    for stream, reference in enumerate(theirs):
        info = audio.probe(stem_file, stream)
        ours = audio.read(stem_file, stream=stream)
        assert (info.streams, info.rate, info.channels, info.codec) == (5, rate, 2, "aac")
        assert ours.shape == reference.T.shape == (2, info.length)
        np.testing.assert_allclose(ours, reference.T, atol=1e-4)
    with pytest.raises(AudioError, match="has 5 audio streams, so stream 5 does not exist: choose a number up to 4"):
        audio.read(stem_file, stream=5)


def test_crops_and_blocks_of_a_stem_are_exact(stem_file):
    for stream in (0, 4):
        whole = audio.read(stem_file, stream=stream)
        for start in (0, 1023, 5000, 100_001, 260_000):
            np.testing.assert_array_equal(audio.read(stem_file, start, 7000, stream), whole[:, start : start + 7000])
        np.testing.assert_array_equal(np.concatenate(list(audio.blocks(stem_file, 30_000, stream)), axis=1), whole)


def test_the_mixture_is_close_to_the_sum_of_its_stems(stem_file):
    mixture, *stems = (audio.read(stem_file, stream=stream) for stream in range(5))
    error = np.mean((mixture - sum(stems)) ** 2) / np.mean(mixture**2)
    assert error < 0.05
