"""What train.py and eval.py share: one clear sentence for whatever the user can put right."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from tfswa_unet.errors import UserError


def run(main: Callable[[], object]) -> None:
    """Call a Hydra main function; errors of the user's end with a sentence and status 1 instead of a traceback."""
    # Hydra prints a traceback's end of its own making unless it is told to let errors through.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
    except (HydraException, OmegaConfBaseException) as error:
        sys.exit(f"error: {_sentence(error)}")


def _sentence(error: BaseException) -> str:
    """Hydra's message and its cause, as one line."""
    parts = [str(error)]
    cause = error.__cause__
    if cause is not None and str(cause) not in parts[0]:
        parts.append(str(cause))
    lines = [line.strip() for part in parts for line in part.splitlines() if line.strip()]
    return " ".join(line for line in lines if not line.startswith(("full_key:", "object_type", "reference_type")))
