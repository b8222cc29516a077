"""A scan of a cohort on a worker: left as it is where it is done, else denoised; the row holds the outcome."""

from __future__ import annotations

import socket
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Collection, Optional, Sequence, Union

from ...dynamic.result import DynamicResult
from ...errors import PlaceError
from ...findings import find
from ...io.record import Record
from ...io.write import make_folder, record_path
from ...run.request import INPUT_NAMES
from ...run.result import DenoiseResult
from ...run.sidecars import remove_former
from ...sentences import CLI, error_sentence, sentences
from ..jobs import Job, key_of
from ..parcels import Parcel, digests_of
from ..work import Done, Watch, doing, place_of, run_parcel, run_request
from .rows import (
    DONE,
    FAILED,
    Row,
    digest_of_file,
    former_outputs,
    is_done,
    read_row,
    row_of_running,
    thumbnail_path,
    was_begun,
    write_row,
)
from .scans import check_free
from .thumbnail import write_thumbnail

if TYPE_CHECKING:
    from ...errors import CSRDError
    from ...model.bundle import Model


@dataclass(frozen=True)
class Answer:
    """The result of a scan.

    Attributes:
        row: of the scan.
        done_before: whether it was done before.
        parcel: the outputs with the thumbnail, where they are asked for.
    """

    row: Row
    done_before: bool = False
    parcel: Optional[Parcel] = None


def cohort_scan(message: dict[str, Any], topic: str, folder: str, named: Sequence[str] = ()) -> Answer:
    """Do one scan whose files client and worker share; the task that a client submits.

    Args:
        message: of a job.
        topic: of the events.
        folder: of the cohort.
        named: as :attr:`~CSRDDenoiseLib.cluster.cohort.scans.Scan.named`.
    """
    may_go = {Path(path) for path in named}
    return _answered(message, topic, lambda job, model, watch: _shared(job, model, watch, Path(folder), may_go))


def cohort_parcel(message: dict[str, Any], topic: str, parcel: Parcel) -> Answer:
    """Do one scan whose files came along."""

    def run(job: Job, model: Model, watch: Watch) -> Answer:
        done, _, outputs = run_parcel(job, model, watch, parcel, _add_thumbnail)
        return Answer(row_of(job, done), parcel=outputs)

    return _answered(message, topic, run)


def _answered(message: dict[str, Any], topic: str, run: Callable[[Job, Model, Watch], Answer]) -> Answer:
    found: list[Answer] = []

    def keep(job: Job, model: Model, watch: Watch) -> Done:
        found.append(run(job, model, watch))
        return Done()

    done = doing(message, topic, keep)
    return found[0] if found else Answer(failed_row(str(message["name"]), done.error))


def failed_row(name: str, error: Optional[CSRDError]) -> Row:
    """Return the row of a scan that could not be denoised."""
    text = error_sentence(error, CLI) if error else "It gave no result."
    return Row(name, status=FAILED, error=text, worker=socket.gethostname())


def key_here(job: Job) -> str:
    """Return the key of a job whose inputs lie here.

    Raises:
        InputError: an input cannot be read.
    """
    inputs = {name: Path(path) for name, path in job.paths.items() if name in INPUT_NAMES}
    return key_of(digests_of(inputs, [Path(path) for path in job.headers]), job)


def row_of(job: Job, done: Done) -> Row:
    """Return the row of a scan that was denoised; its files are not looked at."""
    result, summary = done.result, done.summary or {}
    if result is None:
        return failed_row(job.name, done.error)
    findings = result.findings
    alignment = find(findings, "alignment")
    applied = find(findings, "registration.applied")
    offset = applied or alignment
    frames = result.frames if isinstance(result, DynamicResult) else ()
    found = [*findings, *(finding for frame in frames for finding in frame.findings)]
    mean = result.brain_mean if isinstance(result, Record) else 0.0
    return Row(
        job.name,
        job.key,
        DONE,
        outputs=dict(result.outputs),
        noise_before_percent=summary.get("noise_before_percent"),
        noise_after_percent=summary.get("noise_after_percent"),
        mean_change_percent=100 * summary["mean_change"] / mean if summary and mean else None,
        alignment=alignment.statement if alignment else "",
        offset_mm=offset.values.get("displacement_mm") if offset else None,
        codes=tuple(dict.fromkeys(finding.code for finding in found if finding.is_warning)),
        warnings=_warnings(result),
        seconds=result.seconds.get("total"),
        worker=socket.gethostname(),
    )


def _warnings(result: Union[Record, DynamicResult]) -> tuple[str, ...]:
    if isinstance(result, DynamicResult):
        return result.sentences(CLI)
    return tuple(sentences([finding for finding in result.findings if finding.is_warning], CLI))


def _shared(job: Job, model: Model, watch: Watch, folder: Path, named: Collection[Path] = ()) -> Answer:
    pet = Path(job.paths["pet"])
    if job.place and not pet.exists():
        raise PlaceError(
            f"The worker on {socket.gethostname()} does not see '{pet}'; workers need the same files under the same "
            "paths, or have them sent along.",
            hint="send",
        )
    job = replace(job, key=key_here(job))
    before = read_row(folder, job.name)
    if before is not None and is_done(before, job.key):
        return Answer(before, done_before=True)
    request, begun = job.request(place=place_of(job)), was_begun(before, job.key)
    # before the row: a row of this key says that what lies there may be replaced
    check_free(request, begun)
    request = replace(request, overwrite=request.overwrite or begun)
    make_folder(request.output.parent)
    with row_of_running(job.name, job.key, folder):
        done, images = run_request(job, request, model, watch)
    row = row_of(job, done)
    record = record_path(request.output)
    row = replace(row, record=str(record), record_sha256=digest_of_file(record))
    if images is not None:
        write_thumbnail(images.denoised, images.difference, thumbnail_path(folder, job.name))
    # before the row, which names the outputs of this run alone
    remove_former(former_outputs(before, named), request)
    write_row(row, folder)
    return Answer(row)


def _add_thumbnail(images: Optional[DenoiseResult], folder: Path) -> None:
    if images is not None:
        write_thumbnail(images.denoised, images.difference, folder / "thumbnail" / "thumbnail.png")
