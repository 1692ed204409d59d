import pytest
import torch

from tfswa_unet import models
from tfswa_unet.inference import Separator, precision


@pytest.fixture
def fast_bf16(monkeypatch):
    """A machine that is built for bf16."""
    monkeypatch.setattr(precision, "_fast_bf16", lambda device: True)


def test_auto_is_fp32_where_bf16_is_slow(monkeypatch, blur):
    monkeypatch.setattr(precision, "_fast_bf16", lambda device: False)
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
