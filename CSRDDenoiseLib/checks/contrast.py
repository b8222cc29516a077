"""Is the MR in doubt as T1 without contrast agent: deep brain no brighter than cortex, or very bright spots?"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ..findings import Finding, info, warning
from ..scan import Scan
from .depth import depth_mm, without_holes

T1_DEPTH_CONTRAST = 0.2
ENHANCED_TAIL = 1.42
_SHALLOW_MM, _DEEP_MM = (4.0, 12.0), (18.0, 32.0)


def check_contrast(scan: Scan, mr: np.ndarray) -> tuple[Finding, ...]:
    """Compare the MR (D, H, W, on the scan's grid) at depths of the brain in the PET; nothing where it has no depth."""
    brain = ndimage.binary_opening(scan.brain, iterations=2)
    depth = depth_mm(without_holes(brain), scan.spacing)
    shallow, deep = (mr[(depth > low) & (depth <= high)] for low, high in (_SHALLOW_MM, _DEEP_MM))
    inside = mr[depth > _SHALLOW_MM[0]]
    if not deep.size:
        return ()
    middle, top, tail = np.quantile(inside, (0.5, 0.95, 0.998))
    if middle <= 0:
        return ()
    contrast = float((np.median(deep) - np.median(shallow)) / middle)
    measured = {"depth_contrast": round(contrast, 3), "tail": round(float(tail / top), 3)}
    if contrast < T1_DEPTH_CONTRAST:
        return (warning("mr.not_t1", **measured, limit=T1_DEPTH_CONTRAST),)
    if measured["tail"] > ENHANCED_TAIL:
        return (warning("mr.enhanced", **measured, limit=ENHANCED_TAIL),)
    return (info("mr.plausible", **measured),)
