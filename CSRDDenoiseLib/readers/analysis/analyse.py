"""Analyse a study: every question its answers can settle, as one result of plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping, Optional, Sequence

import numpy as np
import pandas as pd

from ...errors import InputError
from ..answers import Answers
from ..key import Key
from ..scales import LESION
from ..study import PREFERENCE, Study
from . import agreement
from .bradley_terry import Score, bradley_terry
from .join import complete, join, rating_values
from .mrmc import Analysis, noninferiority, obuchowski_rockette
from .preference import Preference, left_share, preferences
from .ratings import RatingComparison, compare_ratings
from .roc import areas

LEAST_OF_A_KIND = 2


@dataclass(frozen=True)
class Options:
    """What the analysis cannot know by itself.

    Attributes:
        reference: method to compare with; None: the first of the table.
        margin: of non-inferiority in ROC area.
    """

    reference: Optional[str] = None
    margin: float = 0.05

    def __post_init__(self) -> None:
        if not 0 < self.margin < 0.5:
            raise InputError(f"The margin of non-inferiority is {self.margin}; it must lie between 0 and 0.5.")


@dataclass(frozen=True)
class Roc:
    """Detection of lesions.

    Attributes:
        methods, readers: names, in the order of the arrays.
        ratings: (T, R, C).
        lesion: (C,) which cases have one.
        area: (T, R).
        analysis: of Obuchowski and Rockette; comparisons are second - first by number of the method.
        noninferior: method -> one-sided p value and whether non-inferiority to the reference is shown.
    """

    methods: tuple[str, ...]
    readers: tuple[str, ...]
    ratings: np.ndarray
    lesion: np.ndarray
    area: np.ndarray
    analysis: Analysis
    noninferior: Mapping[str, tuple[float, bool]]


@dataclass(frozen=True)
class Reader:
    """How one reader worked: answers that count, how many were due, median seconds, blocks begun too early."""

    name: str
    answered: int
    due: int
    seconds: float
    early_blocks: int


@dataclass(frozen=True)
class Result:
    """All that was found; what a study does not ask is empty or None.

    Attributes:
        methods: the reference first.
        readers: how each worked.
        cases: number of cases answered about by anyone.
        preferences, scores, tie_added: see :mod:`.preference`, :mod:`.bradley_terry`.
        left: answers that chose the left image, and that chose a side.
        ratings: see :mod:`.ratings`.
        within, between, correlations: see :mod:`.agreement`.
        roc: detection of lesions.
        margin: of non-inferiority.
    """

    study: Study
    methods: tuple[str, ...]
    readers: tuple[Reader, ...]
    cases: int
    preferences: tuple[Preference, ...]
    scores: tuple[Score, ...]
    tie_added: bool
    left: tuple[int, int]
    ratings: tuple[RatingComparison, ...]
    within: tuple[agreement.Agreement, ...]
    between: tuple[agreement.Agreement, ...]
    correlations: tuple[agreement.Correlation, ...]
    roc: Optional[Roc]
    margin: float


def analyse(study: Study, key: Key, answers: Sequence[Answers], options: Options) -> Result:
    """Analyse the answers of all readers.

    Raises:
        InputError: the reference is no method, a reader has two files, or too little was answered by all readers.
    """
    methods = _reference_first(key.methods, options.reference)
    rows = join(study, key, answers)
    pairs = study.kind == PREFERENCE
    names = tuple(scale.name for scale in study.scales)
    # more confidence in a lesion is no better or worse; the truth decides, in the ROC analysis
    qualities = tuple(name for name in names if name != LESION)
    scales = [(scale.name, len(scale.labels)) for scale in study.scales]
    scores, added = bradley_terry(rows, methods) if pairs else ([], False)
    correlations = () if pairs else (agreement.icc(rows, name) for name in names)
    return _checked(
        Result(
            study,
            methods,
            tuple(_reader(study, key, each) for each in answers),
            rows["case"].nunique(),
            tuple(preferences(rows, methods)) if pairs else (),
            tuple(scores),
            added,
            left_share(rows) if pairs else (0, 0),
            () if pairs else tuple(compare_ratings(rows, qualities, methods)),
            tuple(agreement.within_readers(rows, scales)),
            tuple(agreement.between_readers(rows, scales)),
            tuple(each for each in correlations if each is not None),
            roc_of(rows, key, methods, options.margin) if LESION in names else None,
            options.margin,
        )
    )


def _checked(result: Result) -> Result:
    if result.preferences or result.ratings or result.roc:
        return result
    least = min(reader.answered for reader in result.readers)
    raise InputError(
        f"Fewer than two cases were answered by every reader in two ways (the fewest answers of a reader: {least}). "
        "Wait for more answers, or leave out the reader who has just begun."
    )


def _reference_first(methods: Sequence[str], reference: Optional[str]) -> tuple[str, ...]:
    if reference is None:
        return tuple(methods)
    if reference not in methods:
        raise InputError(f"The study has no method '{reference}'; its methods are {', '.join(methods)}.")
    return (reference, *(method for method in methods if method != reference))


def roc_of(rows: pd.DataFrame, key: Key, methods: Sequence[str], margin: float) -> Optional[Roc]:
    """Return the ROC analysis of the cases that every reader rated with every method, None if they are too few.

    Args:
        rows: see :func:`.join.join`.
        key: holds the truth.
        methods: the reference first.
        margin: of non-inferiority.
    """
    tables = [rating_values(rows, LESION, method) for method in methods]
    if any(table.empty for table in tables):
        return None
    ratings, readers, cases = complete(*tables)
    lesion = np.array([key.truth[case] for case in cases], dtype=bool)
    if min(lesion.sum(), (~lesion).sum()) < LEAST_OF_A_KIND:
        return None
    stacked = np.stack(ratings)
    found = areas(stacked, lesion)
    analysis = obuchowski_rockette(found)
    against = {methods[each.second]: each.best for each in analysis.comparisons if each.first == 0}
    shown = {method: noninferiority(difference, margin) for method, difference in against.items()}
    return Roc(tuple(methods), tuple(readers), stacked, lesion, found.area, analysis, shown)


def _reader(study: Study, key: Key, answers: Answers) -> Reader:
    trials = {trial.id: trial for trial in study.reading(answers.reader).trials}
    counted = [each for each in answers.answers if not key.trials[each.trial].training]
    due = sum(not key.trials[name].training for name in trials)
    seconds = float(np.median([each.seconds for each in counted])) if counted else float("nan")
    early = 0
    for before, after in zip(answers.answers, answers.answers[1:]):
        days = (after.time - before.time).total_seconds() / 86400
        new_block = trials[before.trial].block != trials[after.trial].block
        early += new_block and days < study.washout_days
    return Reader(answers.reader, len(counted), due, seconds, early)
