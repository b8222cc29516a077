"""Does the brain grow cold towards its centre as it would without correction for attenuation?

Without the correction, a point shows its activity times the mean over all lines through it of exp(-mu L), L the length
of the line in the head (mu of water at 511 keV, 0.0096 / mm; Zaidi and Hasegawa, J Nucl Med 2003). The outline of the
head is enough to compute that factor. The scalp, the neck and the face take up what they like; only the inside of the
brain is compared with it, and the brightness of the scalp counts half.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

import numpy as np
from scipy import ndimage

from ..findings import Finding, info, warning
from ..scan import Scan
from .depth import depth_mm, outline_of_head, upper_planes
from .limits import UNCORRECTED_SCORE

MU_WATER_PER_MM = 0.0096
_SIDE_MM = 6.0
_ANGLES = 12
_TOP_MM = 110.0
_RIM_MM, _INSIDE_MM, _CENTRE_SHARE = 8.0, 28.0, 0.75
_BINS, _FEWEST_VOXELS = 12, 120
_LEAST_ACTIVITY, _RIM_WEIGHT = 0.02, 0.5


@dataclass(frozen=True)
class _Coarse:
    """The upper head on coarse cubes, (D, H, W) each: activity, outline, depth in mm, and what attenuation leaves."""

    activity: np.ndarray
    head: np.ndarray
    depth: np.ndarray
    left: np.ndarray


def check_attenuation(scan: Scan) -> tuple[Finding, ...]:
    """Score the head; nothing where it is too small to have an inside.

    The score is ``cup`` plus half the logarithm of rim over centre. ``cup`` is the slope of the logarithm of the
    activity (its median at equal attenuation, 28 mm and more below the head's outline) over the logarithm of what
    attenuation without correction would leave (Theil and Sen's estimate): about 0 where attenuation is corrected, 1 and
    more where it is not.
    """
    coarse = _coarse(scan)
    if coarse is None:
        return ()
    inside = coarse.head & (coarse.depth >= _INSIDE_MM)
    zones = coarse.depth < _RIM_MM, coarse.depth > _CENTRE_SHARE * float(coarse.depth.max())
    if inside.sum() < _FEWEST_VOXELS:
        return ()
    rim, centre = (max(float(np.median(coarse.activity[coarse.head & zone])), _LEAST_ACTIVITY) for zone in zones)
    cup = _slope(coarse.left[inside], coarse.activity[inside])
    score = cup + _RIM_WEIGHT * float(np.log(rim / centre))
    numbers = {"rim": rim, "centre": centre, "cup": cup, "score": score}
    measured = {name: round(value, 3) for name, value in numbers.items()}
    if score <= UNCORRECTED_SCORE:
        return (info("attenuation.plausible", **measured),)
    return (warning("attenuation.doubtful", **measured, limit=UNCORRECTED_SCORE, rim_share=round(rim / centre, 3)),)


def _coarse(scan: Scan) -> Optional[_Coarse]:
    shares = [step / _SIDE_MM for step in scan.spacing]
    head = ndimage.zoom(outline_of_head(scan).astype(np.float32), shares, order=1) > 0.5
    if not head.any():
        return None
    activity = ndimage.zoom(scan.smoothed, shares, order=1)
    sides = (_SIDE_MM,) * 3
    # a head at the edge of the image has its outline there
    depth = depth_mm(np.pad(head, 1), sides)[1:-1, 1:-1, 1:-1]
    left = attenuation_left(head, _SIDE_MM)
    upper = upper_planes(head, sides, _TOP_MM)
    return _Coarse(activity[upper], head[upper], depth[upper], left[upper])


def attenuation_left(head: np.ndarray, side_mm: float) -> np.ndarray:
    """Mean over the lines through each voxel, in its own plane, of exp(-mu L); ``head`` boolean (D, H, W), cubes."""
    size = int(np.ceil(np.hypot(*head.shape[1:]))) + 2
    room = [((size - n) // 2, size - n - (size - n) // 2) for n in head.shape[1:]]
    square = np.pad(head.astype(np.float32), ((0, 0), *room))
    total = np.zeros_like(square)
    for angle in np.arange(_ANGLES) * 180 / _ANGLES:
        turned = ndimage.rotate(square, angle, axes=(1, 2), reshape=False, order=1)
        lines = np.exp(-MU_WATER_PER_MM * side_mm * turned.sum(axis=2, keepdims=True))
        along = np.broadcast_to(lines, turned.shape)
        total += ndimage.rotate(along, -angle, axes=(1, 2), reshape=False, order=1, mode="nearest")
    inner = tuple(slice(before, size - after) for before, after in room)
    return total[(slice(None), *inner)] / _ANGLES


def _slope(left: np.ndarray, activity: np.ndarray) -> float:
    x, y = np.log(left), np.log(np.maximum(activity, _LEAST_ACTIVITY))
    bins = np.digitize(x, np.quantile(x, np.linspace(0, 1, _BINS + 1))[1:-1])
    rows = [(x[bins == number].mean(), np.median(y[bins == number])) for number in np.unique(bins)]
    if len(rows) < 2:
        return 0.0
    # here, because loading it takes half a second, which a refused input need not wait for
    from scipy import stats

    means, medians = zip(*rows)
    # a median of slopes, because hot nuclei or cold ventricles may fill a bin
    return float(stats.theilslopes(medians, means)[0])
