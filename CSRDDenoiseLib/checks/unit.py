"""Does the file name the PET's unit, or is it at least clear from the values? Is the SUV one of a brain?"""

from __future__ import annotations

import numpy as np

from ..findings import Finding, info, warning
from ..io.volume import UNKNOWN, Suv

SUV_RANGE = (0.3, 50.0)
BQ_PER_ML_RANGE = (300.0, 1e6)
USUAL_SUV = (0.03, 60.0)
"""Of a brain's mean: from a third of a tracer that does not enter it (0.1) to three times the highest of FDG (20)."""
_GUESSES = {"SUV": SUV_RANGE, "Bq/mL": BQ_PER_ML_RANGE}


def check_unit(unit: str, brain_mean: float) -> Finding:
    """Compare the unit of the file, or "unknown", with the brain mean."""
    if unit != UNKNOWN:
        return info("unit.stated", stated=unit)
    looks_like = next((name for name, (low, high) in _GUESSES.items() if low <= brain_mean <= high), None)
    mean = float(f"{brain_mean:.4g}")
    if looks_like:
        return info("unit.guessed", stated=unit, looks_like=looks_like, brain_mean=mean)
    ranges = {"suv": SUV_RANGE, "activity": BQ_PER_ML_RANGE}
    return warning("unit.unclear", stated=unit, looks_like="neither SUV nor Bq/mL", brain_mean=mean, **ranges)


def check_suv(suv: Suv, brain_mean: float) -> tuple[Finding, ...]:
    """Warn of a unit, a dose, a weight or a time that cannot be right: the brain's mean would be no SUV of a brain.

    Args:
        suv: how the values become SUV; unknown passes.
        brain_mean: in the PET's unit.
    """
    if suv.factors is None or brain_mean <= 0:
        return ()
    mean, (low, high) = float(np.median(suv.factors)) * brain_mean, USUAL_SUV
    if low <= mean <= high:
        return ()
    return (warning("suv.unusual", suv=float(f"{mean:.3g}"), low=low, high=high, source=suv.source),)
