"""The mean of a table of readers and cases when both are samples: the two-way random model that all of this rests on.

A score of reader r and case c is ``mu + reader_r + case_c + error_rc``. The variance of the mean comes from the mean
squares of the two-way analysis of variance; its degrees of freedom follow Satterthwaite, as Hillis (2007, Statistics in
Medicine 26:596, "ddf_H" for a single treatment) has them for ROC areas, with the share of the cases added.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

import numpy as np
from scipy import stats

LEVEL = 0.95
SIGNIFICANCE = 0.05
ROUNDING = 1e-12
"""Relative to the mean square of the values, what rounding leaves of terms that cancel."""


@dataclass(frozen=True)
class Estimate:
    """A value with its standard error, degrees of freedom, confidence interval and two-sided p value."""

    value: float
    se: float
    df: float
    low: float
    high: float
    p: float

    @property
    def detectable(self) -> float:
        """The least true difference that a study as precise as this one finds in 80 % of the times, at level 5 %."""
        return float((stats.t.ppf(0.5 + LEVEL / 2, self.df) + stats.t.ppf(0.8, self.df)) * self.se)


@dataclass(frozen=True)
class MeanSquares:
    """Mean squares of a table (R, C) of readers and cases."""

    readers: float
    cases: float
    error: float


def estimate(value: float, se: float, df: float, null: float = 0.0) -> Estimate:
    """Return an estimate whose interval and p value follow Student's t; ``df`` may be infinite."""
    half = float(stats.t.ppf(0.5 + LEVEL / 2, df)) * se
    p = float(2 * stats.t.sf(abs(value - null) / se, df)) if se > 0 else float(value == null)
    return Estimate(float(value), float(se), float(df), value - half, value + half, p)


def mean_squares(table: np.ndarray) -> MeanSquares:
    """Return the mean squares of a complete table (R, C), R and C at least 2."""
    readers, cases = table.shape
    by_reader, by_case, mean = table.mean(axis=1), table.mean(axis=0), table.mean()
    error = table - by_reader[:, None] - by_case[None, :] + mean
    return MeanSquares(
        float(cases * ((by_reader - mean) ** 2).sum() / (readers - 1)),
        float(readers * ((by_case - mean) ** 2).sum() / (cases - 1)),
        float((error**2).sum() / ((readers - 1) * (cases - 1))),
    )


def crossed_mean(table: np.ndarray, null: float = 0.0) -> Optional[Estimate]:
    """Return the mean of a complete table (R, C) of scores, readers and cases random.

    A single reader is taken as fixed: the result holds for that reader. None with fewer than two cases.
    """
    readers, cases = table.shape
    if readers < 1 or cases < 2:
        return None
    if readers == 1:
        se = float(table.std(ddof=1)) / np.sqrt(cases)
        return estimate(float(table.mean()), se, cases - 1, null)
    squares = mean_squares(table)
    of_cases = max(squares.cases - squares.error, 0.0)
    total = squares.readers + of_cases
    if total <= ROUNDING * float(np.square(table).mean()):
        # equal mean squares do not cancel to the last digit, and the quotient would be a certainty
        return estimate(float(table.mean()), 0.0, np.inf, null)
    spread = squares.readers**2 / (readers - 1) + of_cases**2 / (cases - 1)
    df = total**2 / spread if spread > 0 else np.inf
    return estimate(float(table.mean()), np.sqrt(total / (readers * cases)), df, null)
