"""Models that have a stream of their own: the way of a mixture through them, and how late it is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.inference.conftest import streamed
from tfswa_unet import audio, models
from tfswa_unet.errors import ConfigError
from tfswa_unet.inference import Cancelled, Separator
from tfswa_unet.inference.stream import NotFiniteError

RATE = 8000


@pytest.fixture(scope="module")
def model():
    return small(2)


def small(channels):
    torch.manual_seed(0)
    values = models.preset("tfswa_realtime", ("vocals", "rest"))
    network = {"convolutions": [4], "width": 8, "head_width": 4, "past": 9, "window": [4, 3]}
    chain = {"n_fft": 128, "hop": 32, "rate": RATE, "channels": channels}
    model = models.build({**values, **chain, "network": {**values["network"], **network}}).eval()
    for parameter in model.network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


@pytest.mark.parametrize(("rate", "block"), [(RATE, 33), (RATE, 5_000), (11_025, 100)])
def test_a_stream_gives_the_whole_mixtures_stems_no_later_than_it_says(model, noise, rate, block):
    separator, mixture = Separator(model, "cpu", precision="fp32"), noise(2, rate + 17)
    stems, late = streamed(separator, mixture, rate, block)
    for name, whole in separator.separate(mixture, rate).items():
        assert stems[name].shape == mixture.shape
        np.testing.assert_allclose(stems[name], whole, atol=1e-5)
    latency = separator.stream(rate, 2).latency
    assert latency == pytest.approx(128 / RATE) if rate == RATE else latency > 128 / RATE
    assert late <= latency * rate + block


def test_stems_are_those_of_one_pass_of_the_model(model, noise):
    mixture = noise(2, 3 * RATE)
    stems = Separator(model, "cpu", precision="fp32").separate(mixture, RATE)
    with torch.inference_mode():
        whole = model(torch.from_numpy(mixture)[None])[0].numpy()
    for row, name in enumerate(("vocals", "rest")):
        np.testing.assert_allclose(stems[name], whole[row], atol=1e-5)
    only = Separator(model, "cpu", precision="fp32").separate(mixture, RATE, stems="rest")
    np.testing.assert_array_equal(only["rest"], stems["rest"])


def test_channels_that_the_model_has_not(model, noise):
    mono = noise(1, 2_000)
    stems = Separator(model, "cpu", precision="fp32").separate(mono, RATE)
    twice = Separator(model, "cpu", precision="fp32").separate(np.repeat(mono, 2, 0), RATE)
    np.testing.assert_allclose(stems["vocals"][0], twice["vocals"].mean(0), atol=1e-6)
    single, pair = Separator(small(1), "cpu"), noise(2, 2_000)
    both = single.separate(pair, RATE)["vocals"]
    for channel in (0, 1):
        np.testing.assert_allclose(both[channel], single.separate(pair[channel], RATE)["vocals"], atol=1e-6)


@pytest.mark.parametrize("length", [0, 1, 100])
def test_short_mixtures_keep_their_length(model, noise, length):
    stems, _ = streamed(Separator(model, "cpu", precision="fp32"), noise(2, length), RATE, 30)
    assert stems["vocals"].shape == (2, length)
    np.testing.assert_allclose(sum(stems.values()), noise(2, length), atol=1e-6)


def test_files_take_the_same_way(model, noise, tmp_path):
    audio.write(tmp_path / "song.wav", noise(2, 3_000), RATE)
    separator = Separator(model, "cpu", precision="fp32")
    (result,) = separator.separate_files([tmp_path / "song.wav"], tmp_path / "out")
    stem = audio.read(result.files["vocals"])
    np.testing.assert_allclose(stem, separator.separate(noise(2, 3_000), RATE)["vocals"], atol=1e-6)


def test_what_needs_segments_is_refused(model):
    for options, name in (({"shifts": 2}, "shifts=2"), ({"compile": True}, "compile"), ({"wiener": True}, "wiener")):
        with pytest.raises(ConfigError, match=f"^{name} is for models that take segments, and this one takes a mixtu"):
            Separator(model, "cpu", **options)


def test_a_stream_ends_where_it_is_cancelled_or_not_finite(model, noise):
    with pytest.raises(Cancelled):
        Separator(model, "cpu", precision="fp32").separate(noise(2, 2_000), RATE, cancel=lambda: True)
    broken = small(2)
    broken.network.head.project.bias.data.fill_(float("nan"))
    with pytest.raises(NotFiniteError, match="NaN or infinite samples in fp32: its weights are damaged"):
        Separator(broken, "cpu", precision="fp32").separate(noise(2, 2_000), RATE)


def test_a_stream_works_inside_its_block_only(model, noise):
    stream = Separator(model, "cpu", precision="fp32").stream(RATE, 2)
    with stream:
        stream.push(noise(2, 500))
    assert stream._own is None
    with pytest.raises(RuntimeError, match="inside its `with` block only"):
        stream.push(noise(2, 500))
