"""Scan: one PET frame on a grid, and what is known of it: head, brain mean, smoothed volume, noise; each found once.

Arrays are in anatomical order (z to superior, y to posterior, x to left), shape (D, H, W). Training and inference
both use this module, so that a model has the same input at run time as in training. Every threshold is relative,
so units do not matter.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from typing import Iterator, Optional, Sequence

import numpy as np
from scipy import ndimage

from .errors import TooFewCounts
from .io.grid import Grid
from .thresholds import BRAIN_THRESHOLD, HEAD_LENGTH_MM, HEAD_THRESHOLD, LONGEST_HEAD_MM, bright_quantile

HEAD_SMOOTHING_MM = 8.0
HEAD_MARGIN_MM = 12.0
FWHM_PER_SIGMA = 2.3548200450309493
NOISE_THRESHOLD = 0.7
LEAST_NOISE_LEVEL = 0.005
HOTTEST_BRAIN = 10.0
"""Of the bright level of the head: what is hotter counts as this much in the brain mean. A striatum has up to 6."""
_SIGMA_PER_MEDIAN = 1.4826
_SLAB = 48
BROKEN_REACH_MM = 20.0
"""Around a broken voxel: further away the network changes nothing because of it (docs/faults.md)."""
_USUAL_QUANTILE, _BROKEN_FACTOR = 0.999, 50.0


@dataclass(frozen=True)
class Head:
    """Where the head is in a PET volume, and how bright it is.

    Attributes:
        mask: boolean (D, H, W), the head with a margin; air is False.
        box: three slices, the bounding box of ``mask``.
        brain_mean: mean of the smoothed PET over its bright part, in the PET's unit, no voxel of which counts more than
            :data:`HOTTEST_BRAIN`; dividing by it normalises.
        body_mm: length of the body that the head was taken from, from the vertex down; 0 where it was all head.
    """

    mask: np.ndarray
    box: tuple[slice, ...]
    brain_mean: float
    body_mm: float = 0.0

    def cropped(self) -> Head:
        """Return the head in its own bounding box."""
        whole = tuple(slice(0, part.stop - part.start) for part in self.box)
        return Head(self.mask[self.box].copy(), whole, self.brain_mean, self.body_mm)


@dataclass(frozen=True)
class Scan:
    """One PET frame on a grid; each property is computed when it is first needed, and once.

    Attributes:
        pet: (D, H, W) in the PET's unit.
        grid: of its voxels.
        known_head: the head, where it is known already.
        whole_field: take all that stands out, however long it is, instead of its head.
    """

    pet: np.ndarray
    grid: Grid
    known_head: Optional[Head] = None
    whole_field: bool = False

    @classmethod
    def of_array(cls, pet: np.ndarray, spacing: Sequence[float], head: Optional[Head] = None) -> Scan:
        """Return the scan of a PET (D, H, W) whose place in space does not matter; ``spacing`` in mm, (D, H, W)."""
        identity = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
        grid = Grid(tuple(pet.shape[::-1]), tuple(float(side) for side in spacing[::-1]), (0.0, 0.0, 0.0), identity)
        return cls(pet, grid, head)

    @property
    def spacing(self) -> tuple[float, ...]:
        """Voxel sides in mm, (D, H, W)."""
        return self.grid.array_spacing

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel."""
        return float(np.prod(self.spacing)) / 1000

    @cached_property
    def head(self) -> Head:
        """The head.

        Raises:
            InputError: the PET shows none.
        """
        found = self.known_head
        if found is None and self._calm is not None:
            found = _head_in(self._calm, self.spacing, self.whole_field)
        if found is None:
            raise TooFewCounts("No head was found in the PET: nothing in it stands out from the background.")
        return found

    @property
    def brain_mean(self) -> float:
        """Mean activity of the brain, in the PET's unit."""
        return self.head.brain_mean

    @cached_property
    def relative(self) -> np.ndarray:
        """The PET relative to the brain mean, float32."""
        return np.asarray(self.pet / self.brain_mean, np.float32)

    @cached_property
    def smoothed(self) -> np.ndarray:
        """The same, smoothed by :data:`HEAD_SMOOTHING_MM`."""
        if self._calm is None:
            return np.zeros(self.pet.shape, np.float32)
        return self._calm.smoothed * np.float32(self._calm.peak / self.brain_mean)

    @cached_property
    def brain(self) -> np.ndarray:
        """Where the smoothed PET is as bright as brain, boolean."""
        return self.head.mask & (self.smoothed > BRAIN_THRESHOLD)

    @cached_property
    def core(self) -> np.ndarray:
        """The bright part of the brain, where noise is measured, boolean."""
        return bright_core(self.relative, self.head.mask, self.spacing, self.smoothed)

    @cached_property
    def noise_level(self) -> float:
        """What :func:`noise_level` makes of the PET."""
        return noise_in(self.relative, self.core)

    def foreground(self) -> np.ndarray:
        """Return what stands out from the background, without a margin, boolean."""
        return _foreground(self.smoothed, self.spacing)

    def cropped(self) -> Scan:
        """Return the part in the head's box, with what was computed so far, so that the rest can be freed."""
        box = self.head.box
        part = Scan(self.pet[box].copy(), self.grid.crop(box), self.head.cropped())
        for name in ("relative", "smoothed", "brain", "core"):
            if name in self.__dict__:
                part.__dict__[name] = self.__dict__[name][box].copy()
        if "noise_level" in self.__dict__:
            part.__dict__["noise_level"] = self.noise_level
        return part

    @cached_property
    def _calm(self) -> Optional[_Calm]:
        return _calmed(self.pet, self.spacing)


