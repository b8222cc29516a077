"""The published model's normalisation (scheme ``reference``, position ``grid-160``), for imported snapshots.

Facts of the published training: MR by its 0th and 99th percentile, clipped to 0..1; PET by the minimum and maximum of
the low-dose volume; position from -1 to 1 over an axis of 160 voxels, the volume in its middle. All are those of the
whole volume, not of the head.
"""

from __future__ import annotations

from typing import Sequence

import numpy as np

from ..scan import spread_positions

GRID = 160


def reference_range(pet: np.ndarray) -> tuple[float, float]:
    """Return minimum and extent (maximum - minimum, positive) of a low-dose PET, any shape."""
    low, high = float(pet.min()), float(pet.max())
    return low, max(high - low, np.finfo(np.float32).tiny)


def reference_mr(mr: np.ndarray) -> np.ndarray:
    """Scale an MR (D, H, W) between its 0th and 99th percentile, clipped to 0..1."""
    low, high = (float(value) for value in np.percentile(mr, (0, 99)))
    if high <= low:
        return np.zeros(mr.shape, np.float32)
    return np.clip((mr - low) / (high - low), 0, 1).astype(np.float32)


def grid_positions(shape: Sequence[int], grid: int = GRID) -> tuple[np.ndarray, ...]:
    """Position channels x, y, z, views (D, H, W): -1 to 1 over ``grid`` voxels, the volume centred in them.

    A larger volume goes beyond -1 and 1 rather than being squeezed, so that a voxel keeps its size.
    """
    return spread_positions([2 * (np.arange(size) + (grid - size) // 2) / (grid - 1) - 1 for size in shape])
