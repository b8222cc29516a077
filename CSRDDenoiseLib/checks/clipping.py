"""Did the PET's largest values not fit into the type of a file that it came from?"""

from __future__ import annotations

import numpy as np

from ..findings import Finding, warning
from ..scan import neighbours

FEWEST_EQUAL, TIMES_OTHERS, OTHERS = 20, 5, 5
FEWEST_JUMPS, JUMP = 3, 0.7


def check_clipping(values: np.ndarray) -> tuple[Finding, ...]:
    """Look for values of a PET as it was read, (D, H, W), that were cut off at the largest, or turned negative.

    Cut off: at least 20 voxels share the largest value, five times as many as share any of the five values below it.
    Turned negative, as where unsigned integers were taken for signed ones: in three pairs of neighbours or more one is
    above 70 % of the largest value, and the other as far below zero. The limits were chosen on the bundled example, low
    and full dose. Found: 0.05 to 1 % of the voxels cut off, also as whole numbers or 255 levels; one voxel turned, and
    more. No false alarm: as it is, with 5 to 32,767 levels, its voxels repeated 2 or 3 times along each axis, as 0.1 to
    100 counts a voxel, with white noise of 0.2 to 5 times the brain's mean.
    """
    largest = float(values.max())
    if not np.isfinite(largest) or largest <= 0:
        return ()
    return (*_cut_off(values, largest), *_turned(values, largest))


def _cut_off(values: np.ndarray, largest: float) -> tuple[Finding, ...]:
    count = int(np.count_nonzero(values == largest))
    if count < FEWEST_EQUAL:
        return ()
    _, counts = np.unique(values[(values < largest) & (values > largest / 2)], return_counts=True)
    if counts.size < OTHERS or count < TIMES_OTHERS * int(counts[-OTHERS:].max()):
        return ()
    return (warning("voxels.cut_off", count=count, largest=float(f"{largest:.5g}")),)


def _turned(values: np.ndarray, largest: float) -> tuple[Finding, ...]:
    limit = JUMP * largest
    if float(values.min()) > -limit:
        return ()
    pairs = sum(
        int(np.count_nonzero((np.maximum(one, other) > limit) & (np.minimum(one, other) < -limit)))
        for one, other in neighbours(values)
    )
    lowest = float(f"{values.min():.5g}")
    return () if pairs < FEWEST_JUMPS else (warning("voxels.turned", pairs=pairs, largest=largest, lowest=lowest),)
