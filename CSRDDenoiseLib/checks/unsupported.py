"""Where does the output differ from the PET by more than its counts allow? The map of unsupported structure."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ..findings import Finding, info, warning
from ..scan import robust_std, smooth
from .pair import Output

ADDED, REMOVED = 1, 2
SCALES_MM = (8.0, 14.0)
UNSUPPORTED_Z = 5.0
LEAST_CHANGE = 0.06
SMALLEST_ML = 0.2
_AROUND = 3.0


def check_unsupported(output: Output) -> tuple[Finding, np.ndarray]:
    """Return what is unsupported in numbers, and the map."""
    labels = unsupported(output)
    scan = output.scan
    parts, count = ndimage.label(labels > 0)
    values = {
        "regions": int(count),
        "added_ml": round(float((labels == ADDED).sum()) * scan.voxel_ml, 2),
        "removed_ml": round(float((labels == REMOVED).sum()) * scan.voxel_ml, 2),
    }
    if not count:
        return info("unsupported.none", **values), labels
    sizes = np.bincount(parts.ravel())[1:]
    centre = ndimage.center_of_mass(parts == int(sizes.argmax()) + 1)
    change = smooth(output.denoised - output.pet, scan.spacing, SCALES_MM[0])[labels > 0]
    values["largest_change"] = round(float(change[np.abs(change).argmax()]), 3)
    point = [round(float(value), 1) for value in scan.grid.point(centre[::-1])]
    return warning("unsupported.found", **values, centre_mm=point), labels


def unsupported(output: Output) -> np.ndarray:
    """Mark where the output differs from the PET by more than noise allows, uint8 (D, H, W).

    The change is averaged with Gaussians of 8 and 14 mm and divided by the root of the activity, to which the noise of
    counts is proportional; what is usual is the robust standard deviation over the brain. More than 5 of it, and more
    than 6 % of the brain mean, over 0.2 mL is marked: added where it raises the contrast to the surroundings, removed
    where it lowers it.
    """
    scan, brain = output.scan, output.scan.brain
    root = np.sqrt(scan.smoothed[brain])
    labels = np.zeros(brain.shape, np.uint8)
    for width in SCALES_MM:
        change = smooth(output.denoised - output.pet, scan.spacing, width)[brain]
        usual = robust_std(change / root)
        if usual <= 0:
            continue
        marked = brain.copy()
        marked[brain] = np.abs(change) > np.maximum(UNSUPPORTED_Z * usual * root, LEAST_CHANGE)
        marked = _large_enough(marked, scan.voxel_ml)
        if not marked.any():
            continue
        here, around = (smooth(output.denoised, scan.spacing, factor * width)[marked] for factor in (1.0, _AROUND))
        labels[marked] = np.where(change[marked[brain]] * (here - around) > 0, ADDED, REMOVED)
    return labels


def _large_enough(marked: np.ndarray, voxel_ml: float) -> np.ndarray:
    parts, count = ndimage.label(marked)
    if not count:
        return marked
    enough = np.bincount(parts.ravel()) * voxel_ml >= SMALLEST_ML
    enough[0] = False
    return enough[parts]
