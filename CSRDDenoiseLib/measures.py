"""What is measured: numpy arrays of one shape (D, H, W), boolean masks, one number each.

``image`` is what a method returned and ``reference`` what it should have been (full dose, or the noise-free truth), in
the same unit. Every score is free of units, so it can be averaged over subjects.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterable, Optional, Sequence

import numpy as np
from scipy import ndimage

SSIM_SIGMA, SSIM_TRUNCATE = 1.5, 3.5
SSIM_K1, SSIM_K2 = 0.01, 0.03
"""Wang et al. 2004, section III.B."""
LIMITS_OF_AGREEMENT = 1.96
SHELL_GAP_MM = 3.0
SHELL_MM = 6.0
TEXTURE_LEVELS = 32


def peak(reference: np.ndarray, mask: np.ndarray) -> float:
    """Maximum of the reference inside the mask: the peak of :func:`psnr` and the data range of :func:`ssim`."""
    return float(reference[mask].max())


def mean_squared_error(image: np.ndarray, reference: np.ndarray, mask: np.ndarray) -> float:
    """Mean of (image - reference)^2 over the mask, in the squared unit of the images."""
    difference = image[mask].astype(np.float64) - reference[mask]
    return float(np.mean(difference**2))


def psnr(image: np.ndarray, reference: np.ndarray, mask: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB: 10 log10(peak^2 / MSE), both over the mask; infinite for equal images."""
    return psnr_of_error(mean_squared_error(image, reference, mask), peak(reference, mask))


def psnr_of_error(squared_error: float, top: float) -> float:
    """Peak signal-to-noise ratio in dB of a mean squared error, for a reference whose maximum is ``top``."""
    return float("inf") if squared_error == 0 else float(10 * np.log10(top**2 / squared_error))


def ceiling_psnr(noise_free: np.ndarray, reference: np.ndarray, mask: np.ndarray, dose: float) -> float:
    """PSNR in dB that no method can exceed on average against a reference that is noisy itself.

    A low dose that keeps a fraction f of the counts of the full dose is independent of the noise in the remaining
    ones, so its squared error is at least (1 - f) s^2 with s^2 the noise variance of the full dose (f = ``dose``),
    which is measured here against the noise-free reconstruction.
    """
    return psnr_of_error((1 - dose) * mean_squared_error(reference, noise_free, mask), peak(reference, mask))


def ssim(image: np.ndarray, reference: np.ndarray, mask: np.ndarray) -> float:
    """Structural similarity, averaged over the mask (Wang et al. 2004: Gaussian weights, sigma 1.5 voxels, in 3D).

    The data range is the peak of the reference in the mask; 1 means equal. The same as scikit-image's
    ``structural_similarity`` with these weights, which Slicer's Python lacks.
    """
    box = _box_around(mask, margin=int(4 * SSIM_SIGMA))
    x, y = reference[box].astype(np.float64), image[box].astype(np.float64)
    mean_x, mean_y, xx, yy, xy = (
        ndimage.gaussian_filter(part, SSIM_SIGMA, mode="reflect", truncate=SSIM_TRUNCATE)
        for part in (x, y, x * x, y * y, x * y)
    )
    top = peak(reference, mask)
    c1, c2 = (SSIM_K1 * top) ** 2, (SSIM_K2 * top) ** 2
    alike = (2 * mean_x * mean_y + c1) * (2 * (xy - mean_x * mean_y) + c2)
    whole = (mean_x**2 + mean_y**2 + c1) * (xx - mean_x**2 + yy - mean_y**2 + c2)
    return float((alike / whole)[mask[box]].mean())


def nrmse(image: np.ndarray, reference: np.ndarray, mask: np.ndarray) -> float:
    """Root of the summed squared error over the root of the summed squared reference, over the mask."""
    energy = float(np.mean(reference[mask].astype(np.float64) ** 2))
    return float(np.sqrt(mean_squared_error(image, reference, mask) / energy))


def mae(image: np.ndarray, reference: np.ndarray, mask: np.ndarray) -> float:
    """Mean absolute error over the mask, as a share of the mean of the reference there."""
    difference = image[mask].astype(np.float64) - reference[mask]
    return float(np.abs(difference).mean() / reference[mask].mean(dtype=np.float64))


