"""Restore: the residual back to the PET's grid and unit, added to the untouched PET."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Optional, Sequence

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from ..io.grid import Grid, resample
from ..io.nrrd import UNITS_KEY
from ..prepare.region import inside
from ..scan import Scan
from .finest import noise_of
from .keeping import Keeping, find_details, keep_coarse, keep_measured

SMALLEST_ZEROS_MM = 14.0
_FINEST_VOXELS = 3.0
"""A Gaussian wider than so many of the model's voxels leaves nothing of what is finer than they are."""
MASK_SHARE = 0.9
"""Of the zeros in the box around what is measured, for those of a mask to be all that there are."""
_COPIED_METADATA = (UNITS_KEY, "intent_name", "descrip")


def keep_above(pet: sitk.Image, bare: sitk.Image, fwhm_mm: float, brain_mean: float) -> sitk.Image:
    """Combine a PET and a model's bare estimate of it, on one grid, as a run with ``keep_above_mm`` does.

    The Gaussians are those of the PET's grid, so the result is that of a run without a region up to interpolation; for
    one with a region see :class:`CSRDDenoiseLib.run.recombine.Quick`. ``brain_mean`` is the PET's, in its unit.
    """
    values, spacing = sitk.GetArrayFromImage(pet), Grid.of(pet).array_spacing
    estimate = sitk.GetArrayFromImage(bare) / np.float32(brain_mean)
    residual = estimate - values / np.float32(brain_mean)
    fine = keep_measured(residual, find_details(estimate, residual, spacing), spacing, fwhm_mm)
    return _like(pet, Canvas(pet, Grid.of(pet)).possible(values + (fine * np.float32(brain_mean)).astype(values.dtype)))


@dataclass(frozen=True)
class Restored:
    """A result on the PET's grid, in its unit and pixel type.

    Attributes:
        denoised: the denoised PET.
        difference: denoised - PET.
        residual: (D, H, W) on the model's grid, in the PET's unit: the part of the estimate that the result contains.
        left_out: the same, the part that it would leave out if no dose were known.
    """

    denoised: sitk.Image
    difference: sitk.Image
    residual: np.ndarray
    left_out: np.ndarray


