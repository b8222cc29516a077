"""Curves of a report: profiles through the brain, and histograms of activity and of what was changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional, Sequence

import numpy as np

from .drawing import AFTER, BEFORE, FONT_POINTS, INK, new_figure, plain_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PROFILE_INCHES, HISTOGRAM_INCHES = (8.7, 2.1), (8.7, 2.0)
# more labels of large numbers run into each other
MOST_TICKS = 5
BINS = 100
SHOWN_QUANTILE = 0.9995
_AXES = ("inferior to superior (mm)", "anterior to posterior (mm)", "right to left (mm)")


@dataclass(frozen=True)
class Curves:
    """What the curves are drawn from: arrays (D, H, W) on one grid, axes to superior, posterior and left.

    Attributes:
        pet, denoised: before and after, in the PET's unit.
        uncertainty: standard deviation, or None.
        brain: boolean, what the histograms count.
        centre: indices (z, y, x) where the profiles cross.
        spacing: voxel spacing in mm along (D, H, W).
        unit: of the voxels.
    """

    pet: np.ndarray
    denoised: np.ndarray
    uncertainty: Optional[np.ndarray]
    brain: np.ndarray
    centre: Sequence[int]
    spacing: Sequence[float]
    unit: str


def profile_figure(curves: Curves) -> Figure:
    """Draw PET and denoised PET along three lines through the centre, the uncertainty as a band of one deviation."""
    figure = new_figure(*PROFILE_INCHES)
    cells = figure.subplots(1, 3, sharey=True, gridspec_kw={"wspace": 0.08})
    for axis, axes in zip((2, 1, 0), cells):
        line = _line(curves.centre, axis)
        place = (np.arange(curves.pet.shape[axis]) - curves.centre[axis]) * curves.spacing[axis]
        axes.plot(place, curves.pet[line], color=BEFORE, linewidth=0.9, label="PET")
        axes.plot(place, curves.denoised[line], color=AFTER, linewidth=1.5, label="denoised")
        if curves.uncertainty is not None:
            low, high = (curves.denoised[line] + sign * curves.uncertainty[line] for sign in (-1, 1))
            axes.fill_between(place, low, high, color=AFTER, alpha=0.2, linewidth=0, label="± uncertainty")
        axes.margins(x=0)
        plain_axes(axes, _AXES[axis], curves.unit if axes is cells[0] else "")
    _legend(cells[0])
    return figure


def histogram_figure(curves: Curves) -> Figure:
    """Draw how often each activity occurs in the brain before and after, and how often each difference."""
    figure = new_figure(*HISTOGRAM_INCHES)
    activity, change = figure.subplots(1, 2, gridspec_kw={"wspace": 0.2})
    before, after = curves.pet[curves.brain], curves.denoised[curves.brain]
    top = float(np.quantile(before, SHOWN_QUANTILE)) or 1.0
    bottom = min(float(np.quantile(before, 1 - SHOWN_QUANTILE)), 0.0)
    for values, name, colour, width in ((before, "PET", BEFORE, 1.0), (after, "denoised", AFTER, 1.5)):
        _steps(activity, values, (bottom, top), label=name, color=colour, linewidth=width)
    plain_axes(activity, f"activity in the brain {_in_brackets(curves.unit)}".strip(), "voxels (%)")
    _legend(activity)
    difference = after - before
    limit = float(np.quantile(np.abs(difference), SHOWN_QUANTILE)) or 1.0
    _steps(change, difference, (-limit, limit), color=AFTER, linewidth=1.2)
    change.axvline(0, color=BEFORE, linewidth=0.8)
    plain_axes(change, f"denoised - PET in the brain {_in_brackets(curves.unit)}".strip(), "voxels (%)")
    return figure


def _line(centre: Sequence[int], axis: int) -> tuple:
    return tuple(slice(None) if i == axis else index for i, index in enumerate(centre))


def _steps(axes: Axes, values: np.ndarray, limits: tuple[float, float], **style: Any) -> None:
    counts, edges = np.histogram(values, bins=BINS, range=limits)
    axes.stairs(100 * counts / max(values.size, 1), edges, **style)
    axes.set_xlim(*limits)
    axes.locator_params("x", nbins=MOST_TICKS)


def _legend(axes: Axes) -> None:
    """Place the legend above the axes, clear of the curves."""
    axes.legend(
        fontsize=FONT_POINTS - 1,
        labelcolor=INK,
        frameon=False,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=3,
        handlelength=1.4,
        borderaxespad=0,
    )


def _in_brackets(unit: str) -> str:
    return f"({unit})" if unit else ""
