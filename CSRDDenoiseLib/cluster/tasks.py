"""Jobs of the research commands as tasks: subjects to simulate, to measure, to evaluate, on workers that see the files.

Unlike scans, these are functions with their data (a model, for instance), which Dask pickles.
"""

from __future__ import annotations

import queue
import uuid
from contextlib import contextmanager, suppress
from typing import Any, Callable, Iterator, Optional, Sequence, Union

from distributed import Client, Future, KilledWorker, get_worker

from ..errors import CSRDError, PlaceError, known_error
from ..spread import Spread
from .models import store_of
from .places import Place, connect, quiet
from .reach import facts_of
from .remote import one_scan, without_size_warning
from .resources import workers_of

LOOK_SECONDS = 0.5
JOBS_A_WORKER = 2


@contextmanager
def spread_over(place: Place) -> Iterator[Spread]:
    """Give what does jobs on the workers of a place; see :mod:`CSRDDenoiseLib.spread`.

    Raises:
        PlaceError: nothing answers there, or it has no workers of this version.
    """
    with connect(place) as client, quiet():
        facts_of(client, place.address)
        yield lambda function, jobs: _spread(client, place.address, function, jobs)


def run_task(function: Callable[[Any], Any], job: Any) -> Union[Any, CSRDError]:
    """Do a job on a worker, with its share of the cores; return the result, or the error of this package."""
    store_of(get_worker()).use_threads()
    try:
        return function(job)
    except Exception as error:
        known = known_error(error)
        if known is None:
            raise
        return known


def _spread(
    client: Client, address: str, function: Callable[[Any], Any], jobs: Sequence[Any]
) -> Iterator[tuple[Any, Any]]:
    ended: queue.Queue[Future] = queue.Queue()
    at_scheduler: dict[Future, Any] = {}
    waiting = list(reversed(jobs))
    while waiting or at_scheduler:
        while waiting and len(at_scheduler) < JOBS_A_WORKER * max(len(workers_of(client)), 1):
            with without_size_warning():
                key = f"csrd-task-{uuid.uuid4().hex}"
                submitted = client.submit(run_task, function, waiting[-1], key=key, resources=one_scan(client))
            at_scheduler[submitted] = waiting.pop()
            submitted.add_done_callback(ended.put)
        future: Optional[Future] = None
        with suppress(queue.Empty):
            future = ended.get(timeout=LOOK_SECONDS)
        if client.status != "running" or (future is not None and future.status == "cancelled"):
            raise PlaceError(f"The connection to {address} was lost; what is complete is kept.")
        if future is not None:
            yield at_scheduler.pop(future), _outcome(future)


def _outcome(future: Future) -> Any:
    if future.status == "finished":
        return future.result()
    error = future.exception()
    if isinstance(error, KilledWorker):
        return PlaceError("Its workers ended while they worked on it; most likely the memory was used up.")
    return PlaceError(f"It failed with {type(error).__name__}: {error}.")
