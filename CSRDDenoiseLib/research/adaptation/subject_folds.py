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


def make_folds(subjects: Sequence[str], seed: int) -> tuple[Fold, ...]:
    """Divide subjects at random: three folds below 8 subjects, and one from there on with a quarter held out.

    With three folds every subject is held out once.

    Raises:
        InputError: there are fewer than 3 subjects.
    """
    names = list(dict.fromkeys(subjects))
    if len(names) < FEWEST:
        raise InputError(f"The table has {len(names)} subject(s); an adaptation needs {FEWEST} or more.")
    order = [names[index] for index in np.random.default_rng(seed).permutation(len(names))]
    if len(names) < CROSS_VALIDATED_BELOW:
        parts = [order[first::_FOLDS] for first in range(_FOLDS)]
    else:
        parts = [order[: max(round(_HELD_OUT_SHARE * len(names)), 2)]]
    return tuple(Fold(tuple(name for name in names if name not in part), tuple(part)) for part in parts)
