import torch

from tfswa_unet.dsp import stack_subbands, unstack_subbands


def test_inverse_but_for_the_nyquist_bin():
    maps = torch.randn(2, 3, 7, 33)
    back = unstack_subbands(stack_subbands(maps, 4), 4)
    assert torch.equal(back[..., :-1], maps[..., :-1])
    assert torch.equal(back[..., -1], maps[..., -2])


def test_a_band_holds_neighbouring_bins():
    bins = torch.arange(33.0).expand(1, 2, 5, 33)
    bands = stack_subbands(bins, 4)
    assert bands.shape == (1, 8, 5, 8)
    assert torch.equal(bands[0, 1, 0], torch.arange(8.0, 16.0))
    assert torch.equal(bands[0, 4, 0], torch.arange(0.0, 8.0))
