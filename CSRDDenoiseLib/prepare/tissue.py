"""Tissue classes of an MR as soft maps at the resolution of PET, the regressors of the tissue regression."""

from __future__ import annotations

from typing import Optional, Sequence

import numpy as np
from scipy import ndimage

from ..scan import FWHM_PER_SIGMA

CLASSES = 3
RESOLUTION_MM = 5.0
RESOLUTIONS_MM = (3.0, 4.0, 5.0, 6.0, 7.0, 8.0)
_SLAB, _BOX = 48, 5
_DARKEST = 0.1
_SAMPLE = 20000
_ITERATIONS = 40
_TINY = 1e-6


def tissue_classes(mr: np.ndarray, mask: np.ndarray, classes: int = CLASSES) -> np.ndarray:
    """Soft tissue classes of an MR by fuzzy c-means (Bezdek 1981) of its values, fuzzifier 2.

    The centres are fitted to about 20,000 voxels of the head; memberships fall with the cube of the distance to a
    centre, which makes them harder than the fuzzifier alone would, and sum to 1 in every voxel.

    Args:
        mr: (D, H, W), scaled to about 0 to 1 (:func:`CSRDDenoiseLib.scan.normalise_mr`).
        mask: boolean (D, H, W), the head.
        classes: how many.

    Returns:
        float32 (classes, D, H, W), darkest class first.

    Raises:
        ValueError: nothing in the head is brighter than 0.1.
    """
    values = mr[mask & (mr > _DARKEST)].astype(np.float64)
    if values.size == 0:
        raise ValueError("Nothing in the head is bright enough in the MR to find tissue classes in.")
    values = values[:: max(values.size // _SAMPLE, 1)]
    centres = np.quantile(values, np.linspace(0.1, 0.9, classes))
    for _ in range(_ITERATIONS):
        membership = 1 / ((values[:, None] - centres) ** 2 + _TINY)
        weight = (membership / membership.sum(1, keepdims=True)) ** 2
        centres = (weight * values[:, None]).sum(0) / weight.sum(0)
    maps = np.empty((classes, *mr.shape), np.float32)
    for each, centre in zip(maps, centres):
        nearness = 1 / ((mr - np.float32(centre)) ** 2 + np.float32(_TINY))
        np.multiply(nearness, np.sqrt(nearness), out=each)
    maps /= maps.sum(0)
    return maps


def tissue_maps(
    mr: Optional[np.ndarray],
    mask: np.ndarray,
    spacing: Sequence[float],
    classes: int = CLASSES,
    resolution_mm: float = RESOLUTION_MM,
) -> np.ndarray:
    """Maps of the tissue classes of an MR, blurred to the resolution of PET.

    Args:
        mr: (D, H, W), scaled to about 0 to 1; None, or an MR that is dark everywhere, gives one class.
        mask: boolean (D, H, W), the head.
        spacing: voxel sides in mm, in the order of the axes.
        classes: how many.
        resolution_mm: FWHM of the blur.

    Returns:
        float32 (classes, D, H, W), which sum to 1 in every voxel.
    """
    if mr is None or not (mask & (mr > _DARKEST)).any():
        return no_tissue(mask.shape, classes)
    sigma = [resolution_mm / FWHM_PER_SIGMA / step for step in spacing]
    maps = tissue_classes(mr, mask, classes)
    for each in maps:
        ndimage.gaussian_filter(each, sigma, output=each)
    return maps


def best_tissue_maps(
    pet: np.ndarray, mr: Optional[np.ndarray], mask: np.ndarray, spacing: Sequence[float]
) -> np.ndarray:
    """Maps at the resolution at which the regression on them leaves least of the PET, out of 3 to 8 mm.

    Args:
        pet: (D, H, W), brain mean about 1.
        mr: as for :func:`tissue_maps`.
        mask: boolean (D, H, W), the head.
        spacing: voxel sides in mm, in the order of the axes.
    """
    middle = ndimage.find_objects(mask.astype(np.uint8))[0][0]
    centre = (middle.start + middle.stop) // 2
    slab = slice(max(centre - _SLAB // 2, 0), centre + _SLAB // 2)
    part = None if mr is None else mr[slab]
    errors = [
        left_over(pet[slab], tissue_maps(part, mask[slab], spacing, resolution_mm=resolution), mask[slab])
        for resolution in RESOLUTIONS_MM
    ]
    return tissue_maps(mr, mask, spacing, resolution_mm=RESOLUTIONS_MM[int(np.argmin(errors))])


def left_over(pet: np.ndarray, maps: np.ndarray, mask: np.ndarray) -> float:
    """Mean squared difference in a mask of a PET, (D, H, W), from its regression on maps, in windows of 5 voxels."""
    return float(np.mean((pet - regressed(pet, maps, _BOX))[mask] ** 2, dtype=np.float64))


def regressed(pet: np.ndarray, maps: np.ndarray, size: int) -> np.ndarray:
    """Return the regression of a PET (D, H, W) on maps (classes, D, H, W), in windows of ``size`` voxels (odd)."""
    # torch takes long to load, and not every run that needs maps comes here
    import torch

    from ..model.details import tissue_regression

    volume, classes = (torch.from_numpy(np.ascontiguousarray(x, np.float32))[None] for x in (pet[None], maps))
    return tissue_regression(volume, classes, size)[0, 0].numpy()


def no_tissue(shape: Sequence[int], classes: int = CLASSES) -> np.ndarray:
    """Maps without information, a view (classes, D, H, W): the first is 1 and the others 0 everywhere."""
    first = np.zeros((classes, 1, 1, 1), np.float32)
    first[0] = 1
    return np.broadcast_to(first, (classes, *shape))
