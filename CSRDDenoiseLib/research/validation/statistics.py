"""Statistics over subjects: gains with confidence intervals, and agreement of regional values."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Optional, Sequence

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
_FEWEST_FOR_INTERVAL = 4
_RESAMPLES, _SEED = 9999, 0


@dataclass(frozen=True)
class Gain:
    """A paired difference over subjects.

    Attributes:
        mean: of the differences.
        low, high: its 95 % confidence interval by the bias-corrected accelerated bootstrap (Efron 1987), None below 4
            subjects.
        p: of Wilcoxon's signed-rank test, exact for few subjects, None below 2; its smallest value is 2 / 2^n.
        count: subjects.
    """

    mean: float
    low: Optional[float]
    high: Optional[float]
    p: Optional[float]
    count: int


def paired_gain(ours: Sequence[float], theirs: Sequence[float]) -> Gain:
    """Return what (N,) values gain over others of the same subjects, N of 1 or more."""
    gains = np.asarray(ours, np.float64) - np.asarray(theirs, np.float64)
    low, high = confidence_interval(gains)
    p = None
    if gains.size > 1:
        p = 1.0 if not gains.any() else float(stats.wilcoxon(gains).pvalue)
    return Gain(float(gains.mean()), low, high, p, int(gains.size))


def confidence_interval(values: np.ndarray) -> tuple[Optional[float], Optional[float]]:
    """Return the 95 % interval of the mean of values (N,) by the bootstrap, or None twice where N is too small."""
    if values.size < _FEWEST_FOR_INTERVAL:
        return None, None
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    with warnings.catch_warnings():
        # a jackknife without spread makes the bootstrap's acceleration undefined; its limits then are NaN
        warnings.simplefilter("ignore")
        found = stats.bootstrap(
            (values,), np.mean, n_resamples=_RESAMPLES, confidence_level=CONFIDENCE, method="BCa", random_state=_SEED
        ).confidence_interval
    limits = (float(found.low), float(found.high))
    return limits if np.isfinite(limits).all() else (None, None)


def absolute_agreement(measured: Sequence[float], reference: Sequence[float]) -> Optional[float]:
    """Intraclass correlation of single values, two-way random effects, absolute agreement.

    ICC(2,1) of Shrout and Fleiss 1979, ICC(A,1) of McGraw and Wong 1996, of N targets and two measurements.

    Returns:
        The coefficient, or None below 3 targets or where nothing varies.
    """
    return icc_2_1(np.stack([np.asarray(measured, np.float64), np.asarray(reference, np.float64)], axis=1))


def icc_2_1(ratings: np.ndarray) -> Optional[float]:
    """Return ICC(2,1) of ratings (targets, judges); see :func:`absolute_agreement`."""
    targets, judges = ratings.shape
    if targets < 3 or judges < 2:
        return None
    mean = ratings.mean()
    rows, columns = ratings.mean(axis=1) - mean, ratings.mean(axis=0) - mean
    left = ratings - mean - rows[:, None] - columns
    between = judges * np.sum(rows**2) / (targets - 1)
    of_judges = targets * np.sum(columns**2) / (judges - 1)
    error = np.sum(left**2) / ((targets - 1) * (judges - 1))
    whole = between + (judges - 1) * error + judges * (of_judges - error) / targets
    return float((between - error) / whole) if whole > 0 else None
