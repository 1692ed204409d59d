import numpy as np
import pytest
import torch

from tfswa_unet import models
from tfswa_unet.errors import ConfigError
from tfswa_unet.inference import Separator, precision

RATE = 8000


@pytest.fixture
def fast_bf16(monkeypatch):
    """A machine that is built for bf16."""
    monkeypatch.setattr(precision, "fast_bf16", lambda device: True)


def test_auto_is_fp32_where_bf16_is_slow(monkeypatch, blur):
    monkeypatch.setattr(precision, "fast_bf16", lambda device: False)
    separator = Separator(blur(5), "cpu")
    assert (separator.precision, separator.parity) == ("fp32", None)


@pytest.mark.parametrize("unit", ["_is_amx_tile_supported", "_is_avx512_bf16_supported"])
def test_matrix_tiles_and_vector_units_are_fast(monkeypatch, unit):
    for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda name=name: name == unit, raising=False)
    assert precision.pick_precision("auto", torch.device("cpu")) == "bf16"


def test_parity_is_the_error_of_rounding_to_eight_bits(blur):
    # A filter of one tap is a product of two numbers, each rounded to 8 bits: the error is near 2⁻⁹ of the result.
    assert 45 < precision.parity(blur(0), torch.device("cpu")) < 60


@pytest.mark.usefixtures("fast_bf16")
def test_auto_takes_bf16_that_keeps_its_parity(blur):
    separator = Separator(blur(5), "cpu")
    assert separator.precision == "bf16"
    assert separator.parity > precision.PARITY


@pytest.mark.usefixtures("fast_bf16")
def test_auto_refuses_bf16_that_does_not(blur):
    model = blur(5)
    forward = model.forward
    # Eight bits of a number that the result is a small difference from.
    model.forward = lambda mixture: forward(mixture) + forward(mixture + 1e3) - forward(torch.full_like(mixture, 1e3))
    separator = Separator(model, "cpu")
    assert separator.precision == "fp32"
    assert separator.parity < precision.PARITY


@pytest.mark.usefixtures("fast_bf16")
def test_a_model_of_the_family_keeps_it():
    separator = Separator(models.build(models.preset("tfswa_mobile")), "cpu")
    assert separator.precision == "bf16"


def test_a_compiled_network_gives_the_same_stems(blur, noise, monkeypatch):
    model, mixture = blur(reach=5), noise(2, RATE)
    settings = {"segment_seconds": 0.5, "overlap_seconds": 0.1, "precision": "fp32"}
    plain = Separator(model, "cpu", **settings).separate(mixture, RATE)
    compile_ = torch.nn.Module.compile
    seen = []

    def traced(self):
        seen.append(self)
        compile_(self, backend="eager")  # dynamo's tracing without a C++ compiler

    monkeypatch.setattr(torch.nn.Module, "compile", traced)
    compiled = Separator(model, "cpu", compile=True, **settings).separate(mixture, RATE)
    assert seen == [model]
    for name, stem in plain.items():
        np.testing.assert_allclose(compiled[name], stem, atol=1e-6)


def test_a_compiler_that_fails_is_one_sentence(blur, monkeypatch):
    def fail(*_):
        raise RuntimeError("no C++ compiler\nsecond line")

    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: setattr(self, "_compiled_call_impl", fail))
    with pytest.raises(ConfigError, match=r"--compile: torch\.compile failed here \(no C\+\+ compiler\): leave it out"):
        Separator(blur(reach=5), "cpu", compile=True)
