"""Separate audio with a model: resampling, overlapping segments, batches, in memory that does not grow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from tfswa_unet.audio.resample import StreamResampler
from tfswa_unet.bundle import load_model
from tfswa_unet.bundles import DEFAULT_MODEL
from tfswa_unet.errors import AudioError, ConfigError, ModelError, did_you_mean
from tfswa_unet.inference.exported import cpu_options, is_exported, load_exported
from tfswa_unet.inference.overlap_add import OVERLAP_SECONDS, SEGMENT_SECONDS, Segment, Segmentation, cut, join
from tfswa_unet.inference.precision import PARITY, Precision, compile_network, parity, pick_device, pick_precision
from tfswa_unet.types import StemModel

OnProgress = Callable[[int, int], None]  # samples done, samples in all
Cancel = Callable[[], bool]  # polled: whether to stop

BLOCK_SECONDS = 10.0  # of audio that are read at once
CUDA_BATCH = 8
MOST_CHANNELS = 8  # of an array (t, c) that is longer than that


class Cancelled(Exception):
    """Raised where `cancel` returned true."""


class Separator:
    """Separate audio of any length in memory that does not depend on it.

    The audio is brought to the model's rate and channels, cut into overlapping segments, run in batches, joined, and
    brought back, so that stems have the input's rate, channels and number of samples. Segments that are silent
    throughout give silence exactly, without running the model.

    Args:
        model: a network that satisfies `types.StemModel`; moved to the device and put into eval mode.
        device: "cpu", "cuda", "cuda:1", "mps", or "auto" for CUDA where there is one.
        segment_seconds: what the model sees at once; None for `overlap_add.SEGMENT_SECONDS`.
        overlap_seconds: what neighbouring segments share; None for `overlap_add.OVERLAP_SECONDS`.
        context_seconds: the part of the overlap, at either side, in which the model lacks its surroundings and which is
            dropped; None for a quarter of the overlap.
        batch: segments in one call of the model; None for 8 on CUDA and 1 elsewhere. Halved when memory runs out.
        precision: "fp32", "bf16", or "auto" for bf16 where the device is built for it and the model's stems keep
            `precision.PARITY` dB to those of fp32; `parity` then says how many they do.
        compile: let torch.compile rewrite the network first, which takes minutes and pays for many songs.

    Raises:
        ConfigError: for impossible values.
        ModelError: for what is no model.
    """

    def __init__(
        self,
        model: StemModel,
        device: str | torch.device = "auto",
        segment_seconds: float | None = None,
        overlap_seconds: float | None = None,
        context_seconds: float | None = None,
        batch: int | None = None,
        precision: Precision | Literal["auto"] = "auto",
        compile: bool = False,
    ) -> None:
        if not all(hasattr(model, name) for name in ("stems", "rate", "channels")):
            raise ModelError(
                f"got {type(model).__name__} where a model is expected: give what tfswa_unet.load makes of a file"
            )
        if batch is not None and batch < 1:
            raise ConfigError(f"batch={batch}: at least one segment must run at a time")
        self.device = pick_device(device)
        self.precision = pick_precision(precision, self.device)
        self.model = model
        if isinstance(model, nn.Module):
            model.to(self.device).eval()
        self.parity: float | None = None  # dB between bf16 and fp32, where "auto" had the choice
        if precision == "auto" and self.precision == "bf16":
            self.parity = parity(model, self.device)
            # NaN, which a model that overflows gives, is no parity either.
            self.precision = "bf16" if self.parity >= PARITY else "fp32"
        self.segment_seconds = SEGMENT_SECONDS if segment_seconds is None else segment_seconds
        self.overlap_seconds = OVERLAP_SECONDS if overlap_seconds is None else overlap_seconds
        self.segmentation = Segmentation.from_seconds(
            model.rate, self.segment_seconds, self.overlap_seconds, context_seconds
        )
        self.batch = batch or (CUDA_BATCH if self.device.type == "cuda" else 1)
        if compile:
            example = torch.zeros(self.batch, model.channels, self.segmentation.size)
            compile_network(model, lambda: self._forward(example, [0]))

    @classmethod
    def load(cls, path_or_name: str | Path = DEFAULT_MODEL, **options: Any) -> Separator:
        """Separator by a model's file or name; without one, by the model that comes with the package.

        Args:
            path_or_name: as for `bundle.load_model`, or a file that `tfswa export` made.
            options: what the class takes after the model.

        Raises:
            ModelError: as `load_model` does.
            ConfigError: for impossible values, and for another device or precision than an exported file has.
        """
        if is_exported(path_or_name):
            return cls(load_exported(path_or_name), **cpu_options(options))
        return cls(load_model(path_or_name), **options)

    @property
    def stems(self) -> tuple[str, ...]:
        """Names of the model's stems."""
        return tuple(self.model.stems)

    def separate(
        self,
        audio: ArrayLike | Tensor,
        rate: int,
        *,
        stems: Sequence[str] | str | None = None,
        on_progress: OnProgress | None = None,
        cancel: Cancel | None = None,
    ) -> dict[str, np.ndarray]:
        """Separate a whole mixture held in memory.

        Args:
            audio: samples (c, t), (t,), or (t, c) where that is plain, of one channel or as many as the model has: a
                NumPy array, a tensor or lists; floats of full scale ±1, or integers of their type's full scale.
            rate: Hz, a whole number.
            stems: which stems to give; None for all.
            on_progress: called with the samples done and the samples in all.
            cancel: polled before every batch.

        Returns:
            for each stem a NumPy array float32 of the input's shape.

        Raises:
            AudioError: for an array of another kind or channel count, or with samples that are not finite.
            ConfigError: for an unknown stem.
            Cancelled: when `cancel` returned true.
        """
        rate = _whole_rate(rate)
        given = _samples(audio)
        turned = given.ndim == 2 and given.shape[1] <= MOST_CHANNELS < given.shape[0]
        audio = given[None] if given.ndim == 1 else given.T if turned else given
        channels, total = audio.shape
        names = check_names(stems, self.stems)
        result = {name: np.empty((channels, total), np.float32) for name in names}
        size = max(1, int(BLOCK_SECONDS * rate))
        blocks = (audio[:, i : i + size].astype(np.float32, copy=False) for i in range(0, total, size))
        done = 0
        for separated in self.stream(blocks, rate, channels, stems=names, cancel=cancel):
            end = done + next(iter(separated.values())).shape[1]
            for name, block in separated.items():
                result[name][:, done:end] = block
            done = end
            if on_progress:
                on_progress(done, total)
        if given.ndim == 1:
            return {name: stem[0] for name, stem in result.items()}
        return {name: stem.T for name, stem in result.items()} if turned else result

    def stream(
        self,
        blocks: Iterable[np.ndarray],
        rate: int,
        channels: int,
        *,
        stems: Sequence[str] | None = None,
        cancel: Cancel | None = None,
    ) -> Iterator[dict[str, np.ndarray]]:
        """Separate consecutive blocks (c, t) float32 as they come; the samples are those that `separate` gives.

        The blocks that come out, for each stem (c, t), differ in length from those that go in, and lag behind by a
        batch of segments; in all they have as many samples. Arguments and errors are those of `separate`, raised at
        once as far as they do not depend on the samples.
        """
        names = check_names(stems, self.stems)
        self.check_channels(channels)
        if rate < 1:
            raise AudioError(f"got a rate of {rate} Hz: give the rate at which the audio was sampled")
        return self._stream(blocks, rate, channels, names, cancel)

    def check_channels(self, channels: int, song: Path | None = None) -> None:
        """Refuse audio whose channels the model cannot take, with a sentence that names the song.

        Raises:
            AudioError: for more than one channel where the model has another number of them.
        """
        if channels not in (1, self.model.channels) and self.model.channels != 1:
            where = f"{song}: " if song else ""
            raise AudioError(
                f"{where}the audio has {channels} channels, the model separates {self.model.channels} (or 1): "
                f"mix it down first, for example with ffmpeg -i IN -ac {self.model.channels} OUT.wav"
            )

    def _stream(
        self, blocks: Iterable[np.ndarray], rate: int, channels: int, names: tuple[str, ...], cancel: Cancel | None
    ) -> Iterator[dict[str, np.ndarray]]:
        received = emitted = 0

        def counted() -> Iterator[np.ndarray]:
            nonlocal received
            for block in blocks:
                if not np.isfinite(block).all():
                    raise AudioError(
                        f"the audio holds NaN or infinite samples near {received / rate:.1f} s: repair the file first"
                    )
                received += block.shape[1]
                yield block

        model_rate = self.model.rate
        segments = cut(_resampled(counted(), rate, model_rate, channels), self.segmentation)
        joined = join(self._outputs(segments, names, cancel), self.segmentation)
        rows = len(names) * channels
        flat = (block.reshape(rows, block.shape[-1]) for block in joined)
        for block in _resampled(flat, model_rate, rate, rows):
            # There and back again may round up to one sample more than there was; only the last block can be cut.
            block = block[:, : received - emitted]
            emitted += block.shape[1]
            if block.shape[1]:
                yield dict(zip(names, block.reshape(len(names), channels, block.shape[1]), strict=True))

    def _outputs(
        self, segments: Iterator[Segment], names: tuple[str, ...], cancel: Cancel | None
    ) -> Iterator[np.ndarray]:
        """The part (s, c, t) of each segment's output that is kept."""
        rows = [self.stems.index(name) for name in names]
        while batch := list(islice(segments, self.batch)):
            if cancel and cancel():
                raise Cancelled("the separation was cancelled")
            loud = [segment.audio for segment in batch if segment.audio.any()]
            outputs = iter(self._run(np.stack(loud), rows)) if loud else iter(())
            for segment in batch:
                if segment.audio.any():
                    yield next(outputs)[..., segment.skip : segment.skip + segment.length]
                else:
                    yield np.zeros((len(rows), segment.audio.shape[0], segment.length), np.float32)

    def _run(self, audio: np.ndarray, rows: list[int]) -> np.ndarray:
        """Stems (b, s, c, t) of segments (b, c, t), in fewer at a time when memory runs out."""
        mixtures = torch.from_numpy(audio)
        b, c, t = mixtures.shape
        if c != self.model.channels:
            # One channel is given to all of the model's; a model of one channel takes each for itself.
            mixtures = mixtures.expand(b, self.model.channels, t) if c == 1 else mixtures.reshape(b * c, 1, t)
        outputs: list[Tensor] = []
        while (done := sum(map(len, outputs))) < len(mixtures):
            part = mixtures[done : done + self.batch]
            try:
                outputs.append(self._forward(part, rows))
            except torch.OutOfMemoryError:
                if len(part) == 1:
                    raise ModelError(
                        f"one segment of {t / self.model.rate:.1f} s does not fit into the memory of {self.device}: "
                        "make the segment shorter or use device=cpu"
                    ) from None
                self.batch = len(part) // 2
        stems = torch.cat(outputs)
        if c == 1:
            stems = stems.mean(dim=2, keepdim=True)
        result = stems.reshape(b, c, len(rows), t).transpose(1, 2) if self.model.channels == 1 else stems
        # A sum carries any NaN or infinity, and is ten times cheaper than looking at every sample.
        if not torch.isfinite(result.sum()):
            advice = (
                "try precision=fp32" if self.precision == "bf16" else "its weights are damaged or its training failed"
            )
            raise ModelError(f"the model gave NaN or infinite samples in {self.precision}: {advice}")
        return result.numpy()

    def _forward(self, mixtures: Tensor, rows: list[int]) -> Tensor:
        enabled = self.precision == "bf16"
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=enabled):
            return cast(Tensor, self.model(mixtures.to(self.device)))[:, rows].float().cpu()