def bias(image: np.ndarray, reference: np.ndarray, mask: np.ndarray) -> float:
    """Relative error of the mean over the mask: 0.01 means that activity was raised by 1 %."""
    return float(image[mask].mean(dtype=np.float64) / reference[mask].mean(dtype=np.float64) - 1)


def coefficient_of_variation(image: np.ndarray, mask: np.ndarray) -> float:
    """Standard deviation over mean inside a region of even uptake, the usual measure of PET noise."""
    return float(image[mask].std(dtype=np.float64) / image[mask].mean(dtype=np.float64))


def shell(
    region: np.ndarray,
    spacing: Sequence[float],
    allowed: np.ndarray,
    gap_mm: float = SHELL_GAP_MM,
    thickness_mm: float = SHELL_MM,
) -> np.ndarray:
    """Surroundings of a region: the ``allowed`` voxels whose distance to it exceeds the gap, ``thickness_mm`` deep."""
    distance = ndimage.distance_transform_edt(~region, sampling=spacing)
    return (distance > gap_mm) & (distance <= gap_mm + thickness_mm) & allowed


def contrast(image: np.ndarray, region: np.ndarray, surroundings: np.ndarray) -> float:
    """Mean of a region over the mean of its surroundings, minus one: positive for hot, negative for cold lesions."""
    return float(image[region].mean(dtype=np.float64) / image[surroundings].mean(dtype=np.float64) - 1)


def contrast_recovery(
    image: np.ndarray, reference: np.ndarray, lesions: Iterable[tuple[np.ndarray, np.ndarray]]
) -> Optional[float]:
    """Lesion contrast of the image over that of the reference; 1 keeps the lesions as they are.

    Contrasts are summed over the lesions before they are divided, so that a faint lesion, whose own ratio would be
    mostly noise, weighs as little as it is visible.

    Args:
        image: the image to judge.
        reference: the full dose.
        lesions: pairs of masks, a lesion and its surroundings (:func:`shell`); all hot, or all cold.

    Returns:
        The recovery, or None without lesions.
    """
    pairs = list(lesions)
    if not pairs:
        return None
    kept = sum(contrast(image, region, around) for region, around in pairs)
    return kept / sum(contrast(reference, region, around) for region, around in pairs)


def region_error(image: np.ndarray, reference: np.ndarray, regions: Sequence[np.ndarray], brain: np.ndarray) -> float:
    """Mean absolute relative error of region uptake over brain uptake (an uptake value ratio), over the regions."""

    def ratios(volume: np.ndarray) -> np.ndarray:
        means = np.array([volume[region].mean(dtype=np.float64) for region in regions])
        return means / volume[brain].mean(dtype=np.float64)

    return float(np.mean(np.abs(ratios(image) / ratios(reference) - 1)))


def region_means(volume: np.ndarray, labels: np.ndarray, numbers: Sequence[int]) -> np.ndarray:
    """Mean of a volume (D, H, W) over each of the labelled regions, (len(numbers),), in the volume's unit."""
    return np.asarray(ndimage.mean(np.asarray(volume, np.float64), labels, numbers), np.float64)


@dataclass(frozen=True)
class Agreement:
    """How two measurements of the same regions agree (Bland and Altman 1986), in their unit.

    Attributes:
        means: of the two, one a region; the horizontal axis of the plot.
        differences: measured - reference, one a region; the vertical axis.
        bias: mean difference.
        low, high: limits of agreement, bias -+ 1.96 standard deviations (N - 1) of the differences; None below 3.
    """

    means: tuple[float, ...]
    differences: tuple[float, ...]
    bias: float
    low: Optional[float]
    high: Optional[float]


def bland_altman(measured: Sequence[float], reference: Sequence[float]) -> Agreement:
    """Return how measurements (N,) agree with those of the reference (N,), N of 1 or more."""
    ours, theirs = np.asarray(measured, np.float64), np.asarray(reference, np.float64)
    differences = ours - theirs
    middle = float(differences.mean())
    reach = LIMITS_OF_AGREEMENT * float(differences.std(ddof=1)) if len(differences) >= 3 else None
    return Agreement(
        tuple(((ours + theirs) / 2).tolist()),
        tuple(differences.tolist()),
        middle,
        None if reach is None else middle - reach,
        None if reach is None else middle + reach,
    )


