"""Keeping: what a result keeps of the measured PET, on arrays; the images are :mod:`.canvas`'s."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Mapping, Optional, Sequence

import numpy as np

from ..findings import Finding, info
from ..scan import Scan, robust_std, smooth
from ..settings import DenoiseSettings

if TYPE_CHECKING:
    from ..model.metadata import ModelMetadata

BROKEN_RESIDUAL = 20.0
DEFAULT_KEEP_MM = 8.0


@dataclass(frozen=True)
class Keeping:
    """What a result keeps of the measured PET; linear, so it applies to an estimate and to each draw alike.

    Attributes:
        fwhm_mm: what is coarser than this stays as it was measured; see :func:`keep_coarse`.
        share: of the PET at every frequency: the dose, where a full dose is predicted from a noise-free estimate.
        spacing: voxel sides in mm, in the order of the axes.
        chosen: the width was asked for; else it is the model's.
        mask: boolean (D, H, W), the head.
        near: boolean (D, H, W), what is near broken voxels; None without any. There, what the network does about them,
            beyond 20 robust standard deviations of the head's residual, is not spread over their neighbours.
    """

    fwhm_mm: float
    share: float
    spacing: tuple[float, ...]
    chosen: bool = False
    mask: Optional[np.ndarray] = field(default=None, compare=False, repr=False)
    near: Optional[np.ndarray] = field(default=None, compare=False, repr=False)

    @property
    def modelled(self) -> float:
        """The share of the result's fine part that is the model's; the rest is the measurement's."""
        return 1.0 - self.share

    def __call__(self, residual: np.ndarray) -> np.ndarray:
        """Return what is left of a residual (D, H, W), estimate - PET, any unit."""
        usual = residual
        if self.near is not None:
            limit = BROKEN_RESIDUAL * robust_std(residual[self.mask])
            usual = np.where(self.near, np.clip(residual, -limit, limit), residual)
        fine = keep_coarse(usual, self.spacing, self.fwhm_mm)
        if self.fwhm_mm > 0 and usual is not residual:
            fine = fine + (residual - usual)
        return np.float32(self.modelled) * fine if self.share else fine

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
        return Keeping(settings.keep_above_mm, share, scan.spacing, chosen=True)
    return Keeping(default_keep_mm(metadata.keep, bands), share, scan.spacing)


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

    PET + what is returned = estimate + G (PET - estimate), G a Gaussian: below the frequency that its width stands for
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
