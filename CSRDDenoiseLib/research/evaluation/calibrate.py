"""Fit a model's calibration to simulated subjects, whose truth is known, and score it on others.

The error is that to the model's target: the full dose, or the noise-free image.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Iterator, Optional, Sequence

import numpy as np

from ...errors import InputError
from ...model.bundle import Model
from ...restore.uncertainty import calibration_error, fit_calibration, fitted_voxels, pooled_spread, predict_error
from ...settings import DenoiseSettings
from .study import NOISE_FREE, load_study

logger = logging.getLogger(__name__)

NORMAL_COVERAGE = 0.683


@dataclass(frozen=True)
class ScanVoxels:
    """Voxels of one scan, in the model's unit: spread of the samples, the same pooled, error of the result; (n,).

    ``head`` is the anatomy that the subject was drawn from, which other subjects may have as well.
    """

    subject: str
    head: str
    spread: np.ndarray
    pooled: np.ndarray
    error: np.ndarray


@dataclass(frozen=True)
class Score:
    """Agreement of a standard deviation with the error: expected calibration error, and coverage of one deviation."""

    calibration_error: float
    coverage: float


def calibrate_model(
    model: Model,
    folders: Sequence[Path],
    doses: Optional[Sequence[Fraction]],
    settings: DenoiseSettings,
) -> tuple[dict[str, Any], dict[str, Score]]:
    """Fit the table to all subjects, and score it on each after fitting to those of other heads.

    Args:
        model: without a calibration.
        folders: of simulated subjects.
        doses: None takes all of each subject.
        settings: with draws; the table belongs to their number and steps.

    Returns:
        The table with what it was made from, and scores ``before`` and, with two heads or more, ``after``.

    Raises:
        InputError: the model estimates the noise-free image, and a subject has none.
    """
    _check_targets(model, folders)
    for folder in folders:
        # what is wrong with the last one is found before the runs of the first
        load_study(folder)
    scans = []
    for scan in _scans(model, folders, doses, settings):
        score = _score([scan.spread], [scan.error])
        logger.info("%s: %d voxels, %s", scan.subject, scan.error.size, _words(score))
        scans.append(scan)
    scores = {"before": _score([scan.spread for scan in scans], [scan.error for scan in scans])}
    if len({scan.head for scan in scans}) > 1:
        predicted = [_predict_without(scan.head, scans, scan) for scan in scans]
        scores["after"] = _score(predicted, [scan.error for scan in scans])
    counted = {"subjects": len({scan.subject for scan in scans}), "scans": len(scans)}
    measured = {name: {key: round(value, 4) for key, value in vars(score).items()} for name, score in scores.items()}
    return {**_fit(scans), **counted, **measured}, scores


def describe_scores(scores: dict[str, Score]) -> str:
    """Return the scores in words."""
    titles = {"before": "Spread as it is", "after": "Calibrated, on heads left out of the fit"}
    return "\n".join(f"{titles[name]}: {_words(score)}" for name, score in scores.items())


def _check_targets(model: Model, folders: Sequence[Path]) -> None:
    missing = [folder for folder in folders if not (folder / NOISE_FREE).is_file()]
    if missing and model.metadata.target == "noise-free":
        raise InputError(
            f"The model '{model.metadata.name}' estimates the noise-free image, and {len(missing)} of {len(folders)} "
            f"subject(s) have none, the first is '{missing[0]}'; simulate them with --noise-free."
        )


def _scans(
    model: Model, folders: Sequence[Path], doses: Optional[Sequence[Fraction]], settings: DenoiseSettings
) -> Iterator[ScanVoxels]:
    from ...denoise import denoise

    for folder in folders:
        study = load_study(folder)
        for dose in [dose for dose in doses or study.low_doses if dose in study.low_doses]:
            result = denoise(study.low_doses[dose], study.mr, settings, model)
            assert result.uncertainty is not None  # the settings draw samples
            unit = result.record.residual_scale
            spread = study.array(result.uncertainty) / unit
            aim = study.noise_free if model.metadata.target == "noise-free" else study.full_dose
            assert aim is not None  # checked before the first run
            error = (study.array(result.denoised) - aim) / unit
            pooled = pooled_spread(spread, study.spacing)
            chosen = fitted_voxels(study.masks.head, pooled)
            head = str(study.facts.get("anatomy", study.name))
            yield ScanVoxels(study.name, head, *(volume.ravel()[chosen] for volume in (spread, pooled, error)))


def _fit(scans: Sequence[ScanVoxels]) -> dict[str, Any]:
    return fit_calibration(np.concatenate([s.pooled for s in scans]), np.concatenate([s.error for s in scans]))


def _predict_without(head: str, scans: Sequence[ScanVoxels], scan: ScanVoxels) -> np.ndarray:
    return predict_error(scan.pooled, _fit([other for other in scans if other.head != head]))


def _score(predicted: Sequence[np.ndarray], errors: Sequence[np.ndarray]) -> Score:
    standard, error = np.concatenate(predicted), np.concatenate(errors)
    return Score(calibration_error(standard, error), float(np.mean(np.abs(error) <= standard)))


def _words(score: Score) -> str:
    return (
        f"calibration error {score.calibration_error:.1%} of the error, {score.coverage:.1%} of voxels within one "
        f"standard deviation (normal errors: {NORMAL_COVERAGE:.1%})"
    )
