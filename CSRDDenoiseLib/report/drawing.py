"""What all pictures of a report share: colours, a canvas, and files that are the same for the same data."""

from __future__ import annotations

import importlib.util
from io import BytesIO
from typing import TYPE_CHECKING, Any

from ..errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BEFORE, AFTER, ACCENT, INK, GRID = "#8a8f98", "#0b5fa5", "#d9480f", "#22262b", "#e3e6ea"
"""Colours of the PET, the denoised PET, the MR's outline, text and grid lines; they differ in lightness too."""

FONT_POINTS = 8.5
PICTURE_DPI = 150


def require_matplotlib() -> None:
    """Raise a sentence where the package that draws is missing.

    Raises:
        InputError: matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise InputError(
            "The report needs the Python package matplotlib, which is not installed; install it "
            "(pip install matplotlib), or do without the report."
        )


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
    axes.tick_params(labelsize=FONT_POINTS - 1, colors=INK, length=3)
    axes.set_xlabel(xlabel, fontsize=FONT_POINTS, color=INK)
    axes.set_ylabel(ylabel, fontsize=FONT_POINTS, color=INK)


def to_svg(figure: Figure) -> bytes:
    """Return a figure as SVG, text as outlines so that no font is needed, the same bytes for the same figure."""
    import matplotlib

    buffer = BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "path", "svg.hashsalt": "csrd-denoise"}):
        figure.savefig(buffer, format="svg", bbox_inches="tight", pad_inches=0.03, metadata={"Date": None})
    return buffer.getvalue()
