"""One scan on another machine: bytes there, progress and cancelling, bytes back.

A result is published under its key until it was fetched, so that a run whose connection was lost is not lost: the same
request again finds it, running or done; for how long, see :mod:`.held`.
"""

from __future__ import annotations

import json
import logging
import queue
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Iterator, Mapping, Optional, Union

from ..dynamic.denoise import check_dynamic, is_dynamic
from ..errors import NOTHING_WRITTEN, Cancelled, CSRDError, PlaceError
from ..io.write import record_path, sidecar_path
from ..model.bundle import DEFAULT_MODEL
from ..progress import Progress, ProgressCallback
from ..run.request import FileRequest, check_request
from ..run.sidecars import output_sidecars, remove_stale_sidecars
from ..sentences import PYTHON, SLICER
from ..settings import DenoiseSettings
from .jobs import Job, key_of
from .model_key import ModelKey, key_of_model, pack_model
from .parcels import Parcel, deliver, digests_of, pack_inputs
from .places import Place, connect, quiet
from .reach import PlaceFacts, check_place, facts_of, within

if TYPE_CHECKING:
    from distributed import Client, Future

    from ..dynamic.result import DynamicResult
    from ..io.record import Record
    from .work import Done

__all__ = ["Place", "PlaceFacts", "check_place", "denoise_on", "estimate_on"]

LOOK_SECONDS = 0.2
ESTIMATE_SECONDS = 120.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fetched:
    """A run on another machine, whose outputs are written.

    Attributes:
        result: the record, or what a run on a dynamic PET returns.
        summary: what changed, as :class:`~CSRDDenoiseLib.report.summary.ChangeSummary`; None for a dynamic PET.
    """

    result: Union[Record, DynamicResult]
    summary: Optional[dict[str, Any]]


def denoise_on(
    place: Place,
    request: FileRequest,
    settings: Optional[DenoiseSettings] = None,
    model: Union[str, Path] = DEFAULT_MODEL,
    progress: Optional[ProgressCallback] = None,
    edge: str = PYTHON,
) -> Fetched:
    """Denoise files on another machine; the outputs and the record appear here, only when complete.

    Args:
        place: the scheduler.
        request: the files, on this machine.
        settings: as for :func:`CSRDDenoiseLib.denoise.denoise_files`; the device is the worker's.
        model: name of a bundled model, or a model folder on this machine.
        progress: receives the reports, and is asked several times a second; returning False cancels.
        edge: for which the report is worded.

    Raises:
        InputError: the request is refused, here or there.
        PlaceError: the place cannot be used, or the connection was lost; the run may then continue there.
        Cancelled: ``progress`` returned False; nothing is written.
    """
    settings = settings or DenoiseSettings()
    dynamic = bool(request.frames) or is_dynamic(request.pet)
    (check_dynamic if dynamic else check_request)(request, settings)
    say = progress or (lambda _progress: None)
    with connect(place) as client, _lost(place):
        facts_of(client, place.address)
        job = Job.of(request.output.name, request, settings, key_of_model(model), edge=edge, place=place.address)
        # the record names the paths, so who asks with others needs another result; Slicer puts its own names there
        named = {} if edge == SLICER else {"paths": json.dumps(job.paths, sort_keys=True)}
        key = key_of({**digests_of(request.inputs, request.headers), **named}, job)
        run = _Run(client, replace(job, key=key), say)
        done = run.finish(request)
        if done.outputs is not None and done.result is not None:
            # before it is forgotten there: the disk may be full here
            receive(done.outputs, request)
        run.forget()
    if done.error is not None:
        raise done.error
    if done.outputs is None or done.result is None:
        raise PlaceError(f"The result from {place.address} has no files; try again.")
    return Fetched(done.result, done.summary)


def estimate_on(
    place: Place,
    model: Union[str, Path] = DEFAULT_MODEL,
    device: str = "auto",
    seconds: float = ESTIMATE_SECONDS,
) -> dict[str, Any]:
    """Time the network on a worker of a place; see :class:`~CSRDDenoiseLib.infer.cost.DeviceSpeed`.

    Args:
        place: the scheduler.
        model: name of a bundled model, or a model folder on this machine.
        device: of the worker.
        seconds: until when the answer has to come.

    Raises:
        PlaceError: the place cannot be used, or gave no answer in time.
    """
    with connect(place) as client, _lost(place):
        from .models import measure_on_worker

        facts, key = facts_of(client, place.address), key_of_model(model)
        warm(client, key, device)
        first = min(facts.workers, key=lambda worker: worker.busy).address
        call = lambda: client.run(measure_on_worker, key, device, str(model), workers=[first])  # noqa: E731
        return within(seconds, call, place.address)[first]


def warm(client: Client, key: ModelKey, device: str) -> None:
    """Have every worker load a model, which travels where one lacks it."""
    from .models import WarmModel, has_model

    lacking = not all(client.run(has_model, key).values())
    client.register_plugin(WarmModel(key, device, pack_model(key) if lacking else None))


