"""Agreement of readers with their own repeats and with each other: weighted kappa and intraclass correlation."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Optional, Sequence

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.inter_rater import cohens_kappa

from ..scales import LEFT, RIGHT, SAME
from .crossed import LEVEL, ROUNDING, mean_squares


@dataclass(frozen=True)
class Agreement:
    """Agreement on one scale.

    Attributes:
        scale: its name.
        who: ``"R1"`` with their own repeats, or ``"R1, R2"`` with each other.
        pairs: number of pairs of answers.
        equal: share of equal answers.
        kappa: quadratically weighted for ratings, plain for preferences; None where one of the two is one answer
            throughout.
        low, high: its confidence interval.
    """

    scale: str
    who: str
    pairs: int
    equal: float
    kappa: Optional[float]
    low: float
    high: float


@dataclass(frozen=True)
class Correlation:
    """Intraclass correlation ICC(2,1) of readers on a scale, absolute agreement, with its confidence interval."""

    scale: str
    value: float
    low: float
    high: float


def within_readers(rows: pd.DataFrame, scales: Sequence[tuple[str, int]]) -> list[Agreement]:
    """Return each reader's agreement between the first answers and the repeats.

    Args:
        rows: see :func:`.join.join`.
        scales: names and numbers of choices.
    """
    found = []
    for (scale, choices), reader in itertools.product(scales, sorted(set(rows["reader"]))):
        mine = rows[(rows["scale"] == scale) & (rows["reader"] == reader)]
        found += _agreement(scale, reader, _pairs(mine[~mine["repeat"]], mine[mine["repeat"]]), choices)
    return found


def between_readers(rows: pd.DataFrame, scales: Sequence[tuple[str, int]]) -> list[Agreement]:
    """Return the agreement of every two readers, repeats left out."""
    found = []
    first = rows[~rows["repeat"]]
    for (scale, choices), (a, b) in itertools.product(scales, itertools.combinations(sorted(set(rows["reader"])), 2)):
        here = first[first["scale"] == scale]
        pairs = _pairs(here[here["reader"] == a], here[here["reader"] == b])
        found += _agreement(scale, f"{a}, {b}", pairs, choices)
    return found


def icc(rows: pd.DataFrame, scale: str) -> Optional[Correlation]:
    """Return the intraclass correlation of all readers' ratings on a scale; None of one reader, or of like targets."""
    here = rows[(rows["scale"] == scale) & ~rows["repeat"]]
    table = here.assign(target=list(zip(here["case"], here["methods"]))).pivot_table(
        index="reader", columns="target", values="value", aggfunc="mean"
    )
    whole = table.dropna(axis=1).to_numpy(float)
    if min(whole.shape) < 2 or not np.ptp(whole.mean(axis=0)):
        return None
    return Correlation(scale, *icc_2_1(whole))


def icc_2_1(table: np.ndarray) -> tuple[float, float, float]:
    """Return ICC(2,1) of a table (readers, targets) and its limits.

    Shrout and Fleiss 1979 (Psychological Bulletin 86:420), limits of McGraw and Wong 1996 (Psychological Methods 1:30).
    """
    k, n = table.shape
    squares = mean_squares(table)
    reader, target, error = squares.readers, squares.cases, squares.error
    value = (target - error) / (target + (k - 1) * error + k * (reader - error) / n)
    if value > 1 - ROUNDING:
        return float(value), float(value), 1.0
    a = k * value / (n * (1 - value))
    b = 1 + k * value * (n - 1) / (n * (1 - value))
    df = (a * reader + b * error) ** 2 / ((a * reader) ** 2 / (k - 1) + (b * error) ** 2 / ((n - 1) * (k - 1)))
    over, under = stats.f.ppf(0.5 + LEVEL / 2, n - 1, df), stats.f.ppf(0.5 + LEVEL / 2, df, n - 1)
    rest = k * reader + (k * n - k - n) * error
    low = n * (target - over * error) / (over * rest + n * target)
    high = n * (under * target - error) / (rest + n * under * target)
    return float(value), float(low), float(high)


def _pairs(first: pd.DataFrame, second: pd.DataFrame) -> np.ndarray:
    """Return the answers (N, 2) about what is in both."""
    a, b = _answers(first), _answers(second)
    return np.array([(a[shown], b[shown]) for shown in a if shown in b]).reshape(-1, 2)


def _answers(rows: pd.DataFrame) -> dict[tuple[str, ...], int]:
    """Return what was shown -> the answer; those about pairs do not depend on the side."""
    found = {}
    for case, methods, value in zip(rows["case"], rows["methods"], rows["value"]):
        swapped = len(methods) == 2 and value != SAME and methods[0] > methods[1]
        found[(case, *sorted(methods))] = LEFT + RIGHT - value if swapped else value
    return found


def _agreement(scale: str, who: str, both: np.ndarray, choices: int) -> list[Agreement]:
    if len(both) < 2:
        return []
    table = np.zeros((choices, choices))
    for a, b in both:
        table[int(a) - 1, int(b) - 1] += 1
    equal = float(np.trace(table) / table.sum())
    # of a reader who gives one answer alone, chance explains all that is equal
    if min(len(set(side)) for side in both.T.tolist()) < 2:
        return [Agreement(scale, who, len(both), equal, None, np.nan, np.nan)]
    # without any disagreement the test statistic divides by zero; it is not used
    with np.errstate(invalid="ignore", divide="ignore"):
        result = cohens_kappa(table, wt="quadratic" if choices > SAME else None)
    low, high = float(result.kappa_low), min(float(result.kappa_upp), 1.0)
    return [Agreement(scale, who, len(both), equal, float(result.kappa), low, high)]
