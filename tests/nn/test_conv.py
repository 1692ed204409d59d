import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tfswa_unet.nn import RCM, ConvBlock, ConvDecoder, ConvEncoder, TokenRCM


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
