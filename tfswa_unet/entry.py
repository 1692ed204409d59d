"""What train.py and eval.py share: plain values of what Hydra composed, and one sentence for what is wrong with it."""

from __future__ import annotations

import errno
import functools
import os
import shlex
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tfswa_unet.config import plain
from tfswa_unet.errors import RunError, UserError
from tfswa_unet.files import FULL

DENIED = (errno.EROFS, errno.EACCES, errno.EPERM)
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
        except RunError as error:
            _leave(_with_command(error), error.status)
        except UserError as error:
            _leave(str(error), error.status)
        except KeyboardInterrupt:
            _leave("interrupted: start it again", 130)
        except (HydraException, OmegaConfBaseException) as error:
            _leave(_unreadable(sys.argv[1:]) or _sentence(error))
        except OSError as error:
            put_right = _put_right(error)
            if put_right is None:
                raise
            _leave(f"{error.filename or os.getcwd()} cannot be written ({error.strerror}): {put_right}")
        except ValueError as error:
            if not _hydras(error):
                raise
            _leave(f"{error}; choices are written GROUP=NAME, such as model=tfswa_base")

    return run


def _put_right(error: OSError) -> str | None:
    """What to do where a file or folder could not be written, or None for what is a defect of ours."""
    if error.errno in FULL:
        return "make room for it there"
    *_, (last, _) = traceback.walk_tb(error.__traceback__)
    if error.errno == errno.EROFS or (error.errno in DENIED and last.f_code.co_name in ("mkdir", "makedirs")):
        return "name another folder, hydra.run.dir=FOLDER"
    return None


def _leave(sentence: str, status: int = 1) -> NoReturn:
    if status == 1:
        sys.exit(f"error: {sentence}")
    print(f"error: {sentence}", file=sys.stderr)
    sys.exit(status)


def _with_command(error: RunError) -> str:
    """Its sentence, with the whole command that goes on where it says `resume=`."""
    if error.checkpoint is None:
        return str(error)
    words = sys.argv[1:]
    if HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
        words = list(HydraConfig.get().overrides.task)  # of this job
    words = [word for word in words if not word.startswith("resume=")]
    given = f"resume={error.checkpoint}"
    resume = given if _is_readable(given) else _quoted(given)
    return str(error).replace(given, f"python {shlex.join([sys.argv[0], *words, resume])}")


def _unreadable(words: Sequence[str]) -> str | None:
    """What to write in the shell instead of the first override that Hydra cannot read, if there is one."""
    for word in words:
        if word.startswith("-"):
            continue
        quoted = _quoted(word)
        if _is_readable(word):
            if _names_several(word):
                return (
                    f"{word} names several values where one is expected: add -m for a run with each, or write "
                    f"{shlex.quote(quoted)}, quotes included, for one value with commas in it"
                )
            continue
        if word.endswith("=") or "=" not in word or not _is_readable(quoted):
            return f"the override {word} cannot be read: expected KEY=VALUE, such as optimizer.lr=1e-3"
        return f"the value in {word} cannot be read as it stands: write {shlex.quote(quoted)}, quotes included"
    return None


def _is_readable(word: str) -> bool:
    try:
        OverridesParser.create().parse_override(word)
    except HydraException:
        return False
    return True


def _names_several(word: str) -> bool:
    """Whether an override asks for a sweep, which it is only under -m."""
    if {"-m", "--multirun"} & set(sys.argv):
        return False
    return OverridesParser.create().parse_override(word).is_sweep_override()


def _quoted(word: str) -> str:
    """The override with its value in the quotes of Hydra's grammar."""
    key, _, value = word.partition("=")
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'{key}="{escaped}"'


def folder_of_job(folder: str | None) -> str | None:
    """A folder for one job of a sweep: below `folder` the job's number, so that jobs do not overwrite each other."""
    job = HydraConfig.get()
    return f"{folder}/{job.job.num}" if folder and job.mode == RunMode.MULTIRUN else folder


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