@dataclass(frozen=True)
class _Calm:
    """A PET relative to its maximum, smoothed, and that maximum.

    A float32 filter of values near 1e-30 or 1e30 would under- or overflow, so the filter sees relative values only.
    """

    smoothed: np.ndarray
    peak: float


def smooth(volume: np.ndarray, spacing: Sequence[float], fwhm_mm: float) -> np.ndarray:
    """Gaussian smoothing of a (D, H, W) volume; ``spacing`` in mm in the same axis order, FWHM in mm."""
    sigma = [fwhm_mm / FWHM_PER_SIGMA / step for step in spacing]
    return ndimage.gaussian_filter(np.asarray(volume, np.float32), sigma, mode="nearest", truncate=3.0)


def find_head(pet: np.ndarray, spacing: Sequence[float]) -> Optional[Head]:
    """Find the head in a PET volume from the PET alone; every threshold is relative, so units do not matter.

    Of a body longer than :data:`~CSRDDenoiseLib.thresholds.LONGEST_HEAD_MM` it is the uppermost part.

    Returns:
        The head, or None when nothing in the volume stands out.
    """
    calm = _calmed(pet, spacing)
    return None if calm is None else _head_in(calm, spacing)


def largest_activity(pet: np.ndarray) -> float:
    """Return what only a broken voxel exceeds: 50 times the 99.9 % quantile; infinite where that is 0."""
    usual = float(np.quantile(pet, _USUAL_QUANTILE))
    return _BROKEN_FACTOR * usual if usual > 0 else float("inf")


def near_broken(pet: np.ndarray, spacing: Sequence[float], limit: float) -> Optional[np.ndarray]:
    """Return where a PET (D, H, W) is within :data:`BROKEN_REACH_MM` of a voxel beyond a limit, boolean, or None.

    Args:
        pet: any unit.
        spacing: voxel sides in mm along (D, H, W).
        limit: :func:`largest_activity` of the PET.
    """
    broken = np.abs(pet) > limit
    return _grow(broken, spacing, BROKEN_REACH_MM) if broken.any() else None


def _calmed(pet: np.ndarray, spacing: Sequence[float]) -> Optional[_Calm]:
    peak = float(np.max(pet))
    if not np.isfinite(peak) or peak <= 0:
        return None
    limit = largest_activity(pet)
    if peak > limit:
        # single voxels that are no activity would shift every mean
        peak = limit
        pet = np.minimum(pet, peak)
    relative = np.divide(pet, peak, out=np.empty(pet.shape, np.float32), dtype=np.float64, casting="same_kind")
    return _Calm(smooth(relative, spacing, HEAD_SMOOTHING_MM), peak)


def _foreground(smoothed: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """What stands out from the background, boolean (D, H, W); nothing where the bright level is not positive."""
    level = float(np.quantile(smoothed, bright_quantile(smoothed.shape, spacing)))
    return smoothed > HEAD_THRESHOLD * level if level > 0 else np.zeros(smoothed.shape, bool)


def _head_in(calm: _Calm, spacing: Sequence[float], whole_field: bool = False) -> Optional[Head]:
    smoothed = calm.smoothed
    mask = largest_component(_foreground(smoothed, spacing))
    if not mask.any():
        return None
    body_mm = 0.0 if whole_field else _too_long_mm(mask, spacing)
    if body_mm:
        top = int(np.flatnonzero(mask.any(axis=(1, 2)))[-1]) + 1
        mask[: max(top - round(HEAD_LENGTH_MM / spacing[0]), 0)] = False
    level = float(np.quantile(smoothed[mask], 0.95))
    brain = mask & (smoothed > BRAIN_THRESHOLD * level)
    # a leak of the injection on the skin may be hundreds of times as hot as the brain
    limited = np.minimum(smoothed[brain], np.float32(HOTTEST_BRAIN * level))
    brain_mean = float(limited.mean(dtype=np.float64)) * calm.peak
    mask = _grow(mask, spacing, HEAD_MARGIN_MM)
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    return Head(mask=mask, box=box, brain_mean=brain_mean, body_mm=body_mm)


def _too_long_mm(mask: np.ndarray, spacing: Sequence[float]) -> float:
    """Length of what stands out along z, in mm, where it is longer than a head; else 0."""
    planes = np.flatnonzero(mask.any(axis=(1, 2)))
    length = float((planes[-1] - planes[0] + 1) * spacing[0])
    return length if length > LONGEST_HEAD_MM else 0.0


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
        pet: divided by the brain mean.
        mask: the head.
        spacing: voxel sides in mm, in the order of the axes.
        smoothed: the PET smoothed by :data:`HEAD_SMOOTHING_MM`, where it is at hand.
    """
    return noise_in(np.asarray(pet, np.float32), bright_core(pet, mask, spacing, smoothed))


def noise_in(pet: np.ndarray, core: np.ndarray) -> float:
    """Estimate the noise as :func:`noise_level` does, where the :func:`bright_core` is known already."""
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


def neighbours(values: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the voxels and their neighbours along each axis, as views."""
    for axis in range(values.ndim):
        along = np.moveaxis(values, axis, 0)
        yield along[1:], along[:-1]


def largest_component(mask: np.ndarray) -> np.ndarray:
    """The largest connected part of a mask (D, H, W); the mask itself where it is empty."""
    labels, count = ndimage.label(mask)
    if count == 0:
        return mask
    # plane by plane, because counting makes 64-bit integers of the labels
    sizes = np.zeros(count + 1, int)
    for plane in labels:
        sizes += np.bincount(plane.ravel(), minlength=count + 1)
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
