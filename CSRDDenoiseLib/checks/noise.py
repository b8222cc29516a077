"""How noisy a PET is, from the PET alone, against what a model was trained on; and what dose that looks like.

Two numbers: the noise level (``scan.noise_level``), and an estimate of the dose from the noise's texture,
a linear fit to the power spectrum of the brain. Both are compared with the same numbers of the training data, which
stand in the model's metadata (:func:`noise_facts`); a model without them has nothing to compare with and is silent.

A dose is a share of a full dose, and full doses differ from scanner to scanner: without a full dose to compare with
(``counts.py``) the estimate is a range, relative to the full-dose scans the model was trained on.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Iterable, Mapping, Optional, Sequence

import numpy as np
from scipy import fft, ndimage

from ..findings import Finding, Severity, info
from ..model.contents import NOISE_RANGE
from ..scan import FWHM_PER_SIGMA, HEAD_SMOOTHING_MM, Scan, smooth
from ..sentences import as_fraction
from .dose import REFERENCE, TYPICAL

INSIDE, NEAR, OUTSIDE = "inside", "near", "outside"
NEAR_FACTOR = 1.25
_ORDER = (INSIDE, NEAR, OUTSIDE)
RIGHT_FACTOR = 1.5
# the fit spreads its answers by a factor 2 and more: a tighter range warns in vain
ANSWERS_INSIDE = (0.02, 0.98)
RINGS_PER_MM = tuple(np.linspace(0.04, 0.18, 9).round(4).tolist())
_RINGS_OF_SLOPE = 7
_BACKGROUND_MM = 14.0
SMALLEST_BRAIN_ML = 100.0
_RIDGE = 0.3
_FOLDS = 6
_FEWEST_SCANS = 30


@dataclass(frozen=True)
class NoiseSample:
    """One scan a model was trained on, or one like them.

    Attributes:
        scan: scans of the same phantom share this number.
        dose: fraction of the full dose.
        level: noise level.
        features: of :func:`texture`.
        trained: whether the model saw this dose.
    """

    scan: int
    dose: float
    level: float
    features: np.ndarray
    trained: bool


def texture(scan: Scan) -> Optional[np.ndarray]:
    """Describe the noise of a PET by the power spectrum of the bright part of the brain.

    Returns:
        The logarithm of the power in eight rings of spatial frequency (:data:`RINGS_PER_MM`), of the volume it was
        taken over, and the squared steps from ring to ring; None where too little brain is seen.
    """
    volume_ml = float(scan.core.sum() * np.prod(scan.spacing) / 1000)
    if volume_ml < SMALLEST_BRAIN_ML:
        return None
    count, total = _power_in_rings(_fine_detail(scan.relative, scan.core, scan.spacing), scan.spacing)
    if not count.all() or not (total > 0).all():
        return None
    logs = np.log(total / count)
    return np.concatenate([logs, [np.log(volume_ml)], np.diff(logs) ** 2])


def _fine_detail(pet: np.ndarray, core: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """What a smoothing of 14 mm takes away, under a window with soft edges whose mean square is that of the core."""
    box = ndimage.find_objects(core.astype(np.uint8))[0]
    # as much around the box as the smoothing looks at: the rest of the volume need not be smoothed
    reach = [int(3 * _BACKGROUND_MM / FWHM_PER_SIGMA / step) + 2 for step in spacing]
    wide = tuple(slice(max(part.start - n, 0), part.stop + n) for part, n in zip(box, reach))
    inner = tuple(slice(part.start - around.start, part.stop - around.start) for part, around in zip(box, wide))
    window = smooth(core[wide], spacing, HEAD_SMOOTHING_MM)[inner]
    fine = smooth(pet[wide], spacing, _BACKGROUND_MM)[inner]
    np.subtract(pet[box], fine, out=fine)
    fine *= window
    fine *= np.float32(np.sqrt(np.prod(spacing) / np.vdot(window, window)))
    return fine


def _power_in_rings(fine: np.ndarray, spacing: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Number of frequencies and sum of the power in each ring, of a volume (D, H, W)."""
    z, y = (fft.fftfreq(n, step) for n, step in zip(fine.shape[:2], spacing))
    in_plane = y[:, None] ** 2 + fft.rfftfreq(fine.shape[2], spacing[2]) ** 2
    rings = len(RINGS_PER_MM) + 1
    count, total = np.zeros(rings, int), np.zeros(rings)
    # plane by plane, because frequencies and rings take more memory than the spectrum
    for along, plane in zip(z, fft.rfftn(fine)):
        ring = np.digitize(np.sqrt(along**2 + in_plane).ravel(), RINGS_PER_MM)
        count += np.bincount(ring, minlength=rings)
        total += np.bincount(ring, np.abs(plane.ravel()) ** 2, minlength=rings)
    return count[1:-1], total[1:-1]


