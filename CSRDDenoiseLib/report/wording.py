"""Facts of a run in words: numbers with their units, and rows of text for the tables of a report."""

from __future__ import annotations

from typing import Callable, Iterable, Mapping, Optional, Sequence

import numpy as np
import SimpleITK as sitk

from ..io.suv import describe_suv
from .run import InputFacts

SHOWN_DIGEST = 12
_LARGEST_PLAIN = 1e7

Row = tuple[str, ...]


def number(value: Optional[float], digits: int = 4, unit: str = "") -> str:
    """Return a number with so many significant digits, a dash where there is none."""
    if value is None:
        return "-"
    text = f"{value:.{digits}g}"
    if "e" in text and 1 <= abs(value) < _LARGEST_PLAIN:
        text = f"{value:.0f}"
    return f"{text} {unit}".strip()


def percent(value: Optional[float], form: str = ".1f") -> str:
    """Return percent as text, a dash where there is no value; a value that rounds to zero has no minus sign."""
    if value is None:
        return "-"
    text = f"{value:{form}}"
    return f"{text if float(text) else f'{0.0:{form}}'} %"


def geometry_rows(inputs: Sequence[InputFacts]) -> Iterable[Row]:
    """Yield rows that describe inputs side by side; rows that none of them has anything for are left out."""
    for title, describe in _GEOMETRY.items():
        row = [describe(each) for each in inputs]
        if any(row):
            yield (title, *row)


def _times(values: Iterable[float], form: str) -> str:
    return " x ".join(f"{value:{form}}" for value in values)


def _extent(each: InputFacts) -> str:
    return _times((n * step for n, step in zip(each.size, each.spacing_mm)), ".0f") + " mm"


def _axes(each: InputFacts) -> str:
    """The code of the axes and, for oblique volumes, how far they are from those of the scanner."""
    code = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(each.direction)
    nearest = np.abs(np.array(each.direction).reshape(3, 3)).max(axis=0)
    tilt = float(np.degrees(np.arccos(np.clip(nearest.min(), -1, 1))))
    return f"{code}, oblique by {tilt:.1f}°" if tilt > 0.05 else f"{code}, not oblique"


def _digest(each: InputFacts) -> str:
    return f"{each.sha256[:SHOWN_DIGEST]}…" if each.sha256 else ""


_GEOMETRY: Mapping[str, Callable[[InputFacts], str]] = {
    "Volume": lambda each: each.name,
    "Voxels": lambda each: _times(each.size, "d"),
    "Voxel size": lambda each: _times(each.spacing_mm, ".3g") + " mm",
    "Values": lambda each: f"{number(each.minimum)} to {number(each.maximum)}",
    "Unit": lambda each: each.unit,
    "Axes": _axes,
    "Extent": _extent,
    "Origin": lambda each: ", ".join(f"{value:.1f}" for value in each.origin_mm) + " mm (L, P, S)",
    "Voxel type": lambda each: each.pixel_type,
    "SUV": lambda each: "" if each.suv is None else describe_suv(each.suv).removeprefix("SUV "),
    "SHA-256": _digest,
}
