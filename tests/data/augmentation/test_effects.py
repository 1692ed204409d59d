from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.integrate
import scipy.signal
import torch

from tests.data.augmentation.conftest import strong
from tfswa_unet.data.augmentation.effects import fft_size, filtered, high_pass, high_shelf, low_shelf, peaking, response

RATE = 44_100
ROOM_RATE = 16_000


def cookbook(kind: str, gain: float, q: float, centre: float) -> tuple[np.ndarray, np.ndarray]:
    """Digital coefficients as the Audio EQ Cookbook lists them."""
    a = 10 ** (gain / 40)
    w = 2 * math.pi * centre / RATE
    cos, alpha = math.cos(w), math.sin(w) / (2 * q)
    root = 2 * math.sqrt(a) * alpha
    if kind == "peaking":
        return np.array([1 + alpha * a, -2 * cos, 1 - alpha * a]), np.array([1 + alpha / a, -2 * cos, 1 - alpha / a])
    if kind == "low_shelf":
        up, down = a + 1, a - 1
        return (
            a * np.array([up - down * cos + root, 2 * (down - up * cos), up - down * cos - root]),
            np.array([up + down * cos + root, -2 * (down + up * cos), up + down * cos - root]),
        )
    if kind == "high_shelf":
        up, down = a + 1, a - 1
        return (
            a * np.array([up + down * cos + root, -2 * (down + up * cos), up + down * cos - root]),
            np.array([up - down * cos + root, 2 * (down - up * cos), up - down * cos - root]),
        )
    return np.array([(1 + cos) / 2, -1 - cos, (1 + cos) / 2]), np.array([1 + alpha, -2 * cos, 1 - alpha])


KINDS = {"peaking": peaking, "low_shelf": low_shelf, "high_shelf": high_shelf, "high_pass": lambda _, q: high_pass(q)}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("gain", "q", "centre"), [(6.0, 0.7, 40.0), (-9.0, 2.0, 1_000.0), (3.0, 1.0, 15_000.0)])
def test_a_response_is_that_of_the_cookbooks_biquad(kind, gain, q, centre):
    section = KINDS[kind](torch.tensor(gain), torch.tensor(q))
    found = response(section, torch.tensor(centre), RATE, 8_192).numpy()
    frequencies = np.arange(4_097) * RATE / 8_192
    _, expected = scipy.signal.freqz(*cookbook(kind, gain, q, centre), worN=frequencies, fs=RATE)
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_leading_axes_are_filters_of_their_own():
    gain, q = torch.tensor([[6.0, -6.0, 3.0]]), torch.tensor([[0.5, 1.0, 2.0]])
    centre = torch.tensor([[100.0, 1_000.0, 5_000.0]])
    many = response(peaking(gain, q), centre, RATE, 255)
    assert many.shape == (1, 3, 128)
    torch.testing.assert_close(many[0, 1], response(peaking(gain[0, 1], q[0, 1]), centre[0, 1], RATE, 255))


def test_filtering_equals_running_the_biquad_over_the_samples():
    waveform = torch.randn(2, 10_000, generator=torch.Generator().manual_seed(0))
    size = fft_size(20_000)
    curve = response(low_shelf(torch.tensor(6.0), torch.tensor(0.7)), torch.tensor(200.0), RATE, size)
    expected = scipy.signal.lfilter(*cookbook("low_shelf", 6, 0.7, 200), waveform.double().numpy(), axis=-1)
    np.testing.assert_allclose(filtered(waveform, curve, size).numpy(), expected, atol=1e-4)


