"""Training and validation examples of stems (s, c, t), and whole batches of them from the loader's workers."""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from tfswa_unet.data.augmentation import Compose
from tfswa_unet.data.mixing import Crop, Mixer, Mixing
from tfswa_unet.data.reading import Faults, StemReader, is_below
from tfswa_unet.data.stems import StemPlan
from tfswa_unet.data.tempo_key import TempoKey
from tfswa_unet.data.tracks import OnError, chances
from tfswa_unet.errors import ConfigError
from tfswa_unet.types import Track

DRAWS = 100  # in a row that may fail before a data set is given up
REDRAWS = 4  # of a stem that is silent time and again


class Segments(Dataset[Tensor]):
    """Examples (s, c, t) of stems, in float32, as long as `seconds` at `rate` Hz.

    Their stems are `names`, of which the first `targets` are the plan's and a last "_rest" may follow, so that the
    mixture is always the sum over s. Tracks of another rate are resampled; mono is copied to all `channels`, and
    averaged to where that is 1. Where a track cannot be read, on_error "skip" has `faults` try others.

    Raises:
        ConfigError: a stem that the tracks lack, or a length below one sample.
        DataError: no tracks, or a number of channels that cannot be matched.
    """

    def __init__(
        self, tracks: Sequence[Track], stems: StemPlan, seconds: float, rate: int, channels: int, on_error: OnError
    ) -> None:
        self.reader = StemReader(tracks, stems, rate, channels)
        self.names, self.targets = self.reader.names, self.reader.targets
        self.size = round(seconds * rate)
        if self.size < 1:
            raise ConfigError(f"data.seconds is {seconds}, expected more than 0.")
        self.shape = len(self.names), channels, self.size
        self.faults = Faults(tracks, on_error)

    def __len__(self) -> int:
        raise NotImplementedError

    def __getitem__(self, item: int) -> Tensor:
        example = empty(self.shape)
        self.fill(example, item)
        return example

    def fill(self, example: Tensor, item: int) -> None:
        """Write item number `item` to `example` (s, c, t)."""
        raise NotImplementedError


class SegmentDataset(Segments):
    """Random training segments, each drawn from (seed, epoch, index) alone, whichever worker reads it.

    Item i is the example i % length of epoch i // length: `EpochSampler` counts that way. Only the segment is read from
    disk; tracks shorter than that end in zeros. Arguments and errors are those of `Segments`, and:

    Args:
        seed: of everything that is drawn.
        length: examples in an epoch.
        mixing: which songs the stems of an example come from. A stem is drawn from the tracks that have it, and of
            several collections by their weights; whole songs may lack a stem, which is silent then.
        tempo_keys: of every track, see `estimate_tempo_keys`; for the mixing mode "matched" alone.
        augmentation: applied to each example by itself, seeded with (seed, epoch, index) before.

    Raises:
        ConfigError: less than one example, or tempo_keys that are missing.
    """

    def __init__(
        self,
        tracks: Sequence[Track],
        stems: StemPlan,
        seconds: float,
        rate: int,
        channels: int,
        seed: int,
        length: int,
        mixing: Mixing,
        on_error: OnError = "raise",
        tempo_keys: Sequence[TempoKey] | None = None,
        augmentation: Compose | None = None,
    ) -> None:
        if length < 1:
            raise ConfigError(f"data.samples_per_epoch is {length}, expected 1 or more.")
        super().__init__(tracks, stems, seconds, rate, channels, on_error)
        self.seed = seed
        self.length = length
        self.mixing = mixing
        self.augmentation = augmentation
        stems_held = [self.reader.holders(stem) for stem in range(len(self.names))]
        likely = [chances(tracks, held) for held in (range(len(tracks)), *stems_held)]
        self._mixer = Mixer(self.mixing, self.reader.lengths, self.size, likely, tempo_keys)

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Tensor]:
        # Item numbers go on into later epochs, so that Python's own iteration would never end.
        return (self[index] for index in range(self.length))

    def fill(self, example: Tensor, item: int) -> None:
        numbers = (self.seed, *divmod(item, self.length))
        rng = np.random.default_rng(numbers)
        # What cannot be read is drawn anew from the same generator: the example still depends on its number only.
        self.faults.first(lambda: self._draw(example, rng) for _ in range(DRAWS))
        if self.augmentation is not None:
            self.augmentation.seed(*numbers)
            augmented = self.augmentation(example[None])[0]
            if augmented.data_ptr() != example.data_ptr():
                example.copy_(augmented)

    def __getstate__(self) -> dict[str, Any]:
        # As plain bytes: a worker that is not forked would be sent a generator's state as shared memory, which is gone
        # before it gets there.
        return {**self.__dict__, "augmentation": pickle.dumps(self.augmentation)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, augmentation=pickle.loads(state["augmentation"]))

    def _draw(self, example: Tensor, rng: np.random.Generator) -> Tensor:
        mix = self._mixer.draw(rng)
        redraws = 0 if mix.is_song else REDRAWS
        for stem, samples in enumerate(example.numpy()):
            self._read(samples, stem, mix.crops[stem])
            for _ in range(redraws):
                if rng.random() >= self.mixing.redraw or not is_below(samples, self.mixing.silence_db):
                    break
                self._mixer.redraw(rng, mix, stem)
                self._read(samples, stem, mix.crops[stem])
        return example

    def _read(self, samples: np.ndarray, stem: int, crops: Sequence[Crop]) -> None:
        for number, crop in enumerate(crops):
            with self.faults.of(crop.track):
                self.reader.fill(samples, crop.track, stem, crop.start, add=number > 0)


