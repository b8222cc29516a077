"""The uncertainty of an adapted model, fitted anew to subjects that were held out.

The error that the spread of the draws is fitted to is that to the noise-free image, which is unknown: its square is
estimated voxel by voxel without bias (:func:`.held_out.clean_squares`), and averaged over the many voxels of a bin.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Iterable, Optional

import numpy as np
import SimpleITK as sitk

from ...denoise import denoise
from ...errors import InputError
from ...infer.speed import time_of_draws, time_of_network
from ...model.bundle import Model
from ...prepare.align import head_mask_of
from ...restore.uncertainty import (
    fit_calibration_of_squares,
    fitted_voxels,
    pooled_spread,
    predict_error,
    recipe_of,
    uncalibrated,
)
from ...settings import DenoiseSettings, settings_from_preset
from ...subjects.pair import Pair
from .held_out import clean_squares

_TIMED_SIDE = 32
# what a run does before and after the network, in estimates
_AROUND = 2.0


@dataclass(frozen=True)
class Voxels:
    """Voxels of one held-out scan, in the model's unit: pooled spread of the draws, square of the error; (n,)."""

    subject: str
    spread: np.ndarray
    squares: np.ndarray


def recipe_settings(model: Model) -> Optional[DenoiseSettings]:
    """The settings that a model is meant for, to calibrate at; None for a model without draws."""
    if not model.metadata.draws:
        return None
    recipes = model.metadata.recipes
    preset = settings_from_preset("balanced")
    if not recipes:
        return preset
    recipe = recipe_of(recipes[0])
    return settings_from_preset("balanced", sampler=recipe.sampler, steps=recipe.steps, samples=recipe.samples)


def cost_of_draws(model: Model, settings: DenoiseSettings) -> float:
    """How many evaluations of the posterior mean a run of these settings takes as long as, on the model's device."""
    mean, draws = time_of_network(model, _TIMED_SIDE), time_of_draws(model, _TIMED_SIDE)
    drawing = draws.preparing + (settings.evaluations - 1) * draws.evaluating
    return _AROUND + model.metadata.passes + drawing / (mean.preparing + mean.evaluating)


def voxels_of(pair: Pair, dose: float, model: Model, settings: DenoiseSettings) -> Voxels:
    """Denoise a held-out pair with a model that was not fitted to it, and compare its spread with its error."""
    result = denoise(pair.low, pair.mr, settings, replace(model, metadata=uncalibrated(model.metadata)))
    if result.uncertainty is None:
        raise InputError(f"The model '{model.metadata.name}' gave no spread to calibrate.")
    unit = result.record.residual_scale
    low, full, image, spread = (
        sitk.GetArrayFromImage(each).astype(np.float32)
        for each in (pair.low, pair.full, result.denoised, result.uncertainty)
    )
    noise_free = model.metadata.target == "noise-free"
    squares = clean_squares(image, low, full, dose) if noise_free else (image - full) ** 2
    spacing = pair.low.GetSpacing()[::-1]
    pooled = pooled_spread(spread / unit, spacing)
    chosen = fitted_voxels(head_mask_of(pair.low), pooled)
    return Voxels(pair.row.subject, pooled.ravel()[chosen], squares.ravel()[chosen] / unit**2)


def fit_table(scans: Iterable[Voxels]) -> dict[str, Any]:
    """The table over all scans, and how near it comes on each subject that is left out of the fit.

    Returns:
        As :func:`CSRDDenoiseLib.restore.uncertainty.fit_calibration`, with ``subjects``, ``scans``, and ``ratio``:
        predicted over estimated root mean square error by subject, least and largest, each subject left out of its fit.
    """
    voxels = list(scans)
    names = sorted({scan.subject for scan in voxels})
    table = _fit(voxels)
    counted: dict[str, Any] = {"subjects": len(names), "scans": len(voxels), "held_out_pairs": True}
    if len(names) < 2:
        return {**table, **counted}
    ratios = [_ratio(name, voxels) for name in names]
    return {**table, **counted, "ratio": [round(min(ratios), 3), round(max(ratios), 3)]}


def _fit(voxels: list[Voxels]) -> dict[str, Any]:
    spread, squares = (np.concatenate([getattr(scan, name) for scan in voxels]) for name in ("spread", "squares"))
    return fit_calibration_of_squares(spread, squares)


def _ratio(subject: str, voxels: list[Voxels]) -> float:
    table = _fit([scan for scan in voxels if scan.subject != subject])
    own = [scan for scan in voxels if scan.subject == subject]
    predicted = np.concatenate([predict_error(scan.spread, table) for scan in own])
    known = float(np.mean(np.concatenate([scan.squares for scan in own]), dtype=np.float64))
    return float(np.sqrt(np.mean(predicted**2, dtype=np.float64) / max(known, 1e-12)))