def along_line(volume: np.ndarray, start: Sequence[float], end: Sequence[float], count: int) -> np.ndarray:
    """Values (count,) of a volume (D, H, W) at even steps from one index position to another, interpolated linearly.

    Args:
        volume: the voxels.
        start, end: positions (D, H, W) in voxels, from the centre of the first one; ends included.
        count: number of values, 2 or more.

    Returns:
        Float64, NaN outside the volume.
    """
    steps = np.linspace(0.0, 1.0, count)[:, None]
    points = np.asarray(start, np.float64) * (1 - steps) + np.asarray(end, np.float64) * steps
    return ndimage.map_coordinates(volume, points.T, np.float64, order=1, mode="constant", cval=np.nan)


def leakage(
    image: np.ndarray, reference: np.ndarray, structures: Iterable[tuple[np.ndarray, np.ndarray]]
) -> Optional[float]:
    """How much of structures that only the MR shows is seen in the PET, as a share of the uptake around them.

    The mean over the structures of the absolute change of their contrast (:func:`contrast`) from the reference; noise
    alone makes it greater than zero, so compare it with that of a method which does not see the MR.
    """
    changes = [abs(contrast(image, *pair) - contrast(reference, *pair)) for pair in structures]
    return float(np.mean(changes)) if changes else None


def imprint(
    image: np.ndarray, reference: np.ndarray, mr: np.ndarray, structures: Iterable[tuple[np.ndarray, np.ndarray]]
) -> Optional[float]:
    """How much structures that only the MR shows are printed into the PET, as a share of the uptake around them.

    The mean over the structures of the change of their contrast towards that of the MR: bright ones count when they
    rise, dark ones when they fall. Noise, which is independent of the MR, cancels over many structures.
    """
    changes = [
        np.sign(contrast(mr, *pair)) * (contrast(image, *pair) - contrast(reference, *pair)) for pair in structures
    ]
    return float(np.mean(changes)) if changes else None


def texture_distance(image: np.ndarray, reference: np.ndarray, mask: np.ndarray) -> float:
    """Distance of Haralick textures: the mean relative error of contrast, homogeneity, energy and correlation.

    The features are those of the grey-level co-occurrence matrix (Haralick et al. 1973) of in-plane neighbours inside
    the mask, in 32 levels from zero to the reference's peak; over-smoothing and leftover noise both raise it.
    """
    top = peak(reference, mask)
    ours, theirs = (_haralick(volume, mask, top) for volume in (image, reference))
    return float(np.mean(np.abs(ours - theirs) / np.abs(theirs)))


def coverage(image: np.ndarray, std: np.ndarray, reference: np.ndarray, mask: np.ndarray, sigmas: float) -> float:
    """Share of the mask's voxels whose reference lies within ``sigmas`` standard deviations of the image."""
    return float(np.mean(np.abs(image[mask] - reference[mask]) <= sigmas * std[mask]))


def _haralick(volume: np.ndarray, mask: np.ndarray, top: float) -> np.ndarray:
    from skimage.feature import graycomatrix, graycoprops

    levels = np.clip(volume / top * TEXTURE_LEVELS, 0, TEXTURE_LEVELS - 1).astype(np.uint8) + 1
    levels[~mask] = 0
    angles = (0, np.pi / 4, np.pi / 2, 3 * np.pi / 4)
    counts = sum(graycomatrix(plane, [1], angles, TEXTURE_LEVELS + 1, symmetric=True) for plane in levels)
    inside = counts[1:, 1:].sum(axis=(2, 3), keepdims=True)
    properties = ("contrast", "homogeneity", "energy", "correlation")
    return np.array([graycoprops(inside / inside.sum(), name)[0, 0] for name in properties])


def _box_around(mask: np.ndarray, margin: int) -> tuple[slice, ...]:
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    return tuple(slice(max(part.start - margin, 0), part.stop + margin) for part in box)
