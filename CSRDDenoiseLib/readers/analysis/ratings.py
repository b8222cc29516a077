"""Ratings of methods: differences with confidence intervals, Wilcoxon tests, and a proportional-odds model."""

from __future__ import annotations

import itertools
import warnings
from dataclasses import dataclass, replace
from typing import Optional, Sequence

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.miscmodels.ordinal_model import OrderedModel
from statsmodels.stats.multitest import multipletests

from .crossed import Estimate, crossed_mean, estimate, mean_squares
from .join import complete, rating_values


@dataclass(frozen=True)
class RatingComparison:
    """Two methods on one scale.

    Attributes:
        scale, first, second: what is compared.
        means: of the ratings of ``first`` and of ``second``.
        cases: number of cases that every reader rated.
        difference: mean of first - second, readers and cases random: the balanced linear mixed model.
        p_wilcoxon: signed-rank test over cases of the readers' mean difference; it holds for these readers.
        p_holm: the same, corrected for all comparisons of all scales (Holm).
        odds_ratio: of a higher rating of ``first``, its lower and upper limit, see :func:`odds_ratio`; None: no fit.
    """

    scale: str
    first: str
    second: str
    means: tuple[float, float]
    cases: int
    difference: Estimate
    p_wilcoxon: float
    odds_ratio: Optional[tuple[float, float, float]]
    p_holm: float = 1.0


def compare_ratings(rows: pd.DataFrame, scales: Sequence[str], methods: Sequence[str]) -> list[RatingComparison]:
    """Return every pair of methods on every scale, as far as at least two cases were rated by every reader."""
    pairs = itertools.combinations(methods, 2)
    found = [_compare(rows, scale, *pair) for pair in pairs for scale in scales]
    kept = sorted((each for each in found if each is not None), key=lambda each: scales.index(each.scale))
    if not kept:
        return []
    corrected = multipletests([each.p_wilcoxon for each in kept], method="holm")[1]
    return [replace(each, p_holm=float(p)) for each, p in zip(kept, corrected)]


def difference_of(scores: np.ndarray) -> Optional[Estimate]:
    """Return the mean of differences (R, C), readers and cases random; None with fewer than two cases.

    Where readers have one mean and cases scatter no more than the error, the estimated variances leave nothing: the
    error itself is taken then, as if there were no others. Where every difference is the same there is no error
    either, and the p value is that of Wilcoxon's test over cases.
    """
    found = crossed_mean(scores)
    if found is None or found.se > 0:
        return found
    readers, cases = scores.shape
    if readers > 1:
        se = np.sqrt(mean_squares(scores).error / scores.size)
        found = estimate(found.value, se, (readers - 1) * (cases - 1))
    return found if found.se > 0 else replace(found, p=signed_rank(scores.mean(axis=0)))


def signed_rank(differences: np.ndarray) -> float:
    """Return the p value of Wilcoxon's signed-rank test of differences (C,); 1 where all are zero."""
    if not np.any(differences):
        return 1.0
    return float(stats.wilcoxon(differences).pvalue)


def odds_ratio(first: np.ndarray, second: np.ndarray) -> Optional[tuple[float, float, float]]:
    """Return the odds ratio of a higher rating of ``first`` and its 95 % limits, None where the model has no fit.

    Proportional odds with a constant a reader, for ratings (R, C) of two methods. The limits come from the spread
    over cases (cluster-robust), because the ratings of one case are not independent.
    """
    readers, cases = first.shape
    values = np.concatenate([first.ravel(), second.ravel()])
    is_first = np.repeat([1.0, 0.0], readers * cases)
    dummies = [np.tile(np.repeat(np.arange(readers) == reader, cases), 2) for reader in range(1, readers)]
    design = np.column_stack([is_first, *dummies]).astype(float)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model = OrderedModel(pd.Categorical(values, ordered=True), design, distr="logit")
            fit = model.fit(method="bfgs", maxiter=200, disp=False)
            scores = model.score_obs(fit.params)
            hessian = np.linalg.inv(model.hessian(fit.params))
    except (Warning, ValueError, np.linalg.LinAlgError):
        # one category only, perfect separation, no convergence
        return None
    by_case = scores.reshape(2, readers, cases, -1).sum(axis=(0, 1))
    variance = (hessian @ (by_case.T @ by_case) @ hessian)[0, 0] * cases / (cases - 1)
    half = 1.96 * np.sqrt(variance)
    value, low, high = (float(np.exp(fit.params[0] + step)) for step in (0.0, -half, half))
    return value, low, high


def _compare(rows: pd.DataFrame, scale: str, first: str, second: str) -> Optional[RatingComparison]:
    tables = [rating_values(rows, scale, method) for method in (first, second)]
    if any(table.empty for table in tables):
        return None
    (a, b), _, cases = complete(*tables)
    difference = difference_of(a - b)
    if difference is None:
        return None
    means = float(a.mean()), float(b.mean())
    p = signed_rank((a - b).mean(axis=0))
    return RatingComparison(scale, first, second, means, len(cases), difference, p, odds_ratio(a, b))
