"""What a run changed, in a few numbers and a histogram small enough to be kept as text beside the result."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Optional

import numpy as np
import SimpleITK as sitk

from ..io.grid import Grid, resample
from ..scan import find_head, largest_activity
from ..thresholds import BRAIN_THRESHOLD, bright_quantile

REFERENCE_SIDE_MM = 20.0
COARSE_SPACING_MM = 4.0
SMALLEST_TO_SMOOTH = 4
HISTOGRAM_BINS = 80
WINDOW_QUANTILE = 0.995
TREATED_SHARE = 0.9
"""Of the reference region, to be denoised, where a run was limited to a part of the head."""
LEAST_SHARE = 1e-3
"""Below this share of the largest value a mean is too close to zero to divide by."""


@dataclass(frozen=True)
class ChangeSummary:
    """Numbers about one denoising run; everything is in the PET's unit unless its name states another.

    Attributes:
        mean_change: mean of denoised - PET inside the head (:func:`head_in`).
        max_change: largest absolute change anywhere.
        total_change_percent: change of the summed activity of the whole volume; None where that is about zero.
        noise_before_percent, noise_after_percent: see :data:`~CSRDDenoiseLib.report.names.NOISE_DEFINITION`; None when
            the volume has no such cube, or the part of it that was denoised has none.
        reference_centre_ras: centre of the reference region, a cube of 20 mm where the smoothed PET is flattest.
        window: half width of the display window of the difference, its 99.5th absolute percentile in the head.
        histogram_edges, histogram_counts: the difference inside the head, over -window to window.
    """

    mean_change: float
    max_change: float
    total_change_percent: Optional[float]
    noise_before_percent: Optional[float]
    noise_after_percent: Optional[float]
    reference_centre_ras: Optional[tuple[float, float, float]]
    window: float
    histogram_edges: tuple[float, ...]
    histogram_counts: tuple[int, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the summary as plain JSON types."""
        return asdict(self)


def summarise_change(denoised: sitk.Image, difference: sitk.Image) -> ChangeSummary:
    """Measure what the run changed; the PET it started from is ``denoised - difference``.

    Args:
        denoised: the result.
        difference: denoised - PET on the same grid, in the same unit.
    """
    after = sitk.GetArrayViewFromImage(denoised)
    change = sitk.GetArrayViewFromImage(difference)
    pet = sitk.Cast(denoised, sitk.sitkFloat32) - sitk.Cast(difference, sitk.sitkFloat32)
    before = sitk.GetArrayViewFromImage(pet)
    inside = change[head_in(pet)]
    window = float(np.quantile(np.abs(inside), WINDOW_QUANTILE)) or 1.0
    counts, edges = np.histogram(np.clip(inside, -window, window), bins=HISTOGRAM_BINS, range=(-window, window))
    treated = change != 0
    region = reference_region(pet, treated if treated.any() else None)
    return ChangeSummary(
        mean_change=float(inside.mean(dtype=np.float64)),
        max_change=float(np.abs(change).max()),
        total_change_percent=_percent_of(float(change.mean(dtype=np.float64)), before),
        noise_before_percent=None if region is None else noise_percent(before[region]),
        noise_after_percent=None if region is None else noise_percent(after[region]),
        reference_centre_ras=None if region is None else _centre_ras(pet, region),
        window=window,
        histogram_edges=tuple(float(edge) for edge in edges),
        histogram_counts=tuple(int(count) for count in counts),
    )


def head_in(pet: sitk.Image) -> np.ndarray:
    """Return the head with its margin, boolean (D, H, W), or everything where none is found."""
    return head_and_mean(pet)[0]


def head_and_mean(pet: sitk.Image) -> tuple[np.ndarray, float]:
    """Return :func:`head_in` and the brain mean in the PET's unit; the largest value where no head is found.

    The head is found on coarse voxels. A threshold of the PET itself would take the voxels whose noise is positive, and
    the mean of any good result would be lower there.
    """
    upright = sitk.DICOMOrient(sitk.Cast(pet, sitk.sitkFloat32), "LPS")
    coarse = sitk.BinShrink(upright, _factors(upright))
    grid = Grid.of(coarse)
    found = find_head(sitk.GetArrayViewFromImage(coarse), grid.array_spacing)
    if found is None:
        return np.ones(pet.GetSize()[::-1], bool), float(np.abs(sitk.GetArrayViewFromImage(pet)).max()) or 1.0
    mask = resample(grid.image(found.mask.astype(np.uint8)), Grid.of(pet), sitk.sitkNearestNeighbor)
    return sitk.GetArrayFromImage(mask).astype(bool), found.brain_mean


