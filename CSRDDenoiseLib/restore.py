"""Restore: the residual back to the PET's grid and unit, added to the untouched PET."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Mapping, Optional, Sequence

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from .findings import Finding, info
from .io.grid import Grid, resample
from .prepare.region import inside
from .scan import Scan, robust_std, smooth
from .settings import DenoiseSettings

if TYPE_CHECKING:
    from .model.metadata import ModelMetadata

BROKEN_RESIDUAL = 20.0
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
            limit = BROKEN_RESIDUAL * robust_std(residual[self.mask])
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


def choose_keeping(scan: Scan, bands: Sequence[float], settings: DenoiseSettings, metadata: ModelMetadata) -> Keeping:
    """Decide what the result keeps of the measurement: as was asked for, or by the model's rule and the PET's noise.

    Args:
        scan: the PET in the model's grid.
        bands: the noise of the whole head (``NoiseBands.constants``), where the model has a rule.
        settings: what was asked for.
        metadata: of the model.
    """
    share = settings.dose if settings.dose and metadata.target == "noise-free" else 0.0
    if settings.keep_above_mm is not None:
        return Keeping(settings.keep_above_mm, share, scan.spacing, chosen=True, mask=scan.head.mask)
    return Keeping(default_keep_mm(metadata.keep, bands), share, scan.spacing, mask=scan.head.mask)


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
    return _like(pet, Canvas(pet, Grid.of(pet)).possible(values + kept))


@dataclass(frozen=True)
class Restored:
    """A result on the PET's grid, in its unit and pixel type.

    Attributes:
        denoised: the denoised PET.
        difference: denoised - PET.
        residual: (D, H, W) on the model's grid, in the PET's unit: what of the estimate is in the result.
    """

    denoised: sitk.Image
    difference: sitk.Image
    residual: np.ndarray


@dataclass(frozen=True)
class Canvas:
    """A PET as it was read, and the part of the model's grid that is brought back to it.

    Attributes:
        pet: as it was read; outside ``grid`` a result has its values bit for bit.
        grid: the head's part of the model's grid.
        region: mask of what is denoised, outside of which a result is the PET too; None for all.
    """

    pet: sitk.Image
    grid: Grid
    region: Optional[sitk.Image] = None

    @cached_property
    def outside(self) -> Optional[np.ndarray]:
        """Boolean (D, H, W), where the region is not; None without a region."""
        return None if self.region is None else ~inside(self.region, Grid.of(self.pet))

    @cached_property
    def zeros(self) -> np.ndarray:
        """Where a mask set the PET to zero, boolean (D, H, W): exact zeros connected over a millilitre or more."""
        zeros = sitk.GetArrayViewFromImage(self.pet) == 0
        parts, count = ndimage.label(zeros)
        if not count:
            return zeros
        large = np.bincount(parts.ravel()) * float(np.prod(self.pet.GetSpacing())) / 1000 >= SMALLEST_ZEROS_ML
        large[0] = False
        return large[parts]

    def result(self, estimate: np.ndarray, keeping: Keeping) -> Restored:
        """Add what is not kept of the measurement to the PET.

        Args:
            estimate: residual (D, H, W) on ``grid``, estimate - PET, in the PET's unit.
            keeping: what of the measurement is kept.

        Returns:
            The result. A PET without negative values stays so, and what a mask set to zero stays zero.
        """
        residual = keeping(estimate)
        values = sitk.GetArrayFromImage(self.pet)
        denoised = values.copy()
        box, part = self._from_model(residual, sitk.sitkBSpline)
        denoised[box] += part
        denoised = self.possible(denoised)
        if self.outside is not None:
            denoised[self.outside] = values[self.outside]
        return Restored(_like(self.pet, denoised), _like(self.pet, denoised - values), residual)

    def bare(self, estimate: np.ndarray, keeping: Keeping) -> sitk.Image:
        """Return the PET with the whole estimate, as :meth:`result` but with nothing kept at coarse scales."""
        return self.result(estimate, replace(keeping, fwhm_mm=math.inf)).denoised

    def spread(self, std: np.ndarray) -> sitk.Image:
        """Bring a standard deviation (D, H, W), in the PET's unit, to the PET's grid; 0 outside it and in a mask."""
        # linear, because a spline may undershoot and a standard deviation is never negative
        return _like(self.pet, self._on_zeros(std, sitk.sitkLinear, sitk.GetArrayViewFromImage(self.pet).dtype))

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
        values[self.zeros] = 0
        if self.outside is not None:
            values[self.outside] = 0
        return values

    def _from_model(self, array: np.ndarray, interpolator: int) -> tuple[tuple[slice, ...], np.ndarray]:
        """The part of an array on ``grid`` that reaches into the PET, and the box of the PET's voxels there."""
        whole = Grid.of(self.pet)
        box = whole.box_around(self.grid)
        image = self.grid.image(array.astype(sitk.GetArrayViewFromImage(self.pet).dtype))
        return box, sitk.GetArrayFromImage(resample(image, whole.crop(box), interpolator))


def _like(pet: sitk.Image, values: np.ndarray) -> sitk.Image:
    image = Grid.of(pet).image(values)
    for key in _KEPT_METADATA:
        if pet.HasMetaDataKey(key):
            image.SetMetaData(key, pet.GetMetaData(key))
    return image
