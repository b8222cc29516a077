"""What a worker runs: one scan, with the model it keeps warm; progress goes back as Dask's events, cancelling comes in.

A client cancels by releasing the task; the worker sees that at the next report of the run and stops.
"""

from __future__ import annotations

import socket
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Optional, Union

from distributed import Status, get_worker

from ..bids import BidsPet, denoise_request, entries_of
from ..denoise import denoise_files
from ..dynamic.denoise import denoise_dynamic, is_dynamic
from ..dynamic.result import DynamicResult
from ..errors import Cancelled, CSRDError, known_error
from ..io.record import Record
from ..progress import Progress
from ..report.summary import summarise_change
from ..run.result import DenoiseResult
from .jobs import Job, job_of_message
from .models import store_of
from .parcels import HEADERS, Parcel, pack_folder, unpack

if TYPE_CHECKING:
    from distributed import Worker

    from ..model.bundle import Model
    from ..run.request import FileRequest

Images = Optional[DenoiseResult]
STARTED, PROGRESS, ENDED = "started", "progress", "ended"
_SECONDS_BETWEEN_EVENTS = 0.5
_ENDING = (Status.closing, Status.closed, Status.failed)


@dataclass(frozen=True)
class Done:
    """The result of a job.

    Attributes:
        result: the record of a run on a static PET, the result of one on a dynamic PET; there is none where it failed.
        summary: what changed, as :class:`~CSRDDenoiseLib.report.summary.ChangeSummary`; None for a dynamic PET.
        outputs: the files, where they were asked for.
        error: why it failed.
    """

    result: Optional[Union[Record, DynamicResult]] = None
    summary: Optional[dict[str, Any]] = None
    outputs: Optional[Parcel] = None
    error: Optional[CSRDError] = None


class Watch:
    """Reports a job's progress as events of Dask, and whether the job is still wanted."""

    def __init__(self, worker: Worker, job: Job, topic: str):
        self._worker, self._topic = worker, topic
        self._about = {"scan": job.name, "worker": worker.address, "host": socket.gethostname()}
        self._key = worker.get_current_task()
        self._last, self._stage = 0.0, ""

    def event(self, kind: str, **values: Any) -> None:
        """Send an event."""
        self._worker.log_event(self._topic, {**self._about, "event": kind, **values})

    def __call__(self, progress: Progress) -> bool:
        """Send a report, at most some a second; False where the job was cancelled."""
        now = time.monotonic()
        if now - self._last > _SECONDS_BETWEEN_EVENTS or progress.stage != self._stage:
            self._last, self._stage = now, progress.stage
            self.event(PROGRESS, progress=progress.as_dict())
        return self.is_wanted

    @property
    def is_wanted(self) -> bool:
        """Whether the scheduler has not released the task, and the worker is not to end."""
        task = self._worker.state.tasks.get(self._key)
        return task is not None and task.state != "cancelled" and self._worker.status not in _ENDING


def work(message: dict[str, Any], topic: str, parcel: Optional[Parcel] = None) -> Done:
    """Do one job; the task that a client submits.

    Args:
        message: of :meth:`~CSRDDenoiseLib.cluster.jobs.Job.as_message`.
        topic: of the events.
        parcel: the inputs, where client and worker have no common file system; the outputs then come back.

    Returns:
        The result, or why there is none; an error that is not of this package is raised.
    """
    return doing(message, topic, lambda job, model, watch: run_job(job, model, watch, parcel))


def doing(message: dict[str, Any], topic: str, run: Callable[[Job, Model, Watch], Done]) -> Done:
    """Check a message, load its model and run it, with events before and after; errors of this package are returned."""
    worker = get_worker()
    try:
        job = job_of_message(message)
        watch = Watch(worker, job, topic)
    except CSRDError as error:
        return Done(error=error)
    watch.event(STARTED)
    try:
        store = store_of(worker)
        store.use_threads()
        return run(job, store.load(job.model, job.denoise_settings.device), watch)
    except Cancelled:
        raise
    except Exception as error:
        known = known_error(error)
        if known is None:
            raise
        return Done(error=known)
    finally:
        watch.event(ENDED)


def run_job(job: Job, model: Model, watch: Watch, parcel: Optional[Parcel] = None) -> Done:
    """Run a job here: on files that client and worker share, or on those of a parcel in a folder of its own."""
    if parcel is None:
        return run_request(job, job.request(place=place_of(job)), model, watch)[0]
    done, _, outputs = run_parcel(job, model, watch, parcel)
    return replace(done, outputs=outputs)


def run_parcel(
    job: Job, model: Model, watch: Watch, parcel: Parcel, add: Callable[[Images, Path], None] = lambda *_: None
) -> tuple[Done, Images, Parcel]:
    """Run a job on the files of a parcel, in a temporary folder of its own.

    Args:
        job: whose paths are those of the asking machine.
        model: loaded.
        watch: receives the reports.
        parcel: the inputs.
        add: writes more into the folder of the outputs, given the images.

    Returns:
        The result, the images of a static PET, and the files.
    """
    with tempfile.TemporaryDirectory(prefix="csrd-denoise-", dir=get_worker().local_directory) as folder:
        out = Path(folder, "out")
        paths = {**unpack(parcel, Path(folder, "in")), **output_paths(job, out)}
        headers = sorted(Path(folder, "in", HEADERS).glob("*"))
        done, images = run_request(job, job.request(paths, place_of(job), headers), model, watch)
        add(images, out)
        return done, images, pack_folder(out)


def run_request(job: Job, request: FileRequest, model: Model, watch: Watch) -> tuple[Done, Optional[DenoiseResult]]:
    """Denoise the files of a request; return the result, and the images of a static PET."""
    result = _result(job, request, model, watch)
    if not isinstance(result, DenoiseResult):
        return Done(result), None
    return Done(result.record, summarise_change(result.denoised, result.difference).as_dict()), result


def _result(job: Job, request: FileRequest, model: Model, watch: Watch) -> Union[DenoiseResult, DynamicResult]:
    settings = job.denoise_settings
    if job.bids is not None:
        # the dataset, where the asking machine has it; the files themselves may have come along
        paths = {name: Path(path) for name, path in job.paths.items()}
        pet = BidsPet(Path(job.bids["root"]), paths["pet"], paths.get("mr"), Path(job.bids["folder"]))
        return denoise_request(request, settings, model, watch, entries_of(pet, request.pet))
    if request.frames or is_dynamic(request.pet):
        return denoise_dynamic(request, settings, model, watch, edge=job.edge)
    return denoise_files(request, settings, model, watch, job.edge)


def place_of(job: Job) -> str:
    """Return who works, for the record; empty on the machine that asked."""
    return f"{job.place}, {socket.gethostname()}" if job.place else ""


def output_paths(job: Job, folder: Path) -> dict[str, Path]:
    """Return where a worker writes the outputs of a job: each in a folder of its own, under its name."""
    paths = {}
    for name in job.output_names:
        place = folder / name
        place.mkdir(parents=True)
        paths[name] = place if name == "report" else place / Path(job.paths[name]).name
    return paths