class ValidationTracks(Dataset[Tensor]):
    """All of every track (s, c, t), its own stems, or of longer ones a stretch of `seconds` from the middle.

    `longest` is the samples of the longest; `names`, `targets` and `faults`, arguments and errors are those of
    `Segments`. With on_error "skip" the next track that can be read stands in for one that cannot.
    """

    def __init__(
        self,
        tracks: Sequence[Track],
        stems: StemPlan,
        seconds: float | None,
        rate: int,
        channels: int,
        on_error: OnError = "raise",
    ) -> None:
        if seconds is not None and round(seconds * rate) < 1:
            raise ConfigError(f"data.validation_seconds is {seconds}, expected more than 0, or null for whole tracks.")
        self.reader = StemReader(tracks, stems, rate, channels)
        self.names, self.targets = self.reader.names, self.reader.targets
        whole = max(self.reader.lengths)
        self.longest = whole if seconds is None else min(whole, round(seconds * rate))  # samples
        self.faults = Faults(tracks, on_error)

    def __len__(self) -> int:
        return len(self.reader.lengths)

    def __iter__(self) -> Iterator[Tensor]:
        return (self[item] for item in range(len(self)))

    def __getitem__(self, item: int) -> Tensor:
        # What cannot be read is stood in for by what follows.
        return self.faults.first(partial(self._read, (item + k) % len(self)) for k in range(len(self)))

    def _read(self, track: int) -> Tensor:
        length = self.reader.lengths[track]
        size = min(length, self.longest)
        stems = empty((len(self.names), self.reader.channels, size))
        with self.faults.of(track):
            for stem, samples in enumerate(stems.numpy()):
                self.reader.fill(samples, track, stem, (length - size) // 2)
        return stems


class EpochSampler(Sampler[int]):
    """Item numbers epoch * length + index, from which workers, persistent ones too, learn the epoch.

    `length` is the data set's examples in an epoch. Of `replicas` processes, process `rank` gets every replicas-th
    example and all get equally many. `skip` leaves out the first so many of this process's examples in the next epoch
    only, for a run that goes on in mid-epoch. Raises ConfigError where there are fewer examples than processes.
    """

    def __init__(self, length: int, rank: int = 0, replicas: int = 1) -> None:
        if length < replicas:
            raise ConfigError(
                f"data.samples_per_epoch is {length}, expected at least one for each of {replicas} devices."
            )
        self.length = length
        self.rank = rank
        self.replicas = replicas
        self.epoch = 0
        self.skip = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next iteration; Lightning calls this."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length // self.replicas

    def __iter__(self) -> Iterator[int]:
        first = self.epoch * self.length + self.rank
        skipped, self.skip = self.skip % len(self), 0
        return iter(range(first, first + len(self) * self.replicas, self.replicas)[skipped:])


def loader(
    examples: Segments, batch_size: int, workers: int, sampler: Iterable[int], drop_last: bool = False
) -> DataLoader[Tensor]:
    """Data loader of batches (b, s, c, t) in float32, pinned where there is a GPU; its workers stay.

    The batches are those of a plain `DataLoader`, whatever the number of workers, and belong to whoever takes them.
    """
    return DataLoader(
        _Batches(examples),
        batch_size,
        sampler=sampler,
        drop_last=drop_last,
        num_workers=workers,
        persistent_workers=workers > 0,
        collate_fn=_as_it_is,
        worker_init_fn=_start_worker,
        pin_memory=torch.cuda.is_available(),
    )


def _start_worker(_number: int) -> None:
    # Ctrl-C and batch systems signal the whole group; the training process ends its workers itself, after its step.
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def empty(shape: Sequence[int]) -> Tensor:
    """Uninitialised float32 memory; NumPy's, which asks the system for large pages."""
    return torch.from_numpy(np.empty(tuple(shape), np.float32))


class _Batches(Dataset[Tensor]):
    def __init__(self, examples: Segments) -> None:
        self.examples = examples
        self._blocks: list[_Block] = []

    def __len__(self) -> int:
        return len(self.examples)

    def __getitems__(self, items: Sequence[int]) -> Tensor | _Block:
        shape = (len(items), *self.examples.shape)
        if get_worker_info() is None:
            return self._filled(empty(shape), items)
        block = self._free(prod(shape))
        self._filled(block.batch(shape), items)
        return block.sent(shape)

    def _filled(self, batch: Tensor, items: Sequence[int]) -> Tensor:
        for example, item in zip(batch, items, strict=True):
            self.examples.fill(example, item)
        return batch

    def _free(self, size: int) -> _Block:
        """A block that nobody waits for; there are never more of them than batches on their way."""
        block = next((block for block in self._blocks if block.is_free and block.size >= size), None)
        if block is None:
            block = _Block(size)
            self._blocks.append(block)
        return block


class _Block:
    """Shared memory for `size` samples and a mark that they are on their way; it arrives as a Tensor of its own."""

    def __init__(self, size: int) -> None:
        self.size = size
        # Tensor.share_memory_ would first copy what is not there yet.
        storage = torch.UntypedStorage._new_shared(4 * (size + 1))
        self._memory = torch.empty(0).set_(storage, 0, (size + 1,), (1,))
        self._shape: tuple[int, ...] = ()

    @property
    def is_free(self) -> bool:
        return not self._memory[-1]

    def batch(self, shape: tuple[int, ...]) -> Tensor:
        return _batch(self._memory, shape)

    def sent(self, shape: tuple[int, ...]) -> _Block:
        self._shape, self._memory[-1] = shape, 1
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrived, (self._memory, self._shape)


def _arrived(memory: Tensor, shape: tuple[int, ...]) -> Tensor:
    batch = empty(shape).copy_(_batch(memory, shape))
    memory[-1] = 0
    return batch


def _batch(memory: Tensor, shape: tuple[int, ...]) -> Tensor:
    return memory[: prod(shape)].view(shape)


def _as_it_is(batch: Any) -> Any:
    return batch
