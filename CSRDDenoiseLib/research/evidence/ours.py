"""A model on a scan: its curve, what its default does, and what its uncertainty covers."""

from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK as sitk

from ... import measures
from ...denoise import DenoiseResult, denoise
from ...io.grid import cubic_image
from ...model.bundle import Model
from ...prepare.bands import noise_bands
from ...restore.keeping import default_keep_mm, kept_image
from ...restore.uncertainty import calibration_error
from ...scan import Scan, smooth
from ...settings import settings_from_preset
from ..training.curves import Scene, low_dose_share, make_scene, our_curve, score
from ..training.pool import Example
from ..training.scoring import bare_estimate
from .filters import plain_point
from .quantities import Images, blobs, image_scores, imprint, lesion_rows, region_biases
from .scenes import Brain, brain_of, lesion_scene, plain_scene, with_spheres

INPUT, FULL, OURS, BARE, GAUSSIAN = "input", "full dose", "ours", "our estimate", "Gaussian"
GAUSSIANS_MM = (2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
COVERED = {1: 0.6827, 2: 0.9545}
"""Standard deviations -> share of normal errors within them."""


def measure_ours(model: Model, example: Example, dose: float, spacing: float, seed: int) -> dict[str, Any]:
    """Measure a model's posterior mean on a scan.

    Args:
        model: of the noise-free image.
        example: the scan.
        dose: its fraction.
        spacing: voxel side in mm.
        seed: of lesions and spheres.

    Returns:
        ``curve`` along what is kept of the measurement; of the default ``point`` and ``scores``, of the bare estimate
        ``bare``, its scores; ``input``, those of the low dose; ``lesions``, ``regions``, ``imprint``, ``blobs``
        (:mod:`.quantities`).
    """
    scene = make_scene(example, dose, spacing, seed)
    estimate = bare_estimate(model, scene)
    width, result = _default(model, scene, estimate)
    brain, target = brain_of(example, spacing), model.metadata.target
    known = low_dose_share(target, dose)
    return {
        "curve": [plain_point(at, point) for at, point in our_curve(scene, estimate, target).items()],
        "width_mm": round(width, 3),
        "point": plain_point(width, score(result, scene, known)),
        "scores": image_scores(result, scene, known),
        "bare": image_scores(estimate, scene, known),
        "input": image_scores(scene.low_dose, scene, 0.0),
        "lesions": _lesions(model, example, dose, brain, seed),
        **_calm(model, plain_scene(example, dose, brain), brain, seed),
    }


def measure_uncertainty(model: Model, example: Example, dose: float, spacing: float) -> dict[str, Any]:
    """Run the preset ``balanced`` on a scan and return :func:`uncertainty_scores`."""
    brain = brain_of(example, spacing)
    scene = plain_scene(example, dose, brain)
    pet, mr = (cubic_image(volume, spacing) for volume in (scene.low_dose, scene.mr))
    run = denoise(pet, mr, settings_from_preset("balanced"), model)
    return uncertainty_scores(run, scene.noise_free, brain.whole)


def uncertainty_scores(run: DenoiseResult, noise_free: np.ndarray, brain: np.ndarray) -> dict[str, Any]:
    """Compare the uncertainty of a run that made draws with the error in the brain.

    Args:
        run: of a low dose.
        noise_free: (D, H, W), on its grid.
        brain: boolean (D, H, W).

    Returns:
        ``coverage``, shares within 1 and 2 standard deviations of noise-free; ``calibration_error``, as a share of the
        error; ``ratio``, root mean square of the uncertainty over that of the error.
    """
    assert run.uncertainty is not None  # the preset draws
    image, std = (sitk.GetArrayFromImage(each) for each in (run.denoised, run.uncertainty))
    error = (image - noise_free)[brain]
    shares = {n: measures.coverage(image, std, noise_free, brain, n) for n in COVERED}
    return {
        "coverage": {str(n): round(share, 4) for n, share in shares.items()},
        "calibration_error": round(calibration_error(std[brain], error), 4),
        "ratio": round(float(np.sqrt(np.mean(std[brain] ** 2) / np.mean(error**2))), 4),
    }


def _lesions(model: Model, example: Example, dose: float, brain: Brain, seed: int) -> list[dict[str, Any]]:
    scene, lesions = lesion_scene(example, dose, brain, seed)
    return lesion_rows(_images(model, scene), scene, lesions)


def _calm(model: Model, scene: Scene, brain: Brain, seed: int) -> dict[str, Any]:
    """What is measured where no lesion was drawn."""
    images = _images(model, scene)
    spheres = with_spheres(scene, brain, seed)
    _, changed = _default(model, spheres, bare_estimate(model, spheres))
    return {
        "regions": region_biases(images, scene, brain),
        "imprint": imprint(images[OURS], changed, scene, spheres, brain),
        "blobs": blobs(images, scene),
    }


def _images(model: Model, scene: Scene) -> Images:
    """The images that are compared; the Gaussian is the one nearest to the full dose."""
    estimate = bare_estimate(model, scene)
    filtered = [smooth(scene.low_dose, scene.cube, width) for width in GAUSSIANS_MM]
    best = max(filtered, key=lambda image: measures.psnr(image, scene.full_dose, scene.mask))
    _, result = _default(model, scene, estimate)
    return {INPUT: scene.low_dose, FULL: scene.full_dose, OURS: result, BARE: estimate, GAUSSIAN: best}


def _default(model: Model, scene: Scene, estimate: np.ndarray) -> tuple[float, np.ndarray]:
    """Width in mm that a run keeps the measurement above by default, and its result."""
    scan = Scan.of_array(scene.low_dose, scene.cube)
    bands = noise_bands(scan.relative, scan.head.mask, scan.spacing, scan.smoothed).constants
    width = default_keep_mm(model.metadata.keep, bands)
    return width, kept_image(estimate, scene.low_dose, scene.cube, width)
