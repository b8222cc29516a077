"""Align: PET and MR onto the model's grid, an axis-parallel refinement or coarsening of the PET's own grid.

The PET grid is the master. It is brought to L-P-S axis order without interpolation (permuted and flipped axes, the
oblique part stays), then to the model's voxel spacing; the MR follows in physical space.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Sequence, Union

import numpy as np
import SimpleITK as sitk

from ..io.grid import Grid, resample, same_lattice, same_place
from ..scan import Scan, largest_activity, near_broken

ORIENTATION = "LPS"
MODEL_SPACING_MM = 2.0
"""Voxel size of the models, for what is measured without one."""
SPACING_TOLERANCE = 0.05


@dataclass(frozen=True)
class Aligned:
    """PET and MR on the model's grid.

    Attributes:
        grid: the model's grid.
        pet: (D, H, W) in the PET's unit.
        mr: (D, H, W), zero where the MR does not reach; None without an MR.
        covered: boolean (D, H, W), where the MR reaches; None without an MR.
        broken: voxels of the PET were limited, see :func:`to_model_grid`.
    """

    grid: Grid
    pet: np.ndarray
    mr: Optional[np.ndarray]
    covered: Optional[np.ndarray]
    broken: bool = False


def to_grid_of(image: sitk.Image, like: sitk.Image) -> sitk.Image:
    """Return an image on the grid of another, the very values where the voxels of the two coincide up to rounding.

    Else interpolated linearly, after a low-pass where voxels get larger; 0 where the image does not reach.
    """
    own, grid = Grid.of(image), Grid.of(like)
    if same_place(own, grid):
        image = sitk.Image(image)
        image.CopyInformation(like)
        return image
    if same_lattice(own, grid):
        return resample(image, grid, sitk.sitkNearestNeighbor)
    return resample(_antialias(image, _sides_along(own, grid)), grid, sitk.sitkLinear)


def _sides_along(own: Grid, other: Grid) -> tuple[float, ...]:
    """Return how far the voxels of another grid reach along the axes of this one, in mm.

    The box of a voxel has the variance spacing^2 / 12 along each of its axes, and their sum in any direction.
    """
    axes, others = (np.reshape(grid.direction, (3, 3)) for grid in (own, other))
    return tuple(np.sqrt((axes.T @ others) ** 2 @ np.square(other.spacing)).tolist())


def head_mask_of(pet: sitk.Image) -> np.ndarray:
    """Return where the head is in a PET of whatever orientation, boolean (D, H, W) in the order of its own array.

    Raises:
        InputError: the PET shows none.
    """
    oriented = sitk.DICOMOrient(pet, ORIENTATION)
    grid = Grid.of(oriented)
    mask = grid.image(Scan(sitk.GetArrayFromImage(oriented), grid).head.mask.astype(np.uint8))
    return sitk.GetArrayFromImage(resample(mask, Grid.of(pet), sitk.sitkNearestNeighbor)).astype(bool)


def to_model_grid(pet: sitk.Image, mr: Optional[sitk.Image], spacing_mm: float) -> Aligned:
    """Bring PET and MR to the model's voxel spacing, low-pass filtered wherever the voxels get larger.

    Broken voxels of both are limited first (:func:`CSRDDenoiseLib.scan.largest_activity`): the interpolation, the
    network and the checks would spread them over their neighbours.
    """
    limited = _without_broken(pet)
    oriented, broken = sitk.DICOMOrient(limited, ORIENTATION), limited is not pet
    grid = model_grid(Grid.of(oriented), spacing_mm)
    pet_array = sitk.GetArrayFromImage(resample(_antialias(oriented, grid.spacing), grid, sitk.sitkBSpline))
    if mr is None:
        return Aligned(grid, pet_array, None, None, broken)
    filtered = _antialias(_without_broken(mr), (spacing_mm,) * 3)
    mr_array = sitk.GetArrayFromImage(resample(filtered, grid, sitk.sitkLinear))
    return Aligned(grid, pet_array, mr_array.astype(np.float32), coverage(mr, grid), broken)


def near_broken_on(pet: sitk.Image, grid: Grid) -> Optional[np.ndarray]:
    """Return where a grid is near broken voxels of a PET, boolean (D, H, W); None without any."""
    values = sitk.GetArrayViewFromImage(pet)
    near = near_broken(values, Grid.of(pet).array_spacing, largest_activity(values))
    if near is None:
        return None
    mask = Grid.of(pet).image(near.astype(np.uint8))
    return sitk.GetArrayFromImage(resample(mask, grid, sitk.sitkNearestNeighbor)).astype(bool)


def _without_broken(image: sitk.Image) -> sitk.Image:
    values = sitk.GetArrayViewFromImage(image)
    limit = largest_activity(values)
    if float(values.max()) <= limit and float(values.min()) >= -limit:
        return image
    return sitk.Clamp(image, image.GetPixelID(), -limit, limit)


def model_grid(grid: Grid, spacing_mm: float) -> Grid:
    """Return the grid with the same axes and centre that covers ``grid`` with voxels of ``spacing_mm``.

    An axis within 5 % of that spacing is kept as it is: interpolating it would gain nothing and smooth the noise that
    the network has to recognise.
    """
    old, count = np.array(grid.spacing), np.array(grid.size)
    new = np.where(_is_near(old, spacing_mm), old, spacing_mm)
    size = np.ceil(count * old / new - 1e-6).clip(1).astype(int)
    first = ((count - 1) * old - (size - 1) * new) / 2 / old
    return Grid(tuple(size.tolist()), tuple(new.tolist()), tuple(grid.point(first).tolist()), grid.direction)


def _antialias(image: sitk.Image, spacing: Sequence[float]) -> sitk.Image:
    """Gaussian that widens each axis' voxel to the coarser ``spacing``, none along axes that get finer.

    A voxel is a box of variance spacing^2 / 12; the Gaussian has the variance that is missing.
    """
    old, new = np.array(image.GetSpacing()), np.array(spacing)
    variance = np.where((new <= old) | _is_near(old, new), 0.0, (new**2 - old**2) / 12)
    if not variance.any():
        return image
    return sitk.DiscreteGaussian(image, variance.tolist(), maximumKernelWidth=64, maximumError=1e-3)


def _is_near(spacing: np.ndarray, wanted: Union[float, np.ndarray]) -> np.ndarray:
    return np.abs(spacing / wanted - 1) <= SPACING_TOLERANCE


def coverage(image: sitk.Image, grid: Grid) -> np.ndarray:
    """Return where an image reaches on a grid, boolean (D, H, W)."""
    inside = sitk.Image(image.GetSize(), sitk.sitkUInt8) + 1
    inside.CopyInformation(image)
    return sitk.GetArrayFromImage(resample(inside, grid, sitk.sitkNearestNeighbor)).astype(bool)
