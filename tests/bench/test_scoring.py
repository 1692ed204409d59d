import numpy as np
import pytest
import torch

from tests.small import STEMS
from tfswa_unet.bench.contest import score_songs
from tfswa_unet.bench.setting import RATE, batches, to_score
from tfswa_unet.data import load_tracks


def test_a_known_error_has_a_known_score(songs):
    tracks = to_score(load_tracks("musdb18hq", songs, "test"))
    truth = np.stack([tracks[0].sources[stem] for stem in STEMS])

    def separate(mixture):
        assert torch.equal(mixture, torch.from_numpy(tracks[0].mixture))
        return torch.from_numpy(truth * np.float32([0.9, 0.9, 0.5, 0.5])[:, None, None])

    scores = score_songs(tracks, separate, STEMS)
    expected = dict(zip(STEMS, (20.0, 20.0, 6.02, 6.02), strict=True), average=13.01)
    assert {stem: row["SDR"] for stem, row in scores.items()} == pytest.approx(expected, abs=0.01)
    assert {stem: row["uSDR"] for stem, row in scores.items()} == pytest.approx(expected, abs=0.01)


def test_the_mixture_as_estimate(songs):
    tracks = to_score(load_tracks("musdb18hq", songs, "test"))
    scores = score_songs(tracks, None, STEMS)
    source = tracks[0].sources["bass"].astype(np.float64)
    error = tracks[0].mixture - source
    seconds = [slice(start, start + RATE) for start in range(0, 3 * RATE, RATE)]
    frames = [10 * np.log10((source[:, s] ** 2).sum() / (error[:, s] ** 2).sum()) for s in seconds]
    whole = 10 * np.log10((source**2).sum() / (error**2).sum())
    assert scores["bass"]["SDR"] == pytest.approx(np.median(frames), abs=6e-4)
    assert scores["bass"]["uSDR"] == pytest.approx(whole, abs=6e-4)


def test_batches_are_the_same_for_everyone(songs):
    tracks = load_tracks("musdb18hq", songs, "train")
    first, second, other = (batches(tracks, 2, 0.1, seed, 0) for seed in (0, 0, 1))
    one, two = next(first), next(second)
    assert one.shape == (2, len(STEMS), 2, RATE // 10)
    assert torch.equal(one, two)
    assert torch.equal(next(first), next(second))
    assert not torch.equal(one, next(other))
