from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
import torch

from tfswa_unet import audio
from tfswa_unet.dsp import wiener_filter
from tfswa_unet.errors import AudioError, ConfigError, ModelError
from tfswa_unet.inference import Cancelled, Separator
from tfswa_unet.inference.overlap_add import Segmentation
from tfswa_unet.inference.presets import OVERLAP_SECONDS, SEGMENT_SECONDS

RATE = 8000
SPLIT = {"vocals": 0.25, "other": 0.75}


def make(model, **settings):
    return Separator(
        model, **{"device": "cpu", "segment_seconds": 0.5, "overlap_seconds": 0.1, "precision": "fp32", **settings}
    )


@pytest.mark.parametrize("length", [0, 1, 2, 799, 3999, 4000, 4001, 7201, 12345])
def test_lengths_and_samples_are_kept(gains, noise, length):
    mixture = noise(2, length)
    stems = make(gains(SPLIT)).separate(mixture, RATE)
    assert list(stems) == ["vocals", "other"]
    for name, gain in SPLIT.items():
        assert stems[name].dtype == np.float32
        np.testing.assert_allclose(stems[name], gain * mixture, atol=1e-7)


def test_the_wiener_filter_sees_all_stems_of_a_segment(blur, noise):
    model, mixture = blur(reach=40), noise(2, 4000)
    with torch.inference_mode():
        wanted = wiener_filter(torch.from_numpy(mixture)[None], model(torch.from_numpy(mixture)[None]))[0]
    separator = make(model, wiener=True)
    stems = separator.separate(mixture, RATE)
    np.testing.assert_allclose(np.stack(list(stems.values())), wanted.numpy(), atol=1e-6)
    np.testing.assert_array_equal(separator.separate(mixture, RATE, stems="far")["far"], stems["far"])


def test_context_as_wide_as_the_receptive_field_gives_one_pass(blur, noise):
    model, mixture = blur(reach=150), noise(2, 21111)
    separator = make(model, overlap_seconds=0.05, context_seconds=150 / RATE)
    with torch.inference_mode():
        one_pass = model(torch.from_numpy(mixture)[None])[0].numpy()
    stems = separator.separate(mixture, RATE)
    np.testing.assert_allclose(np.stack(list(stems.values())), one_pass, atol=1e-6)
    seams = make(model, overlap_seconds=0.0).separate(mixture, RATE)
    assert np.abs(np.stack(list(seams.values())) - one_pass).max() > 1e-3


@pytest.mark.parametrize(("rate", "block"), [(RATE, 999), (RATE, 50_000), (11025, 777), (48000, 10_000)])
def test_a_stream_gives_what_an_array_gives(blur, noise, rate, block):
    separator, mixture = make(blur(reach=40), batch=3), noise(2, 2 * rate + 17)
    whole = separator.separate(mixture, rate)
    blocks = (mixture[:, i : i + block] for i in range(0, mixture.shape[1], block))
    streamed = list(separator.separate_blocks(blocks, rate, 2))
    for name in separator.stems:
        np.testing.assert_allclose(np.concatenate([b[name] for b in streamed], axis=1), whole[name], atol=1e-5)


