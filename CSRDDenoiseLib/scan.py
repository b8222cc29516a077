"""Normalise: from physical units to what the network sees, by a positive factor only (numpy and scipy, no I/O).

Arrays are in anatomical order (z to superior, y to posterior, x to left), shape (D, H, W). Training and inference
both come through here, so that a model meets at run time exactly what it met in training.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Optional, Sequence

import numpy as np
from scipy import ndimage

HEAD_SMOOTHING_MM = 8.0
HEAD_THRESHOLD = 0.12
BRAIN_THRESHOLD = 0.4
HEAD_MARGIN_MM = 12.0
FWHM_PER_SIGMA = 2.3548200450309493
NOISE_THRESHOLD = 0.7
LEAST_NOISE_LEVEL = 0.005
_SIGMA_PER_MEDIAN = 1.4826
_SLAB = 48


@dataclass(frozen=True)
class Head:
    """Where the head is in a PET volume, and how bright it is.

    Attributes:
        mask: boolean (D, H, W), the head with a margin; air is False.
        box: three slices, the bounding box of ``mask``.
        scale: mean of the smoothed PET over its bright part, in the PET's unit; dividing by it normalises.
    """

    mask: np.ndarray
    box: tuple[slice, slice, slice]
    scale: float


def smooth(volume: np.ndarray, spacing: Sequence[float], fwhm_mm: float) -> np.ndarray:
    """Gaussian smoothing of a (D, H, W) volume; ``spacing`` in mm in the same axis order, FWHM in mm."""
    sigma = [fwhm_mm / FWHM_PER_SIGMA / step for step in spacing]
    return ndimage.gaussian_filter(np.asarray(volume, np.float32), sigma, mode="nearest", truncate=3.0)


def find_head(pet: np.ndarray, spacing: Sequence[float]) -> Optional[Head]:
    """Find the head in a PET volume from the PET alone; every threshold is relative, so units do not matter.

    Returns:
        The head, or None when nothing in the volume stands out.
    """
    # max-normalised first: a float32 filter of values near 1e-30 or 1e30 would under- or overflow
    peak = float(np.max(pet))
    if not np.isfinite(peak) or peak <= 0:
        return None
    relative = np.divide(pet, peak, out=np.empty(pet.shape, np.float32), dtype=np.float64, casting="same_kind")
    smoothed = smooth(relative, spacing, HEAD_SMOOTHING_MM)
    del relative
    bright = float(np.quantile(smoothed, 0.99))
    if bright <= 0:
        return None
    mask = _largest_component(smoothed > HEAD_THRESHOLD * bright)
    if not mask.any():
        return None
    level = float(np.quantile(smoothed[mask], 0.95))
    brain = mask & (smoothed > BRAIN_THRESHOLD * level)
    scale = float(smoothed[brain].mean(dtype=np.float64)) * peak
    mask = _grow(mask, spacing, HEAD_MARGIN_MM)
    return Head(mask=mask, box=ndimage.find_objects(mask.astype(np.uint8))[0], scale=scale)


def measure_normalising(side: int) -> float:
    """Time finding the head in a small cube; return seconds per voxel."""
    steps = np.abs(np.linspace(-1.3, 1.3, side, dtype=np.float32)) < 1
    pet = steps[:, None, None] * steps[:, None] * steps.astype(np.float32)
    began = time.perf_counter()
    find_head(pet, (2.0,) * 3)
    return (time.perf_counter() - began) / side**3


def robust_std(values: np.ndarray) -> float:
    """Standard deviation about zero from the median size, which a few large values do not move; 0 without any."""
    return _SIGMA_PER_MEDIAN * float(np.median(np.abs(values), overwrite_input=True)) if values.size else 0.0


def noise_level(
    pet: np.ndarray, mask: np.ndarray, spacing: Sequence[float], smoothed: Optional[np.ndarray] = None
) -> float:
    """Estimate how noisy a normalised PET (D, H, W) is, from the PET alone.

    It is the robust standard deviation of what a mean over 3 x 3 x 3 voxels takes away,
    in the bright part of the brain. On the model's grid that is near the standard deviation of the residual.

    Args:
        pet: divided by the head's scale.
        mask: the head.
        spacing: voxel sides in mm, in the order of the axes.
        smoothed: the PET smoothed by :data:`HEAD_SMOOTHING_MM`, where it is at hand.
    """
    pet = np.asarray(pet, np.float32)
    core = bright_core(pet, mask, spacing, smoothed)
    fine = ndimage.uniform_filter(pet, 3)
    return max(robust_std(np.subtract(pet, fine, out=fine)[core]), LEAST_NOISE_LEVEL)


def bright_core(
    pet: np.ndarray, mask: np.ndarray, spacing: Sequence[float], smoothed: Optional[np.ndarray] = None
) -> np.ndarray:
    """Where the noise of a normalised PET is measured, boolean (D, H, W); arguments as for :func:`noise_level`."""
    return mask & ((smooth(pet, spacing, HEAD_SMOOTHING_MM) if smoothed is None else smoothed) > NOISE_THRESHOLD)


def top_of_mr(mr: np.ndarray, mask: np.ndarray) -> float:
    """The 99th percentile of an MR's positive values inside the head (D, H, W); 0 without any."""
    inside = mr[mask & (mr > 0)]
    return float(np.quantile(inside, 0.99)) if inside.size else 0.0


