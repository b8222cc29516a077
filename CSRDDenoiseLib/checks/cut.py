"""Does the brain reach an edge of the image, or of what is left of it beside empty slices?

Neck and face take up as much as brain in many scans and leave many fields of view; only an edge that lies where a brain
is, seen from the top of the head, cuts one.
"""

from __future__ import annotations

from typing import Sequence

import numpy as np

from ..findings import Finding, info, warning
from ..scan import FWHM_PER_SIGMA, HEAD_SMOOTHING_MM, Scan, smooth
from ..thresholds import BRAIN_THRESHOLD
from .limits import BRAIN_HEIGHT_MM, BRAIN_SIDES_MM, CUT_AREA_CM2

_BLANK = 0.02
_TOP_AREA_CM2 = 3.0
_CUT_SHARE = 0.5
ENDS = (("bottom", "top"), ("front", "back"), ("right", "left"))
"""Names of the first and the last end of each array axis (D, H, W)."""


def check_cut(scan: Scan) -> Finding:
    """Measure the bright area at each of the six edges, where a brain can be."""
    box = tuple(_filled(scan.relative.max(axis=tuple({0, 1, 2} - {axis})) > _BLANK) for axis in range(3))
    top = _top_of_head(scan, box[0])
    areas = {}
    for axis, names in enumerate(ENDS):
        pixel_cm2 = _pixel_cm2(scan.spacing, axis)
        for name, end in zip(names, (0, -1)):
            face = _bright_face(scan, box, axis, end)
            if axis:
                face = face[max(top - int(BRAIN_SIDES_MM / scan.spacing[0]) - box[0].start, 0) :]
            elif name == "bottom" and (top - box[0].start) * scan.spacing[0] >= BRAIN_HEIGHT_MM:
                face = np.zeros_like(face)
            if face.sum() * pixel_cm2 > min(CUT_AREA_CM2, max(_CUT_SHARE * face.size * pixel_cm2, _TOP_AREA_CM2)):
                areas[name] = round(float(face.sum()) * pixel_cm2, 1)
    return warning("cut.edges", edges_cm2=areas) if areas else info("cut.none", edges_cm2={})


def _top_of_head(scan: Scan, planes: slice) -> int:
    """The highest plane with a head in it; the last of the planes where none has."""
    areas = scan.foreground().sum(axis=(1, 2)) * _pixel_cm2(scan.spacing, 0)
    high = np.flatnonzero(areas > _TOP_AREA_CM2)
    return int(high[-1]) if high.size else planes.stop - 1


def _pixel_cm2(spacing: Sequence[float], axis: int) -> float:
    return float(np.prod([step for a, step in enumerate(spacing) if a != axis])) / 100


def _bright_face(scan: Scan, box: Sequence[slice], axis: int, end: int) -> np.ndarray:
    """Where the first (end 0) or last (-1) plane of a box is bright, smoothed with nothing from beyond the box."""
    seen = int(3 * HEAD_SMOOTHING_MM / FWHM_PER_SIGMA / scan.spacing[axis]) + 2
    part, slab = box[axis], list(box)
    ends = (
        (part.start, min(part.start + seen, part.stop)) if end == 0 else (max(part.stop - seen, part.start), part.stop)
    )
    slab[axis] = slice(*ends)
    bright = smooth(scan.relative[tuple(slab)], scan.spacing, HEAD_SMOOTHING_MM) > BRAIN_THRESHOLD
    return (bright & scan.head.mask[tuple(slab)]).take(end, axis)


def _filled(present: np.ndarray) -> slice:
    found = np.flatnonzero(present)
    return slice(int(found[0]), int(found[-1]) + 1) if found.size else slice(0, present.size)
