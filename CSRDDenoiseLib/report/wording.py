"""Records of a run in words: rows of text for the tables of a report."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Iterable, Mapping, Optional

import numpy as np
import SimpleITK as sitk

SHOWN_DIGEST = 12
LONGEST_LIST = 4
_LARGEST_PLAIN = 1e7
_UNIT_ENDINGS = {" mm": " (mm)", " degrees": " (degrees)", " percent": " (%)"}

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
    """Return percent as text, a dash where there is no value."""
    return "-" if value is None else f"{value:{form}} %"


def words(name: str) -> str:
    """Return the name of a fact as a title: ``offset_mm`` -> ``Offset (mm)``."""
    title = name.replace("_", " ").strip()
    for ending, unit in _UNIT_ENDINGS.items():
        if title.endswith(ending):
            title = title[: -len(ending)] + unit
    return title[:1].upper() + title[1:]


def fact_rows(told: Mapping[str, Any], before: str = "") -> Iterable[Row]:
    """Yield a row for every fact of nested records; long lists and what is not known are left out."""
    for name, value in told.items():
        title = f"{before}{words(name)}"
        if isinstance(value, Mapping):
            yield from fact_rows(value, f"{title}: ")
        elif value is not None and not _is_long(value):
            yield title, _text(value)


def geometry_rows(inputs: Mapping[str, Mapping[str, Any]]) -> Iterable[Row]:
    """Yield rows that describe inputs side by side, from their records by name; see ``provenance.describe_image``."""
    for title, describe in _GEOMETRY.items():
        row = [describe(told) for told in inputs.values()]
        if any(row):
            yield (title, *row)


def input_name(told: Optional[Mapping[str, Any]], otherwise: str) -> str:
    """Return how a user knows an input: the name of its volume in Slicer, or of its file."""
    told = told or {}
    return str(told.get("volume") or Path(str(told.get("path") or otherwise)).name)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return number(value, 3)
    if isinstance(value, (list, tuple)):
        return ", ".join(_text(each) for each in value)
    return str(value)


def _is_long(value: Any) -> bool:
    if not isinstance(value, (list, tuple)):
        return False
    return len(value) > LONGEST_LIST or any(isinstance(each, (Mapping, list, tuple)) for each in value)


def _times(values: Iterable[float], form: str) -> str:
    return " x ".join(f"{value:{form}}" for value in values)


def _extent(told: Mapping[str, Any]) -> str:
    return _times((n * step for n, step in zip(told["size"], told["spacing_mm"])), ".0f") + " mm"


def _axes(told: Mapping[str, Any]) -> str:
    """The code of the axes and, for oblique volumes, how far they are from those of the scanner."""
    code = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(told["direction"])
    nearest = np.abs(np.array(told["direction"]).reshape(3, 3)).max(axis=0)
    tilt = float(np.degrees(np.arccos(np.clip(nearest.min(), -1, 1))))
    return f"{code}, oblique by {tilt:.1f}°" if tilt > 0.05 else f"{code}, not oblique"


def _digest(told: Mapping[str, Any]) -> str:
    return f"{told['sha256'][:SHOWN_DIGEST]}…" if told.get("sha256") else ""


_GEOMETRY = {
    "Volume": lambda told: input_name(told, ""),
    "Voxels": lambda told: _times(told["size"], "d"),
    "Voxel size": lambda told: _times(told["spacing_mm"], ".3g") + " mm",
    "Values": lambda told: f"{number(told['minimum'])} to {number(told['maximum'])}",
    "Unit": lambda told: str(told.get("units", "")),
    "Axes": _axes,
    "Extent": _extent,
    "Origin": lambda told: ", ".join(f"{value:.1f}" for value in told["origin_mm"]) + " mm (L, P, S)",
    "Voxel type": lambda told: str(told["pixel_type"]),
    "SHA-256": _digest,
}
