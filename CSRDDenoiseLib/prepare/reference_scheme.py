"""The published model's normalisation (scheme ``reference``), for imported snapshots.

Facts of the published training: MR by its 0th and 99th percentile, clipped to 0..1; PET by the minimum and maximum of
the low-dose volume; position from -1 to 1 over an axis of 160 voxels, the volume in its middle. All are those of the
whole volume, not of the head.
"""

from __future__ import annotations

from typing import Sequence

import numpy as np

GRID = 160


def reference_range(pet: np.ndarray) -> tuple[float, float]:
    """Return minimum and extent (maximum - minimum, positive) of a low-dose PET, any shape."""
    low, high = float(pet.min()), float(pet.max())
    return low, max(high - low, float(np.finfo(np.float32).tiny))


def reference_mr_range(mr: np.ndarray) -> tuple[float, float]:
    """Return the 0th percentile of an MR (D, H, W) and the extent to its 99th; 0 where it is one value."""
    low, high = (float(value) for value in np.percentile(mr, (0, 99)))
    return low, max(high - low, 0.0)


def grid_lines(shape: Sequence[int], grid: int = GRID) -> tuple[np.ndarray, ...]:
    """Positions along z, y and x, float32: -1 to 1 over ``grid`` voxels, the volume centred in them.

    A larger volume goes beyond -1 and 1 rather than being squeezed, so that a voxel keeps its size.
    """
    return tuple(np.asarray(2 * (np.arange(size) + (grid - size) // 2) / (grid - 1) - 1, np.float32) for size in shape)
