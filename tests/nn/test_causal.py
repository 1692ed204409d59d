"""Causal layers against plain references: the same frames all at once, in blocks, and one at a time."""

import pytest
import torch
import torch.nn.functional as F

from tfswa_unet.nn import CausalBlock, CausalForm, FrameMemory, WindowAttention
from tfswa_unet.nn.causal import ROOM, CausalConv, CausalRCM, PastAttention

BLOCKS = [1, 2, 7, 40]  # frames at a time


def in_blocks(layer, x, axis, size):
    """What a layer gives of `size` frames at a time, between which it remembers."""
    memory, parts = FrameMemory(), []
    with torch.inference_mode():
        for part in x.split(size, axis):
            parts.append(layer(part, memory))
            memory.frames += part.shape[axis]
    return torch.cat(parts, axis)


@pytest.mark.parametrize("size", BLOCKS)
@pytest.mark.parametrize("groups", [1, 6])
def test_a_convolution_sees_two_frames_back(size, groups):
    torch.manual_seed(0)
    layer, maps = CausalConv(6, 6, groups, bias=groups > 1), torch.randn(2, 6, 2 * ROOM + 9, 5)
    expected = F.conv2d(F.pad(maps, (1, 1, 2, 0)), layer.weight, layer.bias, groups=groups)
    assert torch.allclose(layer(maps), expected, atol=1e-6)
    assert torch.allclose(in_blocks(layer, maps, 2, size), expected, atol=1e-5)


@pytest.mark.parametrize("size", BLOCKS)
def test_an_rcm_in_blocks(size):
    torch.manual_seed(0)
    layer, maps = CausalRCM(3, 4).eval(), torch.randn(1, 3, 40, 5)
    assert torch.allclose(in_blocks(layer, maps, 2, size), layer(maps), atol=1e-5)


def reference(layer, qkv, window, left):
    """Each token over each other that it may see, one by one."""
    n, f = qkv.shape[1:3]
    q, k, v = (x.unflatten(-1, (layer.heads, -1)) for x in qkv.chunk(3, -1))
    out = torch.zeros_like(q)
    rows, columns = window
    for frame in range(n):
        for bin_ in range(f):
            first = (bin_ + left) // columns * columns - left
            seen = [
                (i, j)
                for i in range(max(0, frame - rows + 1), frame + 1)
                for j in range(max(0, first), min(f, first + columns))
            ]
            keys, values = (torch.stack([x[:, i, j] for i, j in seen], 1) for x in (k, v))
            scores = torch.einsum("bhe,bkhe->bhk", q[:, frame, bin_], keys) / q.shape[-1] ** 0.5
            if layer.position_bias is not None:
                places = [(frame - i) * (2 * columns - 1) + bin_ - j + columns - 1 for i, j in seen]
                scores = scores + layer.position_bias[places].T
            out[:, frame, bin_] = torch.einsum("bhk,bkhe->bhe", scores.softmax(-1), values)
    return out.flatten(-2)


@pytest.mark.parametrize(
    ("window", "shifted", "positions"),
    [((5, 1), False, False), ((4, 3), False, True), ((4, 3), True, True), ((4, 2), True, True), ((40, 1), False, True)],
)
def test_attention_over_past_frames(window, shifted, positions):
    torch.manual_seed(0)
    layer = PastAttention(8, 4, window, 6, shifted, positions)
    if positions:
        torch.nn.init.normal_(layer.position_bias)
    qkv = torch.randn(2, 19, 6, 24)
    expected = reference(layer, qkv, window, window[1] // 2 if shifted else 0)
    assert torch.allclose(layer(qkv), expected, atol=1e-5)
    for size in BLOCKS:
        assert torch.allclose(in_blocks(layer, qkv, 1, size), expected, atol=1e-5), size


def test_windows_along_bins_are_those_of_w_msa():
    torch.manual_seed(0)
    for shifted in (False, True):
        ours, theirs = (
            kind(8, 4, (1, 4), *bins, shifted) for kind, bins in ((PastAttention, (6,)), (WindowAttention, ()))
        )
        torch.nn.init.normal_(ours.position_bias)
        theirs.position_bias.data = ours.position_bias.data.clone()
        qkv = torch.randn(2, 3, 6, 24)
        assert torch.allclose(ours(qkv), theirs(qkv), atol=1e-6)


@pytest.mark.parametrize("shifted", [False, True])
def test_a_block_sees_no_frame_to_come(shifted):
    torch.manual_seed(0)
    form = CausalForm(bins=6, head_width=4, past=9, window=(4, 4), norm="layer")
    block, tokens = CausalBlock(8, form, shifted, 2), torch.randn(1, 30, 6, 8)
    moved = tokens.clone()
    moved[:, 13] = torch.randn(6, 8)
    change = (block(moved) - block(tokens)).abs().amax(dim=(0, 2, 3))
    assert change[:13].max() == 0
    assert change[13:22].min() > 1e-4
    for size in BLOCKS:
        assert torch.allclose(in_blocks(block, tokens, 1, size), block(tokens), atol=1e-5), size


def test_memory_does_not_grow():
    layer, memory = CausalConv(2, 2), FrameMemory()
    for _ in range(5 * ROOM):
        layer(torch.randn(1, 2, 1, 4), memory)
    assert len(memory.kept[layer].buffer) == 2 + ROOM
