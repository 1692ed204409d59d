"""Augmentations by studio effects: equaliser, reverb, distortion, stereo image."""

from __future__ import annotations

import math

import torch
from scipy.fft import next_fast_len
from torch import Tensor
from torch.nn.functional import pad

from tfswa_unet.data.augmentation.base import AUGMENTATIONS, Augmentation

# tan of half the frequency has no value at half the sample rate; from here on the response is what it is there.
BEYOND = 1e6
RINGING = 0.25  # s that the lowest and narrowest band rings for, to below −90 dB
PRE_DELAY = 0.01  # s until the first echo
FLOOR = 1e-9  # of a level to divide by: silence stays silence


def peaking(gain: Tensor, q: Tensor) -> Tensor:
    """Return sections (..., 2, 3) that change the level around their centre by `gain` dB, as wide as `q` is low."""
    a, one = 10 ** (gain / 40), torch.ones_like(gain)
    return _section(one, a / q, one, one, 1 / (a * q), one)


def low_shelf(gain: Tensor, q: Tensor) -> Tensor:
    """Return sections (..., 2, 3) that change the level below their centre by `gain` dB."""
    a = 10 ** (gain / 40)
    slope = a.sqrt() / q
    return _section(a * a, a * slope, a, torch.ones_like(a), slope, a)


def high_shelf(gain: Tensor, q: Tensor) -> Tensor:
    """Return sections (..., 2, 3) that change the level above their centre by `gain` dB."""
    a = 10 ** (gain / 40)
    slope = a.sqrt() / q
    return _section(a, a * slope, a * a, a, slope, torch.ones_like(a))


def high_pass(q: Tensor) -> Tensor:
    """Return sections (..., 2, 3) that let pass what lies above their centre."""
    zero, one = torch.zeros_like(q), torch.ones_like(q)
    return _section(zero, zero, one, one, 1 / q, one)


