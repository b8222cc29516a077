"""Are there slices of a single value between others?"""

from __future__ import annotations

import numpy as np

from ..findings import Finding, info, warning


def check_blank_slices(values: np.ndarray) -> Finding:
    """Look along each axis of a PET as it was read, (D, H, W); slices and axes count from 1, in the file's order."""
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        blank = values.max(axis=others) == values.min(axis=others)
        filled = np.flatnonzero(~blank)
        gaps = [int(index) for index in np.flatnonzero(blank) if filled[0] < index < filled[-1]]
        if gaps:
            return warning(
                "blank_slices.found", count=len(gaps), slices=int(blank.size), axis=3 - axis, first=gaps[0] + 1
            )
    return info("blank_slices.none", count=0)