def check_names(wanted: Sequence[str] | str | None, known: Sequence[str]) -> tuple[str, ...]:
    """The wanted stems of those that the model gives, in its order; all of them for None.

    Raises:
        ConfigError: for a stem that the model does not give, or none at all.
    """
    if wanted is None:
        return tuple(known)
    wanted = [wanted] if isinstance(wanted, str) else wanted
    for name in wanted:
        if name not in known:
            raise ConfigError(
                f"the model gives no stem {name!r}{did_you_mean(name, known)}: it gives {', '.join(known)}"
            )
    if not wanted:
        raise ConfigError(f"no stem is asked for: name at least one of {', '.join(known)}")
    return tuple(name for name in known if name in wanted)


def _whole_rate(rate: object) -> int:
    numbers = (int, float, np.integer, np.floating)
    if isinstance(rate, numbers) and not isinstance(rate, bool) and rate > 0 and float(rate).is_integer():
        return int(rate)
    raise AudioError(f"the rate is {rate!r}: give a whole number of Hz, such as 44100")


def _samples(audio: object) -> np.ndarray:
    """Samples of any number type as floats, full scale ±1."""
    if isinstance(audio, Tensor):
        audio = (audio.detach().float() if audio.is_floating_point() else audio).cpu().numpy()
    try:
        array = np.asarray(audio)
    except (TypeError, ValueError):
        array = np.empty(0, object)
    integer = array.dtype.kind in "iu" and array.dtype.itemsize <= 4
    if array.ndim not in (1, 2) or not (integer or array.dtype.kind == "f"):
        raise AudioError(
            f"got an array of {array.dtype} shaped {array.shape}: give floating-point samples "
            "(channels, samples), or integers of 8 to 32 bits"
        )
    if array.dtype.kind == "f":
        return array
    half = 2.0 ** (8 * array.dtype.itemsize - 1)
    return ((array - (half if array.dtype.kind == "u" else 0.0)) / half).astype(np.float32)


def _resampled(blocks: Iterable[np.ndarray], source: int, target: int, channels: int) -> Iterator[np.ndarray]:
    resampler = StreamResampler(source, target, channels)
    for block in blocks:
        yield resampler.push(block)
    yield resampler.flush()
