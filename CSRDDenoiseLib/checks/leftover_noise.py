"""Is noise of the size of voxels left in the output?"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ..findings import Finding, info, warning
from .pair import Output

LEFTOVER_LIMIT = 0.4
LEFTOVER_LEVEL = 0.01


def check_leftover_noise(output: Output) -> Finding:
    """Judge the share that is left and its size."""
    share, level = leftover_noise(output)
    values = {"share": round(share, 3), "level": round(level, 4)}
    if share > LEFTOVER_LIMIT and level > LEFTOVER_LEVEL:
        return warning("leftover_noise.found", **values)
    return info("leftover_noise.none", **values)


def leftover_noise(output: Output) -> tuple[float, float]:
    """Share of the fine noise that is still in the output, 0 to 1, and its standard deviation."""
    whole, kept = (_fine(volume, output.scan.brain) for volume in (output.pet, output.denoised))
    taken = whole - kept
    energy = float(taken @ taken)
    slope = max(float(kept @ taken) / energy, 0.0) if energy > 0 else 0.0
    return slope / (1 + slope), slope * float(taken.std())


def _fine(volume: np.ndarray, brain: np.ndarray) -> np.ndarray:
    """What a mean over 3 x 3 x 3 voxels takes away, in the brain."""
    return volume[brain] - ndimage.uniform_filter(volume, 3)[brain]
