"""Which of two methods readers prefer: shares with confidence intervals that count readers and cases as samples."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import Mapping, Optional, Sequence

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from ..scales import LEFT, SAME
from .crossed import Estimate, crossed_mean
from .join import complete, preference_scores


@dataclass(frozen=True)
class Preference:
    """How often ``first`` was preferred to ``second``.

    Attributes:
        first, second: methods.
        wins, ties, losses: answers of all readers, of ``first``.
        cases: number of cases that every reader answered.
        share: of ``first``, ties as halves; the p value is against one half.
        by_reader: reader -> share, lower and upper limit (Wilson), cases as the sample.
        p_holm: p value corrected for the number of pairs (Holm).
    """

    first: str
    second: str
    wins: int
    ties: int
    losses: int
    cases: int
    share: Estimate
    by_reader: Mapping[str, tuple[float, float, float]]
    p_holm: float = 1.0

    @property
    def detectable(self) -> float:
        """The share nearest to one half that a study of this size finds in 80 % of the times, at level 5 %.

        The scatter of a share is largest at one half, so the standard error found at another share is widened to there.
        """
        answers = self.wins + self.ties + self.losses
        share = (self.wins + self.ties / 2 + 1) / (answers + 2)
        if self.share.se > 0:
            widened = replace(self.share, se=float(self.share.se / np.sqrt(4 * share * (1 - share))))
        else:
            widened = replace(self.share, se=float(0.5 / np.sqrt(answers)), df=self.cases - 1)
        return min(0.5 + widened.detectable, 1.0)


def preferences(rows: pd.DataFrame, methods: Sequence[str]) -> list[Preference]:
    """Return the preference of every pair of methods that was answered for at least two cases."""
    found = [preference(rows, first, second) for first, second in itertools.combinations(methods, 2)]
    kept = [each for each in found if each is not None]
    if not kept:
        return []
    corrected = multipletests([each.share.p for each in kept], method="holm")[1]
    return [replace(each, p_holm=float(p)) for each, p in zip(kept, corrected)]


def preference(rows: pd.DataFrame, first: str, second: str) -> Optional[Preference]:
    """Return the preference between two methods, None if fewer than two cases were answered by every reader."""
    table = preference_scores(rows, first, second)
    if table.empty:
        return None
    (scores,), readers, cases = complete(table)
    if len(cases) < 2:
        return None
    by_reader = {reader: _of_reader(row) for reader, row in zip(readers, scores)}
    wins, ties, losses = (int((scores == value).sum()) for value in (1.0, 0.5, 0.0))
    return Preference(first, second, wins, ties, losses, len(cases), share_of(scores), by_reader)


def share_of(scores: np.ndarray) -> Estimate:
    """Return the mean of preference scores (R, C) with its interval inside 0 to 1 and the p value against one half.

    Where no variance can be estimated (all answers agree, or cases scatter no more than the error), interval and p
    value are those of Clopper and Pearson over cases.
    """
    found = crossed_mean(scores, null=0.5)
    if found is None:
        raise ValueError("at least two cases are needed")
    if found.se > 0:
        return replace(found, low=max(found.low, 0.0), high=min(found.high, 1.0))
    cases = scores.shape[1]
    wins = found.value * cases
    low, high = proportion_confint(wins, cases, method="beta")
    # the test that this interval inverts; ties as halves make `wins` a broken number
    tails = stats.beta.cdf(0.5, wins, cases - wins + 1), stats.beta.sf(0.5, wins + 1, cases - wins)
    p = min(2 * float(np.nanmin(tails)), 1.0)
    return replace(found, low=float(np.nan_to_num(low)), high=float(np.nan_to_num(high, nan=1.0)), p=p)


def left_share(rows: pd.DataFrame) -> tuple[int, int]:
    """Return how many answers chose the left image, and how many chose a side at all."""
    value = rows["value"].to_numpy()
    return int((value == LEFT).sum()), int((value != SAME).sum())


def _of_reader(scores: np.ndarray) -> tuple[float, float, float]:
    low, high = proportion_confint(scores.sum(), len(scores), method="wilson")
    return float(scores.mean()), float(low), float(high)
