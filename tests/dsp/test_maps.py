import torch

from tfswa_unet.dsp import level, stack_subbands, unstack_subbands


def test_root_mean_square_of_each_example():
    sine = torch.sin(torch.arange(44_100) * 0.1).expand(2, -1)
    levels = level(torch.stack([sine, 0.1 * sine]))
    assert torch.allclose(levels, torch.tensor([0.5**0.5, 0.1 * 0.5**0.5]), rtol=1e-3)


def test_silence_can_be_divided_by():
    silence = torch.zeros(1, 2, 100)
    assert torch.equal(silence / level(silence), silence)


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
