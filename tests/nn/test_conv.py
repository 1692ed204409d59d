import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tfswa_unet.nn import (
    RCM,
    Chain,
    ConvBlock,
    ConvDecoder,
    ConvEncoder,
    ConvHead,
    ConvStem,
    PatchHead,
    PatchStem,
    TokenRCM,
)
from tfswa_unet.nn.conv import PointConv, WholeConv


def _composition(rcm):
    """The two branches of an RCM as torch's own layers, in its state and with its weights."""
    layers = [nn.BatchNorm2d, nn.GELU, nn.Conv2d, nn.BatchNorm2d, nn.GELU, nn.Conv2d]
    i, o = rcm.shortcut.in_channels, rcm.shortcut.out_channels
    arguments = [(i,), (), (i, o, 3, 1, 1), (o,), (), (o, o, 3, 1, 1)]
    main = nn.Sequential(*(layer(*given) for layer, given in zip(layers, arguments, strict=True)))
    for index, own in ((0, rcm.norm1), (2, rcm.conv1), (3, rcm.norm2), (5, rcm.conv2)):
        main[index].load_state_dict({"bias": torch.zeros(o), **own.state_dict()})
    shortcut = nn.Conv2d(i, o, 1)
    shortcut.load_state_dict(rcm.shortcut.state_dict())
    return main, shortcut


def _rcm(i=3, o=5):
    torch.manual_seed(0)
    rcm = RCM(i, o)
    for norm in (rcm.norm1, rcm.norm2):
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
        nn.init.normal_(norm.running_mean)
    return rcm


@pytest.mark.parametrize("training", [True, False])
def test_rcm_equals_torch_layers(training):
    rcm, maps = _rcm().train(training), torch.randn(2, 3, 7, 6)
    main, shortcut = _composition(rcm)
    main.train(training)
    expected = main(maps) + shortcut(maps)
    assert torch.allclose(rcm(maps), expected, atol=1e-5)


@pytest.mark.parametrize("kind", [PointConv, WholeConv])
def test_a_convolution_of_one_point_equals_torch(kind):
    torch.manual_seed(0)
    ours, theirs = kind(3, 5), nn.Conv2d(3, 5, 1)
    theirs.load_state_dict(ours.state_dict())
    maps = torch.randn(2, 3, 7, 6).contiguous(memory_format=torch.channels_last)
    assert torch.allclose(ours(maps), theirs(maps), atol=1e-6)
    assert ours(maps).is_contiguous() == (kind is WholeConv)


def test_rcm_on_tokens_is_the_rcm_on_maps():
    rcm, tokens = _rcm().eval(), torch.randn(2, 7, 6, 3)
    on_tokens = TokenRCM(3, 5).eval()
    on_tokens.load_state_dict(rcm.state_dict())
    expected = rcm(tokens.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    assert torch.allclose(on_tokens(tokens), expected, atol=1e-6)


def test_conv_block_is_its_rcms_in_a_row():
    block, maps = ConvBlock(3, 5, 4).eval(), torch.randn(1, 3, 6, 4)
    expected = maps
    for rcm in block:
        assert isinstance(rcm, RCM)
        expected = rcm(expected)
    assert len(block) == 4
    assert torch.equal(block(maps), expected)


def test_encoder_gives_its_maps_and_their_means():
    encoder, maps = ConvEncoder(3, 5, 2).eval(), torch.randn(2, 3, 6, 8)
    skip, smaller = encoder(maps)
    assert torch.allclose(skip, encoder.block(maps))
    expected = sum(skip[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)) / 4
    assert torch.allclose(smaller, expected, atol=1e-6)


def test_decoder_sees_maps_between_their_neighbours_and_the_skip():
    decoder, maps, skip = ConvDecoder(3, 2, 4, 1).eval(), torch.randn(1, 3, 4, 5), torch.randn(1, 2, 8, 10)
    seen = []
    decoder.block.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    assert decoder(maps, skip).shape == (1, 4, 8, 10)

    def doubled(x, dim):
        """Each point becomes two, a quarter of the way to its neighbours; the first and last have none."""
        size = x.shape[dim]
        before = torch.cat([x.narrow(dim, 0, 1), x.narrow(dim, 0, size - 1)], dim)
        after = torch.cat([x.narrow(dim, 1, size - 1), x.narrow(dim, size - 1, 1)], dim)
        pairs = torch.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], dim + 1)
        return pairs.flatten(dim, dim + 1)

    expected = torch.cat([doubled(doubled(maps, 2), 3), skip], 1)
    assert torch.allclose(seen[0], expected, atol=1e-6)


def test_channels_last_maps_stay_so():
    maps = torch.randn(2, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    skip, smaller = ConvEncoder(3, 4, 2)(maps)
    larger = ConvDecoder(4, 4, 5, 2)(smaller, skip)
    for x in (skip, smaller, larger):
        assert x.is_contiguous(memory_format=torch.channels_last)
    assert F.gelu(maps).is_contiguous(memory_format=torch.channels_last)


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
        maps = F.avg_pool2d(maps, 2)
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


def test_patch_stem_is_a_strided_convolution_of_its_points():
    stem = PatchStem(3, 5, 8, (2, 4))
    maps = torch.randn(2, 3, 6, 8)
    points, tokens = stem(maps)
    expected = F.conv2d(maps, stem.point.weight[..., None, None], stem.point.bias)
    assert torch.allclose(points.permute(0, 3, 1, 2), expected, atol=1e-5)
    weight = stem.project.weight.view(8, 2, 4, 5).permute(0, 3, 1, 2)
    expected = F.conv2d(expected, weight, stem.project.bias, stride=(2, 4))
    assert torch.allclose(tokens.permute(0, 3, 1, 2), expected, atol=1e-5)


def test_a_token_of_the_head_speaks_for_its_patch_and_the_points_around():
    head = PatchHead(24, 5, 3, (2, 4))
    tokens, points = torch.randn(1, 3, 2, 24), torch.randn(1, 6, 8, 5)
    before = head(tokens, points)
    assert before.shape == (1, 3, 6, 8)
    tokens[0, 1, 1, 0] += 1
    change = (head(tokens, points) - before).abs().amax(dim=(0, 1))
    assert change[2:4, 4:].min() > 1e-5
    change[1:5, 3:] = 0
    assert change.max() < 1e-6


def test_a_point_of_the_head_speaks_for_itself_and_its_neighbours():
    head = PatchHead(24, 5, 3, (2, 4))
    tokens, points = torch.randn(1, 3, 2, 24), torch.randn(1, 6, 8, 5)
    before = head(tokens, points)
    points[0, 2, 5] += 1
    change = (head(tokens, points) - before).abs().amax(dim=(0, 1))
    assert change[2, 5] > 1e-5
    change[1:4, 4:7] = 0
    assert change.max() < 1e-6
