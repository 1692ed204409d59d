import torch

from tfswa_unet.nn import ConvHead, ConvStem


def test_a_stem_halves_for_each_of_its_blocks():
    stem = ConvStem(3, (4, 6), 8)
    skips, tokens = stem(torch.randn(2, 3, 12, 16))
    assert [tuple(skip.shape) for skip in skips] == [(2, 4, 12, 16), (2, 6, 6, 8)]
    assert tokens.shape == (2, 3, 4, 8)


def test_stem_equals_its_blocks_written_out():
    stem, maps = ConvStem(3, (4, 6), 8).eval(), torch.randn(1, 3, 4, 8)
    skips, tokens = stem(maps)
    for block, skip in zip(stem.blocks, skips, strict=True):
        maps = block.block[0](maps)
        assert torch.allclose(skip, maps, atol=1e-6)
        maps = torch.nn.functional.avg_pool2d(maps, 2)
    assert torch.allclose(tokens, stem.project(maps.permute(0, 2, 3, 1)), atol=1e-6)


def test_a_head_brings_the_resolution_back():
    stem, head = ConvStem(3, (4, 6), 8), ConvHead(8, (4, 6), 5)
    skips, tokens = stem(torch.randn(2, 3, 12, 16))
    assert head(tokens, skips).shape == (2, 5, 12, 16)


def test_every_skip_and_every_token_matters():
    torch.manual_seed(0)
    stem, head = ConvStem(3, (4, 6), 8).eval(), ConvHead(8, (4, 6), 5).eval()
    skips, tokens = stem(torch.randn(1, 3, 8, 8))
    before = head(tokens, skips)
    for level in range(2):
        changed = [skip + 1 if at == level else skip for at, skip in enumerate(skips)]
        assert (head(tokens, changed) - before).abs().max() > 1e-4
    tokens = tokens.clone()
    tokens[0, 0, 0, 0] += 10
    change = (head(tokens, skips) - before).abs().amax(dim=(0, 1))
    assert change[:4, :4].min() > 1e-5  # the token's own points
