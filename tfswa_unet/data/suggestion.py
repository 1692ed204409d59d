"""The one wording for a name that does not exist."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from tfswa_unet.errors import ConfigError


def unknown(what: str, name: object, known: Iterable[str]) -> ConfigError:
    """Return the error for `name`, which is none of the `known` names of a `what` (such as "source stem")."""
    known = list(known)
    close = difflib.get_close_matches(str(name), known, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    return ConfigError(f"Unknown {what} {name!r}{hint}: expected one of {', '.join(known) or 'none'}.")