@pytest.mark.parametrize("rate", [22050, 44100, 48000, 96000])
@pytest.mark.parametrize("channels", [1, 2])
def test_other_rates_and_mono_come_back_as_they_were(gains, rate, channels):
    t = np.arange(int(1.3 * rate) + 1) / rate
    tone = np.stack([0.3 * np.sin(2 * math.pi * 440 * (c + 1) * t) for c in range(channels)]).astype(np.float32)
    stems = make(gains(SPLIT, rate=32000)).separate(tone, rate)
    inside = slice(rate // 20, -rate // 20)  # the tone's abrupt ends are not band-limited
    for name, gain in SPLIT.items():
        assert stems[name].shape == tone.shape
        np.testing.assert_allclose(stems[name][:, inside], gain * tone[:, inside], atol=2e-4)


def test_channels_are_given_as_the_model_wants_them(gains, noise):
    stereo = gains(SPLIT, channels=2)
    make(stereo).separate(noise(1, 4000), RATE)
    assert stereo.calls == [(1, 2, 4000)]
    mono, mixture = gains(SPLIT, channels=1), noise(2, 4000)
    stems = make(mono, batch=4).separate(mixture, RATE)
    assert mono.calls == [(2, 1, 4000)]
    np.testing.assert_allclose(stems["other"], 0.75 * mixture, atol=1e-7)


def test_more_channels_than_the_model_has_are_refused(gains, noise):
    with pytest.raises(AudioError, match=r"the audio has 6 channels, the model separates 2 .*-ac 2"):
        make(gains(SPLIT)).separate(noise(6, 100), RATE)


def test_silence_is_silence_without_running_the_model(gains, noise):
    class Humming(gains):
        def forward(self, mixture):
            return super().forward(mixture) + 0.01

    model = Humming(SPLIT)
    mixture = np.zeros((2, 10 * RATE), np.float32)
    stems = make(model).separate(mixture, 44100)
    assert model.calls == []
    assert not any(stem.any() for stem in stems.values())
    mixture[:, 5 * RATE : 6 * RATE] = noise(2, RATE)
    stems = make(model, batch=4).separate(mixture, RATE)
    assert sum(shape[0] for shape in model.calls) == 3
    assert not stems["other"][:, : 4 * RATE].any()
    assert not stems["other"][:, 7 * RATE :].any()
    np.testing.assert_allclose(
        stems["other"][:, 5 * RATE : 6 * RATE], 0.75 * mixture[:, 5 * RATE : 6 * RATE] + 0.01, atol=1e-6
    )


def test_segments_run_in_batches_and_no_batch_changes_the_result(blur, noise):
    mixture = noise(2, 5 * RATE)
    model = blur(reach=20)
    one = make(model, batch=1).separate(mixture, RATE)
    many = make(model, batch=7).separate(mixture, RATE)
    for name in one:
        np.testing.assert_allclose(many[name], one[name], atol=1e-6)


def test_running_out_of_memory_halves_the_batch(gains, noise):
    class Small(gains):
        def forward(self, mixture):
            self.calls.append(mixture.shape)
            if len(mixture) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return mixture[:, None] * self.gains[:, None, None]

    model, mixture = Small(SPLIT), noise(2, 10 * RATE)
    separator = make(model, batch=9)
    stems = separator.separate(mixture, RATE)
    np.testing.assert_allclose(stems["vocals"], 0.25 * mixture, atol=1e-7)
    assert [shape[0] for shape in model.calls[:3]] == [9, 4, 2]
    assert max(shape[0] for shape in model.calls[2:]) == 2
    assert separator.batch == 2


def test_a_segment_too_large_for_the_memory_is_refused(gains, noise):
    class Full(gains):
        def forward(self, mixture):
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(ModelError, match=r"one segment of 0\.5 s does not fit into the memory of cpu"):
        make(Full(SPLIT), batch=4).separate(noise(2, RATE), RATE)


def test_cancel_is_polled_between_batches(gains, noise):
    model = gains(SPLIT)
    with pytest.raises(Cancelled):
        make(model).separate(noise(2, 10 * RATE), RATE, cancel=lambda: len(model.calls) == 3)
    assert len(model.calls) == 3


def test_progress_grows_to_the_whole(gains, noise):
    seen = []
    mixture = noise(2, 3 * RATE)
    make(gains(SPLIT)).separate(mixture, RATE, on_progress=lambda done, total: seen.append((done, total)))
    done = [d for d, _ in seen]
    assert done == sorted(done)
    assert len(set(done)) > 3
    assert seen[-1] == (3 * RATE, 3 * RATE)


def test_chosen_stems_come_in_the_model_s_order(gains, noise):
    model = gains({"vocals": 0.1, "drums": 0.2, "bass": 0.3, "other": 0.4})
    mixture = noise(2, RATE)
    stems = make(model).separate(mixture, RATE, stems=["bass", "vocals"])
    assert list(stems) == ["vocals", "bass"]
    np.testing.assert_allclose(stems["bass"], 0.3 * mixture, atol=1e-7)
    with pytest.raises(ConfigError, match=r"no stem 'vocal' \(did you mean vocals\?\): it gives vocals, drums, "):
        make(model).separate(mixture, RATE, stems=["vocal"])
    with pytest.raises(ConfigError, match="no stem is asked for"):
        make(model).separate(mixture, RATE, stems=[])


def test_memory_does_not_grow_with_duration(gains):
    def peak(seconds):
        separator = make(gains(SPLIT), batch=2)
        blocks = (np.full((2, RATE), 0.1, np.float32) for _ in range(seconds))
        tracemalloc.start()
        total = sum(block["vocals"].shape[1] for block in separator.separate_blocks(blocks, RATE, 2))
        result = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert total == seconds * RATE
        return result

    peak(5)
    assert peak(120) < 1.2 * peak(12)


def test_what_is_no_audio_is_refused(gains, noise):
    separator = make(gains(SPLIT))
    with pytest.raises(AudioError, match=r"int64 shaped \(2, 100\): give floating-point samples"):
        separator.separate(np.zeros((2, 100), np.int64), RATE)
    with pytest.raises(AudioError, match=r"shaped \(1, 2, 100\)"):
        separator.separate(np.zeros((1, 2, 100), np.float32), RATE)
    for rate in ("44100", 44100.5, None, True):
        with pytest.raises(AudioError, match="give a whole number of Hz"):
            separator.separate(np.zeros((2, 100), np.float32), rate)
    with pytest.raises(AudioError, match="the rate is 0: give a whole number of Hz"):
        separator.separate_blocks([], 0, 2)
    broken = noise(2, 12 * RATE)
    broken[0, 11 * RATE] = np.nan
    with pytest.raises(AudioError, match=r"NaN or infinite samples near 10\.0 s"):
        separator.separate(broken, RATE)


def test_a_model_that_gives_nan_is_reported(gains, noise):
    model = gains({"vocals": math.nan})
    with pytest.raises(ModelError, match="samples in fp32: its weights are damaged or its training failed"):
        make(model).separate(noise(2, RATE), RATE)
    with pytest.raises(ModelError, match="NaN or infinite samples in bf16: try precision=fp32"):
        make(model, precision="bf16").separate(noise(2, RATE), RATE)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"batch": 0}, "batch=0: at least one segment"),
        ({"segment_seconds": 0}, "a segment of 0 samples is empty"),
        ({"segment_seconds": math.nan}, "segment_seconds=nan: give a number of seconds"),
        ({"overlap_seconds": -1}, "overlap_seconds=-1"),
        ({"overlap_seconds": 0.4}, "must lie between 0 and half of the segment's 4000"),
        ({"context_seconds": 0.09}, "must fit into the overlap"),
        ({"device": "gpu"}, "unknown device 'gpu': expected auto, cpu"),
        ({"device": "cuda:99"}, "device cuda:99 is not there on this machine"),
        ({"precision": "fp16"}, "unknown precision 'fp16': expected one of auto, fp32, bf16"),
    ],
)
def test_impossible_settings_are_refused(gains, settings, sentence):
    with pytest.raises(ConfigError, match=sentence):
        make(gains(SPLIT), **settings)


