"""Mixtures that come in blocks: the stems of the whole, how late they are, shifts, threads, and their ends."""

from __future__ import annotations

import math
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from tests.inference.conftest import streamed
from tfswa_unet import audio, models
from tfswa_unet.errors import AudioError, ConfigError
from tfswa_unet.inference import Cancelled, Separator

RATE = 8000


def make(model, **settings):
    return Separator(
        model, **{"device": "cpu", "segment_seconds": 0.5, "overlap_seconds": 0.1, "precision": "fp32", **settings}
    )


@pytest.mark.parametrize(("rate", "block", "shifts"), [(RATE, 333, 1), (11025, 5000, 1), (RATE, 333, 3)])
def test_a_stream_gives_what_an_array_gives(blur, noise, rate, block, shifts):
    separator, mixture = make(blur(40), shifts=shifts), noise(2, 2 * rate + 17)
    stems, _ = streamed(separator, mixture, rate, block)
    for name, whole in separator.separate(mixture, rate).items():
        assert stems[name].shape == whole.shape
        np.testing.assert_allclose(stems[name], whole, atol=1e-4)


@pytest.mark.parametrize("length", [0, 1, 799, 4000])
def test_short_mixtures_keep_their_length(gains, noise, length):
    for shifts in (1, 2):
        stems, _ = streamed(make(gains({"all": 1.0}), shifts=shifts), noise(2, length), RATE, 300)
        np.testing.assert_allclose(stems["all"], noise(2, length), atol=1e-7)


@pytest.mark.parametrize(
    ("rate", "batch", "shifts"), [(RATE, 1, 1), (RATE, 3, 1), (11025, 1, 1), (RATE, 1, 3), (RATE, 4, 2)]
)
def test_stems_are_as_late_as_the_stream_says_and_no_later(gains, noise, rate, batch, shifts):
    separator = make(gains({"all": 1.0}), shifts=shifts)
    stream = separator.stream(rate, 2, batch=batch)
    _, late = streamed(separator, noise(2, 10 * rate), rate, 10, batch=batch)
    assert 0.85 * stream.latency * rate < late <= stream.latency * rate + 10
    if batch == 1 and rate == RATE:
        assert stream.latency == pytest.approx(0.5)


def test_shifts_average_segments_that_begin_elsewhere(noise):
    class Ramp(torch.nn.Module):
        """A model that gives at each sample its place in the segment."""

        stems, rate, channels = ("place",), RATE, 2

        def forward(self, mixture):
            return torch.arange(mixture.shape[-1]).float().expand(mixture.shape)[:, None]

    def places(shifts):
        separator = make(Ramp(), overlap_seconds=0.0, shifts=shifts)
        return separator.separate(noise(2, 4 * RATE), RATE)["place"][0]

    size = RATE // 2
    once, twice = places(1)[: 6 * size], places(2)[: 6 * size]
    moments = np.arange(6 * size)
    np.testing.assert_array_equal(once, moments % size)
    np.testing.assert_array_equal(twice, (moments % size + (moments + size // 2) % size) / 2)


def test_two_threads_share_one_separator(blur, noise):
    separator = make(blur(40), batch=2)
    mixtures = [noise(2, 3 * RATE + seed, seed) for seed in range(8)]
    alone = [separator.separate(mixture, 11025) for mixture in mixtures]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda mixture: separator.separate(mixture, 11025), mixtures))
    for one, other in zip(alone, together, strict=True):
        for name in one:
            np.testing.assert_array_equal(other[name], one[name])


def test_a_network_is_safe_in_two_threads():
    torch.manual_seed(0)
    config = models.preset("tfswa_tiny")
    network = {"widths": [8, 8], "depths": [1, 1], "mlp_ratios": [1.0, 1.0], "head_width": 8}
    model = models.build({**config, "network": {**config["network"], **network}})
    separator = Separator(model, "cpu", 0.5, 0.1, precision="bf16")
    mixtures = [0.1 * np.random.default_rng(seed).standard_normal((2, 30_000)) for seed in range(4)]
    alone = [separator.separate(mixture, 44_100)["vocals"] for mixture in mixtures]
    with ThreadPoolExecutor(2) as pool:
        together = pool.map(lambda mixture: separator.separate(mixture, 44_100)["vocals"], mixtures)
        for one, other in zip(alone, together, strict=True):
            np.testing.assert_array_equal(other, one)


def test_an_event_cancels(gains, noise, tmp_path):
    event = threading.Event()

    class Setting(gains):
        def forward(self, mixture):
            if len(self.calls) == 2:
                event.set()
            return super().forward(mixture)

    with pytest.raises(Cancelled, match="the separation was cancelled"):
        make(Setting({"all": 1.0})).separate(noise(2, 4 * RATE), RATE, cancel=event)
    event.clear()
    audio.write(tmp_path / "song.wav", noise(2, 4 * RATE), RATE)
    with pytest.raises(Cancelled):
        make(Setting({"all": 1.0})).separate_files([tmp_path / "song.wav"], tmp_path / "out", cancel=event)
    assert [path.name for path in tmp_path.iterdir()] == ["song.wav"]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("tfswa-")]


