"""Options of a data set's kind, as a command line gives them."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any

from tfswa_unet.errors import ConfigError


def add_option(parser: argparse.ArgumentParser) -> None:
    """Add --option KEY=VALUE, which may be given more than once."""
    parser.add_argument(
        "--option",
        action="append",
        dest="options",
        metavar="KEY=VALUE",
        help="an option of the data set's kind, as data.sets.NAME.options: grouping=six, bleed=false; may be repeated",
    )


def parse_options(given: Iterable[str] | None) -> dict[str, Any]:
    """Return the options of texts such as "grouping=six", their values read as YAML.

    Raises:
        ConfigError: a text without key or value, or a value that is no YAML.
    """
    import yaml  # type: ignore[import-untyped]

    options = {}
    for text in given or ():
        key, _, value = text.partition("=")
        try:
            options[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError:
            value = ""
        if not key.strip() or not value.strip():
            raise ConfigError(f"--option {text!r} cannot be read: expected KEY=VALUE such as grouping=six")
    return options
