import torch

from tfswa_unet.dsp import level


def test_root_mean_square_of_each_example():
    sine = torch.sin(torch.arange(44_100) * 0.1).expand(2, -1)
    levels = level(torch.stack([sine, 0.1 * sine]))
    assert torch.allclose(levels, torch.tensor([0.5**0.5, 0.1 * 0.5**0.5]), rtol=1e-3)


def test_silence_can_be_divided_by():
    silence = torch.zeros(1, 2, 100)
    assert torch.equal(silence / level(silence), silence)