def blur_fwhm_mm(features: np.ndarray) -> float:
    """Width of the Gaussian whose spectrum falls as steeply as that of :func:`texture`, in mm; 0 for one that rises."""
    # the outer rings of a smooth image hold what leaks there from the window's edge
    rings = np.array(RINGS_PER_MM[:_RINGS_OF_SLOPE])
    middle = (rings[1:] + rings[:-1]) / 2
    slope = float(np.polyfit(middle**2, features[: middle.size], 1)[0])
    return float(FWHM_PER_SIGMA * np.sqrt(max(-slope, 0.0)) / (2 * np.pi))


def noise_facts(samples: Iterable[NoiseSample]) -> dict[str, Any]:
    """Summarise training scans for a model's metadata, under ``NOISE_RANGE`` of ``extra``.

    Returns:
        ``levels`` (dose -> 5 %, 50 % and 95 % quantile), ``range`` (1 % and 99 % over all trained doses) and, with
        enough scans, ``dose_fit``: weights, the range of its answers over trained doses, and how it did on scans that
        were left out of the fit (``right``: the share within a factor 1.5; ``factor``: the usual factor of error).
    """
    samples = list(samples)
    trained = [sample for sample in samples if sample.trained]
    if not trained:
        return {}
    doses = sorted({sample.dose for sample in trained}, reverse=True)
    levels = {dose: [sample.level for sample in trained if sample.dose == dose] for dose in doses}
    facts: dict[str, Any] = {
        "levels": {
            as_fraction(dose): _rounded(np.quantile(values, (0.05, 0.5, 0.95))) for dose, values in levels.items()
        },
        "range": _rounded(np.quantile([sample.level for sample in trained], (0.01, 0.99))),
    }
    if len(samples) >= _FEWEST_SCANS:
        facts["dose_fit"] = _fit(samples)
    return facts


def judge_noise(
    level: float, features: Optional[np.ndarray], extra: Mapping[str, Any], share: Optional[float] = None
) -> tuple[Finding, ...]:
    """Compare the noise of a PET with a model's training data.

    Args:
        level: noise level of the PET.
        features: its :func:`texture`.
        extra: of the model's metadata.
        share: of the counts of a full-dose reference, where there is one.

    Returns:
        Findings of ``noise`` (``level_outside`` where the level is outside and the dose is not), with the ``level``
        and, where the model names its training data, the ``verdict`` (inside, near, outside) and what was ``trained``;
        and of ``dose``, where there is a reference or the model has a fit.
    """
    known = extra.get(NOISE_RANGE) or {}
    dose = estimate_dose(features, known.get("dose_fit"))
    doses: tuple[Finding, ...] = ()
    if share is not None:
        doses = (info("dose.reference", estimate=round(share, 5), relative_to=REFERENCE),)
    elif dose is not None:
        doses = (info("dose.typical", **_typical_dose(dose, known["dose_fit"])),)
    if not known:
        return (info("noise.measured", level=round(level, 5)), *doses)
    (verdict, side), code = _place(level, known["range"]), "noise.outside"
    if dose is not None:
        by_dose, side_of_dose = _place(1 / dose, known["dose_fit"]["answers"])
        if _ORDER.index(by_dose) > _ORDER.index(verdict):
            verdict, side, code = by_dose, side_of_dose, "noise.texture_outside"
    measured = {"level": round(level, 5), "trained": known["range"], "verdict": verdict}
    if verdict != OUTSIDE:
        return (info(f"noise.{verdict}", **measured), *doses)
    low, high = known["range"]
    values = {**measured, "low": low, "high": high, "kind": "more" if side > 0 else "less", **_dose_values(doses)}
    if code == "noise.outside" and _was_trained(values.get("dose"), known["levels"]):
        code = "noise.level_outside"
    return (Finding(code, Severity.WARNING, values), *doses)


