import torch
from torch import nn

from tfswa_unet.nn import RCM, Chain


def _chain(checkpointing):
    torch.manual_seed(0)
    chain = Chain(RCM(3, 6), RCM(6, 6), nn.Conv2d(6, 2, 1))
    chain.checkpointing = checkpointing
    return chain


def _after_a_step(checkpointing):
    """A chain after one forward and backward pass, and the inputs that its first RCM was run on."""
    chain, seen = _chain(checkpointing), []
    chain[0].norm2.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    maps = torch.randn(2, 3, 6, 5, generator=torch.Generator().manual_seed(1))
    chain(maps).square().sum().backward()
    return chain, seen


def test_recomputes_and_changes_nothing():
    (plain, once), (recomputed, twice) = _after_a_step(False), _after_a_step(True)
    assert (len(once), len(twice)) == (1, 2)
    for expected, got in zip(plain.parameters(), recomputed.parameters(), strict=True):
        assert torch.allclose(got.grad, expected.grad, atol=1e-5)
    for (name, expected), got in zip(plain.named_buffers(), recomputed.buffers(), strict=True):
        assert torch.equal(got, expected), name


def test_statistics_are_tracked_again_after_a_step():
    chain, _ = _after_a_step(True)
    before = chain[0].norm1.running_mean.clone()
    chain(torch.ones(2, 3, 6, 5))
    assert not torch.equal(chain[0].norm1.running_mean, before)


def test_without_gradients_nothing_is_recomputed():
    chain, seen = _chain(True), []
    chain[0].register_forward_pre_hook(lambda *_: seen.append(1))
    with torch.no_grad():
        chain(torch.randn(1, 3, 4, 4))
    assert len(seen) == 1
