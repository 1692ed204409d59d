"""What train.py and eval.py share: one clear sentence for whatever the user can put right."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import Any

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from tfswa_unet.errors import UserError

INTERNALS = ("full_key:", "object_type", "reference_type")  # lines of OmegaConf's that say nothing to a user


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

    return run


def _sentence(error: BaseException) -> str:
    """Hydra's message and its cause, as one line."""
    parts = [str(error)]
    cause = error.__cause__
    if cause is not None and str(cause) not in parts[0]:
        parts.append(str(cause))
    lines = [line.strip() for part in parts for line in part.partition("Config search path")[0].splitlines()]
    return " ".join(line for line in lines if line and not line.startswith(INTERNALS))