def normalise_mr(mr: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Scale an MR (D, H, W) by the 99th percentile of its positive values inside the head, clipped to 0..1.5."""
    top = top_of_mr(mr, mask)
    if top <= 0:
        return np.zeros(mr.shape, np.float32)
    return np.clip(mr / top, 0.0, 1.5).astype(np.float32)


def head_lines(shape: Sequence[int], box: Sequence[slice]) -> tuple[np.ndarray, ...]:
    """Positions along z, y and x, (D,), (H,), (W,) float32: -1 to 1 across the head's bounding box."""
    return tuple(
        2 * (np.arange(n, dtype=np.float32) - part.start) / max(part.stop - 1 - part.start, 1) - 1
        for n, part in zip(shape, box)
    )


def spread_positions(lines: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    """Return channels x, y, z from positions along z, y, x: views (D, H, W) that take no memory."""
    shape = tuple(len(line) for line in lines)
    z, y, x = (
        np.broadcast_to(np.asarray(line, np.float32).reshape([-1 if a == axis else 1 for a in range(3)]), shape)
        for axis, line in enumerate(lines)
    )
    return x, y, z


def _largest_component(mask: np.ndarray) -> np.ndarray:
    labels, count = ndimage.label(mask)
    if count == 0:
        return mask
    # plane by plane, because counting makes 64-bit integers of the labels
    sizes = sum(np.bincount(plane.ravel(), minlength=count + 1) for plane in labels)
    sizes[0] = 0
    return labels == int(sizes.argmax())


def _grow(mask: np.ndarray, spacing: Sequence[float], margin_mm: float) -> np.ndarray:
    """The mask and what is within the margin of it."""
    # the transform holds some sixty bytes a voxel, so it is kept to where the margin can reach, slab by slab
    reach = [int(margin_mm / step) + 1 for step in spacing]
    inside = ndimage.find_objects(mask.astype(np.uint8))[0]
    planes, *sides = (slice(max(part.start - n, 0), part.stop + n) for part, n in zip(inside, reach))
    grown = np.zeros_like(mask)
    for first in range(planes.start, planes.stop, _SLAB):
        low = max(first - reach[0], 0)
        seen = mask[(slice(low, first + _SLAB + reach[0]), *sides)]
        if seen.any():
            near = ndimage.distance_transform_edt(~seen, sampling=spacing) <= margin_mm
            grown[(slice(first, first + _SLAB), *sides)] = near[first - low : first - low + _SLAB]
    return grown
