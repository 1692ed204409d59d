from __future__ import annotations

import numpy as np
import pytest
import torch

from tfswa_unet.errors import ConfigError
from tfswa_unet.inference.overlap_add import Cutter, Joiner, Segmentation

LENGTHS = [1, 2, 63, 64, 65, 99, 100, 101, 149, 150, 151, 152, 200, 997]
VALUES = [(100, 0, 0), (100, 50, 0), (100, 50, 25), (100, 30, 7), (101, 33, 16), (1, 0, 0)]
SEGMENTATIONS = [Segmentation(*values) for values in VALUES]


def cut(blocks, segmentation):
    cutter = Cutter(segmentation)
    for block in blocks:
        yield from cutter.push(block)
    yield from cutter.flush()


def join(outputs, segmentation):
    joiner = Joiner(segmentation)
    for output in outputs:
        yield joiner.push(torch.from_numpy(output.copy())).numpy()
    if (rest := joiner.flush()) is not None:
        yield rest.numpy()


def through(audio, segmentation, model=lambda segment: segment, block=None):
    """Cut, apply a model to each segment, join."""
    size = block or audio.shape[1]
    blocks = (audio[:, i : i + size] for i in range(0, audio.shape[1], size))
    outputs = (model(s.audio)[..., s.skip : s.skip + s.length] for s in cut(blocks, segmentation))
    return np.concatenate(list(join(outputs, segmentation)), axis=-1)


@pytest.mark.parametrize("segmentation", SEGMENTATIONS)
def test_identity_reproduces_every_length_exactly(segmentation):
    for length in LENGTHS:
        audio = np.random.default_rng(length).standard_normal((2, length)).astype(np.float32)
        np.testing.assert_array_equal(through(audio, segmentation), audio)


@pytest.mark.parametrize("segmentation", SEGMENTATIONS)
@pytest.mark.parametrize("block", [1, 7, 100, 151])
def test_blocks_of_any_size_give_the_same_samples(segmentation, block):
    audio = np.random.default_rng(1).standard_normal((1, 443)).astype(np.float32)
    numbers = iter(range(1000)), iter(range(1000))  # a model that gives every segment another gain
    whole = through(audio, segmentation, lambda segment: segment * next(numbers[0]))
    streamed = through(audio, segmentation, lambda segment: segment * next(numbers[1]), block)
    np.testing.assert_array_equal(streamed, whole)


def test_what_lies_in_the_context_is_never_heard():
    segmentation = Segmentation(100, 40, 15)

    def spoiled(segment):
        output = segment.copy()
        output[:, :15] = output[:, -15:] = 1e6
        return output

    audio = np.ones((1, 1000), np.float32)
    joined = through(audio, segmentation, spoiled)
    # Only the ends of the stream, which no neighbour covers, show what the model gave there.
    assert (joined[:, 15:-15] == 1).all()
    assert (joined[:, :15] == 1e6).all()
    assert (joined[:, -15:] == 1e6).all()


def test_neighbours_are_cross_faded_with_hann_weights():
    segmentation = Segmentation(100, 40, 10)
    numbers = iter((0.0, 1.0))
    joined = through(np.ones((1, 160), np.float32), segmentation, lambda segment: segment * next(numbers))[0]
    rise = np.sin(np.pi / 2 * (np.arange(20) + 0.5) / 20) ** 2
    np.testing.assert_allclose(joined, np.concatenate([np.zeros(70), rise, np.ones(70)]), atol=1e-6)


def test_every_segment_is_full_of_audio_when_there_is_enough():
    audio = np.arange(1, 252, dtype=np.float32)[None]
    segments = list(cut([audio], Segmentation(100, 20, 5)))
    assert [s.audio[0, 0] for s in segments] == [1, 81, 152]
    assert all((s.audio != 0).all() and s.audio.shape == (1, 100) for s in segments)
    assert [(s.skip, s.length) for s in segments] == [(0, 100), (0, 100), (9, 91)]


def test_short_audio_is_filled_with_silence_and_nothing_gives_nothing():
    (segment,) = cut([np.ones((2, 30), np.float32)], Segmentation(100, 20, 5))
    assert segment.audio[:, :30].all()
    assert not segment.audio[:, 30:].any()
    assert (segment.skip, segment.length) == (0, 30)
    assert list(cut([], Segmentation(100, 20, 5))) == []
    assert list(join([], Segmentation(100, 20, 5))) == []


def test_cutting_holds_no_more_than_two_segments_and_a_block():
    segmentation, taken, given = Segmentation(100, 20, 5), 0, 0

    def blocks():
        nonlocal taken
        for _ in range(200):
            taken += 10
            yield np.zeros((1, 10), np.float32)

    for segment in cut(blocks(), segmentation):
        given += segmentation.hop
        assert taken <= given + segmentation.size + 10
        assert segment.audio.base is None or segment.audio.base.size <= 2 * segmentation.size + 10


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ((0, 0, 0), "a segment of 0 samples is empty"),
        ((100, 51, 0), "overlap of 51 samples must lie between 0 and half of the segment's 100"),
        ((100, -1, 0), "overlap of -1 samples"),
        ((100, 40, 21), "context of 21 samples at both sides must fit into the overlap of 40"),
    ],
)
def test_impossible_segmentations_are_refused(values, sentence):
    with pytest.raises(ConfigError, match=sentence):
        Segmentation(*values)
