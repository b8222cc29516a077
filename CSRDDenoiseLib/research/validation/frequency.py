"""What a method changes in each band of spatial frequency, in the brain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

import numpy as np
from scipy import fft

from ...scan import HEAD_SMOOTHING_MM, smooth
from ..evaluation.study import Study

EDGES_PER_MM = (0.0, 0.02, 0.04, 0.06, 0.08, 0.10, 0.13, 0.17, 0.22, 0.30)
"""Cycles a mm; a band that the voxels cannot hold is left out."""


@dataclass(frozen=True)
class Band:
    """One band of one image.

    Attributes:
        low, high: cycles a mm.
        power: power of the image over that of the full dose.
        gain: what the image has of each part of the low dose, Re <image, low> / <low, low>; 1 changes nothing.
        error: power of (image - full dose) over that of (low dose - full dose).
    """

    low: float
    high: float
    power: float
    gain: float
    error: float


def common_bands(parts: Sequence[Sequence[Band]]) -> list[tuple[Band, ...]]:
    """Return the bands that all parts have, each with one of every part."""
    by_edges = [{(band.low, band.high): band for band in part} for part in parts]
    edges = by_edges[0] if by_edges else {}
    return [tuple(part[key] for part in by_edges) for key in edges if all(key in part for part in by_edges)]


class Spectra:
    """Spectra of a scan's low and full dose in the brain, to compare images with.

    The brain is cut out by a window with edges as soft as a Gaussian of 8 mm; the mean under it is taken away.

    Args:
        study: of the scan.
        low: the low dose in the head's box, (D, H, W).
    """

    def __init__(self, study: Study, low: np.ndarray):
        self._window = smooth(study.masks.brain, study.spacing, HEAD_SMOOTHING_MM)
        finest = 0.5 / max(study.spacing)
        self._edges = [edge for edge in EDGES_PER_MM if edge <= finest]
        self._ring = _rings(low.shape, study.spacing, self._edges)
        self._low, self._full = self._spectrum(low), self._spectrum(study.full_dose)

    def bands(self, image: np.ndarray) -> tuple[Band, ...]:
        """Compare an image in the head's box with both; a band without power in the low or full dose is left out."""
        spectrum = self._spectrum(image)
        full, low = self._sums(np.abs(self._full) ** 2), self._sums(np.abs(self._low) ** 2)
        power, shared = self._sums(np.abs(spectrum) ** 2), self._sums((spectrum * np.conj(self._low)).real)
        error, before = (self._sums(np.abs(one - self._full) ** 2) for one in (spectrum, self._low))
        return tuple(
            Band(
                self._edges[k],
                self._edges[k + 1],
                float(power[k] / full[k]),
                float(shared[k] / low[k]),
                float(error[k] / before[k]),
            )
            for k in range(len(self._edges) - 1)
            if min(full[k], low[k], before[k]) > 0
        )

    def _spectrum(self, volume: np.ndarray) -> np.ndarray:
        mean = float(np.sum(volume * self._window) / np.sum(self._window))
        # all of it: of rfftn, the frequencies of 0 along the last axis would count twice as much as the others
        return fft.fftn((np.asarray(volume, np.float32) - np.float32(mean)) * self._window)

    def _sums(self, power: np.ndarray) -> np.ndarray:
        # number 0 lies below the first edge, the last beyond the last
        return np.bincount(self._ring.ravel(), power.ravel(), len(self._edges) + 1)[1 : len(self._edges)]


def _rings(shape: Sequence[int], spacing: Sequence[float], edges: Sequence[float]) -> np.ndarray:
    z, y, x = (fft.fftfreq(n, step) for n, step in zip(shape, spacing))
    return np.digitize(np.sqrt(z[:, None, None] ** 2 + y[:, None] ** 2 + x**2), edges)
