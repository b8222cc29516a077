"""Keeping: what a result keeps of the measured PET, on arrays; the images are :mod:`.canvas`'s.

A posterior mean is smooth: of a small lesion it may show half of the contrast. Two things bring the measurement back.
What is coarser than a width stays as it was measured (:func:`keep_coarse`). Of what is finer the estimate says where
the details are and the measurement how strong they are (:class:`Details`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Callable, Mapping, Optional, Sequence

import numpy as np

from ..findings import Finding, info
from ..scan import Scan, robust_std, smooth
from ..settings import DenoiseSettings

if TYPE_CHECKING:
    from ..model.metadata import ModelMetadata

BROKEN_RESIDUAL = 20.0
DEFAULT_KEEP_MM = 8.0
DETAILS_MM = 9.0
"""FWHM of the Gaussian that a detail is finer than, and of the window in which details are compared."""
RIDGE_MM = 160.0
"""A width over this is the size of details, relative to the brain mean, that are brought back by half."""


@dataclass(frozen=True)
class Details:
    """How strong the measurement shows the details of an estimate.

    In a Gaussian window around each voxel the details of PET - estimate are regressed on those of the estimate, by
    ridge regression. The slope is the share of a detail that the estimate lacks: 0.5 in a lesion that has two thirds of
    its contrast, -1 for a detail that the PET does not have at all. It is the guided filter (He et al. 2013) whose
    guide is the estimate, so noise of the PET that the estimate does not show is not brought back.

    Attributes:
        product: (D, H, W), the estimate's details times their covariance with those of PET - estimate in the window.
        variance: (D, H, W), of the estimate's details in the window.
    """

    product: np.ndarray
    variance: np.ndarray

    @classmethod
    def of(cls, estimate: np.ndarray, residual: np.ndarray, blur: Callable[[np.ndarray], np.ndarray]) -> Details:
        """Compare the details of an estimate with the measurement's.

        Args:
            estimate: (D, H, W), relative to the brain mean.
            residual: estimate - PET, likewise.
            blur: smooths (D, H, W) by a Gaussian of :data:`DETAILS_MM`.
        """
        fine, missing = estimate - blur(estimate), blur(residual) - residual
        return cls(fine * blur(fine * missing), blur(fine * fine))

    def missing(self, fwhm_mm: float) -> np.ndarray:
        """Return what the estimate lacks of its details, (D, H, W), relative to the brain mean; nothing at infinity.

        Args:
            fwhm_mm: of what is kept, above 0; the narrower, the more of small details is brought back.
        """
        return self.product / (self.variance + np.float32((fwhm_mm / RIDGE_MM) ** 2))


@dataclass(frozen=True)
class Keeping:
    """What a result keeps of the measured PET.

    Attributes:
        fwhm_mm: what is coarser than this stays as it was measured; see :func:`keep_measured`.
        share: of the PET at every frequency: the dose, where a full dose is predicted from a noise-free estimate.
        spacing: voxel sides in mm, in the order of the axes.
        pet: (D, H, W), the PET that the residual belongs to; None where only the finding is asked for.
        brain_mean: of the PET, in its unit.
        chosen: the width was asked for; else it is the model's.
        mask: boolean (D, H, W), the head.
        near: boolean (D, H, W), what is near broken voxels; None without any. There, what the network does about them,
            beyond 20 robust standard deviations of the head's residual, is not spread over their neighbours.
    """

    fwhm_mm: float
    share: float
    spacing: tuple[float, ...]
    pet: Optional[np.ndarray] = field(default=None, compare=False, repr=False)
    brain_mean: float = 1.0
    chosen: bool = False
    mask: Optional[np.ndarray] = field(default=None, compare=False, repr=False)
    near: Optional[np.ndarray] = field(default=None, compare=False, repr=False)

    @property
    def modelled(self) -> float:
        """The share of the result's fine part that is the model's; the rest is the measurement's."""
        return 1.0 - self.share

    def __call__(self, residual: np.ndarray) -> np.ndarray:
        """Return what a result contains of a residual (D, H, W), estimate - PET, in the PET's unit."""
        return np.float32(self.modelled) * self.fine(residual)

    def fine(self, residual: np.ndarray) -> np.ndarray:
        """Return the same of a result that no share of the PET goes into."""
        usual = residual
        if self.near is not None:
            limit = BROKEN_RESIDUAL * robust_std(residual[self.mask])
            usual = np.where(self.near, np.clip(residual, -limit, limit), residual)
        fine = keep_coarse(usual + self._missing(residual), self.spacing, self.fwhm_mm)
        if self.fwhm_mm > 0 and usual is not residual:
            fine = fine + (residual - usual)
        return fine

    def _missing(self, residual: np.ndarray) -> np.ndarray:
        """What the estimate lacks of its details, in the PET's unit; a broken voxel shows nothing of them."""
        if self.pet is None or self.fwhm_mm <= 0 or math.isinf(self.fwhm_mm):
            return np.zeros((), np.float32)
        relative, estimate = (each / np.float32(self.brain_mean) for each in (residual, self.pet + residual))
        if self.near is not None:
            relative = np.where(self.near, np.float32(0), relative)
        return find_details(estimate, relative, self.spacing).missing(self.fwhm_mm) * np.float32(self.brain_mean)

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
        width, chosen = settings.keep_above_mm, True
    else:
        width, chosen = default_keep_mm(metadata.keep, bands), False
    return Keeping(width, share, scan.spacing, scan.pet, scan.brain_mean, chosen)


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


def find_details(estimate: np.ndarray, residual: np.ndarray, spacing: Sequence[float]) -> Details:
    """Compare the details of an estimate with the measurement's.

    Args:
        estimate: (D, H, W), relative to the brain mean.
        residual: estimate - PET, likewise.
        spacing: voxel sides in mm, in the order of the axes.
    """
    return Details.of(estimate, residual, partial(smooth, spacing=spacing, fwhm_mm=DETAILS_MM))


def keep_measured(residual: np.ndarray, details: Details, spacing: Sequence[float], fwhm_mm: float) -> np.ndarray:
    """Take back from a residual what the result keeps of the measurement: what is coarse, and the strength of details.

    Args:
        residual: estimate - PET, (D, H, W), relative to the brain mean.
        details: :func:`find_details` of the same.
        spacing: voxel sides in mm, in the order of the axes.
        fwhm_mm: 0 leaves nothing of the residual, infinity all of it.
    """
    if np.isinf(fwhm_mm) or fwhm_mm <= 0:
        return keep_coarse(residual, spacing, fwhm_mm)
    return keep_coarse(residual + details.missing(fwhm_mm), spacing, fwhm_mm)


def kept_image(estimate: np.ndarray, pet: np.ndarray, spacing: Sequence[float], fwhm_mm: float) -> np.ndarray:
    """Return the result of an estimate and a PET (D, H, W), both relative to the brain mean: :func:`keep_measured`."""
    residual = estimate - pet
    return pet + keep_measured(residual, find_details(estimate, residual, spacing), spacing, fwhm_mm)


def keep_coarse(residual: np.ndarray, spacing: Sequence[float], fwhm_mm: float) -> np.ndarray:
    """Take back from a residual what is coarse, so that the result keeps the measurement there.

    PET + what is returned = estimate + G (PET - estimate), G a Gaussian: below the frequency of its width
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