def estimate_dose(features: Optional[np.ndarray], fit: Optional[Mapping[str, Any]]) -> Optional[float]:
    """Estimate the dose, as a fraction of training's full doses, from :func:`texture`; None without one or a fit."""
    if features is None or not fit:
        return None
    return float(np.exp(-np.clip(features @ np.array(fit["weights"]) + fit["offset"], 0.0, np.log(200.0))))


def _typical_dose(dose: float, fit: Mapping[str, Any]) -> dict[str, Any]:
    low, high = dose / fit["factor"], min(dose * fit["factor"], 1.0)
    doses = {"estimate": round(dose, 5), "relative_to": TYPICAL, "range": _rounded((low, high))}
    return {**doses, "right": fit["right"], "factor": fit["factor"]}


def _place(value: float, span: Sequence[float]) -> tuple[str, int]:
    low, high = span
    side = 1 if value > high else -1 if value < low else 0
    beyond = max(value / high, low / value)
    return (INSIDE if beyond <= 1 else NEAR if beyond <= NEAR_FACTOR else OUTSIDE), side


def _was_trained(dose: Optional[float], levels: Mapping[str, Any]) -> bool:
    """Whether a dose lies among the trained ones, the keys of their noise levels."""
    doses = [float(Fraction(name)) for name in levels]
    return dose is not None and bool(doses) and min(doses) <= dose <= max(doses)


def _dose_values(doses: Sequence[Finding]) -> dict[str, Any]:
    """Values about the dose for the sentence about the noise."""
    if not doses:
        return {"relative_to": "nothing"}
    dose = doses[0].values
    values = {"relative_to": dose["relative_to"], "dose": dose["estimate"]}
    if "range" in dose:
        low, high = dose["range"]
        values.update(largest_dose=high, smallest_dose=low)
    return values


def _fit(samples: Sequence[NoiseSample]) -> dict[str, Any]:
    features = np.stack([sample.features for sample in samples])
    wanted = -np.log([sample.dose for sample in samples])
    fold = np.array([sample.scan % _FOLDS for sample in samples])
    held_out = np.zeros(len(samples))
    for number in np.unique(fold):
        rest = fold != number
        weights, offset = _ridge(features[rest], wanted[rest])
        held_out[~rest] = features[~rest] @ weights + offset
    error = held_out - wanted
    answers = np.exp(held_out[[sample.trained for sample in samples]])
    weights, offset = _ridge(features, wanted)
    return {
        "weights": [round(float(weight), 6) for weight in weights],
        "offset": round(offset, 6),
        "answers": _rounded(np.quantile(answers, ANSWERS_INSIDE)),
        "right": round(float(np.mean(np.abs(error) < np.log(RIGHT_FACTOR))), 3),
        "factor": round(float(np.exp(np.std(error))), 2),
        "scans": len(samples),
    }


def _ridge(features: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, float]:
    centre, scale = features.mean(0), features.std(0) + 1e-6
    standard = (features - centre) / scale
    penalty = _RIDGE * np.eye(standard.shape[1])
    weights = np.linalg.solve(standard.T @ standard + penalty, standard.T @ (wanted - wanted.mean())) / scale
    return weights, float(wanted.mean() - centre @ weights)


def _rounded(values: Iterable[float]) -> list[float]:
    return [float(f"{value:.4g}") for value in values]
