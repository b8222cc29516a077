"""The noise of a PET in three bands of spatial frequency, and the size of all of it that they predict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Sequence

import numpy as np
from scipy import ndimage

from ..scan import LEAST_NOISE_LEVEL, bright_core, robust_std

_NEIGHBOURS = ndimage.generate_binary_structure(3, 1).astype(np.float32) / 6
_NEIGHBOURS[1, 1, 1] = 0
UNIT = (-2.51140, 2.03463, 2.67185, -3.50679, 0.06289, 8.37647, -1.21332)
"""Least squares on simulated scans of all textures, logarithms (residual 0.31); the definition of the noise unit."""


@dataclass(frozen=True)
class NoiseBands:
    """Robust standard deviations in the bright core of a PET, relative to the mean of the brain.

    Attributes:
        level: of the PET minus its mean over 3 x 3 x 3 voxels.
        fine: of the PET minus the mean of its six neighbours.
        mid: of the mean over 3 x 3 x 3 voxels minus its own such mean.
    """

    level: float
    fine: float
    mid: float

    @property
    def ratios(self) -> tuple[float, float]:
        """log(fine / level) and log(mid / level): low and high for smooth noise, 0.1 and -1.8 for white noise."""
        return float(np.log(self.fine / self.level)), float(np.log(self.mid / self.level))

    @property
    def unit(self) -> float:
        """Root mean square noise that the bands predict: a log-quadratic fit."""
        fine, mid = self.ratios
        level = float(np.log(self.level))
        features = (1.0, level, level + fine, level + mid, level**2, fine**2, mid**2)
        return float(np.exp(np.dot(UNIT, features)))

    @property
    def constants(self) -> tuple[float, ...]:
        """The network's noise inputs: logarithms of the unit, and of ``fine`` and ``mid`` relative to ``level``."""
        return (float(np.log(self.unit)), *self.ratios)


def noise_bands(
    pet: np.ndarray, mask: np.ndarray, spacing: Sequence[float], smoothed: Optional[np.ndarray] = None
) -> NoiseBands:
    """Measure the noise of a normalised PET (D, H, W); arguments as for :func:`CSRDDenoiseLib.scan.noise_level`."""
    pet = np.asarray(pet, np.float32)
    return bands_in(pet, bright_core(pet, mask, spacing, smoothed))


def bands_in(pet: np.ndarray, core: np.ndarray) -> NoiseBands:
    """Measure the noise as :func:`noise_bands` does, where the bright core, boolean (D, H, W), is known already."""
    mean = ndimage.uniform_filter(pet, 3)
    level = robust_std((pet - mean)[core])
    mid = robust_std((mean - ndimage.uniform_filter(mean, 3))[core])
    del mean
    fine = robust_std((pet - ndimage.correlate(pet, _NEIGHBOURS))[core])
    return NoiseBands(*(max(band, LEAST_NOISE_LEVEL) for band in (level, fine, mid)))