def test_a_path_is_read(gains, noise, tmp_path):
    separator, path = make(gains({"half": 0.5})), tmp_path / "song.wav"
    audio.write(path, noise(1, 3000), 11025)
    for given in (path, str(path)):
        np.testing.assert_array_equal(
            separator.separate(given)["half"], separator.separate(noise(1, 3000), 11025)["half"]
        )
    with pytest.raises(AudioError, match=r"song\.wav: has 11025 Hz, 8000 Hz is given: leave the rate"):
        separator.separate(path, RATE)


def test_what_a_stream_cannot_take_is_refused(gains, noise):
    separator = make(gains({"all": 1.0}))
    with separator.stream(RATE, 2) as stream:
        for block in (noise(1, 10), np.zeros((2, 10), np.int16), noise(2, 10)[0]):
            with pytest.raises(AudioError, match=r"give floating-point samples \(2, samples\)"):
                stream.push(block)
        assert stream.push(torch.from_numpy(noise(2, 10)))["all"].shape == (2, 0)
        with pytest.raises(AudioError, match="NaN or infinite"):
            stream.push(np.full((2, 10), np.nan))
    with pytest.raises(RuntimeError, match="inside its `with` block only"):
        stream.push(noise(2, 10))
    for settings, sentence in (({"batch": 0}, "batch=0"), ({"stems": ["some"]}, "no stem 'some'")):
        with pytest.raises(ConfigError, match=sentence):
            separator.stream(RATE, 2, **settings)
    with pytest.raises(AudioError, match="6 channels"):
        separator.stream(RATE, 6)
    with pytest.raises(AudioError, match="cannot resample"):
        separator.stream(7_999_993, 2)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"shifts": 0}, "shifts=0: at least one pass"),
        ({"preset": "bset"}, r"unknown preset 'bset' \(did you mean best"),
    ],
)
def test_impossible_efforts_are_refused(gains, settings, sentence):
    with pytest.raises(ConfigError, match=sentence):
        make(gains({"all": 1.0}), **settings)


def test_presets_give_what_is_not_given_otherwise(gains):
    best = Separator(gains({"all": 1.0}), "cpu", preset="best")
    assert (best.overlap_seconds, best.shifts, best.precision) == (3.0, 1, "fp32")
    other = Separator(gains({"all": 1.0}), "cpu", preset="best", overlap_seconds=0.5, shifts=2)
    assert (other.overlap_seconds, other.shifts) == (0.5, 2)


def _excess(model, mixture, separator):
    """Level of (whole song − one pass) below one pass at each millisecond, dB, and the milliseconds of the borders."""
    with torch.inference_mode():
        one = model(torch.from_numpy(mixture)[None])[0].numpy()
    stems = np.stack(list(separator.separate(mixture, model.rate).values()))
    step = model.rate // 1000
    length = mixture.shape[1] // step * step
    error, level = (np.square(x[..., :length]).sum((0, 1)).reshape(-1, step).sum(1) for x in (stems - one, one))
    hop, size = separator.segmentation.hop, separator.segmentation.size
    borders = {
        k * hop // step + d for k in range(1, mixture.shape[1] // hop) for d in range(-1, (size - hop) // step + 2)
    }
    return 10 * np.log10(error / level.mean() + 1e-20), sorted(b for b in borders if b < length // step)


def test_a_song_in_segments_is_one_pass_away_from_the_ends(blur, noise):
    model, mixture = blur(reach=150), noise(2, 6 * RATE)
    separator = make(model, overlap_seconds=0.1, context_seconds=0.025)
    excess, borders = _excess(model, mixture, separator)
    assert excess[100:-100].max() < -60
    assert excess[borders[0] : borders[-1]].max() < -60
    rough, _ = _excess(model, mixture, make(model, overlap_seconds=0.0))
    assert rough[100:-100].max() > -60  # the test sees seams where they are


def test_no_step_of_energy_at_the_borders_of_segments(noise):
    """A network that sees whole segments differs from one pass everywhere, but not more where segments meet."""
    torch.manual_seed(0)
    config = models.preset("tfswa_tiny")
    network = {"widths": [8, 8], "depths": [1, 1], "mlp_ratios": [1.0, 1.0], "head_width": 8}
    model = models.build({**config, "network": {**config["network"], **network}}).eval()
    mixture = (0.1 * np.random.default_rng(0).standard_normal((2, 8 * 44_100))).astype(np.float32)
    separator = Separator(model, "cpu", 2.0, 0.5, precision="fp32")
    excess, borders = _excess(model, mixture, separator)
    elsewhere = np.setdiff1d(np.arange(300, len(excess) - 300), borders)
    power = 10 ** (excess / 10)
    assert power[borders].mean() < 2 * power[elsewhere].mean()
    assert math.isfinite(power[borders].mean())
    sudden, _ = _excess(model, mixture, Separator(model, "cpu", 2.0, 0.0, precision="fp32"))
    assert (10 ** (sudden / 10))[borders].mean() > power[borders].mean()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_gives_what_the_cpu_gives(blur, noise):
    model, mixture = blur(40), noise(2, 10 * RATE)
    expected = make(model).separate(mixture, 11025)
    separator = make(model, device="cuda", batch=3, shifts=1)
    given = separator.separate(mixture, 11025)
    for name in expected:
        np.testing.assert_allclose(given[name], expected[name], atol=1e-4)
    stems, _ = streamed(separator, mixture, 11025, 4000)
    for name in expected:
        np.testing.assert_allclose(stems[name], expected[name], atol=1e-4)
