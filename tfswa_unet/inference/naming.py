"""Where stems are written: a template below the output folder."""

from __future__ import annotations

import string
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tfswa_unet.errors import ConfigError

FIELDS = ("track", "stem", "ext")
TEMPLATE = "{track}/{stem}.{ext}"


@dataclass(frozen=True)
class Naming:
    """A template of output names, such as "{track}/{stem}.{ext}", checked when made.

    Raises:
        ConfigError: for unknown fields, for braces that do not match, or where the names would not end in the format's
            own ending.
    """

    out: Path
    template: str
    extension: str

    def __post_init__(self) -> None:
        given = f"the template {self.template!r}"
        try:
            parts = list(string.Formatter().parse(self.template))
        except ValueError as error:
            raise ConfigError(f"{given} cannot be read ({error}): write fields as {{track}}") from error
        for _, name, spec, conversion in parts:
            if name is not None and (name not in FIELDS or spec or conversion):
                written = name + (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "")
                raise ConfigError(
                    f"{given} has the unknown field {{{written}}}: expected {{track}}, {{stem}} and {{ext}}"
                )
        name = self.template.format(track="track", stem="stem", ext=self.extension)
        if not name.endswith(f".{self.extension}"):
            raise ConfigError(f"{given} gives {name}, which does not end in .{self.extension}: end it with .{{ext}}")

    def paths(self, track: str, stems: Iterable[str]) -> dict[str, Path]:
        """File of each stem of a track.

        Raises:
            ConfigError: when two stems share a file, or one lies outside the output folder.
        """
        paths = {stem: self.out / self.template.format(track=track, stem=stem, ext=self.extension) for stem in stems}
        root = self.out.resolve()
        for path in paths.values():
            if root not in path.resolve().parents:
                raise ConfigError(
                    f"the template {self.template!r} puts {path} outside {self.out}: "
                    "remove what leads out of the folder"
                )
        if len(set(paths.values())) < len(paths):
            raise ConfigError(f"the template {self.template!r} gives all stems of {track} one name: add {{stem}} to it")
        return paths
