"""torch.compile, with one sentence where it fails."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from tfswa_unet.errors import ConfigError


def compile_network(model: Any, call: Callable[[], object]) -> None:
    """Compile a model's network in place and make the first call, which is when the compiler works, for minutes.

    Args:
        model: whose `network` is compiled, or all of it where it has none.
        call: runs the model on inputs of the size to come.

    Raises:
        ConfigError: where torch cannot compile here, for instance without a C++ compiler.
    """
    getattr(model, "network", model).compile()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the compiler's advice to its developers
            call()
    except Exception as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ConfigError(f"--compile: torch.compile failed here ({reason[:200]}): leave it out") from error
