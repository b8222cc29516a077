"""Limits of age and number for results that a scheduler keeps and no client fetches, applied by the scheduler itself.

The client of a run brings :class:`HeldResults` to the scheduler, which looks now and then at the published results of
runs that are over and that no client waits for.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Mapping

from distributed import SchedulerPlugin
from tornado.ioloop import PeriodicCallback

if TYPE_CHECKING:
    from distributed import Scheduler

PREFIX = "csrd-denoise-"
"""Of the keys of runs, and of the topics of their events."""
HELD_SECONDS = 24 * 3600.0
"""A result is held so long after its run has ended."""
MOST_HELD = 20
"""No more results are held at once; the oldest go first."""
LOOK_SECONDS = 30.0
_PUBLISHED = "published-"


def overdue(since: Mapping[str, float], now: float, seconds: float = HELD_SECONDS, most: int = MOST_HELD) -> list[str]:
    """Return the results to drop, the oldest first.

    Args:
        since: key -> when its run ended or was last asked for, in s.
        now: in s of the same clock.
        seconds: how long a result is held.
        most: how many are held.
    """
    oldest_first = sorted(since, key=lambda key: (since[key], key))
    surplus = oldest_first[: max(len(oldest_first) - most, 0)]
    return [key for key in oldest_first if key in surplus or now - since[key] > seconds]


class HeldResults(SchedulerPlugin):
    """Drops results that were not fetched in time, and events of progress that no client follows.

    Args:
        seconds: how long a result is held.
        most: how many are held.
        look_seconds: how often it looks.
    """

    name = "csrd-denoise-held"
    idempotent = True

    def __init__(
        self, seconds: float = HELD_SECONDS, most: int = MOST_HELD, look_seconds: float = LOOK_SECONDS
    ) -> None:
        self.seconds, self.most, self.look_seconds = seconds, most, look_seconds
        self._since: dict[str, float] = {}

    async def start(self, scheduler: Scheduler) -> None:
        """Begin to look, in place of an earlier one."""
        callback = PeriodicCallback(lambda: self.look(scheduler), 1000 * self.look_seconds)
        before = scheduler.periodic_callbacks.pop(self.name, None)
        if before is not None:
            before.stop()
        scheduler.periodic_callbacks[self.name] = callback
        callback.start()

    def look(self, scheduler: Scheduler) -> None:
        """Drop what is overdue."""
        published = scheduler.extensions["publish"].datasets
        waiting = {name for name in published if str(name).startswith(PREFIX) and _is_held(scheduler, name)}
        now = time.monotonic()
        self._since = {name: self._since.get(name, now) for name in waiting}
        for name in overdue(self._since, now, self.seconds, self.most):
            entry = published.pop(name)
            scheduler.client_releases_keys(entry["keys"], f"{_PUBLISHED}{name}")
            del self._since[name]
        _forget_events(scheduler)


def _is_held(scheduler: Scheduler, key: Any) -> bool:
    """Whether a run is over and no connected client waits for it."""
    task = scheduler.tasks.get(key)
    if task is None:
        return True
    clients = {str(client.client_key) for client in task.who_wants or ()}
    over = task.state not in ("waiting", "queued", "no-worker", "processing")
    return over and all(client.startswith(_PUBLISHED) for client in clients)


def _forget_events(scheduler: Scheduler) -> None:
    """Drop the events of runs and cohorts that no connected client follows; older Dask keeps a number of each."""
    topics = getattr(getattr(scheduler, "_broker", None), "_topics", {})
    for name in [each for each in topics if str(each).startswith(PREFIX)]:
        if not topics[name].subscribers & set(scheduler.clients):
            del topics[name]
