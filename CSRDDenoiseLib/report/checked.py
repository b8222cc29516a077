"""What the checks of a run measured, as data: which values of their findings a report shows, and how it writes them.

``docs/quality.md`` says how each is measured, and from which value a run warns of it.
"""

from __future__ import annotations

from typing import Any, Callable, Iterable, Mapping

from ..findings import Finding
from ..sentences import as_fraction
from .wording import Row, number, percent

Shown = tuple[str, Callable[[Any], str]]


def _per(form: str) -> Callable[[Any], str]:
    """Write a share as percent."""
    return lambda share: percent(100 * share, form)


def _in(unit: str, form: str = ".1f") -> Callable[[Any], str]:
    return lambda value: f"{value:{form}} {unit}".strip()


def _from_to(write: Callable[[Any], str]) -> Callable[[Any], str]:
    return lambda ends: " to ".join(map(write, ends))


_NMI = "normalised mutual information"
MEASURED: Mapping[str, Mapping[str, Shown]] = {
    "alignment": {
        "verdict": ("PET and MR", str),
        "offset_mm": ("Offset of the MR", _in("mm")),
        "angle_degrees": ("Rotation of the MR", _in("degrees")),
        "displacement_mm": ("Mean displacement of the MR in the head", _in("mm")),
        "outline_overlap": ("Overlap of the outlines of the head (Dice)", _per(".0f")),
        "nmi": (f"PET and MR: {_NMI}", _in("", ".3f")),
        "nmi_best": (f"The largest {_NMI} nearby", _in("", ".3f")),
        "nmi_mirrored": ("The same with the MR mirrored", _in("", ".3f")),
    },
    "registration": {
        "offset_mm": ("Registration: offset", _in("mm")),
        "angle_degrees": ("Registration: rotation", _in("degrees")),
        "displacement_mm": ("Registration: mean displacement in the head", _in("mm")),
        "nmi_before": (f"Registration: {_NMI} before", _in("", ".3f")),
        "nmi_after": (f"Registration: {_NMI} after", _in("", ".3f")),
    },
    "overlap": {"covered": ("Covered by the MR", _per(".0f"))},
    "unit": {
        "stated": ("Unit of the PET", str),
        "looks_like": ("Unit by the mean of the brain", str),
        "brain_mean": ("Mean of the brain", number),
    },
    "voxels": {
        "anisotropy": ("Longest over shortest side of a voxel", _in("", ".2f")),
        "count": ("Broken voxels", str),
    },
    "blank_slices": {"count": ("Empty slices between others", str)},
    "slices": {"count": ("Slices out of scale", str)},
    "head": {"head_ml": ("Volume of the head, with 12 mm around it", _in("mL", ".0f"))},
    "field": {"body_mm": ("Length of the body", _in("mm", ".0f"))},
    "region": {"head_ml": ("Volume of the region", _in("mL", ".0f"))},
    "masked": {"share": ("Exactly zero in large pieces", _per(".0f"))},
    "filtering": {"detail_mm": ("Width of the finest detail", _in("mm"))},
    "back_projection": {
        "negative": ("Negative voxels around the head", _per(".1f")),
        "noise_share": ("Noise around the head over that in the brain", _per(".1f")),
    },
    "attenuation": {"score": ("Score of missing attenuation correction", _in("", ".2f"))},
    "mr": {
        "depth_contrast": ("MR: deep brain against cortex", _per("+.0f")),
        "tail": ("MR: brightest spots over bright tissue", _in("", ".2f")),
    },
    "noise": {
        "verdict": ("Noise against the training", str),
        "level": ("Noise level over the mean of the brain", _per(".1f")),
        "trained": ("Noise levels of the training", _from_to(_per(".1f"))),
    },
    "dose": {
        "estimate": ("Estimated dose", as_fraction),
        "relative_to": ("It is relative to the", str),
        "range": ("Its likely range", _from_to(as_fraction)),
    },
    "keep": {
        "above_mm": ("Width above which the PET is kept", _in("mm")),
        "dose": ("Dose that was given", as_fraction),
    },
    "uncertainty": {
        "subjects": ("Uncertainty: calibrated on so many subjects", str),
        "scans": ("Uncertainty: calibrated on so many scans", str),
        "smoothing_mm": ("Uncertainty: spread averaged over", _in("mm")),
        "after": (
            "Uncertainty: errors within it, on those scans",
            lambda found: percent(100 * found["coverage"], ".0f"),
        ),
    },
    "mean": {
        "change": ("Mean of the brain: changed by the model alone", _per("+.2f")),
        "left": ("Mean of the brain: changed in the result", _per("+.2f")),
    },
    "fine_band": {"left": ("Noise of single voxels that is left", _per(".0f"))},
    "lost_structure": {"share": ("Structure of 5 to 12 mm that is missing", _per(".0f"))},
    "leftover_noise": {
        "share": ("Fine noise that is left", _per(".0f")),
        "level": ("The same over the mean of the brain", _per(".1f")),
    },
    "unsupported": {
        "regions": ("Places that the counts do not support", str),
        "added_ml": ("Volume that was added there", _in("mL")),
        "removed_ml": ("Volume that was removed there", _in("mL")),
    },
}
"""Check -> value of its finding -> title, and what writes it. The whole record has every other value."""


def checked_rows(findings: Iterable[Finding]) -> Iterable[Row]:
    """Yield title and text of every value that is shown, in the order of the findings; unknown values are left out."""
    for finding in findings:
        for name, (title, write) in MEASURED.get(finding.check, {}).items():
            value = finding.values.get(name)
            if value is not None:
                yield title, write(value)
