import pytest
import torch

from tfswa_unet.nn import WindowAttention, merge_windows, partition_windows


def test_partition_and_merge_are_inverse():
    tokens = torch.randn(2, 15, 8, 3)
    windows = partition_windows(tokens, (5, 4))
    assert windows.shape == (2, 6, 20, 3)
    assert torch.equal(windows[1, 3], tokens[1, 5:10, 4:].reshape(20, 3))
    assert torch.equal(merge_windows(windows, (5, 4), 15, 8), tokens)


def _reference(layer, tokens):
    """Every token attends, one by one, to the tokens of its window."""
    _, n, f, d = tokens.shape
    rows, columns = layer.window
    q, k, v = (x.unflatten(-1, (layer.heads, -1)) for x in layer.qkv(tokens).chunk(3, dim=-1))
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
            scores = (q[0, i, j] * keys).sum(-1) / (d // layer.heads) ** 0.5 + bias
            out[0, i, j] = (scores.softmax(0)[..., None] * values).sum(0)
    return out.flatten(-2)


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("shape", [(10, 8), (7, 9), (1, 3)])
def test_equals_an_explicit_loop(shifted, shape):
    torch.manual_seed(0)
    layer = WindowAttention(8, 4, (5, 4), shifted)
    torch.nn.init.normal_(layer.position_bias)
    tokens = torch.randn(1, *shape, 8)
    assert torch.allclose(layer(tokens), _reference(layer, tokens), atol=1e-5)


def test_examples_of_a_batch_are_apart():
    layer = WindowAttention(8, 4, (4, 4), shifted=True)
    tokens = torch.randn(3, 7, 6, 8)
    alone = torch.cat([layer(example[None]) for example in tokens])
    assert torch.allclose(layer(tokens), alone, atol=1e-6)
