"""Which scan ended a worker: known by the events of its begin and its end.

Dask counts a worker's death against every task that was there, also those that only waited (``KilledWorker`` after
``allowed-failures``). Here it counts against the scan that had begun and had not ended.
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


class Deaths:
    """Counts, for each scan, the workers that ended while they worked on it.

    Args:
        active: name -> last report and machine of the scans that are worked on; kept up to date.
    """

    def __init__(self, active: dict[str, tuple[Optional[Progress], str]]):
        self._active = active
        self._begun: set[str] = set()
        self._known: Counter[str] = Counter()

    def on_event(self, event: Mapping[str, Any]) -> None:
        """Take in an event of :class:`~CSRDDenoiseLib.cluster.work.Watch`."""
        name, kind = str(event["scan"]), event["event"]
        if kind == STARTED:
            self._known[name] += name in self._begun
            self._begun.add(name)
        elif kind == ENDED:
            self._begun.discard(name)
            self._active.pop(name, None)
            return
        report = Progress(**event["progress"]) if "progress" in event else None
        self._active[name] = report, str(event["host"])

    def again(self, name: str) -> bool:
        """Whether a scan has begun once more after it ended as many workers as it may."""
        return self._known[name] > ALLOWED_FAILURES

    def is_guilty(self, name: str) -> bool:
        """Whether a scan whose worker has ended just now has ended more of them than it may."""
        return self._known[name] + (name in self._begun) > ALLOWED_FAILURES

    def row(self, name: str) -> Row:
        """Return the row of a scan that is set aside."""
        count = self._known[name] + (name in self._begun and not self.again(name))
        error = PlaceError(
            f"Its worker ended {count} times while it worked on this scan; most likely the memory was used up. It is "
            "set aside. Choose smaller patches, or workers with more memory."
        )
        return failed_row(name, error)
