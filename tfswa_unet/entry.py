"""What train.py and eval.py share: plain values of what Hydra composed, and one sentence for what is wrong with it."""

from __future__ import annotations

import functools
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tfswa_unet.errors import UserError

INTERNALS = ("full_key:", "object_type", "reference_type")  # lines of OmegaConf's that say nothing to a user
# Where a key went that a data set has for itself.
MOVED = {"data.options": "data.sets.NAME.options", "data.make": "data.sets.NAME.make", "data.mixture": "data.sets"}


def in_one_sentence(main: Callable[..., Any]) -> Callable[..., Any]:
    """Let errors of the user's end with a sentence and status 1 instead of a traceback.

    Goes around the task, whose errors Hydra would announce in words of its own, and around Hydra's main function, which
    finds mistakes in the configuration before there is a task.
    """
    # Otherwise Hydra prints the configuration's mistakes itself, over several lines.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")

    @functools.wraps(main)
    def run(*arguments: Any, **options: Any) -> Any:
        try:
            return main(*arguments, **options)
        except UserError as error:
            sys.exit(f"error: {error}")
        except (HydraException, OmegaConfBaseException) as error:
            sys.exit(f"error: {_sentence(error)}")
        except ValueError as error:
            if not _hydras(error):
                raise
            sys.exit(f"error: {error}; choices are written GROUP=NAME, such as model=tfswa_base")

    return run


def plain_values(config: DictConfig) -> dict[str, Any]:
    """The composed configuration, resolved, as plain values."""
    values: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    values.pop("experiment", None)
    return values


def _hydras(error: BaseException) -> bool:
    """Whether one of Hydra's own checks raised this, which are not all HydraExceptions."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return str(frames[-1].f_globals["__name__"]).startswith("hydra.")


def _sentence(error: BaseException) -> str:
    """Hydra's message and its cause, as one line."""
    parts = [str(error)]
    cause = error.__cause__
    if cause is not None and str(cause) not in parts[0]:
        parts.append(str(cause))
    lines = [line.strip() for part in parts for line in part.partition("Config search path")[0].splitlines()]
    sentence = " ".join(line for line in lines if line and not line.startswith(INTERNALS))
    moved = next((old for old in MOVED if f"'{old}" in sentence), None)
    return f"{sentence}; {moved} is {MOVED[moved]} now" if moved else sentence
