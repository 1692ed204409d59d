"""INT8 from an ONNX file in fp32: dynamic or static quantisation, and what it costs in SDR and gains in speed."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tfswa_unet import audio
from tfswa_unet.data.stems import StemPlan
from tfswa_unet.errors import ConfigError
from tfswa_unet.evaluation.metrics import sdr
from tfswa_unet.export.graphs import quiet
from tfswa_unet.export.parity import music
from tfswa_unet.inference.exported import INPUT, METADATA_KEY, load_exported, onnx_session

METHODS = ("static", "dynamic")
MOST_LOSS = 0.2  # dB of SDR, the mean of the stems
PIECES, PIECE_SECONDS = 12, 2.0  # that a static quantisation takes its ranges from
SONGS, SONG_SECONDS = 3, 6.0  # that the price is measured on, other ones than those of the ranges
PRICED_FROM, CALIBRATED_FROM = 2_000, 3_000  # seeds
RUNS = 5


@dataclass(frozen=True)
class Price:
    """What INT8 costs and gains: SDR in dB of each stem, seconds and bytes, of fp32 and of INT8."""

    sdr: Mapping[str, tuple[float, float]]
    seconds: tuple[float, float]  # for `SONG_SECONDS` of audio
    size: tuple[int, int]

    @property
    def loss(self) -> float:
        """Mean loss of SDR over the stems, dB."""
        return statistics.mean(full - small for full, small in self.sdr.values())

    @property
    def speed(self) -> float:
        """How many times faster INT8 is."""
        return self.seconds[0] / self.seconds[1]


def write_int8(path: Path, full: Path, method: str, pieces: Sequence[np.ndarray], facts: Mapping[str, Any]) -> None:
    """Write an ONNX file whose convolutions and matrix products have weights of 8 bits, the transforms excepted.

    Args:
        path: the file to write.
        full: the same model's ONNX file in fp32.
        method: `static` quantises what flows through them too, to ranges that the pieces have; `dynamic` does so for
            matrix products, to the range that each has when it runs.
        pieces: mixtures (c, t), for `static`.
        facts: what the file says of the model.
    """
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_dynamic, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = path.with_name(f"{path.stem}-prepared.onnx")
    try:
        with quiet(), np.errstate(invalid="ignore"):  # weights that are all zero have no range
            quant_pre_process(str(full), str(prepared), skip_symbolic_shape=True)
            graph = onnx.load(str(prepared)).graph
            if method == "static":
                quantize_static(
                    str(prepared),
                    str(path),
                    _Pieces(pieces),
                    quant_format=QuantFormat.QDQ,
                    nodes_to_quantize=_weighted(graph, ("Conv", "MatMul", "Gemm")),
                    per_channel=True,
                    activation_type=QuantType.QUInt8,
                    weight_type=QuantType.QInt8,
                )
            else:
                nodes = _weighted(graph, ("MatMul", "Gemm"))
                quantize_dynamic(
                    str(prepared), str(path), nodes_to_quantize=nodes, per_channel=True, weight_type=QuantType.QInt8
                )
    finally:
        prepared.unlink(missing_ok=True)
    written = onnx.load(str(path))
    onnx.helper.set_model_props(written, {METADATA_KEY: json.dumps(facts)})
    onnx.save(written, str(path))


def price(model: Any, full: Path, small: Path) -> Price:
    """Measure on synthetic songs what INT8 costs and gains.

    Args:
        model: in torch, which knows what its stems are made of.
        full: its ONNX file in fp32.
        small: the one in INT8.

    Raises:
        ConfigError: for stems that synthetic songs do not have.
    """
    both = [load_exported(path) for path in (full, small)]
    found: dict[str, list[tuple[float, float]]] = {stem: [] for stem in model.stems}
    for seed in range(PRICED_FROM, PRICED_FROM + SONGS):
        parts, mixture = music(seed, SONG_SECONDS, model.rate, model.channels)
        plan = StemPlan.from_config(model.model_config.stems).resolve(parts)
        outputs = [exported(mixture[None])[0] for exported in both]
        for index, stem in enumerate(model.stems):
            true = torch.stack([parts[source] for source in plan[stem]]).sum(0)
            full_sdr, small_sdr = (sdr(true.double(), output[index].double()).item() for output in outputs)
            found[stem].append((full_sdr, small_sdr))
    means = {
        stem: (statistics.mean(full for full, _ in pairs), statistics.mean(small for _, small in pairs))
        for stem, pairs in found.items()
    }
    seconds = _seconds(full, small, mixture[None].numpy())
    return Price(means, seconds, (full.stat().st_size, small.stat().st_size))


def calibration(folder: Path | None, rate: int, channels: int) -> list[np.ndarray]:
    """Pieces (c, t) of the music in a folder, two seconds from the middle of each; of synthetic songs without one.

    Raises:
        ConfigError: where the folder is none, or holds no audio.
        AudioError: for a file that cannot be read.
    """
    if folder is None:
        songs = (music(CALIBRATED_FROM + seed, 3 * PIECE_SECONDS, rate, channels)[1] for seed in range(PIECES // 3))
        return [piece for song in songs for piece in np.split(song.numpy(), 3, axis=1)]
    if not folder.is_dir():
        raise ConfigError(f"--calibrate {folder}: no such folder, expected one of music")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in audio.SUFFIXES and path.is_file())
    if not files:
        raise ConfigError(f"--calibrate {folder}: no audio files in it, expected some such as .wav, .flac or .mp3")
    chosen = (
        [files[round(i * (len(files) - 1) / (PIECES - 1))] for i in range(PIECES)] if len(files) > PIECES else files
    )
    return [_piece(path, rate, channels) for path in chosen]


def _piece(path: Path, rate: int, channels: int) -> np.ndarray:
    info = audio.probe(path)
    length = min(info.length, int(PIECE_SECONDS * info.rate))
    samples = audio.read(path, (info.length - length) // 2, length)
    if len(samples) != channels:
        samples = np.repeat(samples.mean(0, keepdims=True), channels, axis=0)
    return np.ascontiguousarray(audio.resample(samples, info.rate, rate), np.float32)


def _weighted(graph: Any, kinds: Sequence[str]) -> list[str]:
    """Names of the nodes that multiply with weights; the transforms keep fp32, as their errors would be heard."""
    weights = {constant.name for constant in graph.initializer}
    return [
        node.name
        for node in graph.node
        if node.op_type in kinds
        and any(name in weights for name in node.input)
        and not any(".fft." in name for name in node.input)
    ]


def _seconds(full: Path, small: Path, mixture: np.ndarray) -> tuple[float, float]:
    """Median seconds of a call, of the two in turn."""
    sessions = [onnx_session(path, torch.get_num_threads()) for path in (full, small)]
    times: tuple[list[float], list[float]] = ([], [])
    for run in range(RUNS + 1):
        for session, kept in zip(sessions, times, strict=True):
            start = time.perf_counter()
            session.run(None, {INPUT: mixture})
            if run:  # the first one warms up
                kept.append(time.perf_counter() - start)
    return statistics.median(times[0]), statistics.median(times[1])


class _Pieces:
    """Pieces as onnxruntime's calibration asks for them."""

    def __init__(self, pieces: Sequence[np.ndarray]) -> None:
        self._pieces: Iterator[np.ndarray] = iter(pieces)

    def get_next(self) -> dict[str, np.ndarray] | None:
        piece = next(self._pieces, None)
        return None if piece is None else {INPUT: piece[None]}
