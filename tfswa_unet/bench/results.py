"""What becomes of several systems measured in one run: progress, failures, and the file that keeps results."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch

from tfswa_unet.bench.measures import elapsed_seconds
from tfswa_unet.errors import ConfigError, ModelError, UserError
from tfswa_unet.files import write_text

Result = TypeVar("Result")
Key = TypeVar("Key", bound=tuple[str, ...])

MEASURED, FAILED = "measured", "failed"  # what a record's status says
# What may befall one system while others can be measured: no memory, a missing package, weights or numbers that are not
# usable. What is wrong with the command line is a ConfigError, and ends the run.
FAILURES = (ModelError, RuntimeError, MemoryError, ImportError, ArithmeticError)


class MissingPackage(ConfigError, ImportError):
    """A package that one of the systems needs is not installed."""


def tell(text: str) -> None:
    """Print a line of progress to stderr at once."""
    print(text, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Failure:
    """Why a system could not be measured, in one sentence."""

    reason: str

    def to_dict(self) -> dict[str, Any]:
        """As a record."""
        return {"status": FAILED, "reason": self.reason}


def attempt(name: str, work: Callable[[], Result]) -> Result | Failure:
    """What `work` gives, or why it could not, which is told at once."""
    try:
        return work()
    except FAILURES as error:
        failure = Failure(_sentence(error))
    if torch.cuda.is_available():
        torch.cuda.empty_cache()  # what lies there in pieces is whole again for the next
    tell(f"{name}: {FAILED}: {failure.reason}")
    return failure


def recorded(name: str, work: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """What `work` measures, with its status; see `attempt`."""
    outcome = attempt(name, work)
    return outcome.to_dict() if isinstance(outcome, Failure) else {"status": MEASURED, **outcome}


def time_in_turns(
    works: Mapping[Key, Callable[[], object]],
    warm_ups: Mapping[Key, Callable[[], object]],
    rounds: int,
    device: torch.device,
    describe: Callable[[float], str],
) -> dict[Key, float | Failure]:
    """Time systems, tuples of names, side by side: each warms up, then has a turn in every round.

    Gives the median in s by system, or why it failed, after which it has no more turns. An interruption ends the rounds
    and leaves out who had no turn yet. `describe` says for progress what so many seconds mean.
    """
    elapsed: dict[Key, list[float]] = {key: [] for key in works}
    failures: dict[Key, Failure] = {}
    try:
        for number, turn in enumerate([warm_ups, *[works] * rounds]):
            for key, work in turn.items():
                if key in failures:
                    continue
                name = " ".join(key)
                outcome = attempt(name, partial(elapsed_seconds, work, device))
                if isinstance(outcome, Failure):
                    failures[key] = outcome
                elif number == 0:
                    tell(f"warm-up: {name}")
                else:
                    elapsed[key].append(outcome)
                    tell(f"round {number} of {rounds}: {name}: {describe(outcome)}")
    except KeyboardInterrupt:
        tell("interrupted: what was measured so far follows")
    return {key: statistics.median(seconds) for key, seconds in elapsed.items() if seconds} | failures


def rounded(value: Any) -> Any:
    """Plain values with their numbers to five digits."""
    if isinstance(value, Mapping):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(inner) for inner in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


class Results:
    """Named records in one JSON file, together with the settings under which all of them were made.

    A file that exists is continued; what failed stands there until the next run, which tries it again. Raises
    ConfigError where the file holds something else, or results under other settings.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path = path
        self.settings = json.loads(json.dumps(settings))
        self.records: dict[str, Any] = self._read() if path.exists() else {}

    def add(self, name: str, record: Mapping[str, Any]) -> None:
        """Keep a record, on disk at once."""
        self.records[name] = dict(record)
        write_text(self.path, json.dumps(self.to_dict(), indent=2) + "\n")

    def to_dict(self) -> dict[str, Any]:
        """The content of the file."""
        return {"settings": self.settings, "results": self.records}

    def _read(self) -> dict[str, Any]:
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
            settings, records = found["settings"], dict(found["results"])
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{self.path} holds no results of this benchmark: give another --out") from error
        both = {key: (settings.get(key), self.settings.get(key)) for key in (*self.settings, *settings)}
        if other := [f"{key} {old} where {new} is asked" for key, (old, new) in both.items() if old != new]:
            raise ConfigError(
                f"{self.path} holds results under other settings ({', '.join(other)}): give another --out, or delete it"
            )
        return {name: record for name, record in records.items() if record.get("status") != FAILED}


def _sentence(error: BaseException) -> str:
    """One line; torch's errors go on with advice and traces, of which their first two sentences need nothing."""
    if isinstance(error, UserError):
        return str(error)
    first = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {'. '.join(first.split('. ')[:2])}".rstrip(". :")
