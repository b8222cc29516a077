"""Contrast of lesions against error in calm brain, along one parameter: of our result, and of each filter.

The curve that NEMA NU 2 uses to compare reconstructions, here against a known noise-free image. Small hot lesions are
drawn into a phantom's noise-free image and low dose alike, so that every scan has enough of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Callable, Iterable, Iterator, Mapping, Sequence, Union

import numpy as np
import torch
from scipy import ndimage

from ...measures import psnr
from ...model.details import guided_filter
from ...prepare.tissue import regressed, tissue_maps
from ...restore.keeping import find_details, keep_coarse, keep_measured
from ...scan import smooth
from ..simulation.anatomy import CSF, GREY, WHITE
from .phantom import CLASSES
from .pool import Example

CONTRASTS = (0.7, 0.8, 0.9)
"""Shares of the hot lesions' contrast in the PET at which methods are compared."""
JUDGED = (0.8, 0.9)
"""Those that a model is judged by."""
KEPT_MM = (0.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 12.0, 16.0, 24.0, float("inf"))
GAUSSIANS_MM = (0.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 7.0, 8.0, 10.0, 12.0)
BLOB_MM, BLOB_DEVIATIONS = 6.0, 3.0
EDGE_MM, GAP_MM = 4.0, 12.0
"""Calm brain is so far from its surface, and from lesions."""
_RADIUS_MM, _RAISE, _LESIONS = (4.0, 6.0), (0.5, 1.5), 24


@dataclass(frozen=True)
class Scene:
    """A low dose with lesions, and what is known of it; all (D, H, W), PET relative to the brain mean.

    Attributes:
        low_dose: the input.
        noise_free: what it would be without noise.
        full_dose: with all counts.
        lesions: label of each lesion.
        calm: the brain away from its surface and from lesions.
        mask: the head.
        mr: normalised MR.
        spacing: voxel side in mm.
        dose: fraction.
    """

    low_dose: np.ndarray
    noise_free: np.ndarray
    full_dose: np.ndarray
    lesions: np.ndarray
    calm: np.ndarray
    mask: np.ndarray
    mr: np.ndarray
    spacing: float
    dose: float

    @cached_property
    def places(self) -> list[tuple[tuple[slice, ...], np.ndarray, np.ndarray]]:
        """Of each lesion a box, where it is in it, and what is 4 to 10 mm away from it."""
        found, reach = [], int(10 / self.spacing) + 1
        for number, box in enumerate(ndimage.find_objects(self.lesions), start=1):
            wide = tuple(slice(max(part.start - reach, 0), part.stop + reach) for part in box)
            inside = self.lesions[wide] == number
            away = ndimage.distance_transform_edt(~inside) * self.spacing
            found.append((wide, inside, (away > 4) & (away < 10) & (self.lesions[wide] == 0)))
        return found

    @property
    def cube(self) -> tuple[float, float, float]:
        """Voxel sides."""
        return (self.spacing,) * 3


@dataclass(frozen=True)
class Point:
    """One setting on a scan.

    Attributes:
        contrast: of the lesions, relative to that in the low dose; mean over lesions.
        error: RMS against noise-free in calm brain, % of the mean.
        psnr_clean: dB against noise-free.
        psnr_full: dB against the full dose.
    """

    contrast: float
    error: float
    psnr_clean: float
    psnr_full: float


def make_scene(example: Example, dose: float, spacing: float, seed: int) -> Scene:
    """Draw up to 24 hot lesions of 4 to 6 mm radius, +50 to +150 %, into an example."""
    rng = np.random.default_rng(seed)
    classes = np.asarray(example.phantom.volumes[CLASSES])
    brain = np.isin(classes, (CSF, GREY, WHITE))
    inner = ndimage.binary_erosion(brain, iterations=max(round(6 / spacing), 1))
    factor, lesions = _lesions(inner, spacing, rng)
    factor = 1 + smooth(factor, (spacing,) * 3, example.phantom.blur_mm)
    near = ndimage.distance_transform_edt(lesions == 0) * spacing < GAP_MM
    calm = ndimage.binary_erosion(brain, iterations=max(round(EDGE_MM / spacing), 1)) & ~near
    pets = (example.low_dose, example.noise_free, example.full_dose)
    low, clean, full = (factor * pet for pet in pets)
    return Scene(low, clean, full, lesions, calm, example.mask, example.mr, spacing, dose)


