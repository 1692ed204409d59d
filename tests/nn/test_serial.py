import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tfswa_unet.nn import SequenceBlock, SerialTFSWA, SwinBlock

WIDTH, HEADS = 16, 4


def _scattered(module):
    """The module with no weight where it started, so that what is left out shows."""
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return module


def _mlp(mlp, x):
    first, _, last = mlp
    return F.linear(F.gelu(F.linear(x, first.weight, first.bias)), last.weight, last.bias)


@pytest.mark.parametrize("axis", ["frame", "bin"])
def test_sequence_block_equals_torch_multihead_attention(axis):
    block, tokens = _scattered(SequenceBlock(WIDTH, HEADS, 2, axis, residual=False)), torch.randn(2, 7, 5, WIDTH)
    reference = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
    reference.load_state_dict(
        {
            "in_proj_weight": block.qkv.weight,
            "in_proj_bias": block.qkv.bias,
            "out_proj.weight": block.project.weight,
            "out_proj.bias": block.project.bias,
        }
    )
    normed = F.layer_norm(tokens, (WIDTH,), block.norm.weight, block.norm.bias)
    expected = torch.zeros_like(tokens)
    if axis == "frame":
        for j in range(5):
            expected[:, :, j] = reference(*3 * [normed[:, :, j]])[0]
    else:
        for i in range(7):
            expected[:, i] = reference(*3 * [normed[:, i]])[0]
    expected = expected + _mlp(block.mlp, expected)
    assert torch.allclose(block(tokens), expected, atol=1e-5)


def test_the_residual_goes_around_attention_too():
    with_residual = _scattered(SequenceBlock(WIDTH, HEADS, 2, "frame", residual=True))
    without = _scattered(SequenceBlock(WIDTH, HEADS, 2, "frame", residual=False))
    tokens = torch.randn(2, 7, 5, WIDTH)
    nn.init.zeros_(without.project.weight), nn.init.zeros_(without.project.bias)
    nn.init.zeros_(with_residual.project.weight), nn.init.zeros_(with_residual.project.bias)
    assert torch.allclose(without(tokens), _mlp(without.mlp, torch.zeros(WIDTH)).expand_as(tokens), atol=1e-6)
    assert torch.allclose(with_residual(tokens), tokens + _mlp(with_residual.mlp, tokens), atol=1e-6)


@pytest.mark.parametrize(("axis", "dim"), [("frame", 2), ("bin", 1)])
def test_sequence_block_mixes_one_axis_only(axis, dim):
    """A moved token moves all frames of its bin (TSA), or all bins of its frame (FSA), and nothing else."""
    block, tokens = _scattered(SequenceBlock(WIDTH, HEADS, 2, axis, residual=False)), torch.randn(1, 6, 5, WIDTH)
    moved = tokens.clone()
    moved[:, 3, 2, 0] += 1
    change = (block(moved) - block(tokens)).abs().amax(dim=(0, 3))
    line = change.select(dim - 1, 2 if axis == "frame" else 3)
    assert line.min() > 1e-4
    line.zero_()
    assert change.max() < 1e-5


def _windows(block, tokens):
    """Swin's formulas, one window after the other; a token of a shifted grid's margin is alone with its neighbours."""
    rows, columns = block.attention.window
    top, left = (rows // 2, columns // 2) if block.attention.shift != (0, 0) else (0, 0)
    _, n, f, d = tokens.shape
    table = block.attention.position_bias.view(2 * rows - 1, 2 * columns - 1, HEADS)
    normed = F.layer_norm(tokens, (d,), block.norm_attention.weight, block.norm_attention.bias)
    q, k, v = F.linear(normed, block.qkv.weight, block.qkv.bias).split(d, dim=-1)
    attended = torch.zeros_like(tokens)
    for start in range(-top, n, rows):
        for edge in range(-left, f, columns):
            inside = [
                (i, j)
                for i in range(max(start, 0), min(start + rows, n))
                for j in range(max(edge, 0), min(edge + columns, f))
            ]
            for head in range(HEADS):
                e = slice(head * d // HEADS, (head + 1) * d // HEADS)
                for i, j in inside:
                    scores = torch.stack(
                        [
                            (q[:, i, j, e] * k[:, x, y, e]).sum(-1) / (d // HEADS) ** 0.5
                            + table[i - x + rows - 1, j - y + columns - 1, head]
                            for x, y in inside
                        ],
                        dim=-1,
                    )
                    values = torch.stack([v[:, x, y, e] for x, y in inside], dim=1)
                    attended[:, i, j, e] = (scores.softmax(-1)[..., None] * values).sum(1)
    tokens = tokens + F.linear(attended, block.project.weight, block.project.bias)
    return tokens + _mlp(block.mlp, F.layer_norm(tokens, (d,), block.norm_mlp.weight, block.norm_mlp.bias))


@torch.no_grad()
@pytest.mark.parametrize("shape", [(10, 8), (7, 5)])
def test_swin_pair_equals_a_loop_over_windows(shape):
    module, tokens = _scattered(SerialTFSWA(WIDTH, HEADS, 2, (5, 4), residual=True)), torch.randn(1, *shape, WIDTH)
    plain, shifted = module.swin
    assert (plain.attention.shift, shifted.attention.shift) == ((0, 0), (2, 2))
    expected = _windows(shifted, _windows(plain, tokens))
    assert torch.allclose(module.swin(tokens), expected, rtol=1e-5, atol=1e-5)


def test_serial_module_is_tsa_then_fsa_then_the_swin_branch():
    module, tokens = _scattered(SerialTFSWA(WIDTH, HEADS, 2, (5, 4), residual=True)), torch.randn(2, 7, 6, WIDTH)
    expected = module.fsa(module.tsa(tokens))
    expected = expected + module.swin(expected)
    assert torch.allclose(module(tokens), expected, atol=1e-6)
    assert (module.tsa.attention.axis, module.fsa.attention.axis) == ("frame", "bin")


@pytest.mark.parametrize("heads", [1, 2, 16])
def test_any_number_of_heads(heads):
    tokens = torch.randn(1, 3, 4, WIDTH)
    for block in (SequenceBlock(WIDTH, heads, 2, "bin", residual=True), SwinBlock(WIDTH, heads, 2, (5, 4), True)):
        assert block.attention.heads == heads
        assert block(tokens).shape == tokens.shape
