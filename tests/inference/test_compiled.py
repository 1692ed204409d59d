import numpy as np
import pytest
import torch

from tfswa_unet.errors import ConfigError
from tfswa_unet.inference import Separator

RATE = 8000


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
