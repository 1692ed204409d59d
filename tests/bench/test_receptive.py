import pytest
import torch
from torch import nn

from tests.cli.conftest import small_config
from tfswa_unet import models
from tfswa_unet.bench.receptive import receptive_field
from tfswa_unet.models import ModelConfig, SpectralModel

N_FFT, HOP, RATE = 256, 64, 8000


class Mean(nn.Module):
    def __init__(self, axis, maps_out):
        super().__init__()
        self.axis, self.maps_out = axis, maps_out

    def forward(self, maps):
        mean = maps.square().mean(dim=self.axis, keepdim=True).mean(dim=1, keepdim=True)
        return mean.expand(-1, self.maps_out, *maps.shape[2:])


def _model(network, subbands=1):
    values = {**small_config(), "n_fft": N_FFT, "hop": HOP, "rate": RATE, "subbands": subbands, "network": {}}
    config = ModelConfig(**{**values, "mask": "complex", "features": "both", "sums_to_mixture": False})
    return SpectralModel(config, network(config.maps_in, config.maps_out))


@pytest.mark.parametrize(("frames", "bins"), [(1, 1), (3, 1), (1, 5), (5, 7)])
def test_a_convolution_sees_its_kernel(frames, bins):
    kernel, padding = (frames, bins), (frames // 2, bins // 2)
    field = receptive_field(_model(lambda i, o: nn.Conv2d(i, o, kernel, padding=padding)), 0.5)
    assert not field["fills_segment"]
    assert not field["fills_band"]
    # A Hann window is zero at its first sample; time is read at every other sample.
    assert field["seconds"] * RATE == pytest.approx(N_FFT + (frames - 1) * HOP, abs=2)
    assert field["hertz"] == pytest.approx(bins * RATE / N_FFT)
    assert 0 < field["effective_seconds"] <= field["seconds"]
    assert field["effective_hertz"] == field["hertz"]


def test_what_hardly_counts_is_not_effective():
    class Faint(nn.Module):
        """The point itself, and very softly the mean over all."""

        def __init__(self, _, maps_out):
            super().__init__()
            self.maps_out = maps_out

        def forward(self, maps):
            seen = maps + 1e-6 * maps.mean(dim=(2, 3), keepdim=True)
            return seen.sum(dim=1, keepdim=True).expand(-1, self.maps_out, -1, -1)

    field = receptive_field(_model(Faint), 0.5)
    assert field["fills_segment"]
    assert field["fills_band"]
    assert field["effective_seconds"] * RATE == pytest.approx(N_FFT, abs=6)
    assert field["effective_hertz"] == pytest.approx(RATE / N_FFT)


def test_what_averages_over_an_axis_sees_all_of_it():
    over_frames = receptive_field(_model(lambda _, o: Mean(2, o)), 0.5)
    assert over_frames["fills_segment"]
    assert over_frames["seconds"] == over_frames["segment_seconds"] >= 0.5
    assert not over_frames["fills_band"]
    over_bins = receptive_field(_model(lambda _, o: Mean(3, o)), 0.5)
    assert over_bins["fills_band"]
    assert over_bins["hertz"] == RATE / 2
    assert not over_bins["fills_segment"]


class EachSubband(nn.Module):
    """Every output map is the sum of the input maps of its subband, of four."""

    def __init__(self, _, maps_out):
        super().__init__()
        self.copies = maps_out // 4

    def forward(self, maps):
        return maps.unflatten(1, (-1, 4)).sum(dim=1).repeat(1, self.copies, 1, 1)


def test_subbands_are_told_apart():
    assert receptive_field(_model(EachSubband, subbands=4), 0.5)["hertz"] == pytest.approx(RATE / N_FFT)
    all_four = receptive_field(_model(lambda i, o: nn.Conv2d(i, o, 1), subbands=4), 0.5)
    assert all_four["hertz"] == pytest.approx(RATE / 2 * 3 / 4 + RATE / N_FFT)


def test_time_and_frequency_attention_see_everything():
    torch.manual_seed(1)
    field = receptive_field(models.build(small_config()).eval(), 0.5)
    assert field["fills_segment"]
    assert field["fills_band"]
