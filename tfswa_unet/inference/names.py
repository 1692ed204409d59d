"""Names of stems as users write them."""

from __future__ import annotations

from collections.abc import Sequence

from tfswa_unet.errors import ConfigError, did_you_mean


def check_names(wanted: Sequence[str] | None, known: Sequence[str]) -> tuple[str, ...]:
    """The wanted stems in the model's order; all of them for None.

    Raises:
        ConfigError: for a stem that the model does not give, or none at all.
    """
    if wanted is None:
        return tuple(known)
    for name in wanted:
        if name not in known:
            raise ConfigError(
                f"the model gives no stem {name!r}{did_you_mean(name, known)}: it gives {', '.join(known)}"
            )
    if not wanted:
        raise ConfigError(f"no stem is asked for: name at least one of {', '.join(known)}")
    return tuple(name for name in known if name in wanted)
