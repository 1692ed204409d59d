"""What train.py and eval.py share: plain values of what Hydra composed, and one sentence for what is wrong with it."""

from __future__ import annotations

import functools
import os
import shlex
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tfswa_unet.config import plain
from tfswa_unet.errors import UserError

INTERNALS = ("full_key:", "object_type", "reference_type")  # lines of OmegaConf's that say nothing to a user
# Where a key went that a data set has for itself.
MOVED = {"data.options": "data.sets.NAME.options", "data.make": "data.sets.NAME.make", "data.mixture": "data.sets"}

# For the folders that Hydra makes itself.
OmegaConf.register_new_resolver("at_home", os.path.expanduser, replace=True)


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
            _leave(str(error), error.status)
        except (HydraException, OmegaConfBaseException) as error:
            _leave(_unreadable(sys.argv[1:]) or _sentence(error))
        except ValueError as error:
            if not _hydras(error):
                raise
            _leave(f"{error}; choices are written GROUP=NAME, such as model=tfswa_base")

    return run


def _leave(sentence: str, status: int = 1) -> NoReturn:
    if status == 1:
        sys.exit(f"error: {sentence}")
    print(f"error: {sentence}", file=sys.stderr)
    sys.exit(status)


def _unreadable(words: Sequence[str]) -> str | None:
    """What to write in the shell instead of the first override that Hydra's grammar cannot read, if there is one."""
    parser = OverridesParser.create()
    for word in words:
        if word.startswith("-"):
            continue
        try:
            parser.parse_override(word)
        except HydraException:
            key, _, value = word.partition("=")
            escaped = value.replace("\\", "\\\\").replace('"', '\\"')
            quoted = f'{key}="{escaped}"'
            try:
                parser.parse_override(quoted if value else word)
            except HydraException:
                return f"the override {word} cannot be read: expected KEY=VALUE, such as optimizer.lr=1e-3"
            return f"the value in {word} cannot be read as it stands: write {shlex.quote(quoted)}, quotes included"
    return None


def plain_values(config: DictConfig) -> dict[str, Any]:
    """The composed configuration, resolved, as plain values; `~/` at the front of one is the user's home."""
    return _at_home(plain(config))


def _at_home(value: Any) -> Any:
    """Values with `~` at the front of paths replaced by the user's home; shells do so at the front of words only."""
    if isinstance(value, dict):
        return {key: _at_home(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_at_home(inner) for inner in value]
    return os.path.expanduser(value) if isinstance(value, str) and value.startswith("~/") else value


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
