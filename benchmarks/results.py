"""Results that are on disk as soon as they are there, and are not measured again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfswa_unet.errors import ConfigError
from tfswa_unet.files import write_text


class Results:
    """Named records in one JSON file, together with the settings under which all of them were made.

    Args:
        path: the file; continued where it exists.
        settings: plain values that decide the results.

    Raises:
        ConfigError: where the file holds something else, or results under other settings.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path = path
        self.settings = json.loads(json.dumps(settings))
        self.records: dict[str, Any] = self._read() if path.exists() else {}

    def add(self, name: str, record: Mapping[str, Any]) -> None:
        """Keep a record, on disk at once."""
        self.records[name] = dict(record)
        write_text(self.path, json.dumps(self.to_dict(), indent=2) + "\n")

    def to_dict(self) -> dict[str, Any]:
        """The content of the file."""
        return {"settings": self.settings, "results": self.records}

    def _read(self) -> dict[str, Any]:
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
            settings, records = found["settings"], dict(found["results"])
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{self.path} holds no results of this script: give another --out") from error
        keys = dict.fromkeys((*self.settings, *settings))
        other = [key for key in keys if settings.get(key) != self.settings.get(key)]
        if other:
            differences = ", ".join(
                f"{key} {settings.get(key)} where {self.settings.get(key)} is asked" for key in other
            )
            raise ConfigError(
                f"{self.path} holds results under other settings ({differences}): give another --out, or delete it"
            )
        return records
