"""Where a cohort runs: on this machine, on a scheduler that runs already, or on jobs of a queueing system."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Iterator, Optional, Sequence

from ..errors import InputError
from .local import WorkerPlan, has_dashboard, local_cluster
from .places import Place, connect, quiet
from .queues import Queue, queue_cluster, read_queue

if TYPE_CHECKING:
    from distributed import Client

Plan = Callable[[], Sequence[WorkerPlan]]


@dataclass(frozen=True)
class Where:
    """What was asked for; nothing of it means workers on this machine.

    Attributes:
        scheduler: address of one that runs.
        queue: file for dask-jobqueue.
        tls: folder of certificates for either.
        insecure: allow other machines without encryption.
    """

    scheduler: Optional[str] = None
    queue: Optional[Path] = None
    tls: Optional[Path] = None
    insecure: bool = False

    def __post_init__(self) -> None:
        if self.scheduler and self.queue:
            raise InputError("Give either a scheduler or a file of a queueing system, not both.")
        if self.scheduler:
            Place(self.scheduler, self.tls, self.insecure)

    @property
    def place(self) -> Optional[Place]:
        """The scheduler that runs already, or None."""
        return Place(self.scheduler, self.tls, self.insecure) if self.scheduler else None

    @property
    def is_here(self) -> bool:
        """Whether the workers are processes of this machine that are started for this."""
        return not self.scheduler and not self.queue

    def read(self) -> Optional[Queue]:
        """Return the checked contents of the file of the queueing system; None without one."""
        return read_queue(self.queue) if self.queue else None


@contextmanager
def open_client(where: Where, plan: Plan) -> Iterator[Client]:
    """Connect to a scheduler, and start one unless it runs already.

    Args:
        where: it is to be done.
        plan: returns the workers to start on this machine, asked for only then.

    Raises:
        PlaceError: nothing answers there, or the certificates do not fit.
    """
    from distributed import Client

    place = where.place
    if place is not None:
        with connect(place) as client:
            yield client
        return
    queue = where.read()
    started = queue_cluster(queue, where.tls, where.insecure) if queue else local_cluster(plan())
    with quiet(), started as cluster, Client(cluster, set_as_default=False) as client:
        yield client


def dashboard_of(client: Client) -> str:
    """Return the address of Dask's page about the work; empty where it needs the package bokeh."""
    return str(client.dashboard_link) if has_dashboard() else ""
