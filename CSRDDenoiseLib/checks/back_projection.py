"""Was the PET reconstructed by filtered back projection, whose noise is not that of OSEM?

OSEM gives no negative values, and little noise where there is little activity. Filtered back projection leaves noise of
both signs everywhere, also in the air around the head.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ..findings import Finding, info, warning
from ..scan import Scan, robust_std
from .limits import NEGATIVE_AROUND, NOISE_AROUND

_AWAY_MM, _LEAST_ML = 12.0, 20.0


def check_back_projection(scan: Scan) -> tuple[Finding, ...]:
    """Compare the noise around the head with that in the brain; nothing where less than 20 mL of air is in the image.

    The noise is the robust standard deviation of the PET minus its mean over 3 x 3 x 3 voxels, as the noise level.
    Voxels that are exactly zero were set to that, and count for nothing.
    """
    away = ndimage.distance_transform_edt(~scan.head.mask, sampling=scan.spacing) > _AWAY_MM
    around = away & (scan.pet != 0)
    if around.sum() * scan.voxel_ml < _LEAST_ML:
        return ()
    negative = float(np.mean(scan.pet[around] < 0))
    detail = (scan.relative - ndimage.uniform_filter(scan.relative, 3))[around]
    noise = robust_std(detail) / scan.noise_level
    measured = {"negative": round(negative, 3), "noise_share": round(noise, 4)}
    if negative < NEGATIVE_AROUND or noise < NOISE_AROUND:
        return (info("back_projection.none", **measured),)
    return (warning("back_projection.found", **measured),)
