"""What the scripts share: lists on the command line, progress, one sentence for mistakes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from tfswa_unet.errors import UserError

if TYPE_CHECKING:
    from rich.console import RenderableType

WIDTH = 180  # characters, where there is no terminal


def names(text: str, separator: str = ",") -> tuple[str, ...]:
    """The names in "a,b,c"."""
    return tuple(name.strip() for name in text.split(separator) if name.strip())


def tell(text: str) -> None:
    """Print a line of progress at once, beside what the script prints as its result."""
    print(text, file=sys.stderr, flush=True)


def show(*views: RenderableType) -> None:
    """Print tables; what goes into a file or a pipe keeps its columns whole."""
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH
    for view in views:
        console.print(view)


def run(main: Callable[[], int]) -> NoReturn:
    """Leave with the script's exit status: 1 for what the user can put right, 130 when interrupted."""
    try:
        sys.exit(main())
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        tell("interrupted")
        sys.exit(130)
