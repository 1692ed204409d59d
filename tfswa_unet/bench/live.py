"""How long a real-time model takes for a hop, from samples to the samples of all stems."""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np

from tfswa_unet.bench.settings import LiveSetting
from tfswa_unet.bench.subject import prepare
from tfswa_unet.errors import ModelError
from tfswa_unet.inference import Separator
from tfswa_unet.inference.stream import has_stream

WARM_UP_SECONDS = 1.0  # by when all that the network remembers is there


def measure(setting: LiveSetting) -> dict[str, Any]:
    """Give hops of noise to `Separator.stream`, one at a time, as fast as they are taken.

    `median_ms`, `p99_ms` and `most_ms` are wall time of a hop, `processor_ms` the median of processor time, which other
    programs add less to.

    Raises:
        ModelError: for a model that has no stream of its own.
    """
    subject = prepare(setting)
    model = subject.model
    if not has_stream(model):
        raise ModelError(f"{subject.name} takes segments, no hops: give a real-time model, such as tfswa_realtime")
    hop = model.hop
    separator = Separator(model, subject.device, precision=subject.precision)
    random = np.random.default_rng(0)
    warm_up = round(WARM_UP_SECONDS * model.rate / hop)
    wall, processor = [], []
    with separator.stream(model.rate, model.channels) as stream:
        for _ in range(warm_up + setting.hops):
            block = 0.1 * random.standard_normal((model.channels, hop), np.float32)
            began = time.perf_counter(), time.thread_time()
            stream.push(block)
            wall.append(time.perf_counter() - began[0])
            processor.append(time.thread_time() - began[1])
        latency = stream.latency
    taken = sorted(1000 * seconds for seconds in wall[warm_up:])
    lasts = 1000 * hop / model.rate
    median = statistics.median(taken)
    return {
        **subject.facts(),
        "latency_ms": 1000 * latency,
        "hop_ms": lasts,
        "hops": setting.hops,
        "median_ms": median,
        "p99_ms": taken[int(0.99 * len(taken))],
        "most_ms": taken[-1],
        "processor_ms": 1000 * statistics.median(processor[warm_up:]),
        "real_time_factor": median / lasts,
    }
