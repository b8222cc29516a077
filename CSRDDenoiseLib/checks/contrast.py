"""Is the MR in doubt as T1 without contrast agent: deep brain no brighter than cortex, or very bright spots?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Sequence

import numpy as np
from scipy import ndimage

from ..findings import Finding, info, warning
from ..scan import Scan, largest_component, smooth
from .depth import depth_mm, outline_of_head, upper_planes, without_holes
from .limits import ENHANCED_TAIL, T1_DEPTH_CONTRAST

_BRAIN_MM = 4.0
_TOP_MM, _CENTRE_MM = 104.0, 36.0
_DARK, _COLD = 0.5, 0.5
"""Of the level in the centre of the head. In the MR bone and air are darker in every contrast, CSF in T1 and FLAIR; in
the smoothed PET scalp and skull are colder, but for a scalp that takes up as much as brain."""
_NECK_MM, _GAP_MM, _BIAS_MM = 5.0, 8.0, 40.0
_CORTEX_MM, _DEEP_MM = (2.0, 8.0), (20.0, 40.0)


@dataclass(frozen=True)
class _Brain:
    """The upper brain in an MR: its values over their mean nearby, depth below its surface in mm, and what is tissue.

    Each is (D, H, W).
    """

    relative: np.ndarray
    depth: np.ndarray
    tissue: np.ndarray

    def median(self, zone: Sequence[float]) -> float:
        """Median of the tissue between two depths; NaN without any."""
        inside = self.relative[self.tissue & (self.depth > zone[0]) & (self.depth <= zone[1])]
        return float(np.median(inside)) if inside.size else float("nan")


def check_contrast(scan: Scan, mr: np.ndarray) -> tuple[Finding, ...]:
    """Compare the MR (D, H, W, on the scan's grid) at depths of the brain; nothing where it shows none."""
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
    """Return how much brighter the deep brain is than the cortex, both over the mean of the tissue around them.

    White matter lies deeper than grey, and is the brighter of the two in T1 alone. The brain ends where the MR is dark,
    as the skull is, or the PET is cold. The mean nearby takes away what coils brighten or darken.

    Args:
        scan: the PET.
        mr: (D, H, W) on the scan's grid.

    Returns:
        The difference of the medians; None where the MR shows no brain with an inside.
    """
    outline = outline_of_head(scan)
    upper = upper_planes(outline, scan.spacing, _TOP_MM)
    # a head at the edge of the image has its outline there
    centre = depth_mm(np.pad(outline, 1), scan.spacing)[1:-1, 1:-1, 1:-1][upper] > _CENTRE_MM
    if not centre.any():
        return None
    level, activity = (float(np.median(each[upper][centre])) for each in (mr, scan.smoothed))
    if level <= 0:
        return None
    bright = (mr[upper] > _DARK * level) & (scan.smoothed[upper] > _COLD * activity)
    brain = _brain(mr[upper], bright, scan.spacing)
    contrast = brain.median(_DEEP_MM) - brain.median(_CORTEX_MM)
    return contrast if np.isfinite(contrast) else None


def _brain(mr: np.ndarray, bright: np.ndarray, spacing: Sequence[float]) -> _Brain:
    """The largest part of what is bright, without bridges to the scalp, and with what it encloses or nearly does."""
    core = largest_component(_depth(bright, spacing) > _NECK_MM)
    opened = _grown(core, spacing, _NECK_MM)
    # at an edge of the image nothing is closed
    whole = without_holes(opened | (_depth(_grown(opened, spacing, _GAP_MM), spacing) > _GAP_MM))
    tissue = whole & bright
    share = smooth(tissue, spacing, _BIAS_MM)
    nearby = smooth(np.where(tissue, mr, 0), spacing, _BIAS_MM)
    relative = np.divide(mr * share, nearby, out=np.zeros(mr.shape, np.float32), where=tissue)
    return _Brain(relative, _depth(whole, spacing), tissue)


def _grown(mask: np.ndarray, spacing: Sequence[float], margin_mm: float) -> np.ndarray:
    return depth_mm(~mask, spacing) <= margin_mm


def _depth(mask: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """Depth in a mask that continues below the lowest plane and ends at the other edges."""
    return depth_mm(np.pad(mask, ((0, 1), (1, 1), (1, 1))), spacing)[:-1, 1:-1, 1:-1]
