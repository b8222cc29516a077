"""Time spent on one trial, pauses not counted."""

import time
from typing import Callable, Optional


class Clock:
    """A stopwatch.

    Args:
        now: returns seconds that never go back; a test may give another.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic):
        self._now = now
        self._spent = 0.0
        self._since: Optional[float] = None

    @property
    def seconds(self) -> float:
        """Seconds it ran since it was reset."""
        return self._spent + (0.0 if self._since is None else self._now() - self._since)

    def reset(self) -> None:
        """Begin again at zero, running."""
        self._spent, self._since = 0.0, self._now()

    def stop(self) -> None:
        """Stop; it keeps what it has."""
        self._spent, self._since = self.seconds, None