def gains(stems: torch.Tensor, result: torch.Tensor, frequency: float) -> torch.Tensor:
    """dB by which a tone of `frequency` has changed in each (…, t)."""
    tone = torch.exp(-2j * math.pi * frequency / RATE * torch.arange(stems.shape[-1], dtype=torch.float64))
    middle = slice(RATE // 5, -RATE // 5)
    levels = [(x.double()[..., middle] * tone[middle]).sum(-1).abs() for x in (stems, result)]
    return 20 * torch.log10(levels[1] / levels[0])


def test_the_equaliser_changes_tones_as_the_biquad_of_one_of_three_kinds_says(generator):
    """Centre and Q are given; the drawn gain is read at the centre, or at the shelf's far end."""
    tones = [50.0, 300.0, 1_000.0, 2_500.0, 20_000.0]
    t = torch.arange(RATE, dtype=torch.float64) / RATE
    tone = sum(0.1 * torch.sin(2 * math.pi * f * t) for f in tones).float()
    stems = tone.expand(12, 1, 2, -1).contiguous()
    augmentation = strong(
        "eq", p=1.0, bands=1, gain=9, low=1_000, high=1_000, q_low=0.7, q_high=0.7, generator=generator
    )
    result = augmentation.train()(stems)
    assert torch.equal(result[:, :, 0], result[:, :, 1])
    found = torch.stack([gains(stems, result, f)[:, 0, 0] for f in tones], -1).numpy()
    kinds = []
    for row in found:
        errors = {}
        for kind, gain in (("peaking", row[2]), ("low_shelf", row[0]), ("high_shelf", row[4])):
            _, curve = scipy.signal.freqz(*cookbook(kind, gain, 0.7, 1_000), worN=tones, fs=RATE)
            errors[kind] = np.abs(20 * np.log10(np.abs(curve)) - row).max()
        kinds.append(min(errors, key=errors.get))
        assert errors[kinds[-1]] < 0.1
        assert np.abs(row).max() < 9.05
    assert set(kinds) == {"peaking", "low_shelf", "high_shelf"}
    assert (found.max(1) > 1).any()
    assert (found.min(1) < -1).any()


def curves(generator, **settings: float) -> torch.Tensor:
    """dB (1000, f) that equalisers at 16 kHz add at the bins of an FFT of 4,096 samples: what becomes of a click."""
    clicks = torch.zeros(1_000, 1, 1, 4_096)
    clicks[..., 0] = 1
    augmentation = strong("eq", p=1.0, rate=ROOM_RATE, generator=generator, **settings)
    return 20 * torch.log10(torch.fft.rfft(augmentation.train()(clicks)[:, 0, 0].double()).abs())


def test_centres_are_spread_evenly_over_octaves(generator):
    """A peak is where the level changes most, the centre of a shelf where it has half of the change."""
    found = []
    for _ in range(4):
        curve = curves(generator, bands=1, low=100, high=6_400, q_low=0.5, q_high=2)
        shelf = curve[:, :1] + curve[:, -1:]
        peak = shelf[:, 0].abs() < 0.05 * curve.abs().amax(1)
        at = torch.where(peak, curve.abs().argmax(1), (curve - shelf / 2).abs().argmin(1))
        found.append(at * ROOM_RATE / 4_096)
    centres = torch.cat(found)
    assert centres.min() > 97
    assert centres.max() < 6_500
    octaves = torch.histc(torch.log2(centres / 100).clamp(0, 6).float(), 6, 0, 6)
    assert octaves.min() > 550
    assert octaves.sum() == 4_000


def test_bands_are_in_a_row_and_each_has_a_gain_of_its_own(generator):
    """At a common centre, a third of the bands have their whole gain, up to 9 dB, and shelves half of it."""
    one, four = (
        curves(generator, bands=bands, gain=9, low=1_000, high=1_000, q_low=0.7, q_high=0.7)[:, 256] for bands in (1, 4)
    )
    assert one.abs().max() < 9.05
    assert 9.05 < four.abs().max() < 36.1
    assert one.std().item() == pytest.approx(13.5**0.5, rel=0.1)
    assert four.std().item() == pytest.approx((4 * 13.5) ** 0.5, rel=0.1)


def test_what_rings_does_not_come_back_at_the_start(generator):
    """The narrowest, lowest and strongest band: an impulse at the end leaves the start silent."""
    late = torch.zeros(8, 1, 1, RATE)
    late[..., -1] = 1
    augmentation = strong("eq", p=1.0, bands=1, gain=6, low=60, high=60, q_low=2, q_high=2, generator=generator)
    assert augmentation.train()(late)[..., : -RATE // 2].abs().max() < 1e-6


def rooms(generator, count: int = 6, **settings: float) -> torch.Tensor:
    """Impulse responses (count, c, t) at 16 kHz: what becomes of a click."""
    clicks = torch.zeros(count, 1, 2, 2 * ROOM_RATE)
    clicks[..., 0] = 1
    return strong("reverb", p=1.0, rate=ROOM_RATE, generator=generator, **settings).train()(clicks)[:, 0]


@pytest.mark.parametrize("rt60", [0.3, 1.0])
def test_the_echo_decays_in_its_time(generator, rt60):
    """Schroeder's backward integration (doi:10.1121/1.1909343), fitted from −5 to −35 dB."""
    echo = rooms(generator, rt60_low=rt60, rt60_high=rt60)[..., 1:].double().numpy()
    energy = np.cumsum(echo[..., ::-1] ** 2, -1)[..., ::-1].reshape(12, -1)
    for curve in energy:
        decay = 10 * np.log10(curve / curve[0] + 1e-12)
        span = np.flatnonzero((decay < -5) & (decay > -35))
        slope = np.polyfit(span / ROOM_RATE, decay[span], 1)[0]
        assert -60 / slope == pytest.approx(rt60, rel=0.1)


def test_the_dry_stem_stays_in_place_before_the_first_echo(generator):
    room = rooms(generator)
    assert torch.allclose(room[..., 0], torch.ones(6, 2), atol=1e-5)
    first = ROOM_RATE // 100
    assert room[..., 1:first].abs().max() < 1e-6
    assert (room[..., first : first + 200].abs().amax(-1) > 1e-3).all()


def test_the_echo_of_noise_is_as_loud_as_asked(generator):
    noise = torch.randn(4, 1, 2, 4 * ROOM_RATE, generator=generator)
    augmentation = strong(
        "reverb", p=1.0, rt60_high=0.4, wet_low=-12, wet_high=-12, rate=ROOM_RATE, generator=generator
    )
    wet = (augmentation.train()(noise) - noise)[..., ROOM_RATE:]
    level = 10 * torch.log10(wet.square().mean((-2, -1)) / noise.square().mean((-2, -1)))
    assert (level + 12).abs().max() < 0.5


def test_channels_and_stems_have_echoes_of_their_own(generator):
    echoes = rooms(generator, count=4)[..., ROOM_RATE // 100 :].flatten(0, 1)
    likeness = torch.corrcoef(echoes) - torch.eye(8)
    assert likeness.abs().max() < 0.2


def test_reverberation_is_convolution_with_what_becomes_of_a_click(stems):
    clicks = torch.zeros_like(stems[:1])
    clicks[..., 0] = 1
    responses, result = (
        strong("reverb", p=1.0, rate=8_000, generator=torch.Generator().manual_seed(2)).train()(dry)[0]
        for dry in (clicks, stems[:1])
    )
    for stem in range(3):
        for channel in range(2):
            expected = np.convolve(stems[0, stem, channel], responses[stem, channel])[:8_000]
            np.testing.assert_allclose(result[stem, channel], expected, atol=1e-4)


def test_distortion_is_tanh_at_the_level_there_was(stems, generator):
    """At a given drive every stem is proportional to tanh(drive · x / peak)."""
    result = strong("distortion", p=1.0, low=12, high=12, generator=generator).train()(stems)
    for before, after in zip(stems.flatten(0, 1), result.flatten(0, 1), strict=True):
        bent = torch.tanh(10 ** (12 / 20) * before / before.abs().max())
        torch.testing.assert_close(after, bent * (before.std() / bent.std()), rtol=1e-3, atol=1e-5)
        assert after.square().mean().item() == pytest.approx(before.square().mean().item(), rel=1e-4)


def test_distortion_gives_a_sine_the_odd_harmonics_that_fourier_says():
    t = torch.arange(8_000) / 8_000
    sine = 0.3 * torch.sin(2 * math.pi * 100 * t).view(1, 1, 1, -1)
    result = strong("distortion", p=1.0, low=10, high=10).train()(sine)
    lines = torch.fft.rfft(result.flatten()).abs()
    drive = 10 ** (10 / 20)
    parts = [
        scipy.integrate.quad(lambda x, k=k: math.tanh(drive * math.sin(x)) * math.sin(k * x), 0, math.pi)[0]
        for k in (1, 3, 5)
    ]
    for k, part in zip((3, 5), parts[1:], strict=True):
        assert (lines[100 * k] / lines[100]).item() == pytest.approx(abs(part / parts[0]), rel=1e-3)
    assert lines[[200, 400, 600]].max() < 1e-5 * lines[100]


def test_the_drive_is_drawn_for_each_stem(generator):
    square = torch.linspace(-1, 1, 1_000).expand(200, 1, 1, -1).contiguous()
    result = strong("distortion", p=1.0, low=0, high=20, generator=generator).train()(square)
    crest = result.amax((1, 2, 3)) / result.square().mean((1, 2, 3)).sqrt()
    assert crest.unique().numel() > 150
    assert crest.min() > 1.0
    assert crest.max() < math.sqrt(3)


@pytest.fixture
def middle():
    """Six stems of noise, one second at 8 kHz, the same in both channels."""
    noise = 0.1 * torch.randn(6, 1, 1, 8_000, generator=torch.Generator().manual_seed(0))
    return noise.expand(-1, -1, 2, -1).contiguous()


def test_a_panned_stem_keeps_its_energy_and_its_channels_differ_by_a_gain_alone(middle, generator):
    place = strong("stereo", p=1.0, pan=6, delay=0, above=0, rate=8_000, generator=generator).train()
    result = place(middle)
    gains = (result * middle).sum(-1) / middle.square().sum(-1)
    torch.testing.assert_close(result, middle * gains[..., None], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(gains.square().sum(-1), torch.full((6, 1), 2.0))
    ratios = 20 * torch.log10(gains[..., 0] / gains[..., 1]).flatten()
    assert ratios.abs().max() <= 6
    assert ratios.min() < -1
    assert ratios.max() > 1


def lag(before: torch.Tensor, after: torch.Tensor) -> int:
    """The whole samples by which a sound (t,) comes later."""
    late = (n for n in range(len(before)) if torch.allclose(after[n:], before[: len(before) - n], atol=1e-6))
    found = next(late)
    assert after[:found].abs().sum() < 1e-3
    return found


def test_one_channel_of_a_widened_stem_comes_later_by_whole_samples(middle, generator):
    place = strong("stereo", p=1.0, pan=0, delay=0.01, above=0, rate=8_000, generator=generator).train()
    stems = zip(middle.flatten(0, 2), place(middle).flatten(0, 2), strict=True)
    lags = torch.tensor([lag(before, after) for before, after in stems]).view(6, 2)
    assert (lags.amin(1) == 0).all()
    assert lags[:, 0].max() > 10
    assert lags[:, 1].max() > 10


def test_lows_stay_in_the_middle_and_highs_do_not(generator):
    t = torch.arange(8_000) / 8_000
    sides = []
    for hertz in (20, 2_030):
        tone = torch.sin(2 * math.pi * hertz * t).expand(8, 1, 2, -1)
        place = strong("stereo", p=1.0, pan=0, delay=0.02, above=200, rate=8_000, generator=generator).train()
        left, right = place(tone)[..., 500:-500].unbind(2)
        sides.append((left - right).square().mean() / (left + right).square().mean())
    assert 10 * torch.log10(sides[0]) < -30
    assert 10 * torch.log10(sides[1]) > -6


@pytest.mark.parametrize("channels", [1, 3])
def test_a_stereo_image_needs_two_channels(channels):
    stems = torch.randn(2, 2, channels, 400)
    assert strong("stereo", p=1.0).train()(stems) is stems
