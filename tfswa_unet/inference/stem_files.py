"""The stems that are written of a mixture, and their files, which appear together or not at all."""

from __future__ import annotations

import math
import os
import sys
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, cast

import numpy as np

from tfswa_unet.audio import FORMATS, Cover, PipeWriter, Writer
from tfswa_unet.errors import AudioError, ConfigError, did_you_mean
from tfswa_unet.inference.stages import behind

Residual = Literal["stem", "spread"]
RESIDUALS = ("stem", "spread")
Clip = Literal["none", "shared", "clamp"]
CLIPS = ("none", "shared", "clamp")
SPOOL_SAMPLES = 1 << 18  # read back at once
PREFIX = ".tfswa-"  # of the names of temporary folders


@dataclass(frozen=True)
class Targets:
    """The stems asked of a model, and the stems that are written.

    `two_stems` writes one stem and `no_<stem>`, the mixture without it. `residual` makes the written stems sum to the
    mixture: "stem" adds what is missing to `other` where it is among them and else writes it as a stem `residual`;
    "spread" gives every stem an equal share of it. `sums` says whether the written stems are meant to sum to the
    mixture.
    """

    stems: tuple[str, ...]
    two_stems: str | None
    residual: Residual | None
    sums: bool

    @classmethod
    def choose(
        cls, known: Sequence[str], stems: Sequence[str] | None, two_stems: str | None, residual: str | None
    ) -> Targets:
        """Check a user's wishes against the stems that the model gives.

        Raises:
            ConfigError: for unknown names, or for `stems` together with `two_stems`.
        """
        if residual not in (None, *RESIDUALS):
            raise ConfigError(f"unknown residual {residual!r}: expected one of {', '.join(RESIDUALS)}, or none")
        if two_stems is not None:
            if stems is not None:
                raise ConfigError(f"stems and two_stems={two_stems} exclude each other: give one of them")
            return cls(check_names([two_stems], known), two_stems, None, sums=True)
        chosen = check_names(stems, known)
        return cls(chosen, None, cast("Residual | None", residual), residual is not None or set(chosen) == set(known))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the stems that `mix` gives, in its order."""
        if self.two_stems is not None:
            return (self.two_stems, f"no_{self.two_stems}")
        extra = self.residual == "stem" and self._rest not in self.stems
        return (*self.stems, self._rest) if extra else self.stems

    @property
    def _rest(self) -> str:
        return "other" if "other" in self.stems else "residual"

    def mix(self, mixture: np.ndarray, stems: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Written stems, each (c, t), from the mixture (c, t) and the model's stems."""
        if self.two_stems is not None:
            return {**stems, f"no_{self.two_stems}": mixture - stems[self.two_stems]}
        if self.residual is None:
            return dict(stems)
        missing = mixture - sum(stems.values())
        if self.residual == "stem":
            return {**stems, self._rest: stems.get(self._rest, 0) + missing}
        return {name: stem + missing / len(stems) for name, stem in stems.items()}


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


