import itertools
import math

import numpy as np
import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from tests.bench.conftest import Halves
from tests.small import STEMS, write_songs
from tfswa_unet import models
from tfswa_unet.bench import trial
from tfswa_unet.bench.settings import ContestSetting
from tfswa_unet.bench.trial import RATE, batches, prepare, score_songs, to_score, train
from tfswa_unet.data import load_tracks
from tfswa_unet.dsp import istft
from tfswa_unet.errors import ModelError
from tfswa_unet.losses import WeightedLoss, objective

L1 = {"waveform_l1": {"weight": 1.0}}


def _clock(monkeypatch, step):
    times = itertools.count(0, step)
    monkeypatch.setattr(trial.time, "perf_counter", lambda: next(times))


def test_training_stops_with_the_clock_and_learns(monkeypatch, halves):
    stems = torch.randn(2, 1, 2, 100) * torch.tensor([1.0, 0.5, 0.25, 0.0])[:, None, None]
    _clock(monkeypatch, 0.1)
    trained = train(halves, itertools.repeat(stems), L1, 0.05, 1.0, "halves")
    assert trained["steps"] == 600
    assert trained["seconds"] == pytest.approx(60)
    assert trained["audio_seconds"] == pytest.approx(600 * 2 * 100 / 44_100)
    assert trained["segments_per_second"] == pytest.approx(20)
    assert trained["bad_steps"] == 0
    # All stems are shares of one noise, so that the best number of each is its share of the sum.
    assert halves.network.weight.flatten().tolist() == pytest.approx([1 / 1.75, 0.5 / 1.75, 0.25 / 1.75, 0], abs=0.02)


def test_steps_without_a_finite_gradient_are_left_out(monkeypatch, halves):
    good, bad = torch.ones(1, 4, 2, 8), torch.full((1, 4, 2, 8), torch.nan)
    before = halves.network.weight.detach().clone()
    _clock(monkeypatch, 1.0)
    trained = train(halves, iter([bad] * 3), L1, 0.1, 0.05, "halves")
    assert (trained["steps"], trained["bad_steps"]) == (3, 3)
    assert torch.equal(halves.network.weight, before)
    train(halves, iter([good]), L1, 0.1, 1 / 60, "halves")
    assert not torch.equal(halves.network.weight, before)
    with pytest.raises(ModelError, match="halves: 20 steps in a row had no finite gradient: lower its learning rate"):
        train(halves, itertools.repeat(bad), L1, 0.1, 1.0, "halves")


def test_ours_is_trained_on_its_own_spectra(small_presets):
    model = models.build(models.preset("tfswa_tiny", ("vocals", "drums", "bass", "other")))
    stems = torch.randn(1, 4, 2, 2_000)
    spectra = model.spectra(stems.sum(dim=1))
    loss, _ = objective(model, WeightedLoss(L1), stems, 0)
    config = model.model_config
    expected = (istft(spectra, config.n_fft, config.hop, 2_000) - stems).abs().mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    plain = Halves(model.stems)
    expected = (plain(stems.sum(dim=1)) - stems).abs().mean()
    loss, _ = objective(plain, WeightedLoss(L1), stems, 0)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_rate_warms_up_and_ends_at_nothing(monkeypatch, halves):
    rates = []
    hook = register_optimizer_step_pre_hook(lambda optimizer, *_: rates.append(optimizer.param_groups[0]["lr"]))
    _clock(monkeypatch, 0.1)
    try:
        train(halves, itertools.repeat(torch.ones(1, 4, 2, 8)), L1, 2.0, 1.0, "halves")
    finally:
        hook.remove()
    cosines = [0.5 * (1 + math.cos(math.pi * step / 600)) for step in range(600)]
    assert rates == pytest.approx([2.0 * min(1, (step + 1) / 30) * cosines[step] for step in range(600)])


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


@pytest.mark.parametrize(("splits", "scored"), [(("valid", "test"), "test"), (("valid",), "valid")])
def test_of_a_data_set_the_first_songs_that_test_are_scored_or_else_that_validate(tmp_path, splits, scored):
    songs = [("train", "a"), ("train", "b"), *((split, f"{split} {k}") for split in splits for k in range(3))]
    root = write_songs(tmp_path / "own", songs, samples=4_410)
    found = prepare(ContestSetting(dataset=str(root), test_songs=2, threads=1))
    assert [track.name for track in found.train] == ["a", "b"]
    assert [song.track.name for song in found.test] == [f"{scored} 0", f"{scored} 1"]


def test_batches_are_the_same_for_everyone(songs):
    tracks = load_tracks("musdb18hq", songs, "train")
    settings = (ContestSetting(batch=2, segment=0.1, workers=0, seed=seed) for seed in (0, 0, 1))
    first, second, other = (batches(tracks, setting) for setting in settings)
    one, two = next(first), next(second)
    assert one.shape == (2, len(STEMS), 2, RATE // 10)
    assert torch.equal(one, two)
    assert torch.equal(next(first), next(second))
    assert not torch.equal(one, next(other))
