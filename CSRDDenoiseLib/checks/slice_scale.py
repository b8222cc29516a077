"""Are there slices in the PET that another factor was applied to than to their neighbours?"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ..findings import Finding, warning
from .blank_slices import least_in_head

_FACTOR = 3.0
"""Far from 1.02, the most that a slice of the bundled example differs by, low dose and full dose."""
_QUANTILES = (0.9, 0.99)
_WINDOW = 5


def check_slice_scale(values: np.ndarray) -> tuple[Finding, ...]:
    """Look along each axis of a PET as it was read, (D, H, W); slices and axes count from 1, in the file's order.

    Such a slice has quantiles of its absolute values that all differ by more than a factor from the median of five
    slices around it: a hot lesion changes the upper one alone, the edge of the head the lower one alone. More than two
    such slices side by side are not found.
    """
    least = least_in_head(values)
    for axis in range(3):
        ratio = slice_ratios(values, axis, least)
        wrong = np.flatnonzero((ratio > _FACTOR) | (ratio < 1 / _FACTOR))
        if wrong.size:
            worst = int(wrong[np.abs(np.log(ratio[wrong])).argmax()])
            return (
                warning(
                    "slices.out_of_scale",
                    count=int(wrong.size),
                    slices=int(ratio.size),
                    axis=3 - axis,
                    worst=worst + 1,
                    factor=float(f"{ratio[worst]:.4g}"),
                ),
            )
    return ()


def slice_ratios(values: np.ndarray, axis: int, least: float) -> np.ndarray:
    """Each slice's size relative to its neighbours along an axis of (D, H, W); 1 where that is not known.

    It is the ratio of the quantile that differs less; not known where that or its median is 0. A line of voxels along
    the axis is looked at where its maximum is more than ``least``.
    """
    flat = np.abs(_across_head(values, axis, least)).reshape(values.shape[axis], -1)
    places = [int(quantile * (flat.shape[1] - 1)) for quantile in _QUANTILES]
    flat.partition(places, axis=1)
    sizes = flat[:, places]
    usual = ndimage.median_filter(sizes, (_WINDOW, 1), mode="mirror")
    known = (sizes > 0) & (usual > 0)
    ratios = np.where(known, sizes / np.where(known, usual, 1), 1)
    low, high = ratios.min(axis=1), ratios.max(axis=1)
    # at an end, where the head may begin, a slice may well have much less than those inside
    high[: _WINDOW // 2] = high[-(_WINDOW // 2) :] = 1
    return np.where(low > 1, low, np.where(high < 1, high, 1))


def _across_head(values: np.ndarray, axis: int, least: float) -> np.ndarray:
    """The PET with an axis first, and along the others what meets the head."""
    turned = np.moveaxis(values, axis, 0)
    present = turned.max(axis=0) > least
    box = ndimage.find_objects(present.astype(np.uint8))
    return turned[(slice(None), *box[0])] if box else turned
