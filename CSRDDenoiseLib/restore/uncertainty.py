"""From the spread of samples to the expected error of a result, and an increasing table fitted to known answers.

The samples are about the posterior mean, and a result is not that mean: it keeps a part of the measurement.
The root mean square error of a result therefore is that of the mean, the spread, and how far the result lies from the
mean, which is known (:func:`spread_of_result`).

It includes neither the model's own bias nor the noise of the full dose. The table maps it to the root mean square error
that was measured with it. It is part of the model's metadata, in ``recipes``, beside the settings that it was fitted
with; other settings give another spread, so the table is not applied to them.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, Mapping, Optional, Sequence

import numpy as np

from ..findings import Finding, info, warning
from ..model.contents import CALIBRATION, OF_RESULT
from ..model.metadata import ModelMetadata
from ..scan import smooth
from ..settings import Recipe

KEY = CALIBRATION
SMOOTHING_MM = 6.0
BINS = 20
_SMALLEST_BIN = 50
_VOXELS_PER_SCAN = 100_000


def fit_calibration(spread: np.ndarray, error: np.ndarray, smoothing_mm: float = SMOOTHING_MM) -> dict[str, Any]:
    """Fit the table to voxels of validation subjects, in the model's unit.

    Args:
        spread: (n,), of the samples, after :func:`pooled_spread`.
        error: (n,), result - full dose at the same voxels.
        smoothing_mm: what the spread was pooled with.

    Returns:
        ``spread`` and ``error``, rising lists of one length (bins of equally many voxels), and ``smoothing_mm``.
    """
    return fit_calibration_of_squares(spread, np.square(error, dtype=np.float64), smoothing_mm)


def fit_calibration_of_squares(
    spread: np.ndarray, squares: np.ndarray, smoothing_mm: float = SMOOTHING_MM
) -> dict[str, Any]:
    """Fit the table as :func:`fit_calibration`, to estimates of the squared error, some of which may be negative."""
    # SciPy 1.12, which the extra "evaluate" installs; a run does not need it
    from scipy.optimize import isotonic_regression

    groups = [group for group in _equal_groups(spread, BINS) if group.size >= _SMALLEST_BIN]
    if not groups:
        raise ValueError(f"{spread.size} voxels are too few to calibrate on.")
    spreads = np.array([_rms(spread[group]) for group in groups])
    means = [np.mean(squares[group], dtype=np.float64) for group in groups]
    errors = np.maximum(isotonic_regression(means).x, 0.0) ** 0.5
    keep = np.concatenate([[True], np.diff(spreads) > 0])
    table = {"spread": spreads[keep], "error": errors[keep]}
    rounded = {name: [float(f"{value:.5g}") for value in values] for name, values in table.items()}
    return {**rounded, "smoothing_mm": smoothing_mm, OF_RESULT: True}


def spread_of_result(spread: np.ndarray, left_out: np.ndarray) -> np.ndarray:
    """Return the root mean square error of a noise-free result, from that of the posterior mean.

    E (truth - result)^2 = E (truth - mean)^2 + (mean - result)^2, of which the second is known: the part of the
    residual that the result leaves out. With a known dose the error of the result is the share of it that is modelled
    (``Keeping.modelled``), since the rest of the full dose is measured.

    Args:
        spread: of draws about the posterior mean, (D, H, W).
        left_out: of the residual by the result (:attr:`.canvas.Restored.left_out`), in the same unit.
    """
    return np.hypot(spread, left_out)


def pooled_spread(spread: np.ndarray, spacing: Sequence[float], width_mm: float = SMOOTHING_MM) -> np.ndarray:
    """Pool the variance (D, H, W) over neighbours, because that of a few samples is imprecise at a single voxel."""
    return np.sqrt(smooth(spread.astype(np.float32) ** 2, spacing, width_mm)) if width_mm > 0 else spread


def fitted_voxels(head: np.ndarray, pooled: np.ndarray) -> np.ndarray:
    """Flat indices (n,) of what a scan brings to the fit: up to 200,000 voxels of its head, evenly in their order."""
    inside = np.flatnonzero(head & (pooled > 0))
    return inside[:: max(inside.size // _VOXELS_PER_SCAN, 1)]


def predict_error(spread: np.ndarray, table: Mapping[str, Any]) -> np.ndarray:
    """Look a pooled spread up in the table; beyond its ends the error stays in proportion to the spread."""
    known, error = (np.array(table[name]) for name in ("spread", "error"))
    low = error[0] * spread / max(known[0], 1e-12)
    high = error[-1] * spread / max(known[-1], 1e-12)
    inside = np.interp(spread, known, error)
    return np.where(spread < known[0], low, np.where(spread > known[-1], high, inside)).astype(np.float32)


def calibrate(
    spread: Optional[np.ndarray], spacing: Sequence[float], recipes: Sequence[Mapping[str, Any]], used: Recipe
) -> tuple[Optional[np.ndarray], tuple[Finding, ...]]:
    """Turn the spread of samples into the error to expect, if the model has a table for the recipe that was used.

    Args:
        spread: (D, H, W), of the result in the model's unit, or None.
        spacing: voxel sides in mm, (D, H, W).
        recipes: of the model's metadata: fields of :class:`~CSRDDenoiseLib.settings.Recipe` and a ``calibration``.
        used: recipe of the run.

    Returns:
        The error, or the spread as it is, and the finding ``uncertainty``.
    """
    if spread is None:
        return None, (info("uncertainty.none", calibrated=False),)
    current = [each for each in recipes if each[KEY].get(OF_RESULT)]
    if recipes and not current:
        return spread, (warning("uncertainty.earlier", calibrated=False),)
    fitting = next((each[KEY] for each in current if recipe_of(each) == used), None)
    if fitting is not None:
        facts = {name: value for name, value in fitting.items() if name not in ("spread", "error")}
        error = predict_error(pooled_spread(spread, spacing, fitting["smoothing_mm"]), fitting)
        return error, (info("uncertainty.calibrated", calibrated=True, **facts),)
    if not current:
        return spread, (info("uncertainty.spread", calibrated=False),)
    fitted = {"fitted": recipe_of(current[0]).as_dict(), "used": used.as_dict()}
    return spread, (warning("uncertainty.not_calibrated", calibrated=False, **fitted),)


def recipe_of(entry: Mapping[str, Any]) -> Recipe:
    """Return the settings of an entry of a model's ``recipes``."""
    return Recipe(**{field.name: entry[field.name] for field in fields(Recipe) if field.name in entry})


def uncalibrated(metadata: ModelMetadata) -> ModelMetadata:
    """Return a model's metadata without any calibration, so that a run gives the spread as it is."""
    extra = {name: value for name, value in metadata.extra.items() if name != KEY}
    return replace(metadata, recipes=(), extra=extra)


def calibration_error(predicted: np.ndarray, error: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error of a standard deviation, as a share of the root mean square error.

    Voxels are sorted into bins of equally many by what was predicted; it is the mean over the bins of the difference
    between the root mean squares of prediction and error, over that of the error as a whole (Laves et al. 2020).
    """
    gaps = [abs(_rms(predicted[group]) - _rms(error[group])) for group in _equal_groups(predicted, bins)]
    whole = _rms(error)
    return float(np.mean(gaps)) / whole if whole > 0 else float("inf")


def _equal_groups(values: np.ndarray, count: int) -> list[np.ndarray]:
    return np.array_split(np.argsort(values, kind="stable"), min(count, values.size))


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))
