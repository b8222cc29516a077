"""Progress of long work: what it reports, and how a callback cancels it."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any, Callable, Mapping, Optional

from .errors import NOTHING_WRITTEN, Cancelled


@dataclass(frozen=True)
class Progress:
    """One report.

    Attributes:
        stage: what is being done, such as ``read``, ``align``, ``sample`` or ``write``.
        step: steps of the stage that are done.
        of: steps that the stage has.
        fraction: done of the whole job, 0 to 1.
        eta_seconds: remaining time, or None until it can be estimated.
        message: details for a person; may be empty.

    Example:
        >>> Progress("sample", 1, 4, 0.25, eta_seconds=30.0).as_dict()["fraction"]
        0.25
    """

    stage: str
    step: int
    of: int
    fraction: float
    eta_seconds: Optional[float] = None
    message: str = ""

    def as_dict(self) -> dict:
        """Return the report as plain JSON types."""
        return asdict(self)


ProgressCallback = Callable[[Progress], Optional[bool]]
"""Receives every report; returning ``False`` (and only that) cancels the job."""


class Reporter:
    """Turns "step i of n of this stage" into :class:`Progress` with a remaining time, and raises on cancel.

    Args:
        callback: receives the reports; None reports nothing.
        shares: stage name -> its share of the whole job's time, in order; the values are made to sum to one.
    """

    def __init__(self, callback: Optional[ProgressCallback], shares: dict[str, float]):
        self._callback = callback
        total = sum(shares.values())
        self._start, self._share, before = {}, {}, 0.0
        for stage, share in shares.items():
            self._start[stage], self._share[stage] = before / total, share / total
            before += share
        self._began = time.monotonic()

    def __call__(self, stage: str, step: int, of: int, message: str = "", part: float = 0.0) -> None:
        """Report that ``step`` of ``of`` steps of ``stage`` are done, and ``part`` of a step beside.

        Raises:
            Cancelled: the callback returned False.
        """
        if self._callback is None:
            return
        fraction = self._start[stage] + self._share[stage] * (step + part) / max(of, 1)
        spent = time.monotonic() - self._began
        eta = spent * (1 - fraction) / fraction if fraction > 0.02 else None
        if self._callback(Progress(stage, step, of, round(fraction, 4), eta, message)) is False:
            raise Cancelled(NOTHING_WRITTEN)


# seconds a stage takes on one million voxels and two cores, roughly: they only place the progress bar
_SHARES = {"align": 1.0, "normalise": 1.0, "sample": 0.0, "restore": 1.0}
_SHARE_OF_FILES, _SHARE_OF_REPORT, _SHARE_OF_EVALUATION = 2.0, 6.0, 4.0


def shares_of(evaluations: int, files: bool = False, report: bool = False) -> dict[str, float]:
    """Return what share of the time each stage of a run takes, in the stages' order."""
    run = {**_SHARES, "sample": _SHARE_OF_EVALUATION * evaluations}
    if not files:
        return run
    written = {"write": _SHARE_OF_FILES, **({"report": _SHARE_OF_REPORT} if report else {})}
    return {"read": _SHARE_OF_FILES, **run, **written}


def describe_seconds(seconds: float) -> str:
    """Return a duration as text.

    Example:
        >>> describe_seconds(42.3), describe_seconds(200), describe_seconds(3900)
        ('42 s', '3 min 20 s', '1 h 05 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def print_json_line(values: Mapping[str, Any]) -> None:
    """Print values as one line of JSON, in one write: an interrupt may come between the two of ``print``."""
    sys.stdout.write(f"{json.dumps(values)}\n")
    sys.stdout.flush()
