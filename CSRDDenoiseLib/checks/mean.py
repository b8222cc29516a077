"""How far does the model alone change the mean activity of the brain, and how far does the result?"""

from __future__ import annotations

import numpy as np

from ..findings import Finding, info, warning
from ..restore.keeping import BROKEN_RESIDUAL
from ..scan import Scan, robust_std

MEAN_LIMIT = 0.01
ENOUGH_ML = 400.0
"""Of brain, for the limit: the mean of less, as of a region, is itself off by the noise of the PET."""


def check_mean(scan: Scan, estimate: np.ndarray, residual: np.ndarray, trained: bool = True) -> tuple[float, Finding]:
    """Judge the relative change of the brain mean by the model's estimate against what is usual.

    Args:
        scan: the PET.
        estimate: estimate - PET, (D, H, W) in the PET's unit.
        residual: what of it is in the result.
        trained: whether the model was trained, so that its change shows an input unlike that of the training; without
            a training only what is in the result is judged.

    Returns:
        The change, and the finding: with the change, and what is left of it in the result.
    """
    change, left = mean_change(estimate, scan), mean_change(residual, scan)
    limit = mean_limit(float(scan.brain.sum()) * scan.voxel_ml)
    values = {"change": change, "left": left, "limit": limit}
    if abs(change if trained else left) <= limit:
        return change, info("mean.kept", **values)
    return change, warning("mean.changed" if trained else "mean.moved", **values)


def mean_limit(brain_ml: float) -> float:
    """Return the change of the mean from which the check warns; noise moves a mean by one over the root of its mL."""
    return MEAN_LIMIT * max(ENOUGH_ML / max(brain_ml, 1.0), 1.0) ** 0.5


def mean_change(residual: np.ndarray, scan: Scan) -> float:
    """Relative change of the mean brain activity by a residual (D, H, W) in the PET's unit; 0 without a brain."""
    brain = scan.brain
    if not brain.any():
        return 0.0
    asked = residual[brain]
    # what the network does about a broken voxel is no change of the brain's mean
    usual = np.abs(asked) <= BROKEN_RESIDUAL * robust_std(asked.copy())
    if not usual.any():
        return 0.0
    mean = float(scan.smoothed[brain][usual].mean(dtype=np.float64)) * scan.brain_mean
    return float(asked[usual].mean(dtype=np.float64)) / mean
