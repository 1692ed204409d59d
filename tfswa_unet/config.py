"""Configuration values become objects: frozen records, and kinds chosen by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, TypeVar

from tfswa_unet.errors import ConfigError, did_you_mean

Record = TypeVar("Record")


def from_values(record: type[Record], values: Mapping[str, Any], where: str) -> Record:
    """Make a frozen dataclass from a mapping; lists become tuples.

    Args:
        record: the dataclass.
        values: its fields by name.
        where: the configuration key that holds the values, for the message.

    Raises:
        ConfigError: for unknown or missing names, with the nearest known one.
    """
    known = {field.name: field for field in fields(record)}  # type: ignore[arg-type]
    for name in values:
        if name not in known:
            hint = did_you_mean(name, known)
            raise ConfigError(f"unknown key {where}.{name}{hint}: expected one of {', '.join(known)}")
    for name, field in known.items():
        if name not in values and field.default is MISSING and field.default_factory is MISSING:
            raise ConfigError(f"{where}.{name} is missing: give it a value")
    return record(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})
