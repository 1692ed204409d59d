"""tfswa live: samples through a pipe as they come."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys

import numpy as np
import pytest
import torch

from tfswa_unet import models
from tfswa_unet.bundle import save_bundle
from tfswa_unet.cli import live, main, parser
from tfswa_unet.inference import Separator

RATE = 44_100


@pytest.fixture(scope="module")
def realtime(tmp_path_factory):
    """A bundle of a small real-time model."""
    torch.manual_seed(0)
    values = models.preset("tfswa_realtime")
    network = {"convolutions": [4], "width": 8, "head_width": 8, "past": 9, "window": [4, 3]}
    model = models.build({**values, "network": {**values["network"], **network}})
    torch.nn.init.normal_(model.network.head.project.weight)
    return save_bundle(tmp_path_factory.mktemp("live") / "live.safetensors", model)


def pipe(command):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-m", "tfswa_unet", *map(str, command)]
    return subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    )


def test_stems_come_out_hop_by_hop_while_more_goes_in(realtime):
    sound = np.rint(3_000 * np.random.default_rng(0).standard_normal((2, 4_000))).astype("<i2")
    given = b""
    with pipe(["live", "--model", realtime, "--raw", "44100,2,s16le", "--stems", "drums,vocals"]) as process:
        process.stdin.write(sound[:, :1_024].T.tobytes())
        process.stdin.flush()
        while len(given) < 4 * (1_024 - 512 - 256):  # the rest comes with later frames; nothing more is given before
            given += process.stdout.read1()
        process.stdin.write(sound[:, 1_024:].T.tobytes())
        process.stdin.close()
        given += process.stdout.read()
        told = process.stderr.read().decode()
        assert process.wait() == 0, told
    assert "vocals, drums follow the input by 23.2 ms" in told
    assert "0.1 s, computed in " in told
    stems = Separator.load(realtime, device="cpu", precision="fp32").separate(sound / np.float32(32_768), RATE)
    expected = np.rint((stems["vocals"] + stems["drums"]) * 32_768)
    assert np.abs(np.frombuffer(given, "<i2").reshape(-1, 2).T - expected).max() <= 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--raw", "44100,2"], "raw audio '44100,2': expected RATE,CHANNELS,FORMAT"),
        (["--stems", "vocal"], "the model gives no stem 'vocal' (did you mean vocals?)"),
        (["--stems", ","], "no stem is asked for"),
        (["--threads", "0"], "--threads 0: at least one thread is needed"),
        (["--raw", "44100,6,s16le"], "the audio has 6 channels, the model separates 2"),
        (["--device", "abacus"], "unknown device 'abacus'"),
    ],
)
def test_wrong_options_are_one_sentence(realtime, options, message, capsys):
    usual = ["--model", str(realtime), "--raw", "44100,2,s16le", "--stems", "vocals"]
    assert main(["live", *usual, *options]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_model_that_takes_segments_is_refused_with_its_latency(bundle, capsys):
    assert main(["live", "--model", str(bundle), "--raw", "44100,2,s16le", "--stems", "vocals"]) == 1
    error = capsys.readouterr().err
    assert f"{bundle} is no real-time model: its stems follow the input by a segment, 6 s; give one that" in error
    assert error.count("\n") == 1


def test_nothing_in_is_one_sentence(realtime):
    with pipe(["live", "--model", realtime, "--raw", "44100,2,s16le", "--stems", "vocals", "--quiet"]) as process:
        _, error = process.communicate(b"")
    assert process.returncode == 1
    assert error.decode().startswith("error: stdin: holds 0 samples where audio is expected")


def test_every_example_parses():
    commands = [part.strip(" |\\\n") for line in live.EXAMPLES.splitlines() for part in [line] if "tfswa live" in line]
    for command in commands:
        words = shlex.split(command.split(" < ")[0].strip(" |\\"))
        assert parser(["live"]).parse_args(words[1:]).run is live.run
