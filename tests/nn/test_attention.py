import pytest
import torch
from torch import nn

from tfswa_unet.nn import SequenceAttention, WindowAttention, attend, merge_windows, partition_windows
from tfswa_unet.nn.attention import POSITIONS, rotary_table, rotate


class _Projected(nn.Sequential):
    """Attention behind the projection that a block would give it: tokens (b, n, f, 16) → (b, n, f, 16)."""

    def __init__(self, attention, width=16):
        super().__init__(nn.Linear(width, 3 * width), attention)


def _layer(axis, rotary=False):
    torch.manual_seed(0)
    return _Projected(SequenceAttention(16, 8, axis, rotary))


def _tokens(b=2, n=11, f=6):
    """Maps in the model's order (b, c, n, f), handed to the layers as tokens (b, n, f, d)."""
    return torch.randn(b, 16, n, f).permute(0, 2, 3, 1).contiguous()


@pytest.mark.parametrize("rotary", [False, True])
def test_tsa_mixes_frames_of_one_bin_only(rotary):
    layer, tokens = _layer("frame", rotary), _tokens()
    moved = tokens.clone()
    moved[:, 4, 2] += 1
    change = (layer(moved) - layer(tokens)).abs().amax(dim=(0, 3))
    assert change[:, 2].min() > 1e-4
    change[:, 2] = 0
    assert change.max() < 1e-6


@pytest.mark.parametrize("rotary", [False, True])
def test_fsa_mixes_bins_of_one_frame_only(rotary):
    layer, tokens = _layer("bin", rotary), _tokens()
    moved = tokens.clone()
    moved[:, 4, 2] += 1
    change = (layer(moved) - layer(tokens)).abs().amax(dim=(0, 3))
    assert change[4].min() > 1e-4
    change[4] = 0
    assert change.max() < 1e-6


@pytest.mark.parametrize("axis", ["frame", "bin"])
def test_equals_torch_multihead_attention(axis):
    layer, tokens = _layer(axis), _tokens()
    reference = nn.MultiheadAttention(16, 2, batch_first=True)
    reference.load_state_dict(
        {
            "in_proj_weight": layer[0].weight,
            "in_proj_bias": layer[0].bias,
            "out_proj.weight": torch.eye(16),
            "out_proj.bias": torch.zeros(16),
        }
    )
    along = tokens.transpose(1, 2) if axis == "frame" else tokens
    sequences = along.reshape(-1, *along.shape[2:])
    expected = reference(sequences, sequences, sequences)[0].view(along.shape)
    expected = expected.transpose(1, 2) if axis == "frame" else expected
    assert torch.allclose(layer(tokens), expected, atol=1e-5)


def test_rotary_scores_depend_on_distance_alone():
    constant = torch.randn(2, 8).expand(12, 2, 8)
    turned = rotate(constant, rotary_table(12, 8)[:, :, None])
    scores = torch.einsum("qhe,khe->hqk", turned, turned)
    for distance in range(1, 11):
        diagonal = scores.diagonal(distance, 1, 2)
        assert torch.allclose(diagonal, diagonal[:, :1].expand_as(diagonal), atol=1e-4)
    assert not torch.allclose(scores[:, 0, 1], scores[:, 0, 5], atol=1e-2)


def test_rotation_is_a_product_of_complex_numbers():
    x = torch.randn(3, 7, 2, 8, dtype=torch.float64, requires_grad=True)
    turns = rotary_table(7, 8)[:, :, None].double()
    angles = torch.arange(7.0)[:, None] * 10_000 ** (-torch.arange(4) / 4)
    turn = torch.polar(torch.ones_like(angles), angles).to(torch.complex128)[:, None]
    expected = torch.view_as_real(torch.view_as_complex(x.detach().unflatten(-1, (4, 2))) * turn).flatten(-2)
    assert torch.allclose(rotate(x, turns), expected, atol=1e-5)
    assert torch.autograd.gradcheck(rotate, (x, turns))