class _Run:
    """One job at a place."""

    def __init__(self, client: Client, job: Job, say: Callable[[Progress], Optional[bool]]):
        self._client, self._job, self._say = client, job, say
        self._events: queue.Queue[dict[str, Any]] = queue.Queue()
        self._last = Progress("send", 0, 1, 0.0, message="sending the files")
        self._future: Optional[Future] = None

    def finish(self, request: FileRequest) -> Done:
        """Start the job, or find it where it was started before; wait for it."""
        client, key = self._client, self._job.key
        client.subscribe_topic(key, lambda event: self._events.put(event[1]))
        future = self._future = self._begin(request)
        while not future.done():
            self._show()
            if self._say(self._last) is False:
                self.forget()
                raise Cancelled(NOTHING_WRITTEN)
            _check_connected(client)
        _check_connected(client)
        if future.status == "cancelled":
            raise PlaceError(
                f"The run at {self._job.place} was cancelled there: another program that asked for the same outputs "
                "stopped it, or has fetched the result. Look whether they are there, or try again."
            )
        if future.status == "error":
            # a failed task is not kept: the same request may succeed on another day
            error = future.exception()
            self.forget()
            raise _as_error(error, self._job.place)
        return future.result()

    def _begin(self, request: FileRequest) -> Future:
        from .work import work

        client, job = self._client, self._job
        if job.key in client.list_datasets():
            logger.info("This run was started at %s before; its result is picked up.", job.place)
            return client.get_dataset(job.key)
        self._say(self._last)
        warm(client, job.model, job.denoise_settings.device)
        self._limit()
        parcel = pack_inputs(request.inputs, request.headers)
        with without_size_warning():
            future = client.submit(
                work, job.as_message(), job.key, parcel, key=job.key, resources=one_scan(client), retries=0
            )
        client.publish_dataset(future, name=job.key)
        return future

    def _limit(self) -> None:
        """Make the scheduler drop results that no client fetches."""
        from .held import HeldResults

        try:
            self._client.register_plugin(HeldResults())
        except ImportError as error:
            logger.warning(
                "Warning: the scheduler at %s lacks the Python package '%s', so a result that is not fetched stays "
                "there until it ends. Start it with 'csrd-denoise worker ... --start-scheduler'.",
                self._job.place,
                error.name,
            )

    def forget(self) -> None:
        """Have the place forget the job and its result; a lost connection leaves it to the limits of :mod:`.held`."""
        with suppress(OSError, KeyError, ValueError):
            self._client.unpublish_dataset(self._job.key)
        with suppress(OSError):
            self._client.cancel([self._future], force=True)

    def _show(self) -> None:
        """Report what has arrived, or wait a moment."""
        with suppress(queue.Empty):
            event = self._events.get(timeout=LOOK_SECONDS)
            if "progress" in event:
                self._last = Progress(**event["progress"])


def one_scan(client: Client) -> dict[str, float]:
    """Return the resources that a scan takes, where every worker has a place for scans."""
    from .resources import SCAN, workers_of

    known = [worker["resources"] for worker in workers_of(client).values()]
    return {SCAN: 1} if known and all(SCAN in each for each in known) else {}


@contextmanager
def without_size_warning() -> Iterator[None]:
    """Dask warns of large arguments; here they are meant to travel with the task, so that it can be run again."""
    import warnings

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sending large graph")
        yield


@contextmanager
def _lost(place: Place) -> Iterator[None]:
    """Turn what Dask raises when a connection ends into one sentence."""
    try:
        with quiet():
            yield
    except CSRDError:
        raise
    except OSError as error:
        raise _lost_error(place.address) from error


def _check_connected(client: Client) -> None:
    if client.status != "running":
        raise _lost_error(str(client.scheduler.address) if client.scheduler else "the scheduler")


def _lost_error(address: str) -> PlaceError:
    return PlaceError(
        f"The connection to {address} was lost. If the run continues there, its result is kept: use the same command "
        "again to fetch it. Nothing was written here."
    )


def _as_error(error: Optional[BaseException], address: str) -> BaseException:
    from distributed import KilledWorker

    if isinstance(error, CSRDError):
        return error
    if isinstance(error, KilledWorker):
        return PlaceError(
            f"The worker at {address} died at this scan, again and again: most likely its memory was used up. Choose "
            "smaller patches, or a machine with more memory."
        )
    return PlaceError(f"The run at {address} failed with {type(error).__name__}: {error}.")


def receive(parcel: Parcel, request: FileRequest, further: Optional[Mapping[str, Path]] = None) -> None:
    """Write the files that came back, and ``further`` ones, as a run here would.

    Raises:
        InputError: as :func:`~CSRDDenoiseLib.cluster.parcels.deliver`.
    """
    targets = {**targets_of(request), **(further or {})}
    deliver(parcel, targets, request.overwrite)
    came = {targets.get(name) for name in parcel.files}
    if request.overwrite and came.isdisjoint(output_sidecars(request).values()):
        remove_stale_sidecars(request)


def targets_of(request: FileRequest) -> Mapping[str, Path]:
    """Return where the files that come back go, see :func:`~CSRDDenoiseLib.cluster.parcels.deliver`."""
    record = record_path(request.output)
    found = {f"output/{record.name}": record}
    for name, path in request.outputs.items():
        folder = "output" if name == "denoised" else name
        found[f"{folder}/{path.name}"] = path
        if name != "report":
            found[f"{folder}/{sidecar_path(path).name}"] = sidecar_path(path)
    return found
