"""What a full dose shows of its noise, by its frequency along the axis and in the plane.

Two things separate noise from structure. Structure is large at edges and small between them, noise is everywhere: so
the quantiles of the power around each voxel show how much of it is noise. And a reconstruction suppresses coarse noise
in the plane, where projections are, but not along the axis: what is coarse in the plane and fine along the axis has
less structure, and shows how the noise continues towards coarse detail.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterator, Sequence

import numpy as np
from scipy import fft, ndimage
from scipy.interpolate import RegularGridInterpolator

from ...checks.counts import LEAST_ACTIVITY
from ...checks.depth import depth_mm
from ...scan import Scan, smooth

CENTRES = (0.04, 0.11, 0.18, 0.25, 0.32, 0.39, 0.46)
"""Cycles per voxel along the axis, and in the plane: every combination is a cell, the axis first."""
_WIDTH = 0.03
_HIGH_PASS, _SOFT_EDGE, _LOCAL = 7.0, 4.0, 4.0
_MARGIN = 8
_DEEP_VOXELS = 2.0
QUANTILES = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5)
"""Of the power around each voxel."""
AROUND_VOXELS = 8.0
"""FWHM of the Gaussian that the activity is smoothed by: the noise of a voxel comes from all rays through it."""
EXPONENT_LIMITS = (0.0, 2.0)
_FINE_VOXELS, _FAINT, _BINS = 2.0, 0.15, 8
_CUBE = (1.0,) * 3
_TINY = 1e-30


def noise_by_cell(scan: Scan, noise: np.ndarray) -> np.ndarray:
    """Power of noise that is known, (D, H, W) in the PET's unit, in each cell: (49,)."""
    place = _Place.of(scan)
    return np.array([place.mean(cell**2) for cell in place.cells(noise)])


def local_powers(scan: Scan) -> np.ndarray:
    """How the power of a PET around each voxel of its deep brain is distributed in each cell: (49, 7).

    Noise is everywhere and structure at edges: the small quantiles are near to noise, the large ones and the mean are
    not.

    Returns:
        Logarithms of :data:`QUANTILES` and of the mean of the power over the activity.
    """
    place = _Place.of(scan)
    rows = []
    for cell in place.cells(scan.pet):
        local = place.local(cell)
        rows.append([*np.quantile(local, QUANTILES), local.mean(dtype=np.float64)])
    return np.log(np.maximum(rows, _TINY))


def activity_exponent(scan: Scan, noise: np.ndarray) -> float:
    """How the variance of known noise depends on the activity: slope of its logarithm over that of the activity.

    Args:
        scan: the PET.
        noise: (D, H, W), in the PET's unit; what is finer than two voxels counts.
    """
    fine = noise - smooth(noise, _CUBE, _FINE_VOXELS)
    activity = smooth(scan.relative, _CUBE, AROUND_VOXELS)
    inside = ndimage.binary_erosion(scan.head.mask & (activity > _FAINT), iterations=2)
    values, squares = activity[inside], fine[inside] ** 2
    if values.size < _BINS * 50:
        return 1.0
    order = np.array_split(np.argsort(values), _BINS)
    rows = [(float(np.mean(values[part])), float(np.mean(squares[part]))) for part in order]
    known = np.log([row for row in rows if row[1] > 0])
    if len(known) < 3:
        return 1.0
    slope = float(np.polyfit(known[:, 0], known[:, 1], 1)[0])
    return float(np.clip(slope, *EXPONENT_LIMITS))


def spectrum_of(cells: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Logarithm of the power at each coefficient of ``rfftn``, from that of the cells, (49,); level beyond them."""
    grid = cells.reshape(len(CENTRES), len(CENTRES))
    axial, plane = _axial_and_plane(shape)
    ends = (CENTRES[0], CENTRES[-1])
    points = np.broadcast_arrays(np.clip(axial, *ends), np.clip(plane, *ends))
    return RegularGridInterpolator((CENTRES, CENTRES), grid)(np.stack(points, -1))


@dataclass(frozen=True)
class _Place:
    """The brain in a box with margins.

    Attributes:
        scan: whose brain it is.
        box: in the PET.
        window: with soft edges, padded by the margin.
        deep: where powers are averaged, boolean, in the box.
        activity: there, relative to the brain mean.
    """

    scan: Scan
    box: tuple[slice, ...]
    window: np.ndarray
    deep: np.ndarray
    activity: np.ndarray

    @classmethod
    def of(cls, scan: Scan) -> _Place:
        """The place of a scan's brain."""
        core = scan.core.copy()
        # a volume that ends in the brain has nothing beyond
        core[:1] = core[-1:] = False
        found = ndimage.find_objects(core.astype(np.uint8))[0]
        box = tuple(slice(max(part.start - _MARGIN, 0), part.stop + _MARGIN) for part in found)
        grown = ndimage.binary_dilation(np.pad(core[box], _MARGIN))
        deep = depth_mm(core, scan.spacing)[box] > _DEEP_VOXELS * min(scan.spacing)
        return cls(scan, box, smooth(grown, _CUBE, _SOFT_EDGE), deep, np.maximum(scan.smoothed[box], LEAST_ACTIVITY))

    def cells(self, volume: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the part of a volume in each cell, in the box, as if every cell were equally large."""
        sizes = self.window.shape
        shape = tuple(fft.next_fast_len(size, real=True) for size in sizes)
        spectrum = fft.rfftn(self._windowed(volume), shape)
        axial, plane = (each.astype(np.float32) for each in _axial_and_plane(shape))
        inner = tuple(slice(_MARGIN, size - _MARGIN) for size in sizes)
        weights = np.full(shape[2] // 2 + 1, 2.0, np.float32)
        weights[0] = 1.0
        for middle in CENTRES:
            along = np.exp(-0.5 * ((axial - middle) / _WIDTH) ** 2)
            for other in CENTRES:
                band = along * np.exp(-0.5 * ((plane - other) / _WIDTH) ** 2)
                size = np.float32(np.sqrt((band**2 * weights).sum(dtype=np.float64) / np.prod(shape)))
                yield fft.irfftn(spectrum * band, shape)[inner] / size

    def local(self, cell: np.ndarray) -> np.ndarray:
        """Power over the activity, around each deep voxel, (n,)."""
        return smooth(cell**2, _CUBE, _LOCAL)[self.deep] / self.activity[self.deep]

    def mean(self, power: np.ndarray) -> float:
        """Mean of a power over the activity, in the deep voxels."""
        return float(np.mean((power / self.activity)[self.deep], dtype=np.float64))

    def _windowed(self, volume: np.ndarray) -> np.ndarray:
        part = volume[self.box] / self.scan.brain_mean
        fine = part - smooth(part, _CUBE, _HIGH_PASS)
        return np.asarray(np.pad(fine, _MARGIN, mode="reflect") * self.window, np.float32)


def _axial_and_plane(shape: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Absolute frequencies of ``rfftn`` along the first axis, and in the plane of the others, cycles per voxel."""
    axial = np.abs(fft.fftfreq(shape[0]))[:, None, None]
    plane = np.hypot(fft.fftfreq(shape[1])[:, None], fft.rfftfreq(shape[2]))
    return axial, plane[None]
