import sys

import pytest
import torch
from torch import nn

from tests.small import STEMS
from tfswa_unet import models
from tfswa_unet.bench.networks import PUBLISHED, SMALL, BSRoFormer, HTDemucs, OpenUnmix, Peer, ways
from tfswa_unet.errors import ConfigError

PACKAGES = {"htdemucs": "demucs", "openunmix": "openunmix", "bs_roformer": "bs_roformer"}


def parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_missing_package_is_one_sentence(monkeypatch, name):
    for module in [m for m in sys.modules if m.split(".")[0] == PACKAGES[name]]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, PACKAGES[name], None)
    with pytest.raises(ConfigError, match=r"cannot be imported \(.*\): run `pip install demucs openunmix BS-RoFormer`"):
        PUBLISHED[name](STEMS)


def test_ours_separates_whole_tracks(small_presets):
    model = models.build(models.preset("tfswa_tiny", STEMS)).eval()
    mixture = 0.1 * torch.randn(2, 30_000)
    ((name, whole),) = ways(model).items()
    assert name == "segments of 6 s"
    with torch.inference_mode():
        padded = model(torch.nn.functional.pad(mixture, (0, 6 * 44_100 - 30_000))[None])[0, ..., :30_000]
    assert torch.allclose(whole(mixture), padded, atol=1e-6)


def test_ways_run_in_inference_and_at_the_precision_asked_for(halves):
    halves.train()
    mixture = torch.randn(2, 500)
    silence, itself = halves.ways().values()
    expected = halves.network.weight[:, 0, None, None] * mixture
    assert torch.allclose(itself(mixture), expected, atol=1e-6)
    assert torch.allclose(silence(mixture), 1e-3 * expected, atol=1e-6)
    assert not halves.training
    rough = halves.ways("bf16")["itself"](mixture)
    assert rough.dtype == torch.float32
    assert 1e-5 < (rough - expected).abs().max() < 0.05


def test_segments_overlap_and_join(halves, monkeypatch):
    monkeypatch.setattr(BSRoFormer, "CHUNK", 0.25)
    monkeypatch.setattr(BSRoFormer, "SHARED", 0.1)
    model = BSRoFormer.__new__(BSRoFormer)
    Peer.__init__(model, STEMS, halves)
    mixture = torch.randn(2, 40_000)
    joined = model.ways()["chunks"](mixture)
    assert torch.allclose(joined, halves(mixture[None])[0].detach(), atol=1e-5)


class Target(nn.Module):
    """A stand-in for openunmix.model.OpenUnmix: a fixed share of the magnitudes."""

    def __init__(self, share, bins):
        super().__init__()
        self.share, self.nb_bins = share, bins
        self.input_mean, self.input_scale = nn.Parameter(torch.zeros(bins)), nn.Parameter(torch.ones(bins))

    def forward(self, magnitudes):
        return self.share * magnitudes


class Separator(nn.Module):
    def __init__(self, shares, softmask):
        super().__init__()
        self.target_models = nn.ModuleDict({name: Target(share, 40) for name, share in shares.items()})
        self.softmask = softmask

    def stft(self, mixture):
        spectrum = torch.stft(mixture.flatten(0, 1), 128, 32, window=torch.hann_window(128), return_complex=True)
        return torch.view_as_real(spectrum.unflatten(0, mixture.shape[:2]))

    def istft(self, stems, length):
        flat = torch.view_as_complex(stems).flatten(0, 2)
        waves = torch.istft(flat, 128, 32, window=torch.hann_window(128), length=length)
        return waves.unflatten(0, stems.shape[:3])


def open_unmix(softmask):
    model = OpenUnmix.__new__(OpenUnmix)
    Peer.__init__(model, ("a", "b"), Separator({"a": 0.2, "b": 0.6}, softmask))
    return model


def test_open_unmix_keeps_the_mixtures_phase():
    mixture = torch.randn(2, 2, 1_000)
    stems = open_unmix(softmask=False)(mixture)
    assert torch.allclose(stems, torch.stack([0.2 * mixture, 0.6 * mixture], dim=1), atol=1e-5)
    stems = open_unmix(softmask=True)(mixture)
    assert torch.allclose(stems, torch.stack([0.25 * mixture, 0.75 * mixture], dim=1), atol=1e-5)


def test_open_unmix_takes_its_inputs_statistics_from_the_data():
    model = open_unmix(softmask=True)
    mixtures = [torch.randn(2, 2, 1_000), 3 * torch.randn(2, 2, 1_000)]
    model.prepare(iter(mixtures))
    spectra = [torch.view_as_complex(model.network.stft(mixture)).abs().mean(dim=1) for mixture in mixtures]
    frames = torch.cat([spectrum.transpose(1, 2).flatten(0, 1) for spectrum in spectra])  # (b·n, f)
    target = model.network.target_models["b"]
    assert torch.allclose(target.input_mean, -frames.mean(dim=0)[:40], rtol=1e-4)
    assert torch.allclose(target.input_scale, 1 / frames.std(dim=0, correction=0)[:40], rtol=1e-4)


def test_ht_demucs():
    pytest.importorskip("demucs")
    assert parameters(PUBLISHED["htdemucs"](STEMS)) == 41_473_616
    model = SMALL["htdemucs"](STEMS)
    assert parameters(model) == 782_636
    model.train()(torch.randn(1, 2, 22_050)).sum().backward()
    assert list(model.ways()) == ["segments of 0.5 s", "segments of 7.8 s"]
    stems = model.ways()["segments of 0.5 s"](0.1 * torch.randn(2, 30_000))
    assert stems.shape == (4, 2, 30_000)
    assert list(model.ways()) == ["segments of 0.5 s", "segments of 7.8 s"]
    assert isinstance(model, HTDemucs)


def test_open_unmix():
    pytest.importorskip("openunmix")
    assert parameters(PUBLISHED["openunmix"](STEMS)) - 4096 == 35_573_392  # and the window
    model = SMALL["openunmix"](STEMS)
    mixture = 0.1 * torch.randn(2, 22_050)
    stems = model.eval()(mixture[None])[0]
    whole = model.ways()
    assert torch.allclose(stems.sum(dim=0), mixture, atol=1e-4)
    assert torch.allclose(whole["mixture's phase"](mixture), stems.detach(), atol=1e-4)
    assert not torch.allclose(whole["one EM step"](mixture), stems.detach(), atol=1e-4)


def test_bs_roformer():
    pytest.importorskip("bs_roformer")
    model = BSRoFormer(STEMS, dim=16, depth=1)
    mixture = 0.1 * torch.randn(1, 2, 10_000)
    assert model(mixture).shape == (1, 4, 2, 10_000)
    assert model.ways()["chunks"](mixture[0]).shape == (4, 2, 10_000)
