"""Uploads decoded to a sound wav, in a process of their own with limits of time, memory and size."""

from __future__ import annotations

import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tfswa_unet import audio
from tfswa_unet.errors import AudioError, UserError
from tfswa_unet.inference.stream import Cancelled
from tfswa_unet.service.settings import Limits

BLOCK = 1 << 18  # samples that are decoded at once
RATES = (1_000, 384_000)  # Hz that are taken
FLOAT_BYTES = 4
HEADER_BYTES = 1 << 16  # more than a wav's header and tags need
POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Decoded:
    """What an upload was."""

    rate: int  # Hz
    channels: int
    length: int  # samples
    codec: str

    @property
    def seconds(self) -> float:
        """The duration in s."""
        return self.length / self.rate


class Decoder:
    """Decodes uploads, each in a process that is forked from one which holds no model and has no threads."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        kinds = multiprocessing.get_all_start_methods()
        self._context: Any = multiprocessing.get_context("forkserver" if "forkserver" in kinds else "spawn")
        if "forkserver" in kinds:
            self._context.set_forkserver_preload([__name__, "soundfile", "av"])

    def decode(self, source: Path, target: Path, name: str, cancel: Callable[[], bool]) -> Decoded:
        """Decode audio stream 0 of a file to a wav of 32-bit floats.

        Args:
            source: the upload.
            target: the wav.
            name: how messages call the upload.
            cancel: polled while it decodes.

        Raises:
            AudioError: for what cannot be read, or goes beyond the limits.
            Cancelled: when `cancel` said so.
        """
        mine, theirs = self._context.Pipe(duplex=False)
        child = self._context.Process(target=_decode, args=(theirs, source, target, self._limits), daemon=True)
        child.start()
        theirs.close()
        # The processor's time is limited in the child; one that waits for nothing uses none.
        deadline = time.monotonic() + 2 * self._limits.decode_seconds + 30
        try:
            while not cancel():
                if mine.poll(POLL_SECONDS):
                    break
                if time.monotonic() > deadline:
                    raise self._refused(name)
            else:
                raise Cancelled("the decoding was cancelled")
            outcome = mine.recv_bytes().decode()
        except EOFError:
            raise self._refused(name) from None
        finally:
            child.kill()
            child.join()
            mine.close()
        kind, _, rest = outcome.partition(" ")
        if kind != "decoded":
            raise AudioError(rest.replace(str(source), name))
        rate, channels, length, codec = rest.split(" ", 3)
        return Decoded(int(rate), int(channels), int(length), codec)

    def _refused(self, name: str) -> AudioError:
        return AudioError(
            f"{name}: decoding it needs more than {self._limits.decode_seconds} s or "
            f"{self._limits.decode_megabytes} MB, or ends the decoder: convert it to wav or flac first"
        )


def _decode(out: Connection, source: Path, target: Path, limits: Limits) -> None:
    """Decode in this process, which is the child, and send one line, which is text alone: nothing is unpickled."""
    _confine(limits)
    try:
        decoded = _write(source, target, limits)
        line = f"decoded {decoded.rate} {decoded.channels} {decoded.length} {decoded.codec}"
    except UserError as error:
        line = f"refused {error}"
    except MemoryError:
        line = f"refused {source}: decoding it needs more than {limits.decode_megabytes} MB: convert it to wav first"
    except Exception as error:
        line = f"refused {source}: cannot be decoded ({type(error).__name__}): convert it to wav or flac first"
    with suppress(BrokenPipeError):  # nobody waits any more
        out.send_bytes(line.encode(errors="replace"))
    out.close()


def _confine(limits: Limits) -> None:
    """Limit what this process may use, as far as the system knows such limits."""
    os.nice(5)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (limits.decode_seconds, limits.decode_seconds + 1))
    most = int(limits.seconds * RATES[1]) * limits.channels * FLOAT_BYTES + HEADER_BYTES
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    if sys.platform.startswith("linux"):
        pages = int(Path("/proc/self/statm").read_text().split()[0])  # what is mapped already: torch's libraries
        memory = pages * resource.getpagesize() + limits.decode_megabytes * 1_000_000
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


def _write(source: Path, target: Path, limits: Limits) -> Decoded:
    info = audio.probe(source)
    if info.channels > limits.channels:
        raise AudioError(f"{source}: has {info.channels} channels, at most {limits.channels} are taken: mix it down")
    if not RATES[0] <= info.rate <= RATES[1]:
        raise AudioError(f"{source}: has {info.rate} Hz, {RATES[0]} to {RATES[1]} Hz are taken: resample it first")
    most, length = int(limits.seconds * info.rate), 0
    long = AudioError(f"{source}: is longer than {limits.seconds:g} s: cut it into parts")
    if info.length > most:
        raise long
    with audio.Writer(target, info.rate, info.channels, "wav32f", info.tags) as writer:
        for block in audio.blocks(source, BLOCK):
            length += block.shape[1]
            if length > most:
                raise long
            writer.write(block)
    return Decoded(info.rate, info.channels, length, info.codec)
