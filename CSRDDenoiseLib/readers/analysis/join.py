"""Answers and key become one table: who said what about which method of which case."""

from __future__ import annotations

from pathlib import Path
from typing import Sequence

import numpy as np
import pandas as pd

from ...digests import digest_of_files
from ...errors import InputError
from ..answers import Answers
from ..key import Key
from ..scales import LEFT, SAME
from ..study import STUDY_FILE, Study

COLUMNS = ("reader", "case", "methods", "scale", "value", "block", "repeat", "seconds", "at")


def check_key(folder: Path, study: Study, key: Key) -> None:
    """Check that key and study belong together.

    Raises:
        InputError: they do not, or the study file was changed after it was made.
    """
    if key.study != study.id:
        raise InputError(f"The key belongs to study {key.study}, not to {study.id} in '{folder}'.")
    if digest_of_files(folder / STUDY_FILE) != key.study_sha256:
        raise InputError(f"'{folder / STUDY_FILE}' was changed after the study was made. Take the original.")


def join(study: Study, key: Key, answers: Sequence[Answers]) -> pd.DataFrame:
    """Return one row an answer, training left out.

    Returns:
        Columns ``reader``, ``case``, ``methods`` (tuple, in the order shown), ``scale``, ``value``, ``block``,
        ``repeat``, ``seconds``, ``at``.

    Raises:
        InputError: a reader has two files, or has answered nothing but training.
    """
    readers = [each.reader for each in answers]
    doubled = sorted({reader for reader in readers if readers.count(reader) > 1})
    if doubled:
        raise InputError(f"There are two answers files of reader {doubled[0]}. Give the complete one.")
    rows: list[tuple] = []
    for each in answers:
        known = len(rows)
        blocks = {trial.id: trial.block for trial in study.reading(each.reader).trials}
        for answer in each.answers:
            shown = key.trials[answer.trial]
            if shown.training:
                continue
            for scale, value in answer.values.items():
                what = (each.reader, shown.case, shown.methods, scale, value)
                rows.append((*what, blocks[answer.trial], shown.repeat, answer.seconds, answer.time))
        if len(rows) == known:
            # counted as one of the readers, it would make conclusions about other readers look better founded
            raise InputError(f"Reader {each.reader} has answered nothing but training cases. Leave out that file.")
    return pd.DataFrame(rows, columns=COLUMNS)


def preference_scores(rows: pd.DataFrame, first: str, second: str) -> pd.DataFrame:
    """Return how often ``first`` was preferred to ``second``, readers x cases: 1, 0, or 0.5 for no difference.

    Repeats are left out; a case that not every reader answered is NaN where it is missing.
    """
    wanted = {first, second}
    pairs = _first_answers(rows, [set(methods) == wanted for methods in rows["methods"]])
    won = _won(pairs, first)
    return _table(pairs, won, rows)


def rating_values(rows: pd.DataFrame, scale: str, method: str) -> pd.DataFrame:
    """Return the ratings of a method on a scale, readers x cases, repeats left out; NaN where one is missing."""
    chosen = _first_answers(rows, [shown == (method,) for shown in rows["methods"]])
    chosen = chosen[chosen["scale"] == scale]
    return _table(chosen, chosen["value"], rows)


def complete(*tables: pd.DataFrame) -> tuple[list[np.ndarray], list[str], list[str]]:
    """Return the tables (readers x cases) cut to the cases that every reader answered in all of them.

    Returns:
        Arrays (R, C) of one shape, the readers, the cases.
    """
    readers = sorted(set.union(*(set(table.index) for table in tables)))
    whole = [set(table.columns[table.loc[readers].notna().all(axis=0)]) for table in tables]
    cases = sorted(set.intersection(*whole))
    return [table.loc[readers, cases].to_numpy(float) for table in tables], readers, cases


def _first_answers(rows: pd.DataFrame, chosen: Sequence[bool]) -> pd.DataFrame:
    return rows[np.array(chosen, dtype=bool) & ~rows["repeat"].to_numpy(bool)]


def _table(chosen: pd.DataFrame, values: pd.Series, rows: pd.DataFrame) -> pd.DataFrame:
    """Return values as readers x cases, with every reader there is, so that one without an answer is missed."""
    table = values.groupby([chosen["reader"], chosen["case"]]).mean().unstack()
    return table.reindex(sorted(set(rows["reader"]))) if len(chosen) else pd.DataFrame()


def _won(pairs: pd.DataFrame, method: str) -> pd.Series:
    left = np.array([methods[0] == method for methods in pairs["methods"]], dtype=bool)
    value = pairs["value"].to_numpy()
    won = np.where(value == SAME, 0.5, (value == LEFT) == left)
    return pd.Series(won.astype(float), index=pairs.index)
