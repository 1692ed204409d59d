"""A network that sees no frame to come, wrapped to take and give waveforms as they come, hop by hop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tfswa_unet.dsp import FLOOR, Complex, Ratios, StreamTransform
from tfswa_unet.models.config import ModelConfig
from tfswa_unet.models.spectral import SpectralModel
from tfswa_unet.nn import FrameMemory, with_past

TIME_CONSTANTS = 4  # after which the running level forgets
MOST_FRAMES = 1024  # that are computed at once, so that memory does not grow with a block


class RunningLevel(nn.Module):
    """Level of the frames so far: (b, c, n, f) → (b, 1, n, 1), near the waveform's root mean square, at least `FLOOR`.

    A weighted mean of the frames' energies, which falls by e for every `seconds` that a frame lies back. Silent frames
    do not count, so that the first note after a rest is not taken for a loud one.
    """

    weights: Tensor

    def __init__(self, n_fft: int, hop: int, rate: int, seconds: float) -> None:
        super().__init__()
        self.unit = 16 / (3 * n_fft**2)  # brings Σ|X|² of half the bins under a Hann window to a mean square
        frames = max(1, round(seconds * rate / hop))
        back = torch.arange(TIME_CONSTANTS * frames - 1, -1, -1)
        self.register_buffer("weights", torch.exp(-back / frames), persistent=False)

    def forward(self, spectrum: Complex, memory: FrameMemory | None = None) -> Tensor:
        magnitudes = spectrum.abs()[..., 1:]
        energy = magnitudes.square().sum(-1).mean(1) * self.unit
        sounds = (energy > FLOOR**2).to(energy.dtype)
        both = with_past(self, torch.stack([energy * sounds, sounds], 1), len(self.weights) - 1, 2, memory)
        if both.shape[-1] == len(self.weights):  # one frame, for which a convolution takes longer to prepare
            total, count = (both @ self.weights)[..., None].unbind(1)
        else:
            sums = F.conv1d(both.flatten(0, 1)[:, None], self.weights[None, None])
            total, count = sums.unflatten(0, (-1, 2))[:, :, 0].unbind(1)
        return (total / count.clamp_min(1e-6)).sqrt().clamp_min(FLOOR)[:, None, :, None]


class RealtimeModel(SpectralModel):
    """`SpectralModel` of a causal network: a stem's sample depends on `latency` samples of mixture from it on.

    In place of a segment's level its features are divided by a running one.

    Args:
        config: the signal chain, and what the network is made of.
        network: maps (b, `config.maps_in`, n, f) → (b, `config.maps_out`, n, f), each frame from those up to it; takes
            a `FrameMemory` after the maps, and has `level_seconds`, the time constant of the level.
    """

    def __init__(self, config: ModelConfig, network: nn.Module) -> None:
        super().__init__(config, network)
        self.running_level = RunningLevel(config.n_fft, config.hop, config.rate, network.level_seconds)  # type: ignore[arg-type]

    @property
    def latency(self) -> int:
        """Samples from one on that are waited for before its stems are known: a window."""
        return self.model_config.n_fft

    @property
    def hop(self) -> int:
        """Samples after which the next stems are known."""
        return self.model_config.hop

    def stream(self) -> ModelStream:
        """Separate mixtures that come in blocks, side by side; see `ModelStream`."""
        return ModelStream(self.latency, self.hop, len(self.stems), self.frames, FrameMemory)

    def frames(self, spectrum: Any, memory: FrameMemory) -> Any:
        """Complex stem spectrograms (b, s, c, n, f) of the next frames (b, c, n, f), tensors or `dsp.Parts`."""
        stems = self._masked([spectrum], self.running_level(spectrum, memory), 0, memory)
        return stems.spectrum() if isinstance(stems, Ratios) else stems

    def _scale(self, mixture: Tensor, spectrum: Complex) -> Tensor:
        return self.running_level(spectrum)


class ModelStream:
    """Stems of mixtures that come in blocks at the model's rate, in eval mode; a context manager.

        with torch.inference_mode(), model.stream() as stream:
            for block in blocks:            # (b, c, t), of any lengths
                stems = stream.push(block)  # (b, s, c, t): what is complete, which may be nothing
            stems = stream.finish()         # the rest

    In all, this gives what the model gives of the whole mixture, `model.latency` samples late at most. The state is
    made when the context is entered, and dropped when it is left; the model has none, so that many streams may use it.

    Args:
        n_fft: samples of a window.
        hop: samples between frames.
        stems: s.
        frames: stem spectrograms (b, s, c, n, f) of the next frames (b, c, n, f), and of what it remembers.
        memory: makes what that is before the first frame.
    """

    def __init__(
        self, n_fft: int, hop: int, stems: int, frames: Callable[[Tensor, Any], Tensor], memory: Callable[[], Any]
    ) -> None:
        self._n_fft, self._hop, self._stems = n_fft, hop, stems
        self._frames, self._memory = frames, memory
        self._state: _State | None = None

    def __enter__(self) -> ModelStream:
        self._state = _State(StreamTransform(self._n_fft, self._hop), self._memory())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._state = None

    def push(self, block: Tensor) -> Tensor:
        """Take the next block (b, c, t), and give what is complete of the stems (b, s, c, t)."""
        now, size = self._now, MOST_FRAMES * self._hop
        parts = [self._separated(now, part) for part in block.split(size, dim=-1)]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)

    def finish(self) -> Tensor:
        """Give the rest of the stems (b, s, c, t), after the last of one block or more."""
        now = self._now
        return now.transform.rest(self._frames(now.transform.ending(), now.memory))

    @property
    def _now(self) -> _State:
        if self._state is None:
            raise RuntimeError("a stream works inside its `with` block only")
        return self._state

    def _separated(self, now: _State, block: Tensor) -> Tensor:
        spectrum = now.transform.analyse(block)
        if not spectrum.shape[2]:
            return block.new_zeros(len(block), self._stems, block.shape[1], 0)
        return now.transform.synthesise(self._frames(spectrum, now.memory))


@dataclass
class _State:
    transform: StreamTransform
    memory: Any
