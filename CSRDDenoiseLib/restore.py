"""Restore: the residual back to the PET's grid and unit, added to the untouched PET."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Mapping, Optional, Sequence

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from .findings import Finding, info
from .io.grid import Grid, resample
from .scan import Scan, robust_std, smooth

MEAN_LIMIT = 0.01
_BROKEN_RESIDUAL = 20.0
SMALLEST_ZEROS_ML = 1.0
DEFAULT_KEEP_MM = 8.0
_KEPT_METADATA = ("0054|1001", "intent_name", "descrip")


@dataclass(frozen=True)
class Keeping:
    """What a result keeps of the measured PET; linear, so it applies to an estimate and to each draw alike.

    Attributes:
        fwhm_mm: what is coarser than this stays as it was measured; see :func:`keep_coarse`.
        share: of the PET at every frequency: the dose, where a full dose is predicted from a noise-free estimate.
        spacing: voxel sides in mm, in the order of the axes.
        chosen: the width was asked for; else it is the model's.
        mask: boolean (D, H, W), the head, or None. With it, what the network does about a broken voxel, beyond 20
            robust standard deviations of the head's residual, is not spread over its neighbours.
    """

    fwhm_mm: float
    share: float
    spacing: tuple[float, ...]
    chosen: bool = False
    mask: Optional[np.ndarray] = field(default=None, compare=False, repr=False)

    def __call__(self, residual: np.ndarray) -> np.ndarray:
        """Return what is left of a residual (D, H, W), estimate - PET, any unit."""
        usual = residual
        if self.mask is not None:
            limit = _BROKEN_RESIDUAL * robust_std(residual[self.mask])
            usual = np.clip(residual, -limit, limit)
        kept = keep_coarse(usual, self.spacing, self.fwhm_mm)
        if self.fwhm_mm > 0 and usual is not residual:
            kept = kept + (residual - usual)
        return np.float32(1 - self.share) * kept if self.share else kept

    @property
    def finding(self) -> Finding:
        """What is kept, for the record."""
        everything, nothing = self.fwhm_mm == 0, math.isinf(self.fwhm_mm)
        code = "keep.everything" if everything else "keep.nothing" if nothing else "keep.coarse"
        width = None if nothing else round(self.fwhm_mm, 2)
        return info(code, above_mm=width, dose=self.share or None, chosen=self.chosen)


def default_keep_mm(rule: Mapping[str, Any], bands: Sequence[float]) -> float:
    """Return the width that a model keeps the measurement above, by the noise of the PET.

    Args:
        rule: ``weights`` of 1 and of the logarithms of the noise unit, fine / level and mid / level, which give that of
            the width in mm, and ``range_mm``; empty for a model without a rule, which gives 8 mm.
        bands: those logarithms (``NoiseBands.constants``).
    """
    if not rule:
        return DEFAULT_KEEP_MM
    low, high = rule["range_mm"]
    return float(np.clip(np.exp(np.dot(rule["weights"], (1.0, *bands))), low, high))


def mean_change(residual: np.ndarray, scan: Scan) -> float:
    """Relative change of the mean brain activity by a residual (D, H, W) in the PET's unit; 0 without a brain."""
    brain = scan.brain
    if not brain.any():
        return 0.0
    asked = residual[brain]
    # what the network does about a broken voxel is no change of the brain's mean
    usual = np.abs(asked) <= _BROKEN_RESIDUAL * robust_std(asked.copy())
    if not usual.any():
        return 0.0
    mean = float(scan.smoothed[brain][usual].mean(dtype=np.float64)) * scan.brain_mean
    return float(asked[usual].mean(dtype=np.float64)) / mean


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


def keep_above(pet: sitk.Image, bare: sitk.Image, fwhm_mm: float) -> sitk.Image:
    """Combine a PET and a model's bare estimate of it, on one grid, as a run with ``keep_above_mm`` does.

    The Gaussian is that of the PET's grid, so the result is that of a run up to interpolation.
    """
    values = sitk.GetArrayFromImage(pet)
    residual = sitk.GetArrayFromImage(bare) - values
    kept = keep_coarse(residual, Grid.of(pet).array_spacing, fwhm_mm).astype(values.dtype)
    return _like(pet, _possible(pet, values + kept))


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
    denoised = _possible(pet, denoised)
    return _like(pet, denoised), _like(pet, denoised - values)


def _possible(pet: sitk.Image, denoised: np.ndarray) -> np.ndarray:
    """Change an array in place to what can be: not negative where no voxel of the PET is, zero where it was masked."""
    if sitk.GetArrayViewFromImage(pet).min() >= 0:
        np.maximum(denoised, 0, out=denoised)
    denoised[masked_zeros(pet)] = 0
    return denoised


def masked_zeros(pet: sitk.Image) -> np.ndarray:
    """Where a mask set the PET to zero, boolean (D, H, W): exact zeros that hang together over a millilitre or more."""
    zeros = sitk.GetArrayViewFromImage(pet) == 0
    parts, count = ndimage.label(zeros)
    if not count:
        return zeros
    large = np.bincount(parts.ravel()) * float(np.prod(pet.GetSpacing())) / 1000 >= SMALLEST_ZEROS_ML
    large[0] = False
    return large[parts]


def unchanged_outside(result: sitk.Image, otherwise: sitk.Image, outside: np.ndarray) -> sitk.Image:
    """Return a result that is ``otherwise``, on the same grid, voxel by voxel where ``outside`` (D, H, W) is True."""
    values = sitk.GetArrayFromImage(result)
    values[outside] = sitk.GetArrayViewFromImage(otherwise)[outside]
    return _like(result, values)


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
