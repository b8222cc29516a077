"""Does the file name the PET's unit, or is it at least clear from the values?"""

from __future__ import annotations

from ..findings import Finding, info, warning
from ..io.volume import UNKNOWN

SUV_RANGE = (0.3, 50.0)
BQ_PER_ML_RANGE = (300.0, 1e6)
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
