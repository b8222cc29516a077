"""How much noise is left in detail finer than the model's voxels, which the network does not see?"""

from __future__ import annotations

from typing import Sequence

import numpy as np
from scipy import ndimage

from ..findings import Finding, info, warning
from ..scan import robust_std

LEFT_LIMIT = 0.5
_FINER = 0.95


def check_fine_band(
    pet: np.ndarray, denoised: np.ndarray, brain: np.ndarray, sides: Sequence[float], model_mm: float
) -> tuple[Finding, ...]:
    """Compare the noise of single voxels before and after, where the PET's voxels are smaller than the model's.

    Args:
        pet, denoised: (D, H, W) on the PET's grid, in its unit.
        brain: boolean (D, H, W), the part of the brain that was denoised.
        sides: of the PET's voxels in mm.
        model_mm: side of the model's voxels.
    """
    if min(sides) >= _FINER * model_mm:
        return ()
    before, after = (robust_std((volume - ndimage.uniform_filter(volume, 3))[brain]) for volume in (pet, denoised))
    if before <= 0:
        return ()
    left = round(after / before, 3)
    report, code = (warning, "fine_band.left") if left > LEFT_LIMIT else (info, "fine_band.treated")
    return (report(code, left=left, model_mm=model_mm, sides=list(sides)),)
