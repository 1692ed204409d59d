"""What a user can put right: one sentence that says what was got, what was expected and what to change.

The command line prints the sentence and exits with status 1; anything else that is raised is a defect of ours.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path


class UserError(Exception):
    """Base of every error whose cause lies in what the user gave; `status` is a command's exit status then."""

    status = 1


class AudioError(UserError):
    """A file cannot be read as audio, or audio cannot be written."""


class DataError(UserError):
    """A data set is missing, incomplete or inconsistent."""


class ConfigError(UserError):
    """A setting has an unknown name or an impossible value."""


class ModelError(UserError):
    """A checkpoint or bundle cannot be used as a model."""


class RunError(UserError):
    """A training run cannot go on: its disk is full, or its numbers are no longer finite.

    `checkpoint` is the state to go on from, where there is one; the sentence names it as `resume=`.
    """

    def __init__(self, sentence: str, checkpoint: Path | None = None) -> None:
        super().__init__(sentence)
        self.checkpoint = checkpoint


class StoppedError(RunError):
    """A training run was stopped by the signal of that number."""

    def __init__(self, what: str, checkpoint: Path | None, number: int) -> None:
        super().__init__(f"{what}: {f'go on with resume={checkpoint}' if checkpoint else 'start it again'}", checkpoint)
        self.status = 128 + number


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """` (did you mean …?)` with the nearest of the known names, or nothing."""
    near = difflib.get_close_matches(str(name), list(known), n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def unknown(what: str, name: object, known: Iterable[str]) -> ConfigError:
    """The error for a name that is none of the known names of a `what`, such as "source stem"."""
    known = list(known)
    return ConfigError(f"unknown {what} {name!r}{did_you_mean(name, known)}: expected one of {', '.join(known)}")