def score(image: np.ndarray, scene: Scene, known: float = 0.0) -> Point:
    """Score an image; ``known`` is the share of the low dose in its prediction of the full dose."""
    level = float(scene.noise_free[scene.calm].mean())
    error = float(np.sqrt(np.mean((image - scene.noise_free)[scene.calm] ** 2))) / level
    full = known * scene.low_dose + (1 - known) * image
    contrasts = _contrasts(image, scene), _contrasts(scene.low_dose, scene)
    return Point(
        float(contrasts[0].sum() / contrasts[1].sum()),
        100 * error,
        psnr(image, scene.noise_free, scene.mask),
        psnr(full, scene.full_dose, scene.mask),
    )


def low_dose_share(target: str, dose: float) -> float:
    """Share of the low dose in what an estimate predicts of the full dose: none where that is what it estimates.

    Args:
        target: of the model, ``noise-free`` or ``full-dose``.
        dose: fraction.
    """
    return dose if target == "noise-free" else 0.0


def our_curve(
    scene: Scene, estimate: np.ndarray, target: str, kept_mm: Iterable[float] = KEPT_MM
) -> dict[float, Point]:
    """Scores of an estimate of the target along what is kept of the measurement, FWHM in mm -> point."""
    residual = estimate - scene.low_dose
    details = find_details(estimate, residual, scene.cube)
    return _along(scene, target, kept_mm, lambda fwhm: keep_measured(residual, details, scene.cube, fwhm))


def network_curve(scene: Scene, estimate: np.ndarray, target: str) -> dict[float, Point]:
    """:func:`our_curve` of a network by itself: coarse parts are kept, its details stay as it gives them."""
    residual = estimate - scene.low_dose
    return _along(scene, target, KEPT_MM, lambda fwhm: keep_coarse(residual, scene.cube, fwhm))


def _along(
    scene: Scene, target: str, kept_mm: Iterable[float], kept: Callable[[float], np.ndarray]
) -> dict[float, Point]:
    known = low_dose_share(target, scene.dose)
    return {fwhm: score(scene.low_dose + kept(fwhm), scene, known) for fwhm in kept_mm}


def filter_curves(scene: Scene) -> dict[str, dict[float, Point]]:
    """Scores of the filters along the parameter of each, and of the regression also along what is kept."""
    curves: dict[str, dict[float, Point]] = {}
    for name, at, image in filter_images(scene):
        curves.setdefault(name, {})[at] = score(image, scene)
    return curves


def filter_images(scene: Scene) -> Iterator[tuple[str, float, np.ndarray]]:
    """The low dose by each filter that takes a moment: curve, parameter, (D, H, W)."""
    pet, mr = (torch.from_numpy(np.ascontiguousarray(x))[None, None] for x in (scene.low_dose, scene.mr))
    for width in GAUSSIANS_MM:
        yield "Gaussian", width, smooth(scene.low_dose, scene.cube, width)
    for size in (3, 5, 7, 9):
        yield "MR-guided filter", float(size), guided_filter(pet, mr, size)[0, 0].numpy()
    for resolution in (5.0, 7.0):
        maps = tissue_maps(scene.mr, scene.mask, scene.cube, resolution_mm=resolution)
        for size in (3, 5):
            residual = regressed(scene.low_dose, maps, size) - scene.low_dose
            for width in KEPT_MM:
                image = scene.low_dose + keep_coarse(residual, scene.cube, width)
                yield f"tissue regression, maps {resolution:g} mm, box {size}", width, image


