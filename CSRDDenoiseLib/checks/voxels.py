"""Are the PET's voxels far from cubes, of a size that the model was not trained for, or broken?"""

from __future__ import annotations

from typing import Sequence

import numpy as np

from ..findings import Finding, info, warning
from ..scan import largest_activity

LARGEST_ANISOTROPY = 2.0
_TOLERANCE_MM = 1e-3


def check_voxels(sides: Sequence[float]) -> Finding:
    """Compare the sides of the PET's voxels in mm with each other."""
    ratio = max(sides) / min(sides)
    if ratio <= LARGEST_ANISOTROPY:
        return info("voxels.near_cubic", anisotropy=round(ratio, 2))
    return warning("voxels.anisotropic", anisotropy=round(ratio, 2), sides=list(sides))


def check_spacing(sides: Sequence[float], trained: tuple[float, float]) -> tuple[Finding, ...]:
    """Compare the sides of the PET's voxels with the smallest and largest that the model was trained for (mm)."""
    low, high = trained
    if all(low - _TOLERANCE_MM <= side <= high + _TOLERANCE_MM for side in sides):
        return ()
    return (warning("spacing.outside", sides=list(sides), low=low, high=high),)


def check_broken(values: np.ndarray) -> tuple[Finding, ...]:
    """Look for voxels of a PET as it was read, (D, H, W), beyond any activity; the network saw them limited."""
    limit = largest_activity(values)
    broken = int(np.count_nonzero(np.abs(values) > limit)) if np.isfinite(limit) else 0
    if not broken:
        return ()
    place = np.unravel_index(int(np.abs(values).argmax()), values.shape)
    first = [int(index) + 1 for index in place[::-1]]
    return (warning("voxels.broken", count=broken, limit=float(f"{limit:.4g}"), largest_at=first),)
