"""What train.py and eval.py share: plain values of what Hydra composed, and one sentence for what is wrong with it."""

from __future__ import annotations

import functools
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tfswa_unet.errors import ConfigError, UserError

INTERNALS = ("full_key:", "object_type", "reference_type")  # lines of OmegaConf's that say nothing to a user
OF_ONE = ("kind", "root", "options")  # what each data set of a mixture has for itself


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
    """Return the composed configuration, resolved, as plain values; with data=[a,b] its data is the mixture of both.

    Raises:
        ConfigError: several data sets are chosen in another way, or one of them is changed by data.root and the like.
    """
    values: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    values.pop("experiment", None)
    hydra = HydraConfig.get()
    if "data" in values and "data" not in hydra.runtime.choices:  # as there is no one choice
        overrides = OverridesParser.create().parse_overrides(list(hydra.overrides.task))
        chosen: list[Any] = [override.value() for override in overrides if override.key_or_group == "data"]
        values["data"] = _mixture(chosen[-1] if chosen else (), values["data"])
    return values


def _mixture(names: Sequence[str], data: Mapping[str, Any]) -> dict[str, Any]:
    from tfswa_unet.config import choice

    files = {name: choice("data", name) for name in names}
    sets = [{"name": name} | {key: file[key] for key in OF_ONE if key in file} for name, file in files.items()]
    merged: Any = OmegaConf.merge({}, *files.values())
    if not names or any(data.get(key) != merged.get(key) for key in (*OF_ONE, "mixture")):
        known = sets or [{"kind": "musdb18hq", "root": "A"}, {"kind": "moisesdb", "root": "B"}]
        form = ", ".join(f"{{kind: {each['kind']}, root: {each['root']}}}" for each in known)
        raise ConfigError(
            "several data sets are chosen, each with a kind, root and options of its own: to set those, write "
            f"data=mixture 'data.mixture=[{form}]'"
        )
    # Where songs are made, the root is theirs.
    root = next((file["root"] for file in files.values() if "make" in file), "+".join(names))
    common = {key: value for key, value in data.items() if key not in OF_ONE}
    return {**common, "kind": "mixture", "root": root, "mixture": sets}


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
    return " ".join(line for line in lines if line and not line.startswith(INTERNALS))
