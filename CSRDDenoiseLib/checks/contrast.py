"""Is the MR in doubt as T1 without contrast agent: deep brain no brighter than cortex, or very bright spots?"""

from __future__ import annotations

from typing import Optional

import numpy as np
from scipy import ndimage

from ..findings import Finding, info, warning
from ..scan import Scan
from .depth import depth_mm, outline_of_head, upper_planes, without_holes
from .limits import ENHANCED_TAIL, T1_DEPTH_CONTRAST

_BRAIN_MM = 4.0
_SKULL_MM, _RIM_MM, _BELOW_MM, _FAINT, _BRIGHT = 10.0, (0.0, 2.0), (6.0, 8.0), 0.3, 0.7
_CORTEX_MM, _DEEP_MM, _TOP_MM = (16.0, 26.0), (36.0, 58.0), 104.0
"""Below the outline of the head, whose uptake varies less than what of it is as bright as brain."""


def check_contrast(scan: Scan, mr: np.ndarray) -> tuple[Finding, ...]:
    """Compare the MR (D, H, W, on the scan's grid) at depths of the head; nothing where it has no depth."""
    brain = ndimage.binary_opening(scan.brain, iterations=2)
    inside = mr[depth_mm(without_holes(brain), scan.spacing) > _BRAIN_MM]
    contrast = depth_contrast(scan, mr)
    if contrast is None or not inside.size:
        return ()
    top, tail = np.quantile(inside, (0.95, 0.998))
    if top <= 0:
        return ()
    measured = {"depth_contrast": round(contrast, 3), "tail": round(float(tail / top), 3)}
    if contrast < T1_DEPTH_CONTRAST:
        return (warning("mr.not_t1", **measured, limit=T1_DEPTH_CONTRAST),)
    if measured["tail"] > ENHANCED_TAIL:
        return (warning("mr.enhanced", **measured, limit=ENHANCED_TAIL),)
    return (info("mr.plausible", **measured),)


def depth_contrast(scan: Scan, mr: np.ndarray) -> Optional[float]:
    """Return the median of the deep brain minus that of the cortex, over that of all; None where there is none."""
    outline = outline_of_head(scan)
    upper = upper_planes(outline, scan.spacing, _TOP_MM)
    # a head at the edge of the image has its outline there
    depth = depth_mm(np.pad(outline, 1), scan.spacing)[1:-1, 1:-1, 1:-1][upper]
    # where a mask ended at the brain, or the scalp takes up nothing, the outline is that of the brain
    nearer = _SKULL_MM if _is_of_brain(scan.relative[upper], depth) else 0.0
    zones = ((low - nearer, high - nearer) for low, high in (_CORTEX_MM, _DEEP_MM))
    cortex, deep = (mr[upper][(depth > low) & (depth <= high)] for low, high in zones)
    both = mr[upper][depth > _CORTEX_MM[0] - nearer]
    if not cortex.size or not deep.size or np.median(both) <= 0:
        return None
    return float((np.median(deep) - np.median(cortex)) / np.median(both))


def _is_of_brain(relative: np.ndarray, depth: np.ndarray) -> bool:
    """Whether an outline is that of a brain: the PET rises to the brain's level within a scalp's width."""
    rim, below = (relative[(depth > low) & (depth <= high)] for low, high in (_RIM_MM, _BELOW_MM))
    return bool(rim.size and below.size and np.median(rim) < _FAINT and np.median(below) > _BRIGHT)