def response(section: Tensor, centre: Tensor, rate: float, size: int) -> Tensor:
    """Evaluate digital filters at the bins of a real FFT of `size` samples.

    Args:
        section: numerator and denominator in powers 0, 1, 2 of s / centre, (..., 2, 3).
        centre: Hz, (...).
        rate: sample rate in Hz.
        size: samples of the FFT.

    Returns:
        complex (..., f), f = size // 2 + 1.
    """
    angle = torch.arange(size // 2 + 1, device=section.device) * (math.pi / size)
    s = (angle.tan() / torch.tan(math.pi / rate * centre)[..., None]).abs().clamp(max=BEYOND)[..., None, :]
    constant, first, second = section[..., None].unbind(-2)
    numerator, denominator = torch.complex(constant - second * s.square(), first * s).unbind(-2)
    return numerator / denominator


def fft_size(length: int) -> int:
    """Return the next number of samples from `length` on that an FFT is fast at."""
    return int(next_fast_len(length, real=True))


def filtered(waveform: Tensor, spectrum: Tensor, size: int) -> Tensor:
    """Convolve waveforms (..., t) with a filter given by its real FFT of `size` samples (..., f) → (..., t).

    `size` must leave room behind t for the filter to ring in, for what goes beyond comes back at the start.
    """
    return torch.fft.irfft(torch.fft.rfft(waveform, size) * spectrum, size)[..., : waveform.shape[-1]]


def _section(*coefficients: Tensor) -> Tensor:
    return torch.stack(coefficients, -1).unflatten(-1, (2, 3))


@AUGMENTATIONS.register("eq")
class Equaliser(Augmentation):
    """Random equaliser of each chosen stem: peaking filters, low shelves and high shelves in a row.

    The filters are of minimum phase, as a mixing desk's are. Shapes: (b, s, c, t) → the same.

    Args:
        p: probability that a stem is changed.
        bands: filters in a row.
        gain: dB, the most that one raises or lowers its band.
        low: Hz, the lowest centre; centres are spread evenly over octaves.
        high: Hz, the highest centre.
        q_low: the widest band's Q.
        q_high: the narrowest band's Q.
        rate: sample rate in Hz.
        generator: see `Augmentation`.

    Raises:
        ConfigError: numbers out of order, or centres above half the sample rate.
    """

    def __init__(
        self,
        *,
        p: float,
        bands: int,
        gain: float,
        low: float,
        high: float,
        q_low: float,
        q_high: float,
        rate: int,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(p=p, generator=generator)
        self.bands = self.within("bands", bands, 1, 20)
        self.gain = self.within("gain", gain, 0, 40)
        self.rate = self.within("rate", rate, 1)
        self.low = self.within("low", low, 20)
        self.high = self.within("high", high, low, rate / 2)
        self.q_low = self.within("q_low", q_low, 0.1)
        self.q_high = self.within("q_high", q_high, q_low, 4)

    def augment(self, stems: Tensor) -> Tensor:
        return self.to_chosen_stems(stems, self._equalise)

    def _equalise(self, stems: Tensor) -> Tensor:
        sections, centres = (each.to(stems.device) for each in self._filters(len(stems)))
        size = fft_size(stems.shape[-1] + round(RINGING * self.rate))
        curve = response(sections[0], centres[0], self.rate, size)
        for section, centre in zip(sections[1:], centres[1:], strict=True):
            curve = curve * response(section, centre, self.rate, size)
        return filtered(stems, curve[:, None], size)

    def _filters(self, count: int) -> tuple[Tensor, Tensor]:
        """Draw sections (bands, count, 2, 3) and their centres (bands, count) in Hz."""
        shape = self.bands, count
        gain, q = self.uniform(-self.gain, self.gain, *shape), self.uniform(self.q_low, self.q_high, *shape)
        kinds = torch.stack([peaking(gain, q), low_shelf(gain, q), high_shelf(gain, q)])
        kind = self.uniform(0, 3, *shape).long()[None, ..., None, None].expand(1, *kinds.shape[1:])
        return kinds.gather(0, kind)[0], self.low * (self.high / self.low) ** self.uniform(0, 1, *shape)


@AUGMENTATIONS.register("reverb")
class Reverb(Augmentation):
    """Reverberation of each chosen stem: convolution with exponentially decaying noise, independent in each channel.

    The dry stem stays in place as it is (J. A. Moorer, doi:10.2307/3680280, of whose rooms this is the simplest).
    Shapes: (b, s, c, t) → the same; what rings beyond the end is cut off.

    Args:
        p: probability that a stem is changed.
        rt60_low: s until the driest room's echo has fallen by 60 dB.
        rt60_high: s, the most reverberant room's.
        wet_low: dB, the softest echo of a steady noise relative to that noise.
        wet_high: dB, the loudest echo.
        rate: sample rate in Hz.
        generator: see `Augmentation`.

    Raises:
        ConfigError: numbers out of order or range.
    """

    def __init__(
        self,
        *,
        p: float,
        rt60_low: float,
        rt60_high: float,
        wet_low: float,
        wet_high: float,
        rate: int,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(p=p, generator=generator)
        self.rt60_low = self.within("rt60_low", rt60_low, 0.05)
        self.rt60_high = self.within("rt60_high", rt60_high, rt60_low, 20)
        self.wet_low = self.within("wet_low", wet_low, -100)
        self.wet_high = self.within("wet_high", wet_high, wet_low, 20)
        self.rate = self.within("rate", rate, 1)

    def augment(self, stems: Tensor) -> Tensor:
        return self.to_chosen_stems(stems, self._reverberate)

    def _reverberate(self, stems: Tensor) -> Tensor:
        rooms = self._rooms(*stems.shape).to(stems)
        size = fft_size(stems.shape[-1] + rooms.shape[-1])
        return stems + filtered(stems, torch.fft.rfft(rooms, size), size)

    def _rooms(self, count: int, channels: int, length: int) -> Tensor:
        """Draw impulse responses (count, c, t), no longer than the stems are or the longest room rings."""
        rt60 = self.uniform(self.rt60_low, self.rt60_high, count, 1, 1)
        wet = 10 ** (self.uniform(self.wet_low, self.wet_high, count, 1, 1) / 20)
        time = torch.arange(min(length, math.ceil(self.rt60_high * self.rate)), device=rt60.device) / self.rate
        echo = self.noise(count, channels, len(time)) * 10 ** (-3 * time / rt60)
        energy = echo.square().sum(-1, keepdim=True)
        return pad(echo * wet / energy.sqrt(), (round(PRE_DELAY * self.rate), 0))


@AUGMENTATIONS.register("distortion")
class Distortion(Augmentation):
    """Soft clipping of each chosen stem, tanh(drive · x / peak), scaled back to the level (RMS) it had.

    The drive is drawn from `low` to `high` dB, one a stem: 0 dB rounds the highest peaks, 20 dB flattens most of them.
    Shapes: (b, s, c, t) → the same. Raises ConfigError where `high` is below `low`.
    """

    def __init__(self, *, p: float, low: float, high: float, generator: torch.Generator | None = None) -> None:
        super().__init__(p=p, generator=generator)
        self.low = self.within("low", low, -40)
        self.high = self.within("high", high, low, 60)

    def augment(self, stems: Tensor) -> Tensor:
        return self.to_chosen_stems(stems, self._distort)

    def _distort(self, stems: Tensor) -> Tensor:
        drive = 10 ** (self.uniform(self.low, self.high, len(stems), 1, 1) / 20)
        peak = stems.abs().amax((-2, -1), keepdim=True).clamp_min(FLOOR)
        bent = torch.tanh(stems * (drive.to(stems) / peak))
        return bent * (_rms(stems) / _rms(bent).clamp_min(FLOOR))


@AUGMENTATIONS.register("stereo")
class StereoImage(Augmentation):
    """Another place and width between the loudspeakers for each chosen stem: panned, and one channel late.

    A delay of some milliseconds is heard as width, not as an echo (the precedence effect, doi:10.1121/1.427914), and
    turns one take into the sides of a doubled one; a mix keeps its lows in the middle. Shapes: (b, s, c, t) → the same;
    what has not two channels stays as it is.

    Args:
        p: probability that a stem is changed.
        pan: dB, the most that one channel becomes louder than the other; together they keep their energy.
        delay: s, the most that one channel comes after the other.
        above: Hz, below which the delay fades out.
        rate: sample rate in Hz.
        generator: see `Augmentation`.

    Raises:
        ConfigError: a number out of range.
    """

    def __init__(
        self,
        *,
        p: float,
        pan: float,
        delay: float,
        above: float,
        rate: int,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(p=p, generator=generator)
        self.pan = self.within("pan", pan, 0, 60)
        self.delay = self.within("delay", delay, 0, 0.1)
        self.above = self.within("above", above, 0, rate / 2)
        self.rate = self.within("rate", rate, 1)

    def augment(self, stems: Tensor) -> Tensor:
        return self.to_chosen_stems(stems, self._place) if stems.shape[2] == 2 else stems

    def _place(self, stems: Tensor) -> Tensor:
        pan, delay = (
            self.uniform(-most, most, len(stems), 1).to(stems.device) for most in (self.pan, self.delay * self.rate)
        )
        ratio = 10 ** (pan / 20)
        gains = torch.cat([ratio, torch.ones_like(ratio)], 1) * (2 / (1 + ratio.square())).sqrt()
        delays = torch.cat([delay, -delay], 1).clamp_min(0)
        size = fft_size(stems.shape[-1] + round((self.delay + RINGING) * self.rate))
        return filtered(stems, gains[..., None] * self._late(delays, size), size)

    def _late(self, delays: Tensor, size: int) -> Tensor:
        """Transfer functions (k, c, f) that delay by `delays` (k, c) samples what lies above `above`."""
        bins = torch.arange(size // 2 + 1, device=delays.device)
        energy = (bins * (self.rate / size)).square()
        share = energy / (energy + self.above**2).clamp_min(FLOOR)
        angle = (delays.round().long()[..., None] * bins).remainder(size) * (-2 * math.pi / size)
        return 1 + share * (torch.polar(torch.ones_like(angle), angle) - 1)


def _rms(stems: Tensor) -> Tensor:
    return stems.square().mean((-2, -1), keepdim=True).sqrt()
