"""Sample rate conversion of a whole array or of a stream of blocks, by one and the same band-limited filter."""

from __future__ import annotations

import math

import numpy as np

from tfswa_unet.errors import AudioError

# A Kaiser-windowed sinc of 64 zero crossings; torchaudio's rendering of resampy's "kaiser_best".
ZERO_CROSSINGS = 64
ROLLOFF = 0.9475937167399596
BETA = 14.769656459379492
MOST_TAPS = 1 << 26


class StreamResampler:
    """Resample a stream of blocks (c, t) from `source_rate` to `target_rate` Hz.

    All that `push` and `flush` give, joined, equals `resample` of the blocks joined, and is
    ceil(t·target_rate/source_rate) samples long. State is one filter length of input.

    Raises:
        AudioError: a rate below 1 Hz, or two rates whose ratio is no fraction of small numbers.
    """

    def __init__(self, source_rate: int, target_rate: int, channels: int) -> None:
        if source_rate < 1 or target_rate < 1:
            raise AudioError(f"cannot resample from {source_rate} Hz to {target_rate} Hz: rates are at least 1 Hz")
        divisor = math.gcd(source_rate, target_rate)
        self._step, self._phases = source_rate // divisor, target_rate // divisor
        self._source_rate, self._channels = source_rate, channels
        self._received = self._sent = 0
        self._unchanged = source_rate == target_rate
        if self._unchanged:
            return
        width = math.ceil(ZERO_CROSSINGS * self._step / (min(self._step, self._phases) * ROLLOFF))
        if self._phases * (2 * width + self._step) > MOST_TAPS:
            raise AudioError(
                f"cannot resample from {source_rate} Hz to {target_rate} Hz, whose ratio is "
                f"{self._phases}/{self._step}: resample to a common rate such as 44100 or 48000 Hz first"
            )
        from torchaudio.transforms import Resample

        transform = Resample(source_rate, target_rate, "sinc_interp_kaiser", ZERO_CROSSINGS, ROLLOFF, BETA)
        self._kernel = transform.kernel
        self._width: int = transform.width
        self._pending = np.zeros((channels, self._width), np.float32)

    @property
    def delay(self) -> float:
        """Most seconds by which the output lags behind the blocks pushed."""
        return 0.0 if self._unchanged else (self._width + self._step) / self._source_rate

    def push(self, block: np.ndarray) -> np.ndarray:
        """Take a block (c, t) and give what can be computed of the output (c, t)."""
        if block.ndim != 2 or block.shape[0] != self._channels:
            raise AudioError(f"a block of shape {block.shape} was given, ({self._channels}, t) is expected")
        block = block.astype(np.float32, copy=False)
        if self._unchanged:
            return block
        self._received += block.shape[1]
        output = self._filter(block)
        self._sent += output.shape[1]
        return output

    def flush(self) -> np.ndarray:
        """Give the rest of the output (c, t) after the last block."""
        if self._unchanged:
            return np.zeros((self._channels, 0), np.float32)
        rest = self._filter(np.zeros((self._channels, self._width + self._step), np.float32))
        total = -(-self._received * self._phases // self._step)
        return rest[:, : total - self._sent]

    def _filter(self, block: np.ndarray) -> np.ndarray:
        import torch

        audio = np.concatenate([self._pending, block], axis=1)
        # One group is `phases` output samples computed from the `2·width + step` input samples around it.
        groups = max(0, (audio.shape[1] - 2 * self._width) // self._step)
        self._pending = audio[:, groups * self._step :].copy()
        if groups == 0:
            return np.zeros((self._channels, 0), np.float32)
        with torch.inference_mode():
            used = torch.from_numpy(audio[:, : groups * self._step + 2 * self._width]).unsqueeze(1)
            output = torch.nn.functional.conv1d(used, self._kernel, stride=self._step)
            return output.transpose(1, 2).reshape(self._channels, groups * self._phases).numpy()


def resample(audio: np.ndarray, source_rate: int, target_rate: int) -> np.ndarray:
    """Resample audio (c, t) from `source_rate` to `target_rate` Hz; the result has ceil(t·target/source) samples.

    Raises:
        AudioError: what `StreamResampler` refuses.
    """
    if audio.ndim != 2:
        raise AudioError(f"audio of shape {audio.shape} was given, (c, t) is expected")
    resampler = StreamResampler(source_rate, target_rate, audio.shape[0])
    start = resampler.push(audio)
    return start if source_rate == target_rate else np.concatenate([start, resampler.flush()], axis=1)