@pytest.mark.parametrize("asked", [{}, {"segment_seconds": None, "overlap_seconds": None}])
def test_segments_have_their_default_lengths_where_none_is_asked_for(gains, asked):
    separator = Separator(gains(SPLIT), "cpu", precision="fp32", **asked)
    assert (separator.segment_seconds, separator.overlap_seconds) == (SEGMENT_SECONDS, OVERLAP_SECONDS)
    overlap = OVERLAP_SECONDS * RATE
    assert separator.segmentation == Segmentation(SEGMENT_SECONDS * RATE, overlap, overlap // 4)


def test_bf16_runs_under_autocast_and_is_near_fp32(blur, noise):
    model, mixture = blur(reach=40), noise(2, 2 * RATE)
    exact = make(model).separate(mixture, RATE)["near"]
    rough = make(model, precision="bf16").separate(mixture, RATE)["near"]
    error = np.sqrt(np.mean((rough - exact) ** 2) / np.mean(exact**2))
    assert 1e-5 < error < 2e-2


def test_a_real_resampler_pair_is_what_the_stream_uses(gains, noise):
    mixture = noise(2, 3 * RATE)
    there_and_back = audio.resample(audio.resample(mixture, RATE, 11025), 11025, RATE)[:, : mixture.shape[1]]
    stems = make(gains({"all": 1.0}, rate=11025)).separate(mixture, RATE)
    np.testing.assert_allclose(stems["all"], there_and_back, atol=1e-5)


def test_arrays_of_plain_meaning_are_taken(gains, noise):
    separator = make(gains(SPLIT))
    audio = np.round(noise(2, RATE) * 32768).astype(np.int16)
    floats = audio.astype(np.float32) / 32768
    expected = separator.separate(floats, RATE)
    (name, *_) = expected
    tensor = torch.from_numpy(floats)
    for given in (audio, torch.from_numpy(audio), tensor.double(), floats.tolist(), audio.astype(np.int32) << 16):
        np.testing.assert_allclose(separator.separate(given, float(RATE))[name], expected[name], atol=1e-7)
    turned = separator.separate(floats.T, np.int64(RATE), stems=name)
    assert list(turned) == [name]
    np.testing.assert_array_equal(turned[name].T, expected[name])
    assert separator.separate(floats[0], RATE)[name].shape == (RATE,)
    silent = np.full((2, 100), 128, np.uint8)
    assert not separator.separate(silent, RATE)[name].any()
