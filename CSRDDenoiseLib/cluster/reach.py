"""Who works at a place: its workers, their versions and devices, and whether they fit this installation."""

from __future__ import annotations

import asyncio
import platform
import socket
import threading
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Callable, Mapping, Optional, TypeVar

from .. import __version__
from ..errors import PlaceError
from .places import CONNECT_SECONDS, Place, connect

if TYPE_CHECKING:
    from distributed import Client, Worker

PACKAGE = "csrd-denoise"
ANSWER_SECONDS = 30.0
T = TypeVar("T")


@dataclass(frozen=True)
class WorkerFacts:
    """One worker.

    Attributes:
        address: of the worker.
        host: name of its machine.
        versions: of this package, Python and Dask there.
        devices: of the machine, the one ``auto`` takes first, as :class:`~CSRDDenoiseLib.devices.Device`.
        memory_bytes: that it may use, 0 where it is not limited.
        busy: how many tasks it works on.
    """

    address: str
    host: str
    versions: Mapping[str, str]
    devices: tuple[Mapping[str, Any], ...]
    memory_bytes: int
    busy: int


@dataclass(frozen=True)
class PlaceFacts:
    """A place that answers.

    Attributes:
        address: of the scheduler.
        dashboard: address of Dask's page about it.
        workers: that it has.
    """

    address: str
    dashboard: str
    workers: tuple[WorkerFacts, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the facts as plain JSON types."""
        return asdict(self)

    @property
    def sentence(self) -> str:
        """The place in words."""
        devices = [str(worker.devices[0]["description"] or worker.devices[0]["name"]) for worker in self.workers]
        kinds = ", ".join(f"{devices.count(kind)} x {kind}" for kind in dict.fromkeys(devices))
        busy = sum(worker.busy > 0 for worker in self.workers)
        return f"{self.address}: {len(self.workers)} worker(s), {busy} busy ({kinds})"


def check_place(place: Place, seconds: float = CONNECT_SECONDS) -> PlaceFacts:
    """Connect, and look at the workers.

    Args:
        place: the scheduler.
        seconds: until when it has to answer.

    Raises:
        PlaceError: ``distributed`` is not installed, nothing answers, there is no worker, or one has another version.
    """
    with connect(place, seconds) as client:
        return facts_of(client, place.address, max(seconds, ANSWER_SECONDS))


def facts_of(client: Client, address: str, seconds: float = ANSWER_SECONDS) -> PlaceFacts:
    """Return the workers of a connected client, whose versions are compared with this one.

    Raises:
        PlaceError: as :func:`check_place`.
    """
    answers = within(seconds, lambda: client.run(worker_facts, on_error="return"), address)
    if not answers:
        raise PlaceError(f"The scheduler at {address} has no worker; start one with 'csrd-denoise worker {address}'.")
    for worker, answer in answers.items():
        if isinstance(answer, ModuleNotFoundError):
            raise PlaceError(f"The worker {worker} lacks the Python package '{answer.name}'; install {PACKAGE} there.")
        if isinstance(answer, BaseException):
            raise PlaceError(f"The worker {worker} gives an answer that cannot be read: {answer}.")
    workers = tuple(answers[address] for address in sorted(answers))
    check_versions(workers)
    return PlaceFacts(address, str(client.dashboard_link), workers)


def check_versions(workers: tuple[WorkerFacts, ...]) -> None:
    """Refuse a worker that has another version of this package.

    Raises:
        PlaceError: with both versions.
    """
    for worker in workers:
        there = worker.versions.get(PACKAGE, "none")
        if there != __version__:
            raise PlaceError(
                f"The worker {worker.address} on {worker.host} has {PACKAGE} {there}, and this is {__version__}; "
                "install the same version on both."
            )


async def worker_facts(dask_worker: Optional[Worker] = None) -> WorkerFacts:
    """Return the facts of the worker that runs this, beside its own loop; for ``Client.run``."""
    if dask_worker is None:
        raise RuntimeError("There is no worker.")
    return await asyncio.to_thread(_facts, dask_worker)


def _facts(worker: Worker) -> WorkerFacts:
    import distributed

    from ..devices import list_devices

    versions = {PACKAGE: __version__, "python": platform.python_version(), "distributed": distributed.__version__}
    return WorkerFacts(
        worker.address,
        socket.gethostname(),
        versions,
        tuple(device.as_dict() for device in list_devices()),
        int(worker.memory_manager.memory_limit or 0),
        worker.state.executing_count,
    )


def within(seconds: float, call: Callable[[], T], address: str) -> T:
    """Return what a call returns; Dask's own calls wait without end.

    Raises:
        PlaceError: not in time, or the connection was lost.
    """
    answer: list[T] = []
    problem: list[BaseException] = []

    def run() -> None:
        try:
            answer.append(call())
        except BaseException as error:
            problem.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if answer:
        return answer[0]
    if problem and isinstance(problem[0], PlaceError):
        raise problem[0]
    reason = f"it failed ({problem[0]})" if problem else f"it gave no answer in {seconds:g} s"
    raise PlaceError(f"The workers at {address} were asked, and {reason}; try again.")
