import numpy as np
import pytest
import torch

from tfswa_unet.bench.forward import ForwardSetting, measure_forward, snr_by_stem
from tfswa_unet.errors import ConfigError, ModelError


def test_rates_follow_from_the_time(bundle):
    record = measure_forward(ForwardSetting(bundle, 0.5, batch=3, runs=2, device="cpu", profile=True))
    assert record.trained
    assert record.real_time_factor == pytest.approx(record.median_seconds / 1.5)
    assert record.segments_per_second == pytest.approx(3 / record.median_seconds)
    assert record.audio_seconds_per_second == pytest.approx(1 / record.real_time_factor)
    assert sum(record.shares.values()) == pytest.approx(1)
    assert record.snr_db is None
    assert record.emulated is False


def test_bf16_is_held_against_fp32(bundle):
    record = measure_forward(ForwardSetting(bundle, 0.5, runs=1, device="cpu", precision="bf16"))
    assert record.precision == "bf16"
    assert list(record.snr_db) == ["vocals", "drums", "bass", "other"]
    assert all(20 < value < 120 for value in record.snr_db.values())
    same = measure_forward(ForwardSetting(bundle, 0.5, runs=1, device="cpu", compare="fp32"))
    assert set(same.snr_db.values()) == {150.0}


def test_emulation_is_told_by_the_processor(bundle, tmp_path, monkeypatch):
    facts = tmp_path / "cpuinfo"
    monkeypatch.setattr("tfswa_unet.bench.subject.CPU_FACTS", facts)
    for flags, emulated in (("sse2 avx2", True), ("sse2 avx512_bf16", False)):
        facts.write_text(f"model name\t: A Processor\nflags\t: {flags}\n")
        record = measure_forward(ForwardSetting(bundle, 0.2, runs=1, device="cpu", precision="bf16"))
        assert (record.emulated, record.device_name) == (emulated, "A Processor")


def test_snr_is_the_closed_form():
    rng = np.random.default_rng(0)
    reference, noise = rng.standard_normal((2, 2, 2, 3, 100))
    reference[:, 1] = 0
    noise[:, 1] = 0
    output = reference + 0.01 * noise
    expected = 10 * np.log10(np.sum(reference[:, 0] ** 2) / np.sum((0.01 * noise[:, 0]) ** 2))
    snr = snr_by_stem(torch.from_numpy(reference), torch.from_numpy(output), ("a", "b"))
    assert snr["a"] == pytest.approx(expected, rel=1e-6)
    assert snr["b"] == 150.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"runs": 0}, "--runs 0: expected a number above 0"),
        ({"batch": -1}, "--batch -1"),
        ({"seconds": float("nan")}, "--seconds nan"),
        ({"compile": True, "profile": True}, "--compile --profile"),
        ({"compare": "bf16"}, "expected one of fp32"),
        ({"threads": 0}, "--threads 0"),
        ({"precision": "fp8"}, "unknown precision 'fp8'"),
        ({"device": "abacus"}, "unknown device 'abacus'"),
    ],
)
def test_what_cannot_be_measured_is_refused(bundle, options, message):
    with pytest.raises(ConfigError, match=message):
        measure_forward(ForwardSetting(bundle, **options))


def test_a_compiler_that_fails_is_one_sentence(bundle, monkeypatch):
    def fail(self, *_, **__):
        raise RuntimeError("no C++ compiler\nsecond line")

    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: setattr(self, "_compiled_call_impl", fail))
    with pytest.raises(ConfigError, match=r"--compile: torch.compile failed here \(no C\+\+ compiler\): leave it out"):
        measure_forward(ForwardSetting(bundle, 0.2, runs=1, device="cpu", compile=True))


def test_an_unknown_model(tmp_path):
    with pytest.raises(ModelError, match="no such bundle or checkpoint"):
        measure_forward(ForwardSetting(str(tmp_path / "none.safetensors")))
