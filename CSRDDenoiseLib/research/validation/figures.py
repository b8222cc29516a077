"""Figures of a validation: scores subject by subject, agreement of regions, error by the size of detail, examples."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Iterator, Optional, Sequence

import numpy as np

from ...measures import bland_altman
from ...report.drawing import AFTER, BEFORE, FONT_POINTS, INK, new_figure, plain_axes, to_svg
from ...report.page import Drawing
from ...report.planes import write_comparison
from ..evaluation.methods import INPUT, Outcome
from .choice import Chosen, names_of
from .comparison import best_filter, by_dose, regional_values
from .frequency import common_bands
from .scans import OwnScan

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH_INCHES, _HEIGHT_INCHES = 8.7, 2.4
_MOST_PANELS = 3


def figures(chosen: Sequence[Chosen], models: Sequence[str]) -> Iterator[Drawing]:
    """Yield the drawings that the results allow."""
    yield subject_figure(chosen, models)
    regions = agreement_figure(chosen, models)
    if regions is not None:
        yield regions
    yield band_figure(chosen, models)


def shown(chosen: Sequence[Chosen], models: Sequence[str]) -> list[str]:
    """Return the methods that figures show: the low dose, the filter with the best mean PSNR, the models."""
    best = best_filter(chosen, "psnr")
    return [name for name in (INPUT, best, *models) if name is not None and name in names_of(chosen)]


def subject_figure(chosen: Sequence[Chosen], models: Sequence[str]) -> Drawing:
    """Draw the PSNR of every subject, one line a subject, by dose."""
    doses = list(by_dose(chosen))[:_MOST_PANELS]
    figure, cells = _panels(len(doses))
    for axes, (dose, group) in zip(cells, doses):
        names = shown(group, models)
        for subject in dict.fromkeys(each.subject for each in group):
            scores = {e.method: e.measurement.scores.get("psnr", np.nan) for e in group if e.subject == subject}
            axes.plot(
                [scores.get(name, np.nan) for name in names], color=AFTER, alpha=0.6, linewidth=0.9, marker="o", ms=3
            )
        axes.set_xticks(range(len(names)), [_short(name) for name in names])
        plain_axes(axes, f"dose {dose}", "PSNR (dB)" if axes is cells[0] else "")
    return Drawing(to_svg(figure), "PSNR against the full dose, one line a subject.")


def agreement_figure(chosen: Sequence[Chosen], models: Sequence[str]) -> Optional[Drawing]:
    """Draw Bland-Altman plots of the regional SUVR at the smallest dose."""
    dose, group = list(by_dose(chosen))[-1]
    names = [name for name in shown(group, models) if regional_values(group, name)[0]][:_MOST_PANELS]
    if not names:
        return None
    figure, cells = _panels(len(names), sharey=True)
    for axes, name in zip(cells, names):
        _bland_altman(axes, *regional_values(group, name), colour=BEFORE if name == INPUT else AFTER)
        axes.set_title(_short(name), fontsize=FONT_POINTS, color=INK)
        plain_axes(axes, "mean of both (SUVR)", "method - full dose" if axes is cells[0] else "")
    text = (
        f"Regional SUVR at dose {dose}: difference to the full dose over the mean of both, one dot a region and scan; "
    )
    return Drawing(to_svg(figure), f"{text}mean difference (line) and limits of agreement (dashed).")


def band_figure(chosen: Sequence[Chosen], models: Sequence[str]) -> Drawing:
    """Draw the power of the error relative to the low dose's, over the size of detail, at the smallest dose."""
    dose, group = list(by_dose(chosen))[-1]
    figure = new_figure(_WIDTH_INCHES, _HEIGHT_INCHES)
    axes = figure.subplots()
    for name in [name for name in shown(group, models) if name != INPUT]:
        columns = common_bands([each.bands for each in group if each.method == name])
        middle = [(column[0].low + column[0].high) / 2 for column in columns]
        error = [float(np.mean([band.error for band in column])) for column in columns]
        colour = AFTER if name in models else BEFORE
        axes.plot(middle, error, color=colour, marker="o", ms=3, linewidth=1.2, label=name)
    axes.axhline(1, color=INK, linewidth=0.7, linestyle="--")
    axes.legend(frameon=False, fontsize=FONT_POINTS - 1, loc="center left", bbox_to_anchor=(1.0, 0.5))
    plain_axes(axes, "spatial frequency (cycles / mm)", "error power / low dose's")
    caption = f"Error by spatial frequency at dose {dose}; 1 is the error of the low dose, mean over subjects."
    return Drawing(to_svg(figure), caption)


def example_png(scan: OwnScan, outcome: Outcome) -> bytes:
    """Return a picture of a scan in three planes: low dose, result, full dose, and differences to the full dose."""
    study = scan.study
    low = study.array(study.low_doses[scan.dose])
    volumes = {
        f"low dose, {scan.dose}": low,
        "denoised": outcome.image,
        "full dose": study.full_dose,
        "difference": outcome.image - study.full_dose,
    }
    if outcome.std is not None:
        volumes["uncertainty"] = outcome.std
    buffer = io.BytesIO()
    write_comparison(volumes, buffer, study.spacing, "activity")
    return buffer.getvalue()


def _bland_altman(axes: Axes, measured: Sequence[float], full: Sequence[float], colour: str) -> None:
    found = bland_altman(measured, full)
    axes.plot(found.means, found.differences, linestyle="", marker="o", ms=2.5, alpha=0.6, color=colour)
    axes.axhline(found.bias, color=INK, linewidth=0.9)
    for limit in (found.low, found.high):
        if limit is not None:
            axes.axhline(limit, color=INK, linewidth=0.7, linestyle="--")


def _panels(count: int, **options: Any) -> tuple[Figure, list[Axes]]:
    """Return a figure of the page's width with room for all panels, and the axes of the first ``count``."""
    figure = new_figure(_WIDTH_INCHES, _HEIGHT_INCHES)
    cells = figure.subplots(1, _MOST_PANELS, squeeze=False, gridspec_kw={"wspace": 0.25}, **options)[0]
    for unused in cells[count:]:
        unused.set_axis_off()
    return figure, list(cells[:count])


def _short(name: str) -> str:
    return name.partition(", ")[0]
