"""Are the PET's voxels far from cubes, or of a size that the model was not trained for?"""

from __future__ import annotations

from typing import Sequence

from ..findings import Finding, info, warning

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
