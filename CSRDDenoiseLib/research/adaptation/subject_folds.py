"""Which subjects a model is fitted to and which it is judged on, by subject, never by scan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

import numpy as np

from ...errors import InputError

FEWEST, CROSS_VALIDATED_BELOW = 3, 8
_FOLDS, _HELD_OUT_SHARE = 3, 0.25


@dataclass(frozen=True)
class Fold:
    """Names of the subjects that are trained on, and of those that are held out."""

    trained: tuple[str, ...]
    held_out: tuple[str, ...]


@dataclass(frozen=True)
class Division:
    """All subjects of an adaptation.

    Attributes:
        folds: each with its own model.
        check: names of subjects that no fold uses, neither to train on nor to stop by: what is written is judged
            on them.
    """

    folds: tuple[Fold, ...]
    check: tuple[str, ...]


def divide_subjects(subjects: Sequence[str], seed: int) -> Division:
    """Divide subjects at random.

    Below 8 subjects one is left for the check, and the others are in three folds (two, if they are two), each held out
    once. From 8 on there is one fold; of a quarter of the subjects, one half is held out and the other for the check.

    Raises:
        InputError: there are fewer than 3 subjects.
    """
    names = list(dict.fromkeys(subjects))
    if len(names) < FEWEST:
        raise InputError(f"The table has {len(names)} subject(s); an adaptation needs {FEWEST} or more.")
    order = [names[index] for index in np.random.default_rng(seed).permutation(len(names))]
    if len(names) < CROSS_VALIDATED_BELOW:
        check, others = order[:1], order[1:]
        count = min(_FOLDS, len(others))
        parts = [others[first::count] for first in range(count)]
    else:
        apart = max(round(_HELD_OUT_SHARE * len(names)), 2)
        check, others = order[: apart // 2], order[apart // 2 :]
        parts = [order[apart // 2 : apart]]
    folds = (Fold(tuple(name for name in names if name in others and name not in part), tuple(part)) for part in parts)
    return Division(tuple(folds), tuple(check))
