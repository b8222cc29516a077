"""Scores of methods from pairwise preferences: the model of Bradley and Terry (Biometrika 1952, 39:324).

The log odds that i is preferred to j are ``score_i - score_j``: a binomial regression without intercept. A tie is half
a win each. Standard errors count the answers about one case as one cluster (Liang and Zeger, Biometrika 1986, 73:13);
of few cases whose answers leave no variance between them, they are those of independent answers.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Sequence

import numpy as np
import pandas as pd
import statsmodels.api as sm
from scipy import stats

from .crossed import LEVEL, ROUNDING
from .join import preference_scores


@dataclass(frozen=True)
class Score:
    """The score of a method (natural log odds, mean of all methods 0) with standard error and confidence interval."""

    method: str
    value: float
    se: float
    low: float
    high: float


def bradley_terry(rows: pd.DataFrame, methods: Sequence[str]) -> tuple[list[Score], bool]:
    """Return the scores, best first, and whether a tie had to be added to pairs that one method always won.

    Such a pair would have an infinite score; one tie more keeps it finite and makes it smaller than it may be.
    An empty list if a method was in no pair.
    """
    compared, won, groups, added = _comparisons(rows, methods)
    if set(range(len(methods))) - set(compared.ravel().tolist()):
        return [], False
    design = np.zeros((len(won), len(methods)))
    design[np.arange(len(won)), compared[:, 0]] = 1
    design[np.arange(len(won)), compared[:, 1]] = -1
    fit = sm.GLM(won, design[:, 1:], family=sm.families.Binomial()).fit(cov_type="cluster", cov_kwds={"groups": groups})
    # from "first method is 0" to "the mean is 0"
    centred = (np.eye(len(methods)) - 1 / len(methods))[:, 1:]
    values = centred @ fit.params
    clustered, independent = (
        np.einsum("ij,jk,ik->i", centred, covariance, centred)
        for covariance in (fit.cov_params(), fit.normalized_cov_params)
    )
    # what rounding leaves of none may be negative
    errors = np.sqrt(np.where(clustered > ROUNDING * independent, clustered, independent))
    half = float(stats.norm.ppf(0.5 + LEVEL / 2)) * errors
    scores = [
        Score(method, float(value), float(error), float(value - width), float(value + width))
        for method, value, error, width in zip(methods, values, errors, half)
    ]
    return sorted(scores, key=lambda score: -score.value), added


def _comparisons(rows: pd.DataFrame, methods: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray, bool]:
    """Return methods (N, 2) compared, score of the first (N,), number of the case (N,), and whether ties were added."""
    compared: list[tuple[int, int]] = []
    won: list[float] = []
    groups: list[int] = []
    added = False
    numbers = {case: number for number, case in enumerate(sorted(set(rows["case"])))}
    for i, j in itertools.combinations(range(len(methods)), 2):
        table = preference_scores(rows, methods[i], methods[j])
        if table.empty:
            continue
        scores = [(numbers[case], value) for case in table.columns for value in table[case].dropna()]
        if {value for _, value in scores} in ({0.0}, {1.0}):
            scores.append((len(numbers) + len(compared), 0.5))
            added = True
        compared += [(i, j)] * len(scores)
        groups += [case for case, _ in scores]
        won += [value for _, value in scores]
    return np.array(compared).reshape(-1, 2), np.array(won), np.array(groups), added
