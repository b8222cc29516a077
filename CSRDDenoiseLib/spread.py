"""Many jobs that do not depend on one another: one after another here, or on the workers that the caller gives.

A *spread* takes a function and its jobs and yields each job with its result, or with the error that it ended with, in
the order they end. Functions and jobs must be picklable.
"""

from __future__ import annotations

from typing import Any, Callable, Iterator, Sequence, Union

from .errors import Cancelled, CSRDError

Spread = Callable[[Callable[[Any], Any], Sequence[Any]], Iterator[tuple[Any, Union[Any, CSRDError]]]]


def in_turn(function: Callable[[Any], Any], jobs: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    """Do one job after another in this process; what is wrong with one does not stop the others."""
    for job in jobs:
        found: Any
        try:
            found = function(job)
        except Cancelled:
            raise
        except CSRDError as error:
            found = error
        yield job, found
