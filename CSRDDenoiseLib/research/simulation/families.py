"""Families of scanners, as ranges of what a scanner is: those to train on, those to choose by, and those to report.

The families are data, ``families.json``: part -> family -> fact of :class:`.scanner.Scanner` -> distribution, which is
``uniform`` or ``log_uniform`` between two ends, ``integer`` between two ends (both meant), or ``choice`` of values or
further distributions. ``updates`` is the product of iterations and subsets. No choice may be made on the part
``report``.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any, Mapping

import numpy as np

from .scanner import Scanner


@lru_cache(maxsize=1)
def scanner_families() -> Mapping[str, Mapping[str, Any]]:
    """Part (``training``, ``validation``, ``report``) -> names and ranges of its families."""
    return json.loads(Path(__file__).with_name("families.json").read_text(encoding="utf-8"))


def draw_from_families(part: str, rng: np.random.Generator) -> tuple[str, Scanner]:
    """Draw a family of a part, each as likely as any other, and a scanner of it; of ``PART:NAME`` it is that family.

    Raises:
        KeyError: there is no such part or family.
    """
    part, _, only = part.partition(":")
    families = scanner_families()[part]
    name = only or sorted(families)[int(rng.integers(len(families)))]
    return name, draw_scanner_of(families[name], rng)


def draw_scanner_of(family: Mapping[str, Any], rng: np.random.Generator) -> Scanner:
    """Draw a scanner from a family's ranges; facts it does not name are as usual."""
    facts = {name: _draw(distribution, rng) for name, distribution in family.items()}
    updates = facts.pop("updates", None)
    if updates is not None:
        facts["iterations"] = max(round(updates / facts["subsets"]), 1)
    return Scanner(**facts)


def _draw(distribution: Any, rng: np.random.Generator) -> Any:
    if not isinstance(distribution, dict):
        return distribution
    (kind, values), *_ = distribution.items()
    if kind == "choice":
        return _draw(values[int(rng.integers(len(values)))], rng)
    # YAML reads 2e7 as text, because it has no point
    low, high = map(float, values)
    if kind == "integer":
        return int(rng.integers(int(low), int(high) + 1))
    if kind == "uniform":
        return float(rng.uniform(low, high))
    if kind == "log_uniform":
        return float(np.exp(rng.uniform(np.log(low), np.log(high))))
    raise ValueError(f"'{kind}' is not a distribution; known are choice, integer, uniform, log_uniform.")
