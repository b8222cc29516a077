"""A small picture of a scan: PET, denoised and difference in the three planes through the head, as a PNG."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ...io.names import itk_path

SIDE = 64
"""Pixels of one plane."""
BRIGHT, CHANGED = 0.995, 0.995
"""Quantiles that are shown white: of the denoised PET, and of the difference's size."""
_MIDDLE = 127.5


def write_thumbnail(denoised: sitk.Image, difference: sitk.Image, path: Path) -> None:
    """Write three rows (PET, denoised, difference: grey is no change) of three planes, for instance of one head.

    Args:
        denoised: the result.
        difference: denoised - PET on the same grid.
        path: of the PNG; its folder is made.
    """
    after, change = (sitk.Cast(_small(image), sitk.sitkFloat32) for image in (denoised, difference))
    values, changes = sitk.GetArrayFromImage(after), sitk.GetArrayFromImage(change)
    white = max(float(np.quantile(values, BRIGHT)), 1e-30)
    most = max(float(np.quantile(np.abs(changes), CHANGED)), 1e-30)
    rows = [(values - changes) / white * 255, values / white * 255, _MIDDLE + changes / most * _MIDDLE]
    centre = _centre(values)
    picture = np.vstack([np.hstack([_plane(row, axis, centre) for axis in range(3)]) for row in rows])
    path.parent.mkdir(parents=True, exist_ok=True)
    with itk_path(path) as place:
        sitk.WriteImage(sitk.GetImageFromArray(np.clip(picture, 0, 255).astype(np.uint8)), place)


def _small(image: sitk.Image) -> sitk.Image:
    """Return the image in anatomical order on cubic voxels, its longest side ``SIDE`` voxels."""
    image = sitk.DICOMOrient(image, "LPS")
    extent = [size * step for size, step in zip(image.GetSize(), image.GetSpacing())]
    step = max(extent) / SIDE
    size = [max(round(length / step), 1) for length in extent]
    origin = image.TransformContinuousIndexToPhysicalPoint([step / 2 / own - 0.5 for own in image.GetSpacing()])
    spacing = [step] * 3
    return sitk.Resample(image, size, sitk.Transform(), sitk.sitkLinear, origin, spacing, image.GetDirection(), 0.0)


def _centre(values: np.ndarray) -> tuple[int, int, int]:
    weight = np.clip(values, 0, None)
    total = float(weight.sum()) or 1.0
    found = [float((weight.sum(tuple({0, 1, 2} - {axis})) * np.arange(weight.shape[axis])).sum()) for axis in range(3)]
    first, second, third = (min(round(each / total), size - 1) for each, size in zip(found, weight.shape))
    return first, second, third


def _plane(values: np.ndarray, axis: int, centre: tuple[int, int, int]) -> np.ndarray:
    """Return one plane with the head's top up, in the middle of a square."""
    plane = values.take(centre[axis], axis)
    plane = plane[::-1] if axis else plane
    square = np.zeros((SIDE, SIDE), np.float32)
    height, width = plane.shape
    top, left = (SIDE - height) // 2, (SIDE - width) // 2
    square[top : top + height, left : left + width] = plane
    return square