def test_sequences_longer_than_the_table_get_positions_too():
    layer = _layer("frame", rotary=True).eval()
    tokens = _tokens(1, POSITIONS + 5, 1)
    with torch.no_grad():
        assert layer(tokens).isfinite().all()
        attention = layer[1]
        kept, attention.turns = attention.turns, rotary_table(POSITIONS + 5, 8)
        expected = layer(tokens)
        attention.turns = kept
        assert torch.allclose(layer(tokens), expected, atol=1e-6)


@pytest.mark.parametrize("tokens", [1, 5, 300])
def test_attend_is_the_formula(tokens):
    qkv = torch.randn(4, tokens, 3 * 16, dtype=torch.float64)
    bias = torch.randn(1, 2, tokens, tokens, dtype=torch.float64)
    q, k, v = (x.unflatten(-1, (2, 8)) for x in qkv.chunk(3, dim=-1))
    scores = torch.einsum("bqhe,bkhe->bhqk", q, k) / 8**0.5 + bias
    expected = torch.einsum("bhqk,bkhe->bqhe", scores.exp() / scores.exp().sum(-1, keepdim=True), v).flatten(-2)
    assert torch.allclose(attend(qkv, 2, bias=bias), expected, atol=1e-10)


def test_partition_and_merge_are_inverse():
    tokens = torch.randn(2, 15, 8, 3)
    windows = partition_windows(tokens, (5, 4))
    assert windows.shape == (2, 6, 20, 3)
    assert torch.equal(windows[1, 3], tokens[1, 5:10, 4:].reshape(20, 3))
    assert torch.equal(merge_windows(windows, (5, 4), 15, 8), tokens)


def _every_token_by_itself(layer, qkv):
    """Every token attends, one by one, to the tokens of its window."""
    _, n, f, d = qkv.shape
    rows, columns = layer.window
    q, k, v = (x.unflatten(-1, (layer.heads, -1)) for x in qkv.chunk(3, dim=-1))
    table = layer.position_bias.view(2 * rows - 1, 2 * columns - 1, layer.heads)
    out = torch.zeros_like(q)

    def window_of(i, j):
        return (i + layer.shift[0]) // rows, (j + layer.shift[1]) // columns

    for i in range(n):
        for j in range(f):
            others = [(x, y) for x in range(n) for y in range(f) if window_of(x, y) == window_of(i, j)]
            keys = torch.stack([k[0, x, y] for x, y in others])
            values = torch.stack([v[0, x, y] for x, y in others])
            bias = torch.stack([table[i - x + rows - 1, j - y + columns - 1] for x, y in others])
            scores = (q[0, i, j] * keys).sum(-1) / (d // 3 // layer.heads) ** 0.5 + bias
            out[0, i, j] = (scores.softmax(0)[..., None] * values).sum(0)
    return out.flatten(-2)


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("shape", [(10, 8), (7, 9), (1, 3)])
def test_window_attention_equals_an_explicit_loop(shifted, shape):
    torch.manual_seed(0)
    layer = WindowAttention(8, 4, (5, 4), shifted)
    nn.init.normal_(layer.position_bias)
    qkv = torch.randn(1, *shape, 3 * 8)
    assert torch.allclose(layer(qkv), _every_token_by_itself(layer, qkv), atol=1e-5)


def test_windows_of_other_examples_are_apart():
    layer = WindowAttention(8, 4, (4, 4), shifted=True)
    qkv = torch.randn(3, 7, 6, 3 * 8)
    alone = torch.cat([layer(example[None]) for example in qkv])
    assert torch.allclose(layer(qkv), alone, atol=1e-6)


@pytest.mark.parametrize("shape", [(8, 8), (7, 9)])
def test_what_is_compiled_is_the_same_attention(monkeypatch, shape):
    layer = WindowAttention(8, 4, (4, 4), shifted=True)
    nn.init.normal_(layer.position_bias)
    qkv = torch.randn(3, *shape, 24)
    wanted = layer(qkv)
    monkeypatch.setattr("torch.compiler.is_compiling", lambda: True)
    assert torch.allclose(layer(qkv), wanted, atol=1e-6)
