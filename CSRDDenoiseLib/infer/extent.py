"""How much there is to compute: voxels of a head and of a field of view, from a coarse look (no heavy library)."""

from __future__ import annotations

from typing import Sequence

import numpy as np
from numpy.typing import ArrayLike

from ..thresholds import HEAD_THRESHOLD, REGION_MARGIN_MM, bright_quantile

COARSE_VOXELS = 64


def head_voxels(values: np.ndarray, spacing: Sequence[float], voxel_spacing_mm: float) -> int:
    """Return how many of the model's voxels the box around the head has.

    Args:
        values: (D, H, W), the PET in any unit; at most about 64 voxels a side are looked at.
        spacing: voxel sides in mm along (D, H, W).
        voxel_spacing_mm: edge of the model's voxels.
    """
    strides = [max(1, size // COARSE_VOXELS) for size in values.shape]
    # sums of integers of few bytes would overflow
    coarse = values[:: strides[0], :: strides[1], :: strides[2]].astype(np.float32)
    level = HEAD_THRESHOLD * float(np.quantile(coarse, bright_quantile(values.shape, spacing)))
    # noise of the air exceeds the level here and there, its mean over neighbours does not
    bright = (coarse > level) & (_mean_around(coarse) > level)
    voxels = 1.0
    for axis, (stride, step) in enumerate(zip(strides, spacing)):
        places = np.flatnonzero(bright.any(axis=tuple(other for other in range(3) if other != axis)))
        extent = (places[-1] - places[0] + 1 if places.size else coarse.shape[axis]) * stride * step
        voxels *= max(extent / voxel_spacing_mm, 1.0)
    return int(voxels)


def _mean_around(values: np.ndarray) -> np.ndarray:
    """Return the mean over 3 x 3 x 3 voxels around each (D, H, W); the outermost are repeated."""
    for axis, size in enumerate(values.shape):
        before, after = (np.take(values, np.arange(size) + step, axis, mode="clip") for step in (-1, 1))
        values = (before + values + after) / 3
    return values


def field_voxels(shape: Sequence[int], spacing: Sequence[float], voxel_spacing_mm: float) -> int:
    """Return how many of the model's voxels a field of view of ``shape`` voxels of ``spacing`` mm has."""
    return int(np.prod([max(count * step / voxel_spacing_mm, 1.0) for count, step in zip(shape, spacing)]))


def voxels_around(sides_mm: Sequence[float], voxel_spacing_mm: float) -> int:
    """Return how many of the model's voxels a region of these sides has, with the margin that the network sees."""
    return int(np.prod([max((side + 2 * REGION_MARGIN_MM) / voxel_spacing_mm, 1.0) for side in sides_mm]))


def gap_mm(one: ArrayLike, other: ArrayLike) -> float:
    """Return how far two boxes, [low corner, high corner] in mm each, are apart; 0 where they touch or overlap."""
    (low, high), (other_low, other_high) = np.asarray(one, float), np.asarray(other, float)
    apart = np.maximum(np.maximum(other_low - high, low - other_high), 0.0)
    return float(np.linalg.norm(apart))