def _factors(image: sitk.Image) -> list[int]:
    """By which an image is shrunk to voxels of about 4 mm."""
    sides = zip(image.GetSize(), image.GetSpacing())
    return [min(max(1, round(COARSE_SPACING_MM / step)), size) for size, step in sides]


def reference_region(pet: sitk.Image, treated: Optional[np.ndarray] = None) -> Optional[tuple[slice, slice, slice]]:
    """Find the 20 mm cube inside the brain where the smoothed PET is flattest, as slices of the (D, H, W) array.

    The choice looks at the smoothed, coarse PET alone, so it favours neither the noisy nor the denoised volume.

    Args:
        pet: float32.
        treated: boolean (D, H, W), where the cube must lie: where a result differs from the PET; None for all.
    """
    factors = _factors(pet)
    coarse = sitk.BinShrink(_limited(pet), factors)
    radius = [max(1, round(REFERENCE_SIDE_MM / 2 / step)) for step in coarse.GetSpacing()]
    if any(size < max(2 * r + 1, SMALLEST_TO_SMOOTH) for size, r in zip(coarse.GetSize(), radius)):
        return None
    coarse = sitk.SmoothingRecursiveGaussian(coarse, COARSE_SPACING_MM)
    mean = sitk.GetArrayFromImage(sitk.BoxMean(coarse, radius))
    spread = sitk.GetArrayFromImage(sitk.BoxSigma(coarse, radius))
    inside = tuple(slice(r, size - r) for r, size in zip(reversed(radius), mean.shape))
    # the bright level depends on the height of the field, whichever axis of the array that is
    field = Grid.of(sitk.DICOMOrient(coarse, "LPS"))
    level = BRAIN_THRESHOLD * float(np.quantile(mean, bright_quantile(field.size[::-1], field.array_spacing)))
    bright = np.zeros(mean.shape, bool)
    bright[inside] = mean[inside] > max(level, 0.0)
    if treated is not None:
        share = sitk.BoxMean(sitk.BinShrink(Grid.of(pet).image(treated.astype(np.float32)), factors), radius)
        bright &= sitk.GetArrayViewFromImage(share) >= TREATED_SHARE
    if not bright.any():
        return None
    # only where it is bright: elsewhere a smoothed mean can be next to zero
    relative = np.divide(spread, mean, out=np.full(mean.shape, np.inf), where=bright)
    centre = np.unravel_index(int(np.argmin(relative)), relative.shape)
    point = coarse.TransformIndexToPhysicalPoint([int(i) for i in reversed(centre)])
    return _cube_around(pet, point)


def _limited(pet: sitk.Image) -> sitk.Image:
    """A PET without broken voxels, -1 to 1: ITK squares values in float32, and smooths over the whole volume."""
    values = sitk.GetArrayViewFromImage(pet)
    limit = largest_activity(values)
    return Grid.of(pet).image(np.clip(values / limit, -1, 1)) if np.isfinite(limit) else pet


def _cube_around(pet: sitk.Image, point: tuple[float, ...]) -> tuple[slice, slice, slice]:
    index = pet.TransformPhysicalPointToIndex(point)
    half = [max(1, round(REFERENCE_SIDE_MM / 2 / step)) for step in pet.GetSpacing()]
    sides = [slice(max(i - h, 0), min(i + h + 1, size)) for i, h, size in zip(index, half, pet.GetSize())]
    return sides[2], sides[1], sides[0]


def noise_percent(cube: np.ndarray) -> Optional[float]:
    """Return the standard deviation of a cube in percent of its mean, or None where that is negative or about zero."""
    return _percent_of(float(cube.std(dtype=np.float64)), cube)


def _percent_of(value: float, volume: np.ndarray) -> Optional[float]:
    """A value in percent of a volume's mean, or None where that is negative or next to zero."""
    mean, size = float(volume.mean(dtype=np.float64)), float(np.abs(volume).mean(dtype=np.float64))
    return 100.0 * value / mean if mean > LEAST_SHARE * size else None


def _centre_ras(pet: sitk.Image, region: tuple[slice, slice, slice]) -> tuple[float, float, float]:
    index = [(part.start + part.stop - 1) / 2 for part in reversed(region)]
    left, posterior, superior = pet.TransformContinuousIndexToPhysicalPoint(index)
    return -left, -posterior, superior
