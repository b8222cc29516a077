"""Does the brain reach an edge of the image, or of what is left of it beside empty slices?"""

from __future__ import annotations

from typing import Sequence

import numpy as np

from ..findings import Finding, info, warning
from ..scan import FWHM_PER_SIGMA, HEAD_SMOOTHING_MM, Scan, smooth
from ..thresholds import BRAIN_THRESHOLD

CUT_AREA_CM2 = 6.0
_BLANK = 0.02
_ENDS = (("bottom", "top"), ("front", "back"), ("right", "left"))


def check_cut(scan: Scan) -> Finding:
    """Measure the bright area at each of the six edges."""
    box = tuple(_filled(scan.relative.max(axis=tuple({0, 1, 2} - {axis})) > _BLANK) for axis in range(3))
    areas = {}
    for axis, names in enumerate(_ENDS):
        pixel_cm2 = float(np.prod([step for a, step in enumerate(scan.spacing) if a != axis])) / 100
        for name, end in zip(names, (0, -1)):
            areas[name] = float(_bright_face(scan, box, axis, end).sum()) * pixel_cm2
    cut = {name: round(area, 1) for name, area in areas.items() if area > CUT_AREA_CM2}
    return warning("cut.edges", edges_cm2=cut) if cut else info("cut.none", edges_cm2={})


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
