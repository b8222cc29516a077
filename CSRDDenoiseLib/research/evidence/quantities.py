"""What must not change: lesions by size, regions, grey over white matter, what only the MR shows, blobs."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

import numpy as np
from scipy import ndimage

from ... import measures
from ...scan import robust_std, smooth
from ..training.curves import BLOB_DEVIATIONS, BLOB_MM, Scene, blobs_per_litre
from .scenes import Brain, Lesion

PEAK_ML = 1.0
LEAST_CONTRAST = 0.1
"""Of grey and white matter over the brain mean, to hold an imprint against."""

Images = Mapping[str, np.ndarray]


def image_scores(image: np.ndarray, scene: Scene, known: float) -> dict[str, float]:
    """Return PSNR (dB), SSIM and NRMSE in the head, ``_clean`` against noise-free and ``_full`` against the full dose.

    Args:
        image: estimate of the noise-free image, (D, H, W).
        scene: the answer.
        known: share of the low dose in the prediction of the full dose.
    """
    full = known * scene.low_dose + (1 - known) * image
    pairs = {"clean": (image, scene.noise_free), "full": (full, scene.full_dose)}
    scores = {}
    for name, (made, wanted) in pairs.items():
        for measure in (measures.psnr, measures.ssim, measures.nrmse):
            scores[f"{measure.__name__}_{name}"] = round(float(measure(made, wanted, scene.mask)), 5)
    return scores


def lesion_rows(images: Images, scene: Scene, lesions: Sequence[Lesion]) -> list[dict[str, Any]]:
    """Of each lesion and image the mean, maximum, peak (mean of 1 mL) and contrast over those of the noise-free image.

    The contrast is the mean of the lesion less that of what is 4 to 10 mm away from it.
    """
    ball, rows = _ball(scene.spacing), []
    for lesion, (box, inside, ring) in zip(lesions, scene.places):
        wanted = _uptake(scene.noise_free[box], inside, ring, ball)
        for name, image in images.items():
            found = _uptake(image[box], inside, ring, ball)
            ratios = {key: round(found[key] / wanted[key], 4) for key in wanted}
            rows.append({"image": name, "radius_mm": lesion.radius_mm, "hot": lesion.hot, **ratios})
    return rows


def region_biases(images: Images, scene: Scene, brain: Brain) -> dict[str, dict[str, Any]]:
    """By image the error in % of means: of the brain, of regions (mean size, largest), and of grey over white matter.

    ``signed`` is the error by region with its sign, of which the mean over scans is the bias (:mod:`.regions`);
    ``to_input`` the mean size for regions against the input in place of noise-free: what the method has changed.
    """
    clean, found = scene.noise_free, {}
    for shown, image in images.items():
        errors = {name: 100 * measures.bias(image, clean, region) for name, region in brain.regions.items()}
        changes = [100 * measures.bias(image, scene.low_dose, region) for region in brain.regions.values()]
        sizes = np.abs(list(errors.values()))
        ratio = _over(image, brain) / _over(clean, brain)
        found[shown] = {
            "brain": round(100 * measures.bias(image, clean, brain.whole), 4),
            "regions": round(float(sizes.mean()), 4),
            "largest": round(float(sizes.max()), 4),
            "signed": {name: round(error, 4) for name, error in errors.items()},
            "to_input": round(float(np.mean(np.abs(changes))), 4),
            "grey_over_white": round(100 * (ratio - 1), 4),
        }
    return found


def imprint(
    without: np.ndarray, with_spheres: np.ndarray, scene: Scene, spheres: Scene, brain: Brain
) -> dict[str, Any]:
    """What spheres in the MR alone change in a result, as shares of the contrast of grey and white matter in the PET.

    Args:
        without: the result with the MR as it is, (D, H, W).
        with_spheres: the result with spheres in the MR.
        scene: the answer.
        spheres: whose ``lesions`` are the spheres.
        brain: grey and white matter.

    Returns:
        ``mean`` and ``largest`` of the size of the change of a sphere's mean, ``signed``, its mean towards grey matter,
        and ``noise``, root mean square of the error of the same means without spheres; nothing where grey and white
        matter differ too little.
    """
    contrast = float(scene.noise_free[brain.grey].mean() - scene.noise_free[brain.white].mean())
    numbers = np.unique(spheres.lesions)[1:]
    if abs(contrast) < LEAST_CONTRAST or numbers.size == 0:
        return {"grey_less_white": round(contrast, 4)}

    def means(image: np.ndarray) -> np.ndarray:
        return measures.region_means(image, spheres.lesions, numbers.tolist()) / contrast

    change, error = means(with_spheres - without), means(without - scene.noise_free)
    return {
        "grey_less_white": round(contrast, 4),
        "spheres": int(numbers.size),
        "mean": round(float(np.abs(change).mean()), 4),
        "largest": round(float(np.abs(change).max()), 4),
        "signed": round(float(change.mean()), 4),
        "noise": round(float(np.sqrt(np.mean(error**2))), 4),
    }


def blobs(images: Images, scene: Scene) -> dict[str, dict[str, float]]:
    """By image the blobs a litre of calm brain above 3 standard deviations of the full dose, and of its own."""
    spread = _coarse_spread(scene.full_dose - scene.noise_free, scene)
    found = {}
    for name, image in images.items():
        difference = image - scene.noise_free
        own = _coarse_spread(difference, scene)
        limits = {"of_full": BLOB_DEVIATIONS * spread, "of_own": BLOB_DEVIATIONS * own}
        counts = {at: blobs_per_litre(difference, scene.calm, scene.cube, limit) for at, limit in limits.items()}
        found[name] = {**{at: round(count, 3) for at, count in counts.items()}, "spread": round(own, 5)}
    return found


def _coarse_spread(difference: np.ndarray, scene: Scene) -> float:
    return robust_std(smooth(difference, scene.cube, BLOB_MM)[scene.calm])


def _over(image: np.ndarray, brain: Brain) -> float:
    return float(image[brain.grey].mean(dtype=np.float64) / image[brain.white].mean(dtype=np.float64))


def _uptake(part: np.ndarray, inside: np.ndarray, ring: np.ndarray, ball: np.ndarray) -> dict[str, float]:
    means = ndimage.convolve(np.asarray(part, np.float64), ball, mode="nearest")
    mean = float(part[inside].mean(dtype=np.float64))
    return {
        "mean": mean,
        "max": float(part[inside].max()),
        "peak": float(means[inside].max()),
        "contrast": mean - float(part[ring].mean(dtype=np.float64)),
    }


def _ball(side: float) -> np.ndarray:
    """Weights (n, n, n) of the mean over a ball of 1 mL."""
    radius = (3000 * PEAK_ML / (4 * np.pi)) ** (1 / 3)
    line = np.arange(-int(radius / side + 0.5), int(radius / side + 0.5) + 1) * side
    ball = (line[:, None, None] ** 2 + line[:, None] ** 2 + line**2 <= radius**2).astype(np.float64)
    return ball / ball.sum()
