"""Geometry: where a volume lies in space, the only place that flips, permutes or resamples axes.

SimpleITK is loaded where an image is made or read: a training needs geometry alone, on machines without it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Sequence

import numpy as np

if TYPE_CHECKING:
    import SimpleITK as sitk

RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""NIfTI's axes point right, anterior, superior; SimpleITK's and DICOM's left, posterior, superior."""


@dataclass(frozen=True)
class Grid:
    """A regular lattice in physical space, in SimpleITK's terms: x, y, z order, millimetres, L-P-S axes."""

    size: tuple[int, ...]
    spacing: tuple[float, ...]
    origin: tuple[float, ...]
    direction: tuple[float, ...]

    @classmethod
    def of(cls, image: sitk.Image) -> Grid:
        """Return the grid of an image."""
        return cls(image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection())

    @classmethod
    def from_affine(cls, size: Sequence[int], affine: np.ndarray) -> Grid:
        """Return the rectangular grid nearest to a NIfTI affine (4, 4): index (x, y, z) -> mm, R-A-S.

        The voxel sizes are the lengths of the columns, the axes the nearest perpendicular ones (polar decomposition).
        A shear is lost: see :func:`shear_mm`.
        """
        lps = RAS_FROM_LPS @ affine
        spacing = np.linalg.norm(lps[:3, :3], axis=0)
        left, _, right = np.linalg.svd(lps[:3, :3] / spacing)
        # about the centre, so that what is lost is spread evenly
        middle = (np.array(size) - 1) / 2
        axes = left @ right
        origin = lps[:3, :3] @ middle + lps[:3, 3] - axes @ (middle * spacing)
        return cls(tuple(map(int, size)), tuple(spacing.tolist()), tuple(origin.tolist()), tuple(axes.ravel().tolist()))

    def __str__(self) -> str:
        sides = " x ".join(f"{side:.4g}" for side in self.spacing)
        return f"{' x '.join(map(str, self.size))} voxels of {sides} mm"

    @property
    def affine(self) -> np.ndarray:
        """The NIfTI affine (4, 4) of the grid: index (x, y, z) -> mm, R-A-S."""
        matrix = np.eye(4)
        matrix[:3, :3] = np.array(self.direction).reshape(3, 3) * self.spacing
        matrix[:3, 3] = self.origin
        return RAS_FROM_LPS @ matrix

    @property
    def array_spacing(self) -> tuple[float, ...]:
        """Voxel spacing in mm in the order of array axes (z, y, x)."""
        return self.spacing[::-1]

    def point(self, index: Sequence[float]) -> np.ndarray:
        """Return the physical point (mm) of a continuous index (x, y, z)."""
        axes = np.array(self.direction).reshape(3, 3)
        return np.array(self.origin) + axes @ (np.array(index) * np.array(self.spacing))

    def index(self, point: Sequence[float]) -> np.ndarray:
        """Return the continuous index (x, y, z) of a physical point (mm)."""
        axes = np.array(self.direction).reshape(3, 3)
        return np.linalg.solve(axes, np.array(point) - np.array(self.origin)) / np.array(self.spacing)

    def corners(self) -> np.ndarray:
        """Return the eight outer corners (8, 3) in mm: half a voxel beyond the outermost centres."""
        ends = [(-0.5, n - 0.5) for n in self.size]
        return np.array([self.point((x, y, z)) for x in ends[0] for y in ends[1] for z in ends[2]])

    def crop(self, box: Sequence[slice]) -> Grid:
        """Return the part of the grid inside ``box``, three slices in array order (z, y, x)."""
        parts = tuple(box)[::-1]
        origin = self.point([part.start for part in parts])
        return replace(self, size=tuple(part.stop - part.start for part in parts), origin=tuple(origin.tolist()))

    def box_around(self, other: Grid) -> tuple[slice, slice, slice]:
        """Return the slices (z, y, x) of this grid whose voxel centres may lie inside ``other``."""
        indices = np.array([self.index(corner) for corner in other.corners()])
        low = np.clip(np.ceil(indices.min(0) - 1e-6), 0, self.size).astype(int)
        high = np.clip(np.floor(indices.max(0) + 1e-6) + 1, 0, self.size).astype(int)
        x, y, z = (slice(int(a), int(b)) for a, b in zip(low, high))
        return z, y, x

    def image(self, array: np.ndarray) -> sitk.Image:
        """Return an array (z, y, x) of this grid's shape as an image on it."""
        import SimpleITK as sitk

        image = sitk.GetImageFromArray(array)
        image.SetSpacing(self.spacing)
        image.SetOrigin(self.origin)
        image.SetDirection(self.direction)
        return image


