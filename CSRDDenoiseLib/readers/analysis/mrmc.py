"""Many readers, many cases: do methods differ in ROC area, beyond these readers and these cases?

Obuchowski and Rockette (Communications in Statistics 1995, 24:285) with the degrees of freedom of Hillis (Statistics in
Medicine 2007, 26:596, "ddf_H"); the covariances are averages over readers and methods of the jackknife estimates.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import Optional, Sequence

import numpy as np
from scipy import stats
from statsmodels.stats.multitest import multipletests

from .crossed import Estimate, estimate, mean_squares
from .roc import Areas

_ROUNDING = 1e-16
"""Variance of an area, which lies between 0 and 1: a standard error of 1e-8 is none."""


@dataclass(frozen=True)
class Covariances:
    """Variance of an area, and covariances: same reader (1), same method (2), neither (3)."""

    error: float
    cov1: float
    cov2: float
    cov3: float


@dataclass(frozen=True)
class Comparison:
    """Two methods: the area of ``second`` - ``first`` (numbers of methods).

    Attributes:
        random_readers: holds for other readers and cases; None with one reader, or where no variance is left of how
            readers differ.
        fixed_readers: holds for these readers and other cases.
        p_holm: p value of ``best``, corrected for the number of comparisons (Holm).
    """

    first: int
    second: int
    random_readers: Optional[Estimate]
    fixed_readers: Estimate
    p_holm: float = 1.0

    @property
    def best(self) -> Estimate:
        """The estimate to report: for other readers where there is one."""
        return self.random_readers or self.fixed_readers


@dataclass(frozen=True)
class Analysis:
    """The whole analysis.

    Attributes:
        covariances: of the error.
        f, df1, df2, p: test that all methods have one area; NaN with one reader.
        methods: area of each method, each from its own ratings alone.
        comparisons: of every two methods.
    """

    covariances: Covariances
    f: float
    df1: float
    df2: float
    p: float
    methods: tuple[Estimate, ...]
    comparisons: tuple[Comparison, ...]


def obuchowski_rockette(areas: Areas) -> Analysis:
    """Analyse areas (T, R) of methods and readers, T at least 2."""
    methods, readers = areas.area.shape
    covariances = _covariances(areas)
    mean = areas.area.mean(axis=1)
    ms_t = readers * ((mean - mean.mean()) ** 2).sum() / (methods - 1)
    ms_tr, df_tr = _interaction(areas.area)
    error = _more_than_rounding(ms_tr + readers * max(covariances.cov2 - covariances.cov3, 0.0))
    df2 = _degrees(error, ms_tr, df_tr)
    f = ms_t / error if readers > 1 and error > 0 else np.nan
    p = float(stats.f.sf(f, methods - 1, df2)) if np.isfinite(f) else np.nan
    se = float(np.sqrt(2 * error / readers))
    comparisons = []
    for first, second in itertools.combinations(range(methods), 2):
        difference = float(mean[second] - mean[first])
        random = estimate(difference, se, df2) if readers > 1 and error > 0 else None
        comparisons.append(Comparison(first, second, random, _fixed(areas, first, second)))
    each = tuple(_single(areas, method) for method in range(methods))
    return Analysis(covariances, float(f), methods - 1, float(df2), p, each, _corrected(comparisons))


def noninferiority(difference: Estimate, margin: float) -> tuple[float, bool]:
    """Return the one-sided p value that a method is worse by ``margin`` or more, and whether that is refuted.

    Refuted means that the lower limit of the two-sided 95 % interval lies above ``-margin``: level 2.5 % one-sided.
    Without scatter (every reader rates every case right, or alike) nothing is known of the error: p is NaN, and
    nothing is refuted.
    """
    if difference.se <= 0:
        return np.nan, False
    p = float(stats.t.sf((difference.value + margin) / difference.se, difference.df))
    return p, difference.low > -margin


def _corrected(comparisons: Sequence[Comparison]) -> tuple[Comparison, ...]:
    p_values = [each.best.p for each in comparisons]
    # of one there is nothing to correct, and the call collects garbage, which takes most of the time of a power
    if len(p_values) > 1:
        p_values = multipletests(p_values, method="holm")[1]
    return tuple(replace(each, p_holm=float(p)) for each, p in zip(comparisons, p_values))


def _more_than_rounding(variance: float) -> float:
    """Return a variance of areas, 0 where it is what terms leave that cancel, which may be negative."""
    return float(variance) if variance > _ROUNDING else 0.0


def _interaction(area: np.ndarray) -> tuple[float, int]:
    """Return the mean square of methods x readers and its degrees of freedom."""
    methods, readers = area.shape
    df = (methods - 1) * (readers - 1)
    return (mean_squares(area).error if df else 0.0), df


def _degrees(error: float, square: float, df: int) -> float:
    return error**2 / (square**2 / df) if square > 0 and df else np.inf


def _covariances(areas: Areas) -> Covariances:
    methods, readers = areas.area.shape
    four = areas.covariance.reshape(methods, readers, methods, readers)
    same_method = np.eye(methods, dtype=bool)[:, None, :, None]
    same_reader = np.eye(readers, dtype=bool)[None, :, None, :]

    def mean(where: np.ndarray) -> float:
        chosen = four[np.broadcast_to(where, four.shape)]
        return float(chosen.mean()) if chosen.size else 0.0

    return Covariances(
        mean(same_method & same_reader),
        mean(~same_method & same_reader),
        mean(same_method & ~same_reader),
        mean(~same_method & ~same_reader),
    )


def _fixed(areas: Areas, first: int, second: int) -> Estimate:
    """Return second - first with these readers fixed; normal, as cases are many."""
    methods, readers = areas.area.shape
    weights = np.zeros((methods, readers))
    weights[second], weights[first] = 1 / readers, -1 / readers
    variance = _more_than_rounding(weights.ravel() @ areas.covariance @ weights.ravel())
    difference = float(areas.area[second].mean() - areas.area[first].mean())
    return estimate(difference, float(np.sqrt(variance)), np.inf)


def _single(areas: Areas, method: int) -> Estimate:
    """Return the area of one method from its own ratings ("ddf_H_single" of Hillis 2007)."""
    methods, readers = areas.area.shape
    own = areas.area[method]
    four = areas.covariance.reshape(methods, readers, methods, readers)[method, :, method, :]
    if readers == 1:
        return estimate(float(own[0]), float(np.sqrt(four[0, 0])), np.inf, null=0.5)
    cov2 = float(four[~np.eye(readers, dtype=bool)].mean())
    square = float(own.var(ddof=1))
    error = square + readers * max(cov2, 0.0)
    return estimate(float(own.mean()), float(np.sqrt(error / readers)), _degrees(error, square, readers - 1), null=0.5)
