"""A real-time model's frame in ONNX: the stems of a stream are those of the model that it was exported from."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from tests.export.conftest import RATE, small
from tests.inference.conftest import streamed
from tests.models.conftest import awake
from tfswa_unet import models
from tfswa_unet.bundle import load_model, save_bundle
from tfswa_unet.cli import main
from tfswa_unet.export.parity import snr
from tfswa_unet.inference import Separator
from tfswa_unet.inference.exported import load_exported

pytestmark = pytest.mark.slow
PAST = 9  # frames, fewer than the tests' mixtures have


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    torch.manual_seed(0)
    values = models.preset("tfswa_realtime", ("vocals", "bass"))
    network = {"convolutions": [4], "width": 16, "depth": 2, "head_width": 8, "past": PAST, "window": [3, 3]}
    chain = {"rate": RATE, "n_fft": 128, "hop": 32, "subbands": 4}
    model = awake(models.build({**values, **chain, "network": {**values["network"], **network}}))
    return save_bundle(tmp_path_factory.mktemp("bundle") / "small.safetensors", model)


@pytest.fixture(scope="module")
def exported(bundle, tmp_path_factory):
    out = tmp_path_factory.mktemp("exported")
    assert main(["export", str(bundle), "-o", str(out), "--to", "onnx-live"]) == 0
    return out / "small.live.onnx"


@pytest.mark.parametrize(("batch", "length"), [(1, 1), (3, 129), (1, 60 * 32 + 7)])
def test_whole_mixtures_stems_are_torchs(bundle, exported, batch, length):
    mixture = 0.1 * torch.randn(batch, 2, length, generator=torch.Generator().manual_seed(0))
    model, run = load_model(bundle), load_exported(exported)
    with torch.inference_mode():
        stems = model(mixture)
    assert run(mixture).shape == stems.shape
    assert snr(stems, run(mixture)) > 100


@pytest.mark.parametrize("block", [1, 32, 1_000])
def test_a_stream_gives_the_same_whatever_the_blocks_and_no_later(bundle, exported, block):
    mixture = 0.1 * np.random.default_rng(0).standard_normal((2, 3 * 1_000 + 7)).astype(np.float32)
    separator = Separator.load(exported)
    stems, late = streamed(separator, mixture[:, : 40 * block], RATE, block)
    expected = Separator.load(bundle, device="cpu", precision="fp32").separate(mixture[:, : 40 * block], RATE)
    for name, whole in expected.items():
        np.testing.assert_allclose(stems[name], whole, atol=1e-5)
    assert separator.stream(RATE, 2).latency == pytest.approx(128 / RATE)
    assert late <= 128 + block


def test_streams_side_by_side_do_not_meet(exported):
    model = load_exported(exported)
    mixtures = 0.1 * torch.randn(2, 1, 2, 800, generator=torch.Generator().manual_seed(1))
    alone = [model(mixture) for mixture in mixtures]
    with model.stream() as first, model.stream() as second:
        parts = [
            (first.push(a), second.push(b))
            for a, b in zip(mixtures[0].split(100, -1), mixtures[1].split(100, -1), strict=True)
        ]
        parts.append((first.finish(), second.finish()))
    for found, expected in zip(zip(*parts, strict=True), alone, strict=True):
        torch.testing.assert_close(torch.cat(found, -1), expected, atol=1e-6, rtol=0)


def test_silence_is_silent(exported):
    assert not load_exported(exported)(torch.zeros(1, 2, 2_000)).any()


def test_the_file_says_what_it_is(exported):
    model = load_exported(exported)
    assert model.facts["target"] == "onnx-live"
    assert (model.latency, model.hop, model.stems) == (128, 32, ("vocals", "bass"))


def test_a_model_that_takes_segments_is_refused(tmp_path, capsys):
    bundle = save_bundle(tmp_path / "segments.safetensors", small())
    assert main(["export", str(bundle), "-o", str(tmp_path / "out"), "--to", "onnx-live"]) == 1
    assert "is for real-time models, and" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_live_takes_the_file_and_gives_what_the_bundle_does(bundle, exported):
    sound = np.rint(3_000 * np.random.default_rng(0).standard_normal((2, 4_000))).astype("<i2")
    found = []
    for model in (exported, bundle):
        words = [sys.executable, "-m", "tfswa_unet", "live", "--model", str(model)]
        words += ["--raw", f"{RATE},2,s16le", "--stems", "vocals"]
        done = subprocess.run(words, input=sound.T.tobytes(), capture_output=True, check=True)
        assert "vocals follow the input by" in done.stderr.decode()
        found.append(np.frombuffer(done.stdout, "<i2").astype(int))
    assert found[0].size == sound.size
    assert np.abs(found[0] - found[1]).max() <= 1


def test_a_hop_of_the_file_is_timed(exported, capsys):
    assert main(["bench", "live", "--model", str(exported), "--hops", "20", "--json"]) == 0
    timed = json.loads(capsys.readouterr().out)
    assert timed["latency_ms"] == pytest.approx(1000 * 128 / RATE)
    assert 0 < timed["median_ms"] <= timed["most_ms"]
