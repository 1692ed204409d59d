"""HTML pages that need nothing else: templates with their styles, scripts and pictures inside."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def page(template: str, **values: Any) -> str:
    """Fill a template of this folder; what the values hold is shown as text, never as HTML.

    Raises jinja2.UndefinedError where the template asks for a value that is not given.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("tfswa_unet", "pages")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    return environment.get_template(template).render(**values)


def picture(figure: Figure) -> str:
    """A figure as SVG to stand inside a page, with text that can be selected; pass it through the filter `safe`."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    FigureCanvasSVG(figure)
    out = io.StringIO()
    # Without the salt and with the date, the same figure would be other bytes each time.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "tfswa"}):
        figure.savefig(out, format="svg", metadata={"Date": None})
    svg = out.getvalue()
    return svg[svg.index("<svg") :]
