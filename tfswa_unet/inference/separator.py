"""Separate audio with a model: resampling, overlapping segments, batches, in memory that does not grow."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from tfswa_unet.audio import probe, read
from tfswa_unet.bundle import find_model, load_model
from tfswa_unet.bundles import DEFAULT_MODEL
from tfswa_unet.dsp import wiener_filter
from tfswa_unet.errors import AudioError, ConfigError, ModelError
from tfswa_unet.inference.exported import READERS, cpu_options, load_exported
from tfswa_unet.inference.live import LiveStream
from tfswa_unet.inference.overlap_add import Segmentation
from tfswa_unet.inference.precision import PARITY, Precision, compile_network, parity, pick_device, pick_precision
from tfswa_unet.inference.presets import BATCHES, DEFAULT_PRESET, SEGMENT_SECONDS, pick_preset
from tfswa_unet.inference.stages import ahead
from tfswa_unet.inference.stem_files import check_names
from tfswa_unet.inference.stream import Cancelled as Cancelled
from tfswa_unet.inference.stream import Stems, StemStream, has_stream
from tfswa_unet.types import StemModel

if TYPE_CHECKING:
    from tfswa_unet.inference.files import FileResult

OnProgress = Callable[[int, int], None]  # samples done, samples in all
Cancel = Callable[[], bool] | threading.Event  # polled: whether to stop

BLOCK_SECONDS = 10.0  # of audio that are read at once
MOST_CHANNELS = 8  # of an array (t, c) that is longer than that


class Separator:
    """Separate audio of any length in memory that does not depend on it.

    The audio is brought to the model's rate and channels, cut into overlapping segments, run in batches, joined, and
    brought back, so that stems have the input's rate, channels and number of samples. Segments that are silent
    throughout give silence exactly, without running the model. A model that has a stream of its own, such as
    tfswa_realtime, takes the audio in one pass instead, without segments. Several threads may use one separator.

    Args:
        model: a network that satisfies `types.StemModel`; moved to the device and put into eval mode.
        device: "cpu", "cuda", "cuda:1", "mps", or "auto" for CUDA where there is one.
        segment_seconds: what the model sees at once; None for `presets.SEGMENT_SECONDS`.
        overlap_seconds: what neighbouring segments share; None for the preset's.
        context_seconds: the part of the overlap, at either side, in which the model lacks its surroundings and which is
            dropped; None for a quarter of the overlap.
        batch: segments in one call of the model; None for 8 on CUDA and 1 elsewhere. Halved when memory runs out.
        precision: "fp32", "bf16", or "auto" for bf16 where the device is built for it and the model's stems keep
            `precision.PARITY` dB to those of fp32; `parity` then says how many they do. None for the preset's.
        compile: let torch.compile rewrite the network first, which takes minutes and pays for many songs.
        shifts: passes over the mixture, each with segments that begin at other moments, whose stems are averaged: so
            many times the work. None for the preset's.
        preset: "fast", "balanced" or "best": overlap, shifts and precision where they are not given.
        wiener: pass each segment's stems through a multichannel Wiener filter, `dsp.wiener_filter`: takes as long as a
            small network, and gains where stems lie in different directions.

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
        precision: Precision | Literal["auto"] | None = None,
        compile: bool = False,
        shifts: int | None = None,
        preset: str = DEFAULT_PRESET,
        wiener: bool = False,
    ) -> None:
        if not all(hasattr(model, name) for name in ("stems", "rate", "channels")):
            raise ModelError(
                f"got {type(model).__name__} where a model is expected: give what tfswa_unet.load makes of a file"
            )
        if batch is not None and batch < 1:
            raise ConfigError(f"batch={batch}: at least one segment must run at a time")
        effort = pick_preset(preset)
        self.shifts = effort.shifts if shifts is None else shifts
        if self.shifts < 1:
            raise ConfigError(f"shifts={shifts}: at least one pass over the mixture is needed")
        of_segments = {"compile": compile, f"shifts={self.shifts}": self.shifts > 1, "wiener": wiener}
        for name in (name for name, asked_for in of_segments.items() if asked_for and has_stream(model)):
            raise ConfigError(
                f"{name} is for models that take segments, and this one takes a mixture in one pass, a few frames at a "
                "time: leave it out"
            )
        asked: str = effort.precision if precision is None else precision
        self.device = pick_device(device)
        self.precision = pick_precision(asked, self.device)
        self.model, self.wiener = model, wiener
        if isinstance(model, nn.Module):
            model.to(self.device).eval()
        self.parity: float | None = None  # dB between bf16 and fp32, where "auto" had the choice
        if asked == "auto" and self.precision == "bf16":
            self.parity = parity(model, self.device)
            # NaN, which a model that overflows gives, is no parity either.
            self.precision = "bf16" if self.parity >= PARITY else "fp32"
        self.segment_seconds = SEGMENT_SECONDS if segment_seconds is None else segment_seconds
        self.overlap_seconds = effort.overlap_seconds if overlap_seconds is None else overlap_seconds
        self.segmentation = Segmentation.from_seconds(
            model.rate, self.segment_seconds, self.overlap_seconds, context_seconds
        )
        self.batch = batch or BATCHES.get(self.device.type, 1)
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
        path = find_model(path_or_name)
        if path.suffix in READERS:
            return cls(load_exported(path), **cpu_options(options))
        return cls(load_model(path), **options)

    @property
    def stems(self) -> tuple[str, ...]:
        """Names of the model's stems."""
        return tuple(self.model.stems)

    def separate(
        self,
        audio: ArrayLike | Tensor | str | Path,
        rate: int | None = None,
        *,
        stems: Sequence[str] | str | None = None,
        on_progress: OnProgress | None = None,
        cancel: Cancel | None = None,
    ) -> dict[str, np.ndarray]:
        """Separate a whole mixture into stems held in memory.

        Args:
            audio: samples (c, t), (t,), or (t, c) where that is plain, of one channel or as many as the model has: a
                NumPy array, a tensor or lists; floats of full scale ±1, or integers of their type's full scale. Or
                the path of an audio file.
            rate: Hz, a whole number; a file has its own.
            stems: which stems to give; None for all.
            on_progress: called with the samples done and the samples in all.
            cancel: a `threading.Event`, or a callable that gives a truth value; looked at before every batch.

        Returns:
            for each stem a NumPy array float32 of the input's shape.

        Raises:
            AudioError: for an array of another kind or channel count, or with samples that are not finite; for a
                file that cannot be read, or has another rate than is given.
            ConfigError: for an unknown stem.
            Cancelled: when `cancel` said to stop.
        """
        if isinstance(audio, str | Path):
            audio, rate = _from_file(audio, rate)
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
        for separated in self.separate_blocks(blocks, rate, channels, stems=names, cancel=cancel):
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
        rate: int,
        channels: int,
        *,
        stems: Sequence[str] | str | None = None,
        batch: int = 1,
        cancel: Cancel | None = None,
    ) -> StemStream:
        """Separate a mixture that comes in blocks; see `StemStream`, whose `latency` says how late the stems are.

        That is a segment, or, of a model that has a stream of its own such as tfswa_realtime, a window of it.

        Args:
            rate: Hz, of what goes in and comes out.
            channels: of every block.
            stems: which stems to give; None for all.
            batch: segments that are waited for and then run at once: each but the first adds a hop to the latency. A
                model that has a stream of its own takes no segments.
            cancel: as for `separate`.

        Raises:
            AudioError: for a rate or channels that cannot be separated.
            ConfigError: for an unknown stem.
        """
        names = check_names(stems, self.stems)
        self.check_channels(channels)
        if batch < 1:
            raise ConfigError(f"batch={batch}: at least one segment must run at a time")
        kind = LiveStream if has_stream(self.model) else StemStream
        return kind(self, _whole_rate(rate), channels, names, batch, polled(cancel))

    def separate_blocks(
        self,
        blocks: Iterable[np.ndarray],
        rate: int,
        channels: int,
        *,
        stems: Sequence[str] | str | None = None,
        batch: int | None = None,
        cancel: Cancel | None = None,
        threaded: bool = False,
    ) -> Generator[Stems, None, None]:
        """Separate consecutive blocks (c, t) float32 as they are asked for, in batches.

        The blocks that come out, for each stem (c, t), differ in length from those that go in, and lag behind by a
        batch of segments, `batch` or the separator's; in all they have as many samples. `threaded` takes the blocks,
        resamples and cuts them in a thread beside the model. Other arguments and errors are those of `separate`, raised
        at once as far as they do not depend on the samples.
        """
        stream = self.stream(rate, channels, stems=stems, batch=batch or self.batch, cancel=cancel)

        def separated() -> Generator[Stems, None, None]:
            with stream, ExitStack() as stack:
                segments = stream.segments(blocks)
                yield from stream.run(stack.enter_context(ahead(segments)) if threaded else segments)

        return separated()

    def separate_files(
        self, inputs: Iterable[str | bytes | Path], out: str | bytes | Path, **options: Any
    ) -> list[FileResult]:
        """Separate files, and all audio files below folders, into files below `out`; see `files.separate_files`."""
        from tfswa_unet.inference.files import separate_files

        return separate_files(self, inputs, out, **options)

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

    @property
    def advice(self) -> str:
        """What to do about a model that gives samples which are not finite."""
        if self.precision == "bf16":
            return "try precision=fp32"
        return "its weights are damaged or its training failed"

    def run(self, audio: np.ndarray, rows: Sequence[int]) -> Tensor:
        """The stems `rows` (b, s, c, t), on the device, of segments (b, c, t), in fewer at a time when memory runs out.

        Raises:
            ModelError: where not even one segment fits into the memory.
        """
        mixtures = torch.from_numpy(audio)
        if self.device.type == "cuda":
            mixtures = mixtures.pin_memory()
        c, t = mixtures.shape[1:]
        mixtures = self.to_model(mixtures)
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
        return self.from_model(outputs[0] if len(outputs) == 1 else torch.cat(outputs), c)

    def to_model(self, mixtures: Tensor) -> Tensor:
        """Mixtures (b, c, t) with the model's channels: one is given to all; a model of one takes each for itself."""
        b, c, t = mixtures.shape
        if c == self.model.channels:
            return mixtures
        return mixtures.expand(b, self.model.channels, t) if c == 1 else mixtures.reshape(b * c, 1, t)

    def from_model(self, stems: Tensor, channels: int) -> Tensor:
        """What the model gives of `to_model`'s mixtures, as stems (b, s, c, t) of so many channels."""
        if channels == 1:
            return stems.mean(dim=2, keepdim=True)
        return stems.unflatten(0, (-1, channels)).squeeze(3).transpose(1, 2) if self.model.channels == 1 else stems

    @contextmanager
    def computing(self) -> Iterator[None]:
        """The context in which the model runs: for inference, with the precision of this separator."""
        enabled = self.precision == "bf16"
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=enabled):
            yield

    def _forward(self, mixtures: Tensor, rows: Sequence[int]) -> Tensor:
        mixtures = mixtures.to(self.device, non_blocking=True)
        with self.computing():
            stems = cast(Tensor, self.model(mixtures))
        if self.wiener:
            with torch.inference_mode():
                stems = wiener_filter(mixtures, stems.float())
        return stems[:, list(rows)].float()


def polled(cancel: Cancel | None) -> Callable[[], bool] | None:
    """What says whether to stop: a `threading.Event` by being set, a callable by what it gives."""
    return cancel.is_set if isinstance(cancel, threading.Event) else cancel


def _from_file(path: str | Path, rate: int | None) -> tuple[np.ndarray, int]:
    info = probe(path)
    if rate is not None and rate != info.rate:
        raise AudioError(f"{path}: has {info.rate} Hz, {rate} Hz is given: leave the rate of a file out")
    return read(path), info.rate


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
