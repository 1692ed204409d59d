import itertools
import math

import pytest
import torch

from tests.bench.conftest import Halves
from tfswa_unet import models
from tfswa_unet.bench import loop
from tfswa_unet.bench.loop import Training, rate, train
from tfswa_unet.dsp import istft
from tfswa_unet.errors import ModelError
from tfswa_unet.losses import WeightedLoss, objective

L1 = {"waveform_l1": {"weight": 1.0}}


def test_the_rate_warms_up_and_ends_at_nothing():
    assert rate(0, 0.02) == pytest.approx(0.1)
    assert rate(0.02, 0.02) == pytest.approx(0.5 * (1 + math.cos(0.02 * math.pi)))
    assert rate(0.5, 0.02) == pytest.approx(0.5)
    assert rate(1.2, 0.02) == pytest.approx(0)


def _clock(monkeypatch, step):
    times = itertools.count(0, step)
    monkeypatch.setattr(loop.time, "perf_counter", lambda: next(times))


def test_training_stops_with_the_clock_and_learns(monkeypatch, halves):
    stems = torch.randn(2, 1, 2, 100) * torch.tensor([1.0, 0.5, 0.25, 0.0])[:, None, None]
    _clock(monkeypatch, 0.1)
    trained = train(halves, itertools.repeat(stems), Training(1.0, 0.05, L1), "halves")
    assert trained.steps == 600
    assert trained.seconds == pytest.approx(60)
    assert trained.audio_seconds == pytest.approx(600 * 2 * 100 / 44_100)
    assert trained.segments_per_second == pytest.approx(20)
    assert trained.bad_steps == 0
    # All stems are shares of one noise, so that the best number of each is its share of the sum.
    assert halves.network.weight.flatten().tolist() == pytest.approx([1 / 1.75, 0.5 / 1.75, 0.25 / 1.75, 0], abs=0.02)


def test_steps_without_a_finite_gradient_are_left_out(monkeypatch, halves):
    good, bad = torch.ones(1, 4, 2, 8), torch.full((1, 4, 2, 8), torch.nan)
    before = halves.network.weight.detach().clone()
    _clock(monkeypatch, 1.0)
    trained = train(halves, iter([bad] * 3), Training(0.05, 0.1, L1), "halves")
    assert (trained.steps, trained.bad_steps) == (3, 3)
    assert torch.equal(halves.network.weight, before)
    train(halves, iter([good]), Training(1 / 60, 0.1, L1), "halves")
    assert not torch.equal(halves.network.weight, before)
    with pytest.raises(ModelError, match="halves: 20 steps in a row had no finite gradient: lower its learning rate"):
        train(halves, itertools.repeat(bad), Training(1.0, 0.1, L1), "halves")


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
