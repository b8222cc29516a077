"""Is the finest detail wider than any reconstruction of the training leaves it?"""

from __future__ import annotations

from typing import Optional

import numpy as np

from ..findings import Finding, info, warning
from .limits import FILTERED_MM
from .noise import blur_fwhm_mm


def check_filtering(features: Optional[np.ndarray]) -> tuple[Finding, ...]:
    """Measure the width of the finest detail from the noise's texture (:func:`.noise.texture`); nothing without one."""
    if features is None:
        return ()
    width = blur_fwhm_mm(features)
    if width <= FILTERED_MM:
        return (info("filtering.none", detail_mm=round(width, 1)),)
    return (warning("filtering.found", detail_mm=round(width, 1), limit_mm=FILTERED_MM),)
