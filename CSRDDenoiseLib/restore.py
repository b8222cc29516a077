"""Restore: the residual back to the PET's grid and unit, added to the untouched PET."""

from __future__ import annotations

from typing import Sequence

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from .io.grid import Grid, resample
from .scan import Scan, robust_std, smooth

MEAN_LIMIT = 0.01
STRUCTURE_MM = 9.0
_STRUCTURE_LIMIT = 2.5
_STRUCTURE_GAIN = 2.0
_BROKEN_RESIDUAL = 20.0
SMALLEST_ZEROS_ML = 1.0
_KEPT_METADATA = ("0054|1001", "intent_name", "descrip")


def hold_structure(residual: np.ndarray, mask: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """Give back what the residual would take from structures that are too large and too strong to be noise.

    What a filter removes, smoothed to the size of a lesion, should be as small as smoothed noise is everywhere. Where
    it is beyond 2.5 of its robust standard deviations it was signal; the excess (a soft threshold, as in wavelet
    denoising, Donoho 1995) is returned twice, because the smoothing halves it at this size (twicing, Tukey 1977), but
    never more than was taken at this size, so that no structure ends beyond the input.

    Args:
        residual: (D, H, W), any unit; the result scales with it.
        mask: boolean (D, H, W), the head.
        spacing: voxel sides in mm, in the order of the axes.
    """
    smoothed = smooth(residual, spacing, STRUCTURE_MM)
    limit = _STRUCTURE_LIMIT * robust_std(smoothed[mask])
    excess = smoothed - np.clip(smoothed, -limit, limit)
    # never more than was taken at this size: the result may not end on the other side of the input
    back = np.clip(np.float32(_STRUCTURE_GAIN) * excess, np.minimum(smoothed, 0), np.maximum(smoothed, 0))
    return residual - back * mask


def hold_mean(residual: np.ndarray, scan: Scan) -> tuple[np.ndarray, float]:
    """Keep mean brain activity within 1 %: the counts of a whole brain fix it better than any network can.

    Args:
        residual: (D, H, W), relative to the brain mean.
        scan: the low-dose PET.

    Returns:
        The residual, less a multiple of the smoothed PET where the mean would change by more than 1 %; and the
        relative change that the network asked for.
    """
    brain, smoothed = scan.brain, scan.smoothed
    if not brain.any():
        return residual, 0.0
    asked = residual[brain]
    # what the network does about a broken voxel is no change of the brain's mean
    usual = np.abs(asked) <= _BROKEN_RESIDUAL * robust_std(asked.copy())
    if not usual.any():
        return residual, 0.0
    change = float(asked[usual].mean(dtype=np.float64) / smoothed[brain][usual].mean(dtype=np.float64))
    excess = change - float(np.clip(change, -MEAN_LIMIT, MEAN_LIMIT))
    return (residual - np.float32(excess) * smoothed if excess else residual), change


def keep_coarse(residual: np.ndarray, spacing: Sequence[float], fwhm_mm: float) -> np.ndarray:
    """Take back from a residual what is coarse, so that the result keeps the measurement there.

    PET + kept residual = estimate + G (PET - estimate), G a Gaussian: below the frequency that its width stands for
    the result is the measured PET, above it the estimate. It is linear and keeps the means of regions that are large
    beside the width.

    Args:
        residual: estimate - PET, (D, H, W), any unit.
        spacing: voxel sides in mm, in the order of the axes.
        fwhm_mm: of the Gaussian; 0 leaves nothing of the residual, infinity all of it.
    """
    if np.isinf(fwhm_mm):
        return residual
    if fwhm_mm <= 0:
        return np.zeros_like(residual)
    return residual - smooth(residual, spacing, fwhm_mm)


def restore(pet: sitk.Image, residual: np.ndarray, grid: Grid) -> tuple[sitk.Image, sitk.Image]:
    """Add a residual to the PET it was computed for.

    Args:
        pet: the PET as it was read; outside ``grid`` it is returned bit for bit.
        residual: (D, H, W) on ``grid``, in the PET's unit.
        grid: the head's part of the model's grid.

    Returns:
        The denoised PET and the difference denoised - PET, on the PET's grid, in its pixel type. A PET without negative
        values stays so, and what a mask set to zero stays zero.
    """
    values = sitk.GetArrayFromImage(pet)
    denoised = values.copy()
    box, part = _onto(pet, residual, grid, sitk.sitkBSpline)
    denoised[box] += part
    if values.min() >= 0:
        np.maximum(denoised, 0, out=denoised)
    zeros = masked_zeros(pet)
    denoised[zeros] = 0
    return _like(pet, denoised), _like(pet, denoised - values)


def masked_zeros(pet: sitk.Image) -> np.ndarray:
    """Where a mask set the PET to zero, boolean (D, H, W): exact zeros that hang together over a millilitre or more."""
    zeros = sitk.GetArrayViewFromImage(pet) == 0
    parts, count = ndimage.label(zeros)
    if not count:
        return zeros
    large = np.bincount(parts.ravel()) * float(np.prod(pet.GetSpacing())) / 1000 >= SMALLEST_ZEROS_ML
    large[0] = False
    return large[parts]


def restore_uncertainty(pet: sitk.Image, std: np.ndarray, grid: Grid) -> sitk.Image:
    """Bring a standard deviation (D, H, W), in the PET's unit, to the PET's grid; 0 outside ``grid``."""
    values = np.zeros_like(sitk.GetArrayViewFromImage(pet))
    # linear, because a spline may undershoot and a standard deviation is never negative
    box, part = _onto(pet, std, grid, sitk.sitkLinear)
    values[box] = part
    return _like(pet, values)


def restore_labels(pet: sitk.Image, labels: np.ndarray, grid: Grid) -> sitk.Image:
    """Bring a label map (D, H, W) to the PET's grid as unsigned bytes; 0 outside ``grid``."""
    values = np.zeros(sitk.GetArrayViewFromImage(pet).shape, np.uint8)
    box, part = _onto(pet, labels, grid, sitk.sitkNearestNeighbor)
    values[box] = part
    return Grid.of(pet).image(values)


def _onto(pet: sitk.Image, array: np.ndarray, grid: Grid, interpolator: int) -> tuple[tuple[slice, ...], np.ndarray]:
    box = Grid.of(pet).box_around(grid)
    image = grid.image(array.astype(sitk.GetArrayViewFromImage(pet).dtype))
    return box, sitk.GetArrayFromImage(resample(image, Grid.of(pet).crop(box), interpolator))


def _like(pet: sitk.Image, values: np.ndarray) -> sitk.Image:
    image = Grid.of(pet).image(values)
    for key in _KEPT_METADATA:
        if pet.HasMetaDataKey(key):
            image.SetMetaData(key, pet.GetMetaData(key))
    return image
