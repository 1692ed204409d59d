import pytest
import torch

from tfswa_unet.errors import ConfigError
from tfswa_unet.nn import BlockForm, LocalMLP, TFSWABlock
from tfswa_unet.nn.block import ARRANGEMENTS, NORMS


def _block(arrangement="parallel", norm="layer", skip=False):
    torch.manual_seed(0)
    form = BlockForm(8, (4, 4), True, arrangement, norm)
    return TFSWABlock(16, form, shifted=True, mlp_ratio=2, skip=skip)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
def test_shape_is_kept_for_odd_frame_counts(arrangement, norm):
    block = _block(arrangement, norm)
    for n, f in [(1, 4), (7, 6), (13, 5)]:
        assert block(torch.randn(2, n, f, 16)).shape == (2, n, f, 16)


def test_equals_its_parts_written_out():
    block = _block(skip=True)
    tokens, skip = torch.randn(2, 1, 6, 5, 16)
    a = block.attention
    time, frequency, window = a.qkv(block.norm_in(torch.cat([tokens, skip], -1))).split(3 * 16, dim=-1)
    x = tokens + a.fuse(torch.cat([a.tsa(time), a.fsa(frequency), a.swa(window)], -1))
    assert torch.allclose(block(tokens, skip), x + block.mlp(block.norm_mlp(x)), atol=1e-6)


def test_serial_equals_its_parts_written_out():
    block, tokens = _block("serial", "rms"), torch.randn(2, 6, 5, 16)
    a = block.attention
    h = a.project_in(block.norm_in(tokens))
    h = h + a.projections[0](a.tsa(a.qkv[0](h)))
    h = h + a.projections[1](a.fsa(a.qkv[1](a.norms[0](h))))
    h = h + a.projections[2](a.swa(a.qkv[2](a.norms[1](h))))
    x = tokens + h
    assert torch.allclose(block(tokens), x + block.mlp(block.norm_mlp(x)), atol=1e-6)


def test_rms_norm_is_the_root_mean_square():
    norm, x = _block(norm="rms").norm_mlp, torch.randn(3, 16)
    assert torch.allclose(norm(x), x / x.square().mean(-1, keepdim=True).sqrt(), atol=1e-4)


@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
def test_every_branch_matters(arrangement):
    block, tokens = _block(arrangement), torch.randn(1, 6, 5, 16)
    before = block(tokens)
    projections = block.attention.qkv
    for branch in range(3):
        layer, last = (projections, 48 * (branch + 1)) if arrangement == "parallel" else (projections[branch], 48)
        kept = layer.weight.clone()
        layer.weight.data[last - 16 : last] *= 2  # of the values
        assert (block(tokens) - before).abs().max() > 1e-3
        layer.weight.data.copy_(kept)


def test_unknown_arrangement_and_norm():
    with pytest.raises(ConfigError, match=r"model\.network\.arrangement 'paralel' \(did you mean parallel\?\)"):
        BlockForm(8, (4, 4), True, "paralel", "layer")
    with pytest.raises(ConfigError, match=r"unknown model\.network\.norm 'batch': expected one of layer, rms"):
        BlockForm(8, (4, 4), True, "parallel", "batch")


def test_mlp_equals_torch_layers_on_maps():
    mlp, tokens = LocalMLP(6, 3), torch.randn(2, 5, 4, 6)
    hidden = mlp.expand(tokens)
    maps = torch.nn.functional.conv2d(hidden.permute(0, 3, 1, 2), mlp.mix.weight, mlp.mix.bias, padding=1, groups=18)
    expected = mlp.contract(torch.nn.functional.gelu(hidden + maps.permute(0, 2, 3, 1)))
    assert torch.allclose(mlp(tokens), expected, atol=1e-6)
