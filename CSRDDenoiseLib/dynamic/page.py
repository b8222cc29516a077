"""The report of a dynamic PET: its time frames, time-activity curves of labelled regions, and the mean late frame.

Frames are seen once, as they pass: what the page needs of them is summed up, so that none has to be kept.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Mapping, Optional, Sequence

import numpy as np
import SimpleITK as sitk

from ..findings import find
from ..io.grid import Grid
from ..prepare.frames import named_frames, numbers_of
from ..report.drawing import AFTER, BEFORE, FONT_POINTS, INK, new_figure, plain_axes, to_svg
from ..report.facts import facts_of
from ..report.page import Columns, Drawing, Fact, Section, Table, Text, plain_rows, render
from ..report.regions import labels_on
from ..report.report import page_of
from ..report.run import Run, RunFacts, RunImages
from ..report.wording import number, percent
from .result import DENOISED, DynamicResult, FrameOutcome, RegionCurve

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WINDOW = 5
"""Frames over which means are compared."""
MOST_CURVES, COLUMNS = 12, 4
PRINTED_FRAMES, PRINTED_REGIONS = 30, 12
_WIDTH_INCHES, _ROW_INCHES = 8.7, 1.7


class StudyWatch:
    """Sums over the frames of a study before and after, as they pass.

    Args:
        grid: of the PET.
        weights: frame (from 0) -> its share in the mean late frame.
        labels: label map, on any grid, or None.
    """

    def __init__(self, grid: Grid, weights: Mapping[int, float], labels: Optional[sitk.Image] = None):
        self._grid, self._weights = grid, weights
        self._late = np.zeros(grid.size[::-1], np.float32)
        self._curves: list[tuple[np.ndarray, np.ndarray]] = []
        placed = np.zeros(grid.size[::-1], np.int64) if labels is None else labels_on(labels, grid)
        self._inside = placed != 0
        found = np.unique(placed[self._inside], return_inverse=True, return_counts=True)
        self._numbers, self._which, self._counts = found

    def add(self, index: int, before: sitk.Image, after: sitk.Image) -> None:
        """Add a frame, before and after; voxels that are no numbers count as zero, as those of a denoised frame do."""
        if index in self._weights:
            self._late += np.float32(self._weights[index]) * numbers_of(after)
        if len(self._numbers):
            self._curves.append((self._means(before), self._means(after)))

    @property
    def late(self) -> sitk.Image:
        """The mean late frame after denoising."""
        return self._grid.image(self._late)

    @property
    def curves(self) -> tuple[RegionCurve, ...]:
        """The time-activity curve of every label."""
        millilitres = float(np.prod(self._grid.spacing)) / 1000 * self._counts
        if not self._curves:
            return ()
        before, after = (np.array([each[part] for each in self._curves]).T.tolist() for part in (0, 1))
        return tuple(
            RegionCurve(int(label), round(volume, 3), tuple(one), tuple(other))
            for label, volume, one, other in zip(self._numbers, millilitres.tolist(), before, after)
        )

    def _means(self, image: sitk.Image) -> np.ndarray:
        values = numbers_of(image)[self._inside]
        return np.bincount(self._which, values) / self._counts


@dataclass(frozen=True)
class StudyImages:
    """What the page shows of a study.

    Attributes:
        late: the mean late frame before.
        denoised: the same after.
        mr: as it was given, or None.
        labels: or None.
    """

    late: sitk.Image
    denoised: sitk.Image
    mr: Optional[sitk.Image] = None
    labels: Optional[sitk.Image] = None


def study_page(images: StudyImages, result: DynamicResult, edge: str) -> str:
    """Return the report of a dynamic run as HTML that needs no other file; warnings are worded for ``edge``.

    Raises:
        InputError: matplotlib is not installed.
    """
    facts = _facts(result, edge)
    page = page_of(Run(RunImages(images.late, images.denoised, mr=images.mr, labels=images.labels), facts))
    denoised = Fact("Frames denoised", f"{len(result.frames_with(DENOISED))} of {len(result.frames)}")
    sections = (*_sections(result, facts.unit), *_of_late_frames(page.sections, result.late))
    return render(replace(page, facts=(denoised, *page.facts), sections=sections))


def _facts(result: DynamicResult, edge: str) -> RunFacts:
    facts = facts_of(result.as_run, edge)
    return replace(facts, warnings=result.sentences(edge), record=json.dumps(result.provenance, indent=2))


def _sections(result: DynamicResult, unit: str) -> tuple[Section, ...]:
    header = (
        "Frame",
        "Start (s)",
        "Duration (s)",
        "",
        "Noise level",
        "Brain mean",
        "Change by the model",
        "Motion (mm)",
    )
    rows = plain_rows([_row(each) for each in result.frames], PRINTED_FRAMES)
    numbers = tuple(place for place in range(1, len(header)) if place != 3)
    caption = (
        f"Brain mean{f' in {unit}' if unit else ''}, noise relative to it, and its change by the model's bare estimate."
    )
    frames = Section("Time frames", (Table(header, rows, caption, numbers),), "frames")
    if not result.curves:
        return (frames,)
    return (frames, Section("Time-activity curves", (_drawing(result, unit), _table(result, unit)), "frames"))


def _row(outcome: FrameOutcome) -> tuple[str, ...]:
    record, frame = outcome.record, outcome.frame
    noise = find(outcome.findings, "noise")
    status = f"{outcome.status}: {outcome.reason.replace('_', ' ')}" if outcome.reason else outcome.status
    return (
        str(outcome.index + 1),
        number(frame.start_s),
        number(frame.duration_s),
        status,
        number(None if noise is None else noise.values.get("level"), 3),
        number(record.brain_mean if record else None),
        percent(100 * record.mean_change if record else None, "+.2f"),
        number(outcome.motion_mm, 2),
    )


def _of_late_frames(sections: Sequence[Section], late: Sequence[int]) -> tuple[Section, ...]:
    words = f"What follows shows the mean of the late frames ({named_frames(late)}), weighted by duration."
    first = replace(sections[0], parts=(Text(words), *sections[0].parts))
    return (first, *sections[1:])


def _drawing(result: DynamicResult, unit: str) -> Drawing:
    """Draw the curves of the largest regions before and after."""
    shown = sorted(sorted(result.curves, key=lambda each: -each.millilitres)[:MOST_CURVES], key=lambda each: each.label)
    times, name = result.middles
    rows = -(-len(shown) // COLUMNS)
    figure = new_figure(_WIDTH_INCHES, _ROW_INCHES * rows + 0.3)
    cells = figure.subplots(rows, min(COLUMNS, len(shown)), squeeze=False, gridspec_kw={"hspace": 0.75, "wspace": 0.35})
    for cell, curve in zip(cells.flat, shown):
        _curve(cell, times, curve)
        plain_axes(cell, name, unit if cell in cells[:, 0] else "")
    for cell in list(cells.flat)[len(shown) :]:
        cell.set_axis_off()
    cells[0][0].legend(fontsize=FONT_POINTS - 2, labelcolor=INK, frameon=False)
    left = len(result.curves) - len(shown)
    more = f" The {len(shown)} largest of {len(result.curves)} regions." if left else ""
    return Drawing(to_svg(figure), f"Mean activity of each label over time, in the PET and denoised.{more}")


def _curve(axes: Axes, times: Sequence[float], curve: RegionCurve) -> None:
    axes.plot(times, curve.before, color=BEFORE, linewidth=0.9, marker=".", markersize=4, label="PET")
    axes.plot(times, curve.after, color=AFTER, linewidth=1.4, label="denoised")
    axes.set_title(f"label {curve.label}", fontsize=FONT_POINTS, color=INK)


def _table(result: DynamicResult, unit: str) -> Columns:
    header = ("Label", "Volume (mL)", "PET", "Denoised", "Change", f"Largest over {WINDOW} frames")
    weights = np.array([each.frame.duration_s or 0 for each in result.frames])
    weights = weights if (weights > 0).all() else np.ones(len(weights))
    rows = []
    for curve in result.curves:
        before, after = (np.average(values, weights=weights) for values in (curve.before, curve.after))
        change = [100 * (after / before - 1) if before > 0 else None, _largest_change(curve, weights)]
        means = (number(float(value)) for value in (before, after))
        rows.append(
            (str(curve.label), f"{curve.millilitres:.2f}", *means, *(percent(value, "+.2f") for value in change))
        )
    caption = f"Mean activity over all frames, weighted by duration{f', in {unit}' if unit else ''}."
    table = Table(header, plain_rows(rows, PRINTED_REGIONS), caption, tuple(range(1, len(header))))
    return Columns((table,), side_by_side=False)


def _largest_change(curve: RegionCurve, weights: np.ndarray) -> Optional[float]:
    """Return the change of the mean over consecutive frames that is largest, in percent."""
    size = min(WINDOW, len(weights))
    starts = range(len(weights) - size + 1)
    windows = [slice(start, start + size) for start in starts]
    changes = []
    for window in windows:
        before, after = (
            float(np.average(values[window], weights=weights[window])) for values in (curve.before, curve.after)
        )
        if before > 0:
            changes.append(100 * (after / before - 1))
    return max(changes, key=abs, default=None)
