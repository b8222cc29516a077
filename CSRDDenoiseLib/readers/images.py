"""The images of a case: on one grid, with one window, and as copies that carry nothing but geometry and values."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Mapping, Optional, Sequence

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from ..errors import InputError
from ..io.grid import Grid
from ..io.read import read_volume
from .table import Case

WINDOW_QUANTILE = 0.999
GRID_TOLERANCE_MM = 1e-2
MEAN_TOLERANCE = 0.2
_SAME_TIME = (1_000_000_000, 1_000_000_000)


def read_case(case: Case) -> dict[str, sitk.Image]:
    """Read the image of each method.

    Raises:
        InputError: an image cannot be used, holds NaN or infinity, or lies on another grid than the first.
    """
    images = {method: read_volume(path, f"{method} image") for method, path in case.images.items()}
    first = next(iter(images))
    for method, image in images.items():
        if not np.isfinite(sitk.GetArrayViewFromImage(image)).all():
            raise InputError(f"The {method} image of case '{case.name}' holds NaN or infinity. Repair it first.")
        _check_grid(case.name, (first, Grid.of(images[first])), (method, Grid.of(image)))
    return images


def window_of(images: Sequence[sitk.Image]) -> tuple[float, float]:
    """Return the values drawn as white and black: 0, and the least of the images' 99.9 % quantiles.

    The least, because the noise of one image would stretch the window of all.
    """
    highest = min(float(np.quantile(sitk.GetArrayViewFromImage(image), WINDOW_QUANTILE)) for image in images)
    return (0.0, highest) if highest > 0 else (0.0, 1.0)


def centre_of(images: Sequence[sitk.Image]) -> tuple[float, float, float]:
    """Return the centre of the activity of all images together, x, y, z in mm (L-P-S)."""
    total = np.sum([np.clip(sitk.GetArrayViewFromImage(image), 0, None) for image in images], axis=0)
    weight = total if total.any() else np.ones_like(total)
    x, y, z = Grid.of(images[0]).point(ndimage.center_of_mass(weight)[::-1])
    return float(x), float(y), float(z)


def unequal_means(images: Mapping[str, sitk.Image]) -> Optional[tuple[str, str, float]]:
    """Return two methods whose mean values differ by more than 20 %, and the ratio, or None.

    Seen in one window such images differ in brightness, which unblinds them.
    """
    means = {method: float(sitk.GetArrayViewFromImage(image).mean(dtype=float)) for method, image in images.items()}
    low, high = min(means, key=lambda method: means[method]), max(means, key=lambda method: means[method])
    if means[low] > 0 and means[high] / means[low] <= 1 + MEAN_TOLERANCE:
        return None
    return low, high, means[high] / means[low] if means[low] > 0 else float("inf")


def write_blind(image: sitk.Image, path: Path) -> None:
    """Write geometry and values alone, float32.

    The file is not compressed and its time is a constant: a noisy image compresses worse, so a size would name it.

    Raises:
        OSError: it was not written whole.
    """
    values = sitk.GetArrayFromImage(image).astype(np.float32)
    sitk.WriteImage(Grid.of(image).image(values), str(path), False)
    if path.stat().st_size < values.nbytes:
        # the library does not notice a full disk
        raise OSError(f"only {path.stat().st_size} of more than {values.nbytes} bytes of an image, as on a full disk")
    os.utime(path, _SAME_TIME)


def _check_grid(case: str, first: tuple[str, Grid], other: tuple[str, Grid]) -> None:
    (name, grid), (other_name, other_grid) = first, other
    same = grid.size == other_grid.size and np.allclose(grid.corners(), other_grid.corners(), atol=GRID_TOLERANCE_MM)
    if not same:
        sizes = " and ".join("x".join(map(str, each.size)) for each in (grid, other_grid))
        raise InputError(
            f"The images '{name}' and '{other_name}' of case '{case}' lie on different grids ({sizes} voxels); "
            "readers would know them by that. Resample them to one grid first."
        )
