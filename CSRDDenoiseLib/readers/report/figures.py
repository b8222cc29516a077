"""The pictures of a reader study's report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Sequence

import numpy as np

from ...report.drawing import ACCENT, AFTER, BEFORE, FONT_POINTS, INK, new_figure, plain_axes
from ..analysis.analyse import Result, Roc

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = (BEFORE, AFTER, ACCENT, "#2b8a3e", "#862e9c", "#5c940d")
ROW_INCHES, WIDTH_INCHES = 0.32, 6.4


@dataclass(frozen=True)
class Picture:
    """A figure with its caption and file name."""

    name: str
    caption: str
    figure: Figure


@dataclass(frozen=True)
class Line:
    """One interval of a forest plot."""

    label: str
    value: float
    low: float
    high: float
    strong: bool = True


def pictures(result: Result) -> list[Picture]:
    """Return the pictures of what was asked."""
    made = []
    if result.preferences:
        caption = "Share of answers that prefer the first method: all readers (dark) and each reader (light)"
        made.append(Picture("preference", caption, forest(_preference_lines(result), "share", 0.5, (0, 1))))
    if result.scores:
        lines = [Line(score.method, score.value, score.low, score.high) for score in result.scores]
        made.append(Picture("bradley_terry", "Bradley-Terry scores", forest(lines, "score (log odds)", 0.0)))
    if result.ratings:
        lines = [
            Line(f"{e.scale}: {e.first} - {e.second}", e.difference.value, e.difference.low, e.difference.high)
            for e in result.ratings
        ]
        made.append(Picture("ratings", "Differences of ratings", forest(lines, "difference in points", 0.0)))
    if result.roc is not None:
        caption = "Empirical ROC curves: every reader, and their mean (thick)"
        made.append(Picture("roc", caption, curves(result.roc)))
    return made


def forest(lines: Sequence[Line], xlabel: str, null: float, limits: tuple[float, float] | None = None) -> Figure:
    """Draw values with their intervals, one a row, and a line where there is no difference."""
    figure = new_figure(WIDTH_INCHES, ROW_INCHES * (len(lines) + 2.2))
    axes = figure.subplots()
    plain_axes(axes, xlabel, "")
    axes.axvline(null, color=INK, linewidth=0.8)
    for row, line in enumerate(lines):
        colour, width = (AFTER, 2.0) if line.strong else (BEFORE, 1.2)
        axes.plot([line.low, line.high], [-row, -row], color=colour, linewidth=width)
        axes.plot([line.value], [-row], "o", color=colour, markersize=5 if line.strong else 3.5)
    axes.set_yticks([-row for row in range(len(lines))], [line.label for line in lines], fontsize=FONT_POINTS)
    axes.set_ylim(-len(lines) + 0.4, 0.6)
    if limits:
        axes.set_xlim(*limits)
    return figure


def curves(roc: Roc) -> Figure:
    """Draw the ROC curve of every reader and method, and the mean of the readers of each method."""
    from sklearn.metrics import roc_curve

    figure = new_figure(WIDTH_INCHES, 3.6)
    axes = figure.subplots()
    plain_axes(axes, "false-positive fraction", "true-positive fraction")
    axes.plot([0, 1], [0, 1], color=BEFORE, linewidth=0.7, linestyle=":")
    grid = np.linspace(0, 1, 101)
    for place, method in enumerate(roc.methods):
        colour = COLOURS[place % len(COLOURS)]
        found = [roc_curve(roc.lesion, ratings)[:2] for ratings in roc.ratings[place]]
        for false, true in found:
            axes.plot(false, true, color=colour, linewidth=0.6, alpha=0.5)
        mean = np.mean([np.interp(grid, false, true) for false, true in found], axis=0)
        label = f"{method}: {roc.area[place].mean():.3f}"
        axes.plot(np.insert(grid, 0, 0), np.insert(mean, 0, 0), color=colour, linewidth=2.0, label=label)
    axes.set_aspect("equal")
    axes.legend(
        loc="center left",
        bbox_to_anchor=(1.04, 0.5),
        frameon=False,
        fontsize=FONT_POINTS,
        title="mean area",
        title_fontsize=FONT_POINTS,
        labelcolor=INK,
    )
    return figure


def _preference_lines(result: Result) -> list[Line]:
    lines = []
    for each in result.preferences:
        lines.append(Line(f"{each.first} over {each.second}", each.share.value, each.share.low, each.share.high))
        lines += [Line(reader, *values, strong=False) for reader, values in each.by_reader.items()]
    return lines