@dataclass(frozen=True)
class Canvas:
    """A PET as it was read, and the part of the model's grid that is brought back to it.

    Attributes:
        pet: as it was read; outside ``grid`` a result has its values bit for bit.
        grid: the head's part of the model's grid.
        region: mask of what is denoised, outside of which a result is the PET too; None for all.
        finest: noise finer than ``grid``, which a result is without, (D, H, W) in the box of the PET's voxels around
            ``grid``, in the PET's unit; None for none.
    """

    pet: sitk.Image
    grid: Grid
    region: Optional[sitk.Image] = None
    finest: Optional[np.ndarray] = field(default=None, compare=False, repr=False)

    @classmethod
    def of_scan(cls, pet: sitk.Image, scan: Scan, region: Optional[sitk.Image] = None) -> Canvas:
        """Return the canvas of a PET whose head is on the model's grid, its noise finer than that grid measured."""
        canvas = cls(pet, scan.grid, region)
        box, seen = canvas._from_model(scan.relative, sitk.sitkBSpline)
        inside = canvas._from_model(scan.head.mask.astype(np.float32), sitk.sitkLinear)[1]
        core = canvas._from_model(scan.core.astype(np.uint8), sitk.sitkNearestNeighbor)[1] > 0
        activity = np.asarray(sitk.GetArrayViewFromImage(pet)[box] / scan.brain_mean, np.float32)
        if region is not None:
            # its edge is that of the region, which is sharp
            inside = inside > 0
        noise = noise_of(activity - seen.astype(np.float32), activity, core, canvas._spacing)
        if not noise.any():
            return canvas
        return replace(canvas, finest=noise * inside.astype(np.float32) * np.float32(scan.brain_mean))

    @cached_property
    def outside(self) -> Optional[np.ndarray]:
        """Boolean (D, H, W), where the region is not; None without a region."""
        return None if self.region is None else ~inside(self.region, Grid.of(self.pet))

    @cached_property
    def zeros(self) -> np.ndarray:
        """Where a mask set the PET to zero, boolean (D, H, W): see :func:`masked_zeros`."""
        return masked_zeros(sitk.GetArrayViewFromImage(self.pet), Grid.of(self.pet).array_spacing)

    def result(self, estimate: np.ndarray, keeping: Keeping) -> Restored:
        """Add what is not kept of the measurement to the PET.

        Args:
            estimate: residual (D, H, W) on ``grid``, estimate - PET, in the PET's unit.
            keeping: the part of the measurement that is kept.

        Returns:
            The result. A PET without negative values stays so, and what a mask set to zero stays zero.
        """
        fine = keeping.fine(estimate)
        residual = np.float32(keeping.modelled) * fine
        values = sitk.GetArrayFromImage(self.pet)
        denoised = values.copy()
        box, part = self._from_model(residual, sitk.sitkBSpline)
        denoised[box] += part
        if self.finest is not None:
            denoised[box] -= self._left_out(self.finest, keeping).astype(values.dtype)
        denoised = self.possible(denoised)
        if self.outside is not None:
            denoised[self.outside] = values[self.outside]
        return Restored(_like(self.pet, denoised), _like(self.pet, denoised - values), residual, estimate - fine)

    def _left_out(self, fine: np.ndarray, keeping: Keeping) -> np.ndarray:
        """What of the noise finer than the model's grid a result is without; a width of a few voxels keeps some."""
        if keeping.fwhm_mm < _FINEST_VOXELS * max(self.grid.spacing):
            fine = keep_coarse(fine, self._spacing, keeping.fwhm_mm)
        return np.float32(keeping.modelled) * fine

    @property
    def _spacing(self) -> tuple[float, ...]:
        return Grid.of(self.pet).array_spacing

    def bare(self, estimate: np.ndarray, keeping: Keeping) -> sitk.Image:
        """Return the PET with the whole estimate, as :meth:`result` but with nothing kept of the measurement."""
        return self.result(estimate, replace(keeping, fwhm_mm=math.inf)).denoised

    def spread(self, std: np.ndarray, keeping: Optional[Keeping] = None) -> sitk.Image:
        """Bring a standard deviation (D, H, W), in the PET's unit, to the PET's grid; 0 outside it and in a mask.

        With ``keeping``, that of the result of :meth:`result`, noise finer than ``grid`` that it keeps is part of it.
        """
        # linear, because a spline may undershoot and a standard deviation is never negative
        values = self._on_zeros(std, sitk.sitkLinear, sitk.GetArrayViewFromImage(self.pet).dtype)
        if self.finest is not None and keeping is not None:
            kept = np.float32(keeping.modelled) * self.finest - self._left_out(self.finest, keeping)
            inside = values[Grid.of(self.pet).box_around(self.grid)]
            np.hypot(inside, kept, out=inside, casting="same_kind")
            self._mask(values)
        return _like(self.pet, values)

    def labels(self, labels: np.ndarray) -> sitk.Image:
        """Bring a label map (D, H, W) to the PET's grid as unsigned bytes; 0 outside ``grid`` and where masked."""
        return Grid.of(self.pet).image(self._on_zeros(labels, sitk.sitkNearestNeighbor, np.dtype(np.uint8)))

    def possible(self, denoised: np.ndarray) -> np.ndarray:
        """Change an array in place to what can be: not negative where no voxel of the PET is, zero where masked."""
        if sitk.GetArrayViewFromImage(self.pet).min() >= 0:
            np.maximum(denoised, 0, out=denoised)
        denoised[self.zeros] = 0
        return denoised

    def _on_zeros(self, array: np.ndarray, interpolator: int, kind: np.dtype) -> np.ndarray:
        values = np.zeros(sitk.GetArrayViewFromImage(self.pet).shape, kind)
        box, part = self._from_model(array, interpolator)
        values[box] = part
        self._mask(values)
        return values

    def _mask(self, values: np.ndarray) -> None:
        """Set a map to zero, in place, where a mask set the PET to zero and where nothing was denoised."""
        values[self.zeros] = 0
        if self.outside is not None:
            values[self.outside] = 0

    def _from_model(self, array: np.ndarray, interpolator: int) -> tuple[tuple[slice, ...], np.ndarray]:
        """The part of an array on ``grid`` that reaches into the PET, and the box of the PET's voxels there."""
        whole = Grid.of(self.pet)
        box = whole.box_around(self.grid)
        image = self.grid.image(array.astype(sitk.GetArrayViewFromImage(self.pet).dtype))
        return box, sitk.GetArrayFromImage(resample(image, whole.crop(box), interpolator))


def masked_zeros(pet: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """Return where a mask set a PET to zero, boolean (D, H, W); noise leaves zeros too, and those are not masked.

    Masked are exact zeros in which a cube of :data:`SMALLEST_ZEROS_MM` fits, the zeros that touch them, and planes of
    zeros. Where nearly no others are around what is measured, noise left none, and all that are connected with a mask
    belong to it.

    Args:
        pet: (D, H, W).
        spacing: voxel sides in mm, in the order of the axes.
    """
    zeros = pet == 0
    if not zeros.any():
        return zeros
    sides = [max(math.ceil(SMALLEST_ZEROS_MM / step - 1e-3), 2) for step in spacing]
    # of grey values, because that filter works axis by axis
    cubes = ndimage.grey_opening(zeros.view(np.uint8), size=tuple(sides), mode="nearest")
    masked = (ndimage.maximum_filter(cubes, size=3, mode="nearest") > 0) & zeros
    for axis in range(3):
        empty = zeros.all(axis=tuple(other for other in range(3) if other != axis))
        np.moveaxis(masked, axis, 0)[empty] = True
    around = ndimage.find_objects((~masked).view(np.uint8))
    if around and masked[around[0]].sum() < MASK_SHARE * zeros[around[0]].sum():
        return masked
    return ndimage.binary_propagation(masked, mask=zeros)


def _like(pet: sitk.Image, values: np.ndarray) -> sitk.Image:
    image = Grid.of(pet).image(values)
    for key in _COPIED_METADATA:
        if pet.HasMetaDataKey(key):
            image.SetMetaData(key, pet.GetMetaData(key))
    return image
