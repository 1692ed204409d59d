from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.conftest import noise
from tfswa_unet.data.reading import read_source
from tfswa_unet.errors import AudioError
from tfswa_unet.types import Source


@pytest.fixture
def files(tmp_path, write_wav):
    """Stereo of 400 samples, mono of 300, and both as they are."""
    stereo, mono = noise(0, 2, 400), noise(1, 1, 300)
    return Source(write_wav(tmp_path / "a.wav", stereo)), Source(write_wav(tmp_path / "b.wav", mono)), stereo, mono


def test_parts_are_summed_and_one_that_ended_is_silent(files):
    a, b, stereo, mono = files
    whole = stereo + np.pad(mono, ((0, 0), (0, 100)))
    both = replace(a, more=(replace(b, length=300),))
    np.testing.assert_array_equal(read_source(both), whole)
    np.testing.assert_array_equal(read_source(both, 250, 120), whole[:, 250:370])
    np.testing.assert_array_equal(read_source(both, 350, 50), stereo[:, 350:])


def test_a_stretch_begins_at_its_start(files):
    a, _, stereo, _ = files
    stretch = replace(a, start=100, length=50)
    np.testing.assert_array_equal(read_source(stretch), stereo[:, 100:150])
    np.testing.assert_array_equal(read_source(stretch, 20, 10), stereo[:, 120:130])
    np.testing.assert_array_equal(read_source(stretch, 40, 20)[:, 10:], 0)


def test_a_crop_past_the_end_is_refused_where_the_file_should_have_gone_on(files):
    with pytest.raises(AudioError, match="the file ends at sample 400"):
        read_source(files[0], 390, 20)
