"""A bar for the phases of a build."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tfswa_unet.data.cache.build import Report


@contextmanager
def progress_bars() -> Iterator[Report]:
    """Give the `on_progress` of a build; draws a bar a phase on the terminal's error stream, on the first rank only."""
    columns = (TextColumn("{task.description:>9}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    silent = os.environ.get("LOCAL_RANK", "0") != "0"
    with Progress(*columns, console=Console(stderr=True), disable=silent) as progress:
        tasks: dict[str, object] = {}

        def report(phase: str, done: int, total: int) -> None:
            if phase not in tasks:
                tasks[phase] = progress.add_task(phase)
            progress.update(tasks[phase], completed=done, total=total)  # type: ignore[arg-type]

        yield report