class Delay:
    """A queue of samples, which holds the mixture back until the stems that lag behind it are there."""

    def __init__(self) -> None:
        self._blocks: deque[np.ndarray] = deque()

    def remember(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Hand the blocks (c, t) on, keeping what has not been popped."""
        for block in blocks:
            self._blocks.append(block)
            yield block

    def pop(self, length: int) -> np.ndarray:
        """Take the oldest `length` samples, (c, t); there must be as many."""
        parts = []
        while length > 0:
            block = self._blocks.popleft()
            parts.append(block[:, :length])
            if block.shape[1] > length:
                self._blocks.appendleft(block[:, length:])
            length -= parts[-1].shape[1]
        return np.concatenate(parts, axis=1)


class NullError:
    """Level of mixture − Σ stems below the mixture, over a whole stream."""

    def __init__(self) -> None:
        self._mixture = self._difference = 0.0

    def add(self, mixture: np.ndarray, stems: Mapping[str, np.ndarray]) -> None:
        """Add the energies of a block of the mixture (c, t) and of its stems."""
        self._mixture += float(np.square(mixture, dtype=np.float64).sum())
        self._difference += float(np.square(mixture - sum(stems.values()), dtype=np.float64).sum())

    @property
    def decibels(self) -> float:
        """The level in dB; −200 where it is that low or less."""
        return 10 * math.log10(self._difference / max(self._mixture, 1e-30) + 1e-20)


class StemFiles:
    """Writers of one mixture's stems, each in a thread of its own; made by `open_stem_files`.

    With clip="shared" the samples go to temporary float files first, since the gain that keeps the loudest stem below
    full scale is known only at the end.
    """

    def __init__(self, stack: ExitStack, writers: Mapping[str, Writer], clip: Clip, spools: Mapping[str, Path]) -> None:
        self._writers, self._clip, self._spools = writers, clip, spools
        self._give = {name: stack.enter_context(behind(name)) for name in writers}
        self._peak = 0.0

    @property
    def gain(self) -> float:
        """Factor of all stems: below one only where "shared" had to turn them down."""
        return min(1.0, 1.0 / self._peak) if self._peak else 1.0

    def write(self, stems: Mapping[str, np.ndarray]) -> None:
        """Have a block (c, t) of every stem written, which is not to be changed any more."""
        for name, block in stems.items():
            if self._clip == "shared":
                self._peak = max(self._peak, float(np.abs(block).max(initial=0)))
                self._give[name](partial(_spool, self._spools[name], block))
            elif self._clip == "clamp":
                self._give[name](partial(self._writers[name].write, np.clip(block, -1, 1)))
            else:
                self._give[name](partial(self._writers[name].write, block))

    def finish(self) -> None:
        """Have the temporary files' samples, times the gain, written to their files."""
        for name, path in self._spools.items():
            self._give[name](partial(_unspool, path, self._writers[name], self.gain))


class StemPipe:
    """One stem written to standard output, in place of `StemFiles`."""

    gain = 1.0

    def __init__(self, name: str, writer: PipeWriter, clip: Clip) -> None:
        self._name, self._writer, self._clip = name, writer, clip

    @classmethod
    @contextmanager
    def open(cls, paths: Iterable[str], rate: int, channels: int, format: str, clip: Clip) -> Iterator[StemPipe]:
        """Write the header; arguments are those of `open_stem_files`, of one stem."""
        (name,) = paths
        yield cls(name, PipeWriter(sys.stdout.buffer, rate, channels, format), clip)

    def write(self, stems: Mapping[str, np.ndarray]) -> None:
        """Write the stem's block (c, t)."""
        block = stems[self._name]
        self._writer.write(np.clip(block, -1, 1) if self._clip == "clamp" else block)


def _spool(path: Path, block: np.ndarray) -> None:
    try:
        with open(path, "ab") as spool:
            np.ascontiguousarray(block.T, np.float32).tofile(spool)
    except OSError as error:
        raise AudioError(f"{path.parent.parent}: no room for temporary files ({error}): free some space") from error


def _unspool(path: Path, writer: Writer, gain: float) -> None:
    if path.exists():
        with open(path, "rb") as spool:
            while len(samples := np.fromfile(spool, np.float32, SPOOL_SAMPLES * writer.channels)):
                writer.write(samples.reshape(-1, writer.channels).T * np.float32(gain))
        path.unlink()


@contextmanager
def open_stem_files(
    paths: Mapping[str, Path],
    rate: int,
    channels: int,
    format: str,
    clip: Clip,
    tags: Mapping[str, str] | None,
    cover: Cover | None = None,
    prefix: str = PREFIX,
) -> Iterator[StemFiles]:
    """Open the files of a mixture's stems; they get their names when the block is left without an error.

    Args:
        paths: file of each stem; folders are made as needed.
        rate: Hz.
        channels: of every stem.
        format: a key of `audio.FORMATS`.
        clip: what to do above full scale: leave it ("none"), turn all stems down by one gain ("shared") or cut it off
            ("clamp").
        tags: written into every file.
        cover: written into every file whose format has room for it.
        prefix: what the name of the folder begins with that holds them until they are complete.
    """
    # Beside the final files, so that moving them there is renaming, which cannot stop half-way.
    folder = nearest_folder(next(iter(paths.values())))
    with tempfile.TemporaryDirectory(prefix=prefix, dir=folder) as temporary, ExitStack() as stack:
        parts = {name: Path(temporary, f"{i}{FORMATS[format].extension}") for i, name in enumerate(paths)}
        spools = {name: part.with_suffix(".f32") for name, part in parts.items()} if clip == "shared" else {}
        writers = {
            name: stack.enter_context(Writer(part, rate, channels, format, tags, cover)) for name, part in parts.items()
        }
        files = StemFiles(stack, writers, clip, spools)
        yield files
        files.finish()
        stack.close()
        for name, path in paths.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            os.replace(parts[name], path)


def nearest_folder(path: Path) -> Path:
    """The innermost folder above `path` that exists."""
    return next(parent for parent in path.absolute().parents if parent.exists())
