from __future__ import annotations

import pytest
import torch

from tests.data.augmentation.conftest import strong
from tfswa_unet.data.augmentation.pitch import fit, stretch
from tfswa_unet.errors import ConfigError


def test_it_is_the_phase_vocoder_at_the_rate_that_was_asked_for(stems):
    result = strong("time_stretch", p=1.0, low=1.08, high=1.08).train()(stems)
    torch.testing.assert_close(result, fit(stretch(stems, 1.08), 8_000), atol=1e-4, rtol=0)


@pytest.mark.parametrize("together", [True, False])
def test_stems_share_their_rate_only_when_together(together, generator):
    """A stem that ends before the segment does tells its rate by where it ends now."""
    stems = torch.zeros(6, 3, 1, 8_000)
    stems[..., :6_000] = torch.randn(6, 1, 1, 6_000, generator=generator)
    result = strong("time_stretch", p=1.0, together=together, generator=generator).train()(stems)
    same = torch.isclose(result, result[:, :1], atol=1e-5).all(-1).flatten(1).all(1)
    assert same.all() if together else not same.any()
    ends = (result.abs() > 0.3).float().flatten(2).cumsum(-1).argmax(-1)
    assert ends.min() > 6_000 / 1.1 - 1_100
    assert ends.max() < 6_000 / 0.9 + 1_100
    assert ends[:, 0].unique().numel() > 3


def test_a_faster_song_ends_in_zeros(stems):
    result = strong("time_stretch", p=1.0, low=1.1, high=1.1).train()(stems)
    end = round(8_000 / 1.1)
    assert (result[..., end:] == 0).all()
    assert (result[..., end - 300 : end] != 0).any()


def test_stretching_the_stems_alike_keeps_the_mixture_close_to_a_stretched_mixture(generator):
    """Sines far apart in frequency: each bin belongs to one stem, so sum and stretch can change places."""
    t = torch.arange(16_000) / 16_000
    stems = torch.stack([torch.sin(6.2832 * f * t) for f in (300.0, 1_100.0, 4_000.0)]).view(1, 3, 1, -1)
    result = strong("time_stretch", p=1.0, low=0.93, high=0.93).train()(stems).sum(1)
    expected = fit(stretch(stems.sum(1), 0.93), 16_000)
    error = (result - expected)[..., 2_000:-2_000].square().mean() / expected.square().mean()
    assert error < 1e-3


def test_rates_out_of_order_are_refused():
    with pytest.raises(ConfigError, match=r"high of augmentation TimeStretch is 0\.9, .* from 1\.1 to 4"):
        strong("time_stretch", low=1.1, high=0.9)
    with pytest.raises(ConfigError, match="low of augmentation TimeStretch is 0,"):
        strong("time_stretch", low=0)
