"""Facts of a run in words: numbers with their units, and rows of text for the tables of a report."""

from __future__ import annotations

from typing import Any, Callable, Iterable, Mapping, Optional, Sequence

import numpy as np
import SimpleITK as sitk

from ..configuration import INFINITE
from ..io.suv import describe_suv
from ..sentences import as_fraction
from ..settings import DenoiseSettings
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


def settings_words(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Return settings in words: those that every run has, and of the others those that are not as usual.

    Args:
        settings: name -> plain value, as of :meth:`~CSRDDenoiseLib.settings.DenoiseSettings.as_dict`.
    """
    usual, silent = DenoiseSettings().as_dict(), _ON_THE_DEVICE
    if settings.get("sampler") == "mean":
        silent = silent | _OF_DRAWS
    shown = [
        name
        for name, value in settings.items()
        if name not in silent and (name in _ALWAYS_SHOWN or value != usual.get(name))
    ]
    return tuple(_SETTINGS[name](settings[name]) if name in _SETTINGS else f"{name} {settings[name]}" for name in shown)


def _keep_words(width: Any) -> str:
    if width == INFINITE:
        return "no coarse parts of the measured PET kept"
    return f"measured PET kept above {float(width):g} mm" if float(width) else "all of the measured PET kept"


def _patch_words(size: Any) -> str:
    sides = size if isinstance(size, (list, tuple)) else [size] * 3
    return f"patches of {' x '.join(f'{side:d}' for side in sides)} voxels (depth, height, width)"


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

_SAMPLERS = {
    "mean": "posterior mean alone, no samples",
    "dpmpp": "sampler DPM-Solver++(2M)",
    "heun": "sampler of Heun (EDM)",
}
_ESTIMATES = {"mean": "result is the posterior mean", "samples": "result is the mean of the samples"}
_ALWAYS_SHOWN = frozenset({"sampler", "steps", "samples", "estimate", "seed"})
_OF_DRAWS = frozenset({"steps", "samples", "estimate", "churn"})
"""What a run without draws passes over."""
_ON_THE_DEVICE = frozenset({"device", "precision"})
"""The page has what these came to in a row of its own."""
_SETTINGS: Mapping[str, Callable[[Any], str]] = {
    "sampler": lambda value: _SAMPLERS.get(value, f"sampler {value}"),
    "steps": lambda value: f"{value} step{'' if value == 1 else 's'}",
    "samples": lambda value: f"{value} sample{'' if value == 1 else 's'}",
    "estimate": lambda value: _ESTIMATES.get(value, f"estimate {value}"),
    "churn": lambda value: f"churn {float(value):g}",
    "keep_above_mm": _keep_words,
    "dose": lambda value: f"dose of the PET {as_fraction(float(value))}",
    "overlap": lambda value: f"patches overlap by {percent(100 * float(value), '.0f')}",
    "patch_size": _patch_words,
    "seed": lambda value: f"seed {value}",
    "nan_to_zero": lambda _: "NaN and infinity set to zero",
    "register": lambda _: "MR registered to the PET",
    "whole_field": lambda _: "whole field denoised",
}
