"""Detail finer than the model's grid, which the network does not see: its noise is removed, what stands out is kept."""

from __future__ import annotations

from typing import Sequence

import numpy as np

from ..scan import robust_std, smooth

WINDOW_MM = 9.0
STANDS_OUT = 2.0
"""Times the power of noise that detail must have to be more than noise."""
_LEAST = 1e-3
_ACTIVITY = (0.3, 10.0)
"""Limits of the activity that scales the noise: air has noise too, and a broken voxel is no activity."""


def noise_of(finest: np.ndarray, activity: np.ndarray, core: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """Return the part of the finest detail of a PET that is noise, by a Wiener filter in windows of 9 mm.

    The power of noise is measured in the bright core of the brain, and is proportional to the square of the activity.
    Where the local power is up to twice that, all detail is removed; where it is P times that, the share 2 / P.

    Args:
        finest: (D, H, W), what the model's grid does not show of a PET, relative to the brain mean.
        activity: (D, H, W), the PET, likewise.
        core: boolean (D, H, W), the bright part of the brain.
        spacing: voxel sides in mm, in the order of the axes.

    Returns:
        (D, H, W) float32; zeros where all that the core shows is below 0.1 % of the brain mean.
    """
    noise = robust_std(finest[core])
    if noise < _LEAST:
        return np.zeros(finest.shape, np.float32)
    level = np.clip(smooth(activity, spacing, WINDOW_MM), *_ACTIVITY)
    power = smooth(np.square(finest, dtype=np.float32), spacing, WINDOW_MM)
    expected = STANDS_OUT * np.square(noise * level)
    share = np.divide(expected, power, out=np.ones_like(power), where=power > expected)
    return np.asarray(finest * share, np.float32)
