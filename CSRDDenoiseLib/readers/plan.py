"""Who sees what when: counterbalanced by a seed, without any image.

A *unit* is what a case can be shown as: one method (ratings) or two (pairs). Every reader sees every unit of every case
once, each unit of a case in another block (a Latin square over cases and readers), so that a washout lies between them.
A pair's first method is left for half of the cases, and on the other side for every second reader. Repeats come in
blocks of their own at the end, pairs with their sides changed. Training comes first.
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, replace
from typing import Sequence

import numpy as np

from ..errors import InputError
from .study import PREFERENCE

MOST_TRIES = 200


@dataclass(frozen=True)
class Showing:
    """A case, as which methods (left, right; or one), in which block, and what for."""

    case: str
    methods: tuple[str, ...]
    block: int
    training: bool = False
    repeat: bool = False


@dataclass(frozen=True)
class PlanOptions:
    """What the plan of a study depends on.

    Attributes:
        kind: ``2afc`` or ``rating``.
        readers: number of readers.
        repeats: share of the trials shown again, 0 to 1.
        blocks: number of blocks, repeats not counted; 0: as many as a case has units.
        seed: of everything random.
    """

    kind: str
    readers: int = 3
    repeats: float = 0.2
    blocks: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.readers <= 100:
            raise InputError(f"A study has 1 to 100 readers, not {self.readers}.")
        if not 0 <= self.repeats <= 1:
            raise InputError(f"The share of repeats is {self.repeats}; it must lie between 0 and 1.")
        if self.seed < 0:
            raise InputError(f"The seed is {self.seed}; it must be 0 or more.")
        if self.blocks < 0:
            raise InputError(f"The number of blocks is {self.blocks}; it must be at least 1.")


def units_of(kind: str, methods: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Return what a case can be shown as: every pair of methods, or every method."""
    return tuple(itertools.combinations(methods, 2 if kind == PREFERENCE else 1))


def plan_readings(
    cases: Sequence[str], training: Sequence[str], methods: Sequence[str], options: PlanOptions
) -> tuple[tuple[Showing, ...], ...]:
    """Return what each reader is shown, in order.

    Args:
        cases: names of the cases that count.
        training: names of the cases to train with.
        methods: to compare.
        options: of the plan.

    Raises:
        InputError: there is no case, or there are more blocks than units of a case.
    """
    units = units_of(options.kind, methods)
    blocks = options.blocks or len(units)
    if not cases:
        raise InputError("No case is left for the study itself; give more cases, or fewer to train with.")
    if blocks > len(units):
        raise InputError(f"{blocks} blocks are more than the {len(units)} ways to show a case.")
    rng = np.random.default_rng(options.seed)
    order = [cases[i] for i in rng.permutation(len(cases))]
    starts = rng.permutation(len(units))
    sides = [rng.permutation(np.arange(len(order)) % 2) for _ in units]
    readings = []
    for reader in range(options.readers):
        shown = []
        for place, case in enumerate(order):
            for number, unit in enumerate(units):
                block = (int(starts[number]) + place + reader) % len(units) % blocks + 1
                swap = bool((sides[number][place] + reader) % 2)
                shown.append(Showing(case, unit[::-1] if swap else unit, block))
        readings.append(_in_order(shown, _training(training, units, rng), blocks, options, rng))
    return tuple(readings)


def _training(names: Sequence[str], units: Sequence[tuple[str, ...]], rng: np.random.Generator) -> tuple[Showing, ...]:
    start = int(rng.integers(len(units)))
    chosen = (units[(start + i) % len(units)] for i in range(len(names)))
    return tuple(
        Showing(name, unit[::-1] if rng.integers(2) else unit, 1, training=True) for name, unit in zip(names, chosen)
    )


def _in_order(
    shown: Sequence[Showing],
    training: Sequence[Showing],
    blocks: int,
    options: PlanOptions,
    rng: np.random.Generator,
) -> tuple[Showing, ...]:
    ordered = list(training)
    for block in range(1, blocks + 1):
        ordered += _shuffled([each for each in shown if each.block == block], rng)
    repeats = _repeats(shown, round(options.repeats * len(shown)), blocks, rng)
    for block in sorted({each.block for each in repeats}):
        ordered += _shuffled([each for each in repeats if each.block == block], rng)
    return tuple(ordered)


def _repeats(shown: Sequence[Showing], count: int, blocks: int, rng: np.random.Generator) -> list[Showing]:
    """Return ``count`` showings again; a case comes a second time only when all have come, and a block later."""
    before: Counter[str] = Counter()
    chosen = []
    for i in rng.permutation(len(shown)):
        each = shown[i]
        before[each.case] += 1
        block = blocks + before[each.case]
        chosen.append(replace(each, methods=each.methods[::-1], block=block, repeat=True))
    return sorted(chosen, key=lambda each: each.block)[:count]


def _shuffled(shown: Sequence[Showing], rng: np.random.Generator) -> list[Showing]:
    """Return a random order, without the same case twice in a row where that can be had."""
    for _ in range(MOST_TRIES):
        order = [shown[i] for i in rng.permutation(len(shown))]
        if all(a.case != b.case for a, b in zip(order, order[1:])):
            break
    return order
