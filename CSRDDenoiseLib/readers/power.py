"""Power of a planned study, by simulating it many times and analysing each as a real one.

Preferences come from a probit model with readers and cases as random effects. Ratings come from the model of Roe and
Metz (Academic Radiology 1997, 4:298): a rating is a sum of normal effects of truth, method, reader and case and of
their interactions, then given on five points as readers give it. Their variances but the readers' sum to one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Sequence

import numpy as np
from scipy import stats

from ..errors import InputError
from .analysis.crossed import SIGNIFICANCE
from .analysis.mrmc import noninferiority, obuchowski_rockette
from .analysis.preference import share_of
from .analysis.roc import areas

PREFERENCE, ROC, NONINFERIORITY = "preference", "roc", "noninferiority"
ENDPOINTS = (PREFERENCE, ROC, NONINFERIORITY)


@dataclass(frozen=True)
class Components:
    """Variances behind simulated answers.

    Attributes:
        preference_reader, preference_case: shares of the variance of a preference; the rest is chance.
        reader: of readers, and again of readers with methods; 0.0055 is low, 0.03 high in Roe and Metz.
        case, method_case, reader_case: of ratings; what is left to one is chance ("HL" structure of Roe and Metz).
    """

    preference_reader: float = 0.05
    preference_case: float = 0.25
    reader: float = 0.011
    case: float = 0.3
    method_case: float = 0.3
    reader_case: float = 0.2

    def __post_init__(self) -> None:
        parts = (self.preference_reader, self.preference_case, self.reader, self.case, self.method_case)
        sums = self.preference_reader + self.preference_case, self.case + self.method_case + self.reader_case
        # NaN is refused by comparisons that it does not pass
        if not all(0 <= part < np.inf for part in (*parts, self.reader_case)) or not max(sums) < 1:
            raise InputError("Variances must be 0 or more, and those of cases and readers must sum to less than 1.")


@dataclass(frozen=True)
class Plan:
    """What is assumed of a planned study.

    Attributes:
        endpoint: ``preference`` (share against one half), ``roc`` (areas differ) or ``noninferiority`` (of areas).
        share: true share of answers that prefer one method.
        area: true ROC area of the reference, before ratings are rounded to five points.
        difference: true area of the other method - ``area``.
        margin: of non-inferiority.
        simulations: number of studies.
        seed: of the random numbers.
        components: variances.
    """

    endpoint: str = PREFERENCE
    share: float = 0.65
    area: float = 0.85
    difference: float = 0.0
    margin: float = 0.05
    simulations: int = 400
    seed: int = 0
    components: Components = field(default_factory=Components)

    def __post_init__(self) -> None:
        if self.endpoint not in ENDPOINTS:
            raise InputError(f"There is no endpoint '{self.endpoint}'; choose one of {', '.join(ENDPOINTS)}.")
        if not 0 < self.share < 1 or not 0.5 <= self.area < 1 or not 0.5 <= self.area + self.difference < 1:
            raise InputError(
                f"A share ({self.share}) lies between 0 and 1, ROC areas ({self.area} and "
                f"{self.area + self.difference}) between 0.5 and 1."
            )
        if not 0 < self.margin < 0.5 or self.simulations < 1 or self.seed < 0:
            raise InputError(
                f"The margin ({self.margin}) must lie between 0 and 0.5, simulations ({self.simulations}) be 1 or "
                f"more, and the seed ({self.seed}) 0 or more."
            )


@dataclass(frozen=True)
class Power:
    """Power of a study of so many readers and cases; ``se`` is the simulation's own standard error."""

    readers: int
    cases: int
    power: float
    se: float


def power(plan: Plan, readers: int, cases: int) -> Power:
    """Return the power of a plan; in ROC studies every second case has a lesion.

    Raises:
        InputError: fewer than two cases of a kind, or no reader.
    """
    least = 2 if plan.endpoint == PREFERENCE else 4
    if readers < 1 or cases < least:
        raise InputError(f"A study needs at least 1 reader and {least} cases, not {readers} and {cases}.")
    rng = np.random.default_rng([plan.seed, readers, cases])
    found = np.mean([_succeeds(plan, readers, cases, rng) for _ in range(plan.simulations)])
    return Power(readers, cases, float(found), float(np.sqrt(found * (1 - found) / plan.simulations)))


def power_table(plan: Plan, readers: Sequence[int], cases: Sequence[int]) -> list[Power]:
    """Return the power for every number of readers and of cases."""
    return [power(plan, r, c) for r in sorted(set(readers)) for c in sorted(set(cases))]


def least_cases(table: Sequence[Power], readers: int, target: float) -> int:
    """Return the least number of cases of a table that reaches the target with so many readers, 0 if none does."""
    return min((each.cases for each in table if each.readers == readers and each.power >= target), default=0)


def simulate_preferences(
    share: float, readers: int, cases: int, components: Components, rng: np.random.Generator
) -> np.ndarray:
    """Return preference scores (R, C), 1 or 0, with a mean of ``share`` over many studies."""
    by_reader = rng.normal(0, np.sqrt(components.preference_reader), (readers, 1))
    by_case = rng.normal(0, np.sqrt(components.preference_case), cases)
    rest = 1 - components.preference_reader - components.preference_case
    latent = by_reader + by_case + rng.normal(0, np.sqrt(rest), (readers, cases))
    return (latent + stats.norm.ppf(share) > 0).astype(float)


def simulate_ratings(
    area: Sequence[float], readers: int, cases: int, components: Components, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return ratings (T, R, C) from 1 to 5 of methods with these areas, and which cases have a lesion (C,)."""
    methods = len(area)
    lesion = np.arange(cases) % 2 == 1
    truth = lesion.astype(int)
    c = components

    def effect(variance: float, *shape: int) -> np.ndarray:
        return rng.normal(0, np.sqrt(variance), shape)

    # effects of readers differ between cases with and without a lesion: the last axis is the truth
    of_readers = effect(c.reader, 1, readers, 2) + effect(c.reader, methods, readers, 2)
    of_cases = effect(c.case, 1, 1, cases) + effect(c.method_case, methods, 1, cases)
    of_both = effect(c.reader_case, 1, readers, cases)
    chance = effect(1 - c.case - c.method_case - c.reader_case, methods, readers, cases)
    # the area that a reader drawn at random has
    shift = stats.norm.ppf(area) * np.sqrt(2 + 4 * c.reader)
    latent = of_readers[:, :, truth] + of_cases + of_both + chance + shift[:, None, None] * truth
    edges = float(np.mean(shift)) / 2 + np.array([-1.5, -0.5, 0.5, 1.5])
    return np.digitize(latent, edges) + 1, lesion


def _succeeds(plan: Plan, readers: int, cases: int, rng: np.random.Generator) -> bool:
    if plan.endpoint == PREFERENCE:
        found = share_of(simulate_preferences(plan.share, readers, cases, plan.components, rng))
        return found.p < SIGNIFICANCE and (found.value > 0.5) == (plan.share >= 0.5)
    both = (plan.area, plan.area + plan.difference)
    ratings, lesion = simulate_ratings(both, readers, cases, plan.components, rng)
    difference = obuchowski_rockette(areas(ratings, lesion)).comparisons[0].best
    if plan.endpoint == NONINFERIORITY:
        return noninferiority(difference, plan.margin)[1]
    return difference.p < SIGNIFICANCE and (difference.value > 0) == (plan.difference >= 0)
