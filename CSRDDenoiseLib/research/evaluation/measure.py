"""Measure: every method on every study at every dose, one record each."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any, Iterator, Mapping, Optional, Sequence

import numpy as np

from ... import measures
from ...restore.uncertainty import calibration_error
from .methods import Method, Outcome
from .study import Study

CEILING = "Ceiling"
COVERAGE_SIGMAS = (0.5, 1.0, 1.5, 2.0, 3.0)


@dataclass(frozen=True)
class Measurement:
    """One method on one scan.

    Attributes:
        subject: name of the study.
        tracer: of the study.
        dose: as a fraction of the full dose, "1/10".
        method: its name in the table.
        scores: metric -> value; a metric that cannot be measured (no lesion, no noise-free image) is absent.
        seconds: wall time; 0 where nothing was computed.
        chosen: the parameter that was tuned, with its unit.
    """

    subject: str
    tracer: str
    dose: str
    method: str
    scores: dict[str, float]
    seconds: float
    chosen: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the record as plain JSON types."""
        return asdict(self)


def measure(study: Study, doses: Optional[Sequence[Fraction]], methods: Mapping[str, Method]) -> Iterator[Measurement]:
    """Apply every method to every dose of a study, and add the ceiling where it is known.

    Args:
        study: the scans.
        doses: which of them; None takes all, and those the study lacks are left out.
        methods: name in the table -> method.
    """
    for dose in [dose for dose in doses or study.low_doses if dose in study.low_doses]:
        for name, method in methods.items():
            outcome = method(study, dose)
            yield record_of(study, dose, name, outcome)
        limit = ceiling(study, dose)
        if limit is not None:
            yield limit


def ceiling(study: Study, dose: Fraction, nested: bool = True) -> Optional[Measurement]:
    """The PSNR that no method can pass on average, where the noise of the full dose is known, or else None.

    Args:
        study: with its noise-free image, or with the full dose's noise by repeated scans.
        dose: of the scan.
        nested: whether the low dose's counts are a part of the full dose's.
    """
    share, head = float(dose) if nested else 0.0, study.masks.head
    if study.noise_free is not None:
        limit = measures.ceiling_psnr(study.noise_free, study.full_dose, head, share)
    elif study.full_noise:
        limit = measures.psnr_of_error((1 - share) * study.full_noise, measures.peak(study.full_dose, head))
    else:
        return None
    return _record(study, dose, CEILING, {"psnr": limit}, Outcome(study.full_dose, 0.0))


def record_of(study: Study, dose: Fraction, name: str, outcome: Outcome) -> Measurement:
    """Score what a method made of one scan."""
    return _record(study, dose, name, score(study, outcome), outcome)


def score(study: Study, outcome: Outcome) -> dict[str, float]:
    """Return every metric that the study allows, against the full dose.

    ``truth_nrmse`` is against the noise-free image; so are coverage and calibration of a standard deviation to it, and
    without that image there are none.
    """
    image, full, masks = outcome.image, study.full_dose, study.masks
    calm = bool(masks.white_matter.any())
    scores: dict[str, Optional[float]] = {
        "psnr": measures.psnr(image, full, masks.head),
        "ssim": measures.ssim(image, full, masks.head),
        "nrmse": measures.nrmse(image, full, masks.head),
        "mae": measures.mae(image, full, masks.head),
        "hot_contrast": measures.contrast_recovery(image, full, masks.hot),
        "cold_contrast": measures.contrast_recovery(image, full, masks.cold),
        "bias": measures.bias(image, full, masks.brain),
        "total_bias": measures.bias(image, full, masks.head),
        "white_matter_noise": measures.coefficient_of_variation(image, masks.white_matter) if calm else None,
        "region_error": measures.region_error(image, full, masks.regions, masks.brain) if masks.regions else None,
        "texture": measures.texture_distance(image, full, masks.brain),
        "leakage": measures.leakage(image, full, masks.mr_only),
    }
    if study.mr is not None:
        scores["imprint"] = measures.imprint(image, full, study.array(study.mr), masks.mr_only)
    if study.noise_free is not None:
        scores["truth_nrmse"] = measures.nrmse(image, study.noise_free, masks.head)
    aim = study.noise_free if outcome.std_to_noise_free else full
    if outcome.std is not None and aim is not None:
        for sigmas in COVERAGE_SIGMAS:
            scores[f"coverage_{sigmas:g}"] = measures.coverage(image, outcome.std, aim, masks.brain, sigmas)
        error = (image - aim)[masks.brain]
        scores["calibration_error"] = calibration_error(outcome.std[masks.brain], error)
    return {name: float(value) for name, value in scores.items() if value is not None and np.isfinite(value)}


def _record(study: Study, dose: Fraction, name: str, scores: dict[str, float], outcome: Outcome) -> Measurement:
    tracer = str(study.facts.get("tracer", "unknown"))
    return Measurement(study.name, tracer, str(dose), name, scores, outcome.seconds, outcome.chosen)
