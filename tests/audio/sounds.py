"""Small made-up sounds and pictures, and FFmpeg's command line as the reference that decodes files."""

from __future__ import annotations

import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np


def chirp(seconds: float = 3.0, channels: int = 2, rate: int = 44100, seed: int = 0) -> np.ndarray:
    """A rising tone with a little noise (c, t), different in each channel, peak near 0.6."""
    time = np.arange(round(seconds * rate)) / rate
    generator = np.random.default_rng(seed)
    tones = [0.5 * np.sin(2 * np.pi * (200 + 90 * channel + 150 * time) * time) for channel in range(channels)]
    return (np.stack(tones) + 0.02 * generator.standard_normal((channels, len(time)))).astype(np.float32)


def png(width: int, height: int) -> bytes:
    """A picture of noise (ISO/IEC 15948)."""
    generator = np.random.default_rng(0)
    rows = b"".join(b"\0" + generator.bytes(3 * width) for _ in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = {b"IHDR": header, b"IDAT": zlib.compress(rows), b"IEND": b""}
    parts = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks.items())
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def ffmpeg(*arguments: str | Path) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-y", *map(str, arguments)], check=True)


def ffmpeg_decode(path: Path, channels: int) -> np.ndarray:
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-f", "f32le", "-"]
    raw = subprocess.run(command, check=True, capture_output=True).stdout
    return np.frombuffer(raw, "<f4").reshape(-1, channels).T
