"""What to do in a cohort, and where it stands."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Optional, Sequence

from ...progress import Progress
from ..model_key import ModelKey
from .rows import FAILED, Row
from .scans import Scan


@dataclass(frozen=True)
class Cohort:
    """What to do.

    Attributes:
        folder: of the cohort.
        scans: all of them.
        model: by its checksum.
        sizes: estimated bytes of each scan, in their order.
        send: move the bytes with the task, where there is no common file system.
    """

    folder: Path
    scans: Sequence[Scan]
    model: ModelKey
    sizes: Sequence[float]
    send: bool = False


@dataclass
class State:
    """Where a cohort stands; what is shown of it.

    Attributes:
        total: number of scans.
        rows: name -> row of every scan that has ended, in that order.
        done_before: names of those that were done before.
        active: name -> what a worker reports of it, and the worker's machine.
        workers: number.
        dashboard: address of Dask's page.
        began: when, of the monotonic clock.
    """

    total: int
    rows: dict[str, Row] = field(default_factory=dict)
    done_before: set[str] = field(default_factory=set)
    active: dict[str, tuple[Optional[Progress], str]] = field(default_factory=dict)
    workers: int = 0
    dashboard: str = ""
    began: float = field(default_factory=time.monotonic)

    @property
    def failed(self) -> list[Row]:
        """Rows of the scans that failed."""
        return [row for row in list(self.rows.values()) if row.status == FAILED]

    @property
    def per_hour(self) -> Optional[float]:
        """Scans an hour, without those that were done before; None until there is one."""
        made, spent = len(self.rows) - len(self.done_before), time.monotonic() - self.began
        return 3600 * made / spent if made and spent else None

    @property
    def remaining_seconds(self) -> Optional[float]:
        """Time until the end at this rate; None until it is known."""
        left = self.total - len(self.rows)
        return left * 3600 / self.per_hour if self.per_hour else None


Show = Callable[[State, Optional[Row]], None]
"""Receives the state several times a second, and the row of each scan that ends."""