def image_like(image: sitk.Image, array: np.ndarray) -> sitk.Image:
    """Return an array (z, y, x) as an image with the place and the metadata of another."""
    made = Grid.of(image).image(array)
    for key in image.GetMetaDataKeys():
        made.SetMetaData(key, image.GetMetaData(key))
    return made


def cubic_image(array: np.ndarray, side_mm: float) -> sitk.Image:
    """Return an array (z, y, x) as a float32 image of cubic voxels, its first voxel at the origin, axes along L-P-S."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.asarray(array, np.float32))
    image.SetSpacing((side_mm,) * 3)
    return image


def same_place(one: Grid, other: Grid, share: float = 1e-3) -> bool:
    """Whether two grids are the same but for rounding in a header: corners within a share of a voxel."""
    if one.size != other.size:
        return False
    return bool(np.abs(one.corners() - other.corners()).max() < share * min(other.spacing))


def same_lattice(one: Grid, other: Grid, share: float = 1e-3) -> bool:
    """Whether the centres of voxels of two grids coincide where both reach, but for rounding in a header.

    One of them may be a part of the other, and its axes may be stored in another order or the other way round.
    """
    axes = np.linalg.solve(one.affine, other.affine)
    whole = np.round(axes)
    if not all((np.abs(whole[:3, :3]).sum(axis) == 1).all() for axis in (0, 1)):
        return False
    return disagreement_mm(other.size, axes, whole) < share


def corners_apart_mm(one: Grid, other: Grid) -> float:
    """Return the largest distance (mm) between a corner of one grid and that of the other."""
    return float(np.linalg.norm(one.corners() - other.corners(), axis=1).max())


def disagreement_mm(size: Sequence[int], one: np.ndarray, other: np.ndarray) -> float:
    """Return the largest distance (mm) between the corners of a volume as two affines (4, 4) place them."""
    last = np.array(size, dtype=float) - 1
    corners = np.array([[*(last * ends), 1.0] for ends in np.ndindex(2, 2, 2)])
    return float(np.linalg.norm((corners @ (one - other).T)[:, :3], axis=1).max())


def shear_mm(size: Sequence[int], affine: np.ndarray) -> float:
    """Return how far (mm) the corners of an affine lie from those of the nearest rectangular grid."""
    return disagreement_mm(size, affine, Grid.from_affine(size, affine).affine)


def image_from_xyz(array: np.ndarray, grid: Grid) -> sitk.Image:
    """Return an array (x, y, z) as nibabel gives it, as an image on a grid of its shape."""
    return grid.image(np.ascontiguousarray(array.T))


def array_to_xyz(image: sitk.Image) -> np.ndarray:
    """Return the voxels of an image in nibabel's order (x, y, z), without a copy."""
    import SimpleITK as sitk

    return sitk.GetArrayViewFromImage(image).T


def resample(image: sitk.Image, grid: Grid, interpolator: int) -> sitk.Image:
    """Interpolate an image onto a grid in physical space; 0 outside the image."""
    if Grid.of(image) == grid:
        return image
    import SimpleITK as sitk

    resampler = sitk.ResampleImageFilter()
    resampler.SetSize(grid.size)
    resampler.SetOutputSpacing(grid.spacing)
    resampler.SetOutputOrigin(grid.origin)
    resampler.SetOutputDirection(grid.direction)
    resampler.SetInterpolator(interpolator)
    return resampler.Execute(image)
