"""Rows of scores, one a scan, by dose."""

from __future__ import annotations

from typing import Any, Iterable, Sequence

import numpy as np

Row = dict[str, Any]


def doses_of(rows: Sequence[Row]) -> list[float]:
    """The doses of rows, largest first."""
    return sorted({row["dose"] for row in rows}, reverse=True)


def dose_text(dose: float) -> str:
    """A dose fraction as ``1/10``."""
    return f"1/{1 / dose:.3g}"


def at_dose(rows: Sequence[Any], dose: float) -> list[Any]:
    """The rows of a dose."""
    return [row for row in rows if row["dose"] == dose]


def average(values: Iterable[float]) -> float:
    """Mean of values; NaN without any."""
    every = list(values)
    return float(np.mean(every)) if every else float("nan")