def error_at(contrast: float, curve: Mapping[float, Point]) -> float:
    """Least error of a curve where at least this contrast is kept; linear between its points, inf where none is."""
    points = sorted(curve.values(), key=lambda point: point.contrast)
    best = min((p.error for p in points if p.contrast >= contrast), default=float("inf"))
    for low, high in zip(points, points[1:]):
        if low.contrast < contrast <= high.contrast:
            share = (contrast - low.contrast) / (high.contrast - low.contrast)
            best = min(best, low.error + share * (high.error - low.error))
    return best


def dose_gain(wanted: float, dose: float, errors: Sequence[tuple[float, float]]) -> tuple[float, str]:
    """The factor of dose that a filter needs for an error: its error is a power of the dose between two doses.

    Args:
        wanted: the error, ours at ``dose``.
        dose: fraction.
        errors: dose fraction and error of the filter, at the same contrast, by rising dose.

    Returns:
        The factor, and ``>`` or ``<`` where it is a bound: where the largest dose has more error, or the smallest one
        less. Nothing is extrapolated.
    """
    for (low, high_error), (high, low_error) in zip(errors, errors[1:]):
        if low_error <= wanted < high_error and np.isfinite(high_error) and low_error > 0:
            share = np.log(wanted / high_error) / np.log(low_error / high_error)
            return float(low * (high / low) ** share / dose), ""
    if errors[0][1] <= wanted:
        return errors[0][0] / dose, "<" if errors[0][1] < wanted else ""
    return errors[-1][0] / dose, ">"


def gain_text(factor: float, bound: str) -> str:
    """A dose gain, with ``>`` or ``<`` where it is a bound."""
    return f"{bound} {factor:.2f}".strip()


def calm_part(brain: np.ndarray, lesions: np.ndarray, spacing: Union[float, Sequence[float]]) -> np.ndarray:
    """The part of a brain 4 mm from its surface and 12 mm from lesions; all boolean (D, H, W), ``spacing`` in mm."""
    inside = ndimage.distance_transform_edt(brain, sampling=spacing) > EDGE_MM
    if not lesions.any():
        return inside
    return inside & (ndimage.distance_transform_edt(~lesions, sampling=spacing) > GAP_MM)


def blobs_per_litre(difference: np.ndarray, calm: np.ndarray, spacing: Sequence[float], limit: float) -> float:
    """Blobs a litre of calm brain: where a difference from noise-free, smoothed by 6 mm, exceeds ``limit``."""
    _, count = ndimage.label((smooth(difference, spacing, BLOB_MM) > limit) & calm)
    return float(count / (calm.sum() * np.prod(spacing) / 1e6))


def _lesions(inner: np.ndarray, spacing: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    change, labels, free = np.zeros(inner.shape, np.float32), np.zeros(inner.shape, np.int16), inner.copy()
    for number in range(1, _LESIONS + 1):
        places = np.flatnonzero(free)
        if places.size == 0:
            break
        centre = np.unravel_index(int(rng.choice(places)), inner.shape)
        radius = rng.uniform(*_RADIUS_MM)
        reach = int((radius + 2 * GAP_MM) / spacing) + 1
        box = tuple(slice(max(c - reach, 0), c + reach + 1) for c in centre)
        lines = [(np.arange(n)[part] - c) * spacing for n, part, c in zip(inner.shape, box, centre)]
        distance = np.sqrt(lines[0][:, None, None] ** 2 + lines[1][:, None] ** 2 + lines[2] ** 2)
        change[box] += np.clip(0.5 + (radius - distance) / spacing, 0, 1) * rng.uniform(*_RAISE)
        labels[box][distance <= radius] = number
        free[box] &= distance > radius + 2 * GAP_MM
    return change, labels


def _contrasts(image: np.ndarray, scene: Scene) -> np.ndarray:
    """Mean of each lesion less that of what is 4 to 10 mm away from it."""
    return np.array([image[box][inside].mean() - image[box][ring].mean() for box, inside, ring in scene.places])
