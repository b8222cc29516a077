"""Noise by its frequency along the axis and in the plane, and where a full dose shows it: in calm places.

Two things separate noise from structure. Structure is large at edges and small between them, noise is everywhere. And a
reconstruction suppresses coarse noise in the plane, where projections are, but not along the axis: what is coarse in
the plane and fine along the axis is free of structure, and shows how the noise goes on towards coarse detail.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterator, Sequence

import numpy as np
from scipy import fft, ndimage
from scipy.interpolate import RegularGridInterpolator

from ...checks.depth import depth_mm
from ...scan import Scan, smooth

CENTRES = (0.04, 0.11, 0.18, 0.25, 0.32, 0.39, 0.46)
"""Cycles per voxel along the axis, and in the plane: every combination is a cell, the axis first."""
CELLS = len(CENTRES) ** 2
_WIDTH = 0.03
_HIGH_PASS, _SOFT_EDGE, _LOCAL = 7.0, 4.0, 4.0
_MARGIN = 8
_DEEP_VOXELS = 2.0
_LEAST_ACTIVITY = 0.3
_CALM = 0.2
AROUND_VOXELS = 8.0
"""FWHM of the Gaussian that the activity is smoothed by: the noise of a voxel comes from all rays through it."""
_USUAL_EXPONENT = 1.65
_APART = 2
_CUBE = (1.0,) * 3


@dataclass(frozen=True)
class CellPowers:
    """Mean power over the activity in each cell, relative to the brain mean, (49,).

    Attributes:
        whole: of the PET.
        cross: of the PET and of what an estimate takes from it.
    """

    whole: np.ndarray
    cross: np.ndarray


def noise_by_cell(scan: Scan, noise: np.ndarray) -> np.ndarray:
    """Power of noise that is known, (D, H, W) in the PET's unit, in each cell: (49,)."""
    place = _Place.of(scan)
    return np.array([place.mean(cell**2, place.deep) for (cell,) in place.cells([noise])])


def calm_powers(scan: Scan, estimate: np.ndarray) -> CellPowers:
    """Powers of a PET in the calm places of its brain.

    Calm is where the estimate has least detail of a neighbouring cell, a fifth of the deep brain. Another cell, because
    the noise that the estimate kept would else choose places where there is little of it.

    Args:
        scan: of the PET.
        estimate: of the image without noise, (D, H, W), in the PET's unit.
    """
    place = _Place.of(scan)
    found = list(place.cells([scan.pet, estimate]))
    detail = [place.local(cell[1]) for cell in found]
    whole, cross = [], []
    for number, (pet, kept) in enumerate(found):
        near = detail[_neighbour(number)]
        calm = place.deep & (near <= np.quantile(near[place.deep], _CALM))
        # what the noise of calm places would be in the whole deep brain
        scale = place.usual(place.deep) / place.usual(calm)
        whole.append(scale * place.mean(pet**2, calm))
        cross.append(scale * place.mean(pet * (pet - kept), calm))
    return CellPowers(np.array(whole), np.array(cross))


def spectrum_of(cells: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Logarithm of the power at each coefficient of ``rfftn``, from that of the cells, (49,); level beyond them."""
    grid = cells.reshape(len(CENTRES), len(CENTRES))
    axial, plane = _axial_and_plane(shape)
    ends = (CENTRES[0], CENTRES[-1])
    points = np.broadcast_arrays(np.clip(axial, *ends), np.clip(plane, *ends))
    return RegularGridInterpolator((CENTRES, CENTRES), grid)(np.stack(points, -1))


def radii() -> np.ndarray:
    """Distance of each cell from frequency 0, cycles per voxel, (49,)."""
    centres = np.array(CENTRES)
    return np.hypot(centres[:, None], centres).ravel()


def _neighbour(number: int) -> int:
    """A cell so far from another that they share no noise: coarser where there is one, along the larger frequency."""
    axial, plane = divmod(number, len(CENTRES))
    if axial > plane:
        axial += -_APART if axial >= _APART else _APART
    else:
        plane += -_APART if plane >= _APART else _APART
    return axial * len(CENTRES) + plane


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
        return cls(scan, box, smooth(grown, _CUBE, _SOFT_EDGE), deep, np.maximum(scan.smoothed[box], _LEAST_ACTIVITY))

    def cells(self, volumes: Sequence[np.ndarray]) -> Iterator[list[np.ndarray]]:
        """Yield the part of each volume in each cell, in the box, as if every cell were equally large."""
        spectra = [fft.rfftn(self._windowed(volume)) for volume in volumes]
        axial, plane = _axial_and_plane(self.window.shape)
        inner = tuple(slice(_MARGIN, size - _MARGIN) for size in self.window.shape)
        weights = np.full(self.window.shape[2] // 2 + 1, 2.0)
        weights[0] = 1.0
        for middle in CENTRES:
            along = np.exp(-0.5 * ((axial - middle) / _WIDTH) ** 2)
            for other in CENTRES:
                band = along * np.exp(-0.5 * ((plane - other) / _WIDTH) ** 2)
                size = np.sqrt((band**2 * weights).sum() / self.window.size)
                yield [fft.irfftn(spectrum * band, self.window.shape)[inner] / size for spectrum in spectra]

    def local(self, cell: np.ndarray) -> np.ndarray:
        """Power over the activity, around each voxel."""
        return smooth(cell**2, _CUBE, _LOCAL) / self.activity

    def mean(self, power: np.ndarray, where: np.ndarray) -> float:
        """Mean of a power over the activity."""
        return float(np.mean((power / self.activity)[where], dtype=np.float64))

    def usual(self, where: np.ndarray) -> float:
        """Mean of the power over the activity that noise usually has, up to a factor."""
        around = np.maximum(smooth(self.scan.relative, _CUBE, AROUND_VOXELS)[self.box][where], _LEAST_ACTIVITY)
        return float(np.mean(around**_USUAL_EXPONENT / self.activity[where], dtype=np.float64))

    def _windowed(self, volume: np.ndarray) -> np.ndarray:
        part = volume[self.box] / self.scan.brain_mean
        fine = part - smooth(part, _CUBE, _HIGH_PASS)
        return np.pad(fine, _MARGIN, mode="reflect") * self.window


def _axial_and_plane(shape: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Absolute frequencies of ``rfftn`` along the first axis, and in the plane of the others, cycles per voxel."""
    axial = np.abs(fft.fftfreq(shape[0]))[:, None, None]
    plane = np.hypot(fft.fftfreq(shape[1])[:, None], fft.rfftfreq(shape[2]))
    return axial, plane[None]
