"""Is what stands out in the PET as large as a head, and no longer than one?"""

from __future__ import annotations

from ..findings import Finding, info, warning
from ..scan import Scan
from ..thresholds import HEAD_LENGTH_MM

SMALLEST_HEAD_ML = 500.0
LARGEST_HEAD_ML = 30_000.0
"""A head has less, with its margin and air; one anatomy simulated with six tracers has up to 13,200."""


def check_field(scan: Scan) -> tuple[Finding, ...]:
    """Report that only the head of a longer body was taken."""
    if not scan.head.body_mm:
        return ()
    return (warning("field.long", body_mm=round(scan.head.body_mm), head_mm=HEAD_LENGTH_MM),)


def check_head_size(scan: Scan) -> Finding:
    """Measure the volume of the head with its margin; that of a whole body may be as large as it is."""
    volume_ml = float(scan.head.mask.sum()) * scan.voxel_ml
    if volume_ml > LARGEST_HEAD_ML and not scan.whole_field:
        return warning("head.large", head_ml=round(volume_ml), limit_ml=LARGEST_HEAD_ML)
    if volume_ml >= SMALLEST_HEAD_ML:
        return info("head.volume", head_ml=round(volume_ml))
    return warning("head.small", head_ml=round(volume_ml), limit_ml=SMALLEST_HEAD_ML)
