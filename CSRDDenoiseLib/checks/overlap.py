"""Does the MR lie where the PET lies, and does it cover the head?"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..findings import Finding, warning
from ..infer.extent import gap_mm
from ..io.grid import Grid
from ..scan import Scan

MIN_HEAD_COVERED, MIN_BRAIN_COVERED = 0.5, 0.9


def check_gap(pet: sitk.Image, mr: sitk.Image) -> None:
    """Refuse an MR that does not reach to where the PET lies."""
    gap = _gap_mm(Grid.of(pet), Grid.of(mr))
    if gap > 0:
        raise _apart(pet, mr, f"there are {gap:.0f} mm between them")


def check_overlap(covered: np.ndarray, scan: Scan, pet: sitk.Image, mr: sitk.Image) -> tuple[Finding, ...]:
    """Warn when the MR covers little of the head or of the brain, refuse when it covers none of the head.

    Args:
        covered: where the MR has values, boolean (D, H, W).
        scan: of the PET, on the same grid.
        pet: as it was read.
        mr: likewise.

    Raises:
        InputError: the MR covers nothing of the head.
    """
    share = float(covered[scan.head.mask].mean())
    if share == 0:
        raise _apart(pet, mr, "the MR covers nothing of the head")
    if share < MIN_HEAD_COVERED:
        return (warning("overlap.partial", covered=share),)
    of_brain = float(covered[scan.brain].mean()) if scan.brain.any() else 1.0
    return (warning("overlap.brain", covered=of_brain),) if of_brain < MIN_BRAIN_COVERED else ()


def _gap_mm(one: Grid, other: Grid) -> float:
    """Distance in mm between the bounding boxes of two grids; 0 when they touch or overlap."""
    a, b = one.corners(), other.corners()
    return gap_mm([a.min(0), a.max(0)], [b.min(0), b.max(0)])


def _apart(pet: sitk.Image, mr: sitk.Image, detail: str) -> InputError:
    middle = Grid.of(pet).corners().mean(0) - Grid.of(mr).corners().mean(0)
    return InputError(
        f"The PET and the MR do not overlap in space: {detail}, and their centres are {np.linalg.norm(middle):.0f} mm "
        "apart. Register the MR to the PET, or leave it out.",
        hint="register",
    )
