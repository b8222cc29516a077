"""Are there slices of a single value in the head?"""

from __future__ import annotations

import numpy as np

from ..findings import Finding, info, warning

_BRIGHT, _QUANTILE = 0.05, 0.999


def least_in_head(values: np.ndarray) -> float:
    """Return a value of the PET that a slice, or a line of voxels, has in it where it meets the head.

    It is a share of a high quantile: air with a few counts in it has less, also in a wide field.
    """
    return _BRIGHT * float(np.quantile(values, _QUANTILE))


def check_blank_slices(values: np.ndarray) -> Finding:
    """Look along each axis of a PET as it was read, (D, H, W); slices and axes count from 1, in the file's order."""
    least = least_in_head(values)
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        most = values.max(axis=others)
        blank = most == values.min(axis=others)
        filled = np.flatnonzero(~blank & (most > least))
        gaps = [int(index) for index in np.flatnonzero(blank) if filled.size and filled[0] < index < filled[-1]]
        if gaps:
            return warning(
                "blank_slices.found", count=len(gaps), slices=int(blank.size), axis=3 - axis, first=gaps[0] + 1
            )
    return info("blank_slices.none", count=0)
