"""Workers that ended during a scan, counted by the events of the scan's begin and end.

Dask counts a lost worker for every task that it had, also for those that only waited (``KilledWorker`` after
``allowed-failures``). Here it counts only for the scan that had begun and had not ended.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Mapping, Optional

from ...errors import PlaceError
from ...progress import Progress
from ..local import ALLOWED_FAILURES
from ..work import ENDED, STARTED
from .rows import Row
from .task import failed_row


class LostWorkers:
    """Counts, for each scan, the workers that ended during it.

    Args:
        active: name -> last report and machine of the scans that are worked on; kept up to date.
    """

    def __init__(self, active: dict[str, tuple[Optional[Progress], str]]):
        self._active = active
        self._begun: set[str] = set()
        self._lost: Counter[str] = Counter()

    def on_event(self, event: Mapping[str, Any]) -> None:
        """Count an event of :class:`~CSRDDenoiseLib.cluster.work.Watch`."""
        name, kind = str(event["scan"]), event["event"]
        if kind == STARTED:
            self._lost[name] += name in self._begun
            self._begun.add(name)
        elif kind == ENDED:
            self._begun.discard(name)
            self._active.pop(name, None)
            return
        report = Progress(**event["progress"]) if "progress" in event else None
        self._active[name] = report, str(event["host"])

    def began_over_limit(self, name: str) -> bool:
        """Whether a scan has begun again after it lost more workers than :data:`ALLOWED_FAILURES`."""
        return self._lost[name] > ALLOWED_FAILURES

    def is_over_limit(self, name: str) -> bool:
        """Whether a scan whose worker has just ended has lost more of them than :data:`ALLOWED_FAILURES`."""
        return self._lost[name] + (name in self._begun) > ALLOWED_FAILURES

    def row(self, name: str) -> Row:
        """Return the row of a scan that is set aside."""
        count = self._lost[name] + (name in self._begun and not self.began_over_limit(name))
        error = PlaceError(
            f"Its worker ended {count} times while it worked on this scan; most likely the memory was used up. It is "
            "set aside. Choose smaller patches, or workers with more memory."
        )
        return failed_row(name, error)
