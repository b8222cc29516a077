"""Power of the noise in bands of spatial frequency, in the bright core of a PET, in units of its voxels."""

from __future__ import annotations

from typing import Sequence

import numpy as np
from scipy import fft, ndimage

from ...scan import Scan, smooth

EDGES = tuple(np.linspace(0.1, 0.5, 9).round(4).tolist())
"""Cycles per voxel between which the eight bands lie; 0.5 is the finest that every axis holds."""
MIDDLES = tuple(((np.array(EDGES[1:]) + np.array(EDGES[:-1])) / 2).tolist())
_HIGH_PASS, _SOFT_EDGE = 7.0, 4.0


def band_powers(scan: Scan, volume: np.ndarray) -> np.ndarray:
    """Mean power of a volume in each band, relative to the squared brain mean: (8,).

    Args:
        scan: whose core is looked at, under a window with soft edges; what is coarser than 7 voxels is taken away.
        volume: (D, H, W), in the PET's unit.
    """
    fine = _windowed(scan, volume)
    spectrum = fft.rfftn(fine)
    power = (spectrum * spectrum.conj()).real
    bands = np.digitize(frequencies(fine.shape).ravel(), EDGES)
    count = np.bincount(bands, minlength=len(EDGES) + 1)[1:-1]
    total = np.bincount(bands, power.ravel(), minlength=len(EDGES) + 1)[1:-1]
    return total / np.maximum(count, 1)


def frequencies(shape: Sequence[int]) -> np.ndarray:
    """Cycles per voxel of each coefficient of ``rfftn``."""
    z, y = (fft.fftfreq(n) for n in shape[:2])
    return np.sqrt(z[:, None, None] ** 2 + y[:, None] ** 2 + fft.rfftfreq(shape[2]) ** 2)


def _windowed(scan: Scan, volume: np.ndarray) -> np.ndarray:
    """The fine part of a volume in the core's box, with mean square of the core under the window."""
    cube = (1.0,) * 3
    box = ndimage.find_objects(scan.core.astype(np.uint8))[0]
    window = smooth(scan.core, cube, _SOFT_EDGE)[box]
    fine = (volume - smooth(volume, cube, _HIGH_PASS))[box] / scan.brain_mean
    return fine * window / np.sqrt(np.vdot(window, window))
