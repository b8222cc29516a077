"""What all drawings of a report share: colours, a canvas, and SVG that is the same for the same data."""

from __future__ import annotations

import re
from io import StringIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BEFORE, AFTER, INK, GRID = "#7d838d", "#0b5fa5", "#22262b", "#dfe3e8"
"""Colours of the PET, the denoised PET, text and axes, and grid lines; they differ in lightness too."""
ACCENT = "#d9480f"
"""Colour of the MR's outline, the same on any paper, because it lies on a picture."""

FONT_POINTS = 8.5
PICTURE_DPI = 150
# what a page calls these colours, so that a drawing follows its light or dark theme (see page.html.j2)
_THEME = {BEFORE: "var(--before)", AFTER: "var(--accent)", INK: "var(--ink)", GRID: "var(--line)"}


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches, outside matplotlib's global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=PICTURE_DPI)


def plain_axes(axes: Any, xlabel: str, ylabel: str) -> None:
    """Label the axes of a curve and leave out all that is not needed to read it."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(BEFORE)
    axes.grid(color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=FONT_POINTS - 1, color=BEFORE, labelcolor=INK, length=3)
    axes.set_xlabel(xlabel, fontsize=FONT_POINTS, color=INK)
    axes.set_ylabel(ylabel, fontsize=FONT_POINTS, color=INK)


def to_svg(figure: Figure) -> str:
    """Return a figure as one ``<svg>`` element for a page, the same text for the same figure.

    The background is transparent, text is outlines so that no font is needed, and the colours :data:`BEFORE`,
    :data:`AFTER`, :data:`INK` and :data:`GRID` are those of the page's theme.
    """
    import matplotlib

    buffer = StringIO()
    with matplotlib.rc_context({"svg.fonttype": "path", "svg.hashsalt": "csrd-denoise"}):
        figure.savefig(
            buffer, format="svg", bbox_inches="tight", pad_inches=0.03, transparent=True, metadata={"Date": None}
        )
    svg = buffer.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    # groups have the same names in every figure, and nothing refers to them
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    for colour, name in _THEME.items():
        svg = svg.replace(colour, name)
    return svg
