"""Is what stands out in the PET as large as a head, and no longer than one?"""

from __future__ import annotations

from ..findings import Finding, info, warning
from ..scan import Scan
from ..thresholds import HEAD_LENGTH_MM

SMALLEST_HEAD_ML = 500.0


def check_field(scan: Scan) -> tuple[Finding, ...]:
    """Report that only the head of a longer body was taken."""
    if not scan.head.body_mm:
        return ()
    return (warning("field.long", body_mm=round(scan.head.body_mm), head_mm=HEAD_LENGTH_MM),)


def check_head_size(scan: Scan) -> Finding:
    """Measure the volume of the head with its margin."""
    volume_ml = float(scan.head.mask.sum()) * scan.voxel_ml
    if volume_ml >= SMALLEST_HEAD_ML:
        return info("head.volume", head_ml=round(volume_ml))
    return warning("head.small", head_ml=round(volume_ml), limit_ml=SMALLEST_HEAD_ML)
