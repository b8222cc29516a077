"""A process that denoises on request and stays warm: JSON lines in, JSON lines out.

``python -m CSRDDenoiseLib.worker`` reads one JSON object a line from standard input and writes one a line to standard
output; the Slicer module talks to it so that Slicer never waits and no crash of the heavy work reaches it.

A request has a ``command``, an ``id`` that the caller chooses and every answer repeats, and the fields of a class in
:mod:`CSRDDenoiseLib.messages`, by which cattrs checks it:

=============  =======================================================================================
``denoise``    :class:`~CSRDDenoiseLib.messages.DenoiseMessage`: denoise files
``inspect``    :class:`~CSRDDenoiseLib.messages.InspectMessage`: inspect a volume
``report``     :class:`~CSRDDenoiseLib.messages.ReportMessage`: write the quality report of a run
``keep``       :class:`~CSRDDenoiseLib.messages.KeepMessage`: recompute a result for another width
``compare``    :class:`~CSRDDenoiseLib.messages.CompareMessage`: measure a result against the full dose
``estimate``   :class:`~CSRDDenoiseLib.messages.EstimateMessage`: time one evaluation of the network
``info``       :class:`~CSRDDenoiseLib.messages.InfoMessage`: devices and versions
``reach``      :class:`~CSRDDenoiseLib.messages.ReachMessage`: who works at a place, or why nobody does
``cancel``     stop the request of that ``id``
=============  =======================================================================================

Answers have an ``event``: ``ready`` (once, at start), ``progress``, ``result``, or ``error`` with ``kind`` (name of the
class in :mod:`CSRDDenoiseLib.errors`, or ``InternalError``), ``message`` (one sentence) and ``details`` (a traceback).

The process ends at the end of its input, also while it is working, so it never outlives the one that started it.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import traceback
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, BinaryIO, Callable, Optional, Union

from .configuration import structure
from .errors import (
    MEMORY_IS_USED_UP,
    NOTHING_WRITTEN,
    Cancelled,
    CSRDError,
    InputError,
    OutOfMemoryError,
    is_out_of_memory,
)
from .limits import OneOf, check_limits
from .progress import Progress, ProgressCallback
from .sentences import SLICER, error_sentence, sentences

SECONDS_TO_STOP = 2.0
WORK = ("denoise", "inspect", "keep", "report", "compare", "estimate", "info", "reach")
CANCEL = "cancel"
_WHERE = "The request"

Send = Callable[[dict[str, Any]], None]
Fields = dict[str, Any]


@dataclass(frozen=True)
class Address:
    """What every request has: what to do, and how its answers are marked."""

    command: Annotated[str, OneOf((*WORK, CANCEL))]
    id: Optional[Union[int, str]] = None

    def __post_init__(self) -> None:
        check_limits(self, _WHERE)


class Channel:
    """Writes messages to a binary stream, one JSON object a line; safe to use from several threads."""

    def __init__(self, stream: BinaryIO):
        self._stream = stream
        self._lock = threading.Lock()

    def send(self, message: dict[str, Any]) -> None:
        """Write one message; a reader that has gone away is ignored, because the end of input follows."""
        line = json.dumps(message, allow_nan=False, default=str).encode() + b"\n"
        with self._lock:
            try:
                self._stream.write(line)
                self._stream.flush()
            except (BrokenPipeError, ValueError):
                return


class Worker:
    """Takes requests in one thread and works on them, one after the other, in another."""

    def __init__(self, send: Send, engine: Engine):
        self._send = send
        self._engine = engine
        self._waiting: queue.Queue[Optional[tuple[Address, Fields]]] = queue.Queue()
        self._cancelled: set[Union[int, str, None]] = set()
        self._closing = threading.Event()

    def listen(self, lines: Iterable[bytes]) -> None:
        """Accept requests until ``lines`` ends, then make the work stop."""
        for line in lines:
            if line.strip():
                self._accept(line)
        self._closing.set()
        self._waiting.put(None)

    def work(self) -> None:
        """Answer requests in the order they came until the input has ended."""
        while True:
            request = self._waiting.get()
            if request is None or self._closing.is_set():
                return
            self._answer(*request)
            self._cancelled.discard(request[0].id)
            if self._waiting.empty():
                # who asks for what could not be prepared, as for want of memory, gets the error as the answer
                with suppress(Exception):
                    self._engine.idle()

    def _accept(self, line: bytes) -> None:
        try:
            address, values = _opened(line)
        except InputError as error:
            self._send(error_message(None, error))
            return
        if address.command == CANCEL:
            self._cancelled.add(address.id)
        else:
            self._waiting.put((address, values))

    def _answer(self, address: Address, values: Fields) -> None:
        identity = address.id

        def report(progress: Progress) -> bool:
            self._send({"event": "progress", "id": identity, **progress.as_dict()})
            return identity not in self._cancelled and not self._closing.is_set()

        try:
            if identity in self._cancelled:
                raise Cancelled(NOTHING_WRITTEN)
            self._engine.begin(identity)
            answer = getattr(self._engine, address.command)(values, report)
            self._send({"event": "result", "id": identity, **answer})
        except Exception as error:
            self._send(error_message(identity, error))


def _opened(line: bytes) -> tuple[Address, Fields]:
    """Return where a request goes, and its other fields.

    Raises:
        InputError: it is no JSON object with a known command.
    """
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"The line is not JSON: {error}.") from error
    if not isinstance(values, dict):
        raise InputError(f"A request is a JSON object whose 'command' is one of {', '.join((*WORK, CANCEL))}.")
    head = {name: values.pop(name) for name in ("command", "id") if name in values}
    return structure(head, Address, _WHERE), values


def error_message(identity: Any, error: Exception) -> dict[str, Any]:
    """Return the ``error`` event for an exception; errors not raised on purpose become an ``InternalError``."""
    details = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    if is_out_of_memory(error) and not isinstance(error, CSRDError):
        error = OutOfMemoryError(MEMORY_IS_USED_UP)
    elif isinstance(error, ModuleNotFoundError):
        error = InputError(f"The Python package '{error.name}' is missing. Install it and try again.")
    kind = type(error).__name__ if isinstance(error, CSRDError) else "InternalError"
    failed = f"The run failed with {type(error).__name__}: {error}"
    message = failed if kind == "InternalError" else error_sentence(error, SLICER)
    return {"event": "error", "id": identity, "kind": kind, "message": message, "details": details}


class Engine:
    """Does the work of each command; keeps the last model loaded, which is what makes the second run start at once."""

    def __init__(self) -> None:
        self._key: Any = None
        self._model: Any = None
        self._finished: Any = None
        self._identity = ""

    def begin(self, identity: Any) -> None:
        """Name the request that comes next."""
        self._identity = str(identity)

    def denoise(self, values: Fields, report: ProgressCallback) -> dict[str, Any]:
        """Denoise files; answer with the record, the findings and, for a static PET, the summary of what changed."""
        report(Progress("read", 0, 1, 0.0, message="loading the libraries"))
        from .denoise import denoise_files
        from .dynamic import denoise_dynamic, is_dynamic
        from .finished_run import FinishedRun
        from .messages import DenoiseMessage
        from .model.bundle import DEFAULT_MODEL
        from .recombine import Afterwards
        from .report.summary import summarise_change

        request = structure(values, DenoiseMessage, _WHERE)
        if request.on:
            from .cluster.remote import denoise_on

            done = denoise_on(request.on, request, request.settings, request.model or DEFAULT_MODEL, report, SLICER)
            return _answer_of_frames(done.result) if done.summary is None else _answer(done.result, done.summary)
        model = self._loaded(request.model, request.settings.device)
        self._finished = None
        if request.frames or is_dynamic(request.pet):
            return _answer_of_frames(denoise_dynamic(request, request.settings, model, report, edge=SLICER))
        afterwards = Afterwards()
        result = denoise_files(request, request.settings, model, report, afterwards=afterwards)
        if request.bare:
            self._finished = FinishedRun(self._identity, afterwards)
        return _answer(result.record, summarise_change(result.denoised, result.difference).as_dict())

    def inspect(self, values: Fields, _report: ProgressCallback) -> dict[str, Any]:
        """Inspect a volume as ``csrd-denoise inspect`` does; answer with lines and the SUV."""
        from .inspection import head_line, inspect_image, suv_line
        from .io.headers import with_headers
        from .io.read import read
        from .io.suv import volume_suv
        from .messages import InspectMessage

        request = structure(values, InspectMessage, _WHERE)
        volume = with_headers(read(request.path, request.what), request.headers, request.what)
        is_pet = request.what == "PET"
        modality = "PT" if is_pet else "MR"
        suv = volume_suv(volume)
        seen = inspect_image(volume.image, volume.unit, modality, suv, request.name)
        return {
            "unit": volume.unit,
            "suv_factor": suv.factor,
            "suv_source": suv.source,
            "suv_maximum": seen.suv_maximum,
            "lines": [suv_line(seen), head_line(seen)] if is_pet else [],
            "not_finite": seen.not_finite,
            "head": None if seen.head is None else dict(vars(seen.head)),
            "findings": [finding.as_dict() for finding in (*volume.findings, *seen.findings)],
        }

    def report(self, values: Fields, report: ProgressCallback) -> dict[str, Any]:
        """Write the report of a run that is over; answer with its path."""
        report(Progress("report", 0, 1, 0.0, message="loading the libraries"))
        from .io.read import read_volume
        from .io.write import all_or_nothing
        from .messages import ReportMessage
        from .report.facts import facts_of_message
        from .report.report import check_unmoved, report_page
        from .report.run import RunImages

        request = structure(values, ReportMessage, _WHERE)
        names = ("pet", "denoised", "mr", "uncertainty", "labels")
        images = {name: read_volume(getattr(request, name), name) for name in names if getattr(request, name)}
        facts = facts_of_message(request.provenance or {})
        check_unmoved(images, facts)
        with all_or_nothing([request.output]) as temporary:
            temporary[request.output].write_text(report_page(RunImages(**images), facts), encoding="utf-8")
        return {"path": str(request.output)}

    def keep(self, values: Fields, report: ProgressCallback) -> dict[str, Any]:
        """Make a result for another ``keep_above_mm``; answer with what changed."""
        from .finished_run import FinishedRun
        from .messages import KeepMessage

        request = structure(values, KeepMessage, _WHERE)
        if self._finished is None or not request.run or self._finished.run != request.run:
            self._finished = FinishedRun.of_files(request)
        if not request.exact:
            return self._finished.quick(request)
        return self._finished.exact(request, report)

    def idle(self) -> None:
        """Prepare what may be asked for next, now that an answer has gone out."""
        if self._finished is not None:
            self._finished.prepare()

    def compare(self, values: Fields, report: ProgressCallback) -> dict[str, Any]:
        """Measure a PET and its denoised volume against the full dose; answer with the scores and the regions."""
        report(Progress("compare", 0, 1, 0.0))
        from .full_dose import compare_with_full_dose
        from .io.read import read, read_volume
        from .messages import CompareMessage

        request = structure(values, CompareMessage, _WHERE)
        images = {name: read(getattr(request, name), name) for name in ("pet", "denoised")}
        labels = read_volume(request.labels, "label map") if request.labels else None
        return compare_with_full_dose(images, read(request.full, "full-dose volume"), labels).as_dict()

    def estimate(self, values: Fields, report: ProgressCallback) -> dict[str, Any]:
        """Time the network; answer with what an estimate of time and memory needs."""
        from .estimate import run_speed
        from .messages import EstimateMessage
        from .model.bundle import DEFAULT_MODEL

        request = structure(values, EstimateMessage, _WHERE)
        report(Progress("read", 0, 1, 0.0, message="measuring the speed"))
        name = request.model or DEFAULT_MODEL
        if request.on:
            from .cluster.remote import estimate_on

            return estimate_on(request.on, name, request.device)
        return run_speed(self._loaded(request.model, request.device), request.device, name)

    def reach(self, values: Fields, _report: ProgressCallback) -> dict[str, Any]:
        """Answer with the workers of a place."""
        from .cluster.remote import check_place
        from .messages import ReachMessage

        request = structure(values, ReachMessage, _WHERE)
        facts = check_place(request.on, request.seconds)
        return {"sentence": facts.sentence, **facts.as_dict()}

    def info(self, values: Fields, _report: ProgressCallback) -> dict[str, Any]:
        """Answer with the devices of this machine."""
        from .devices import list_devices
        from .messages import InfoMessage

        structure(values, InfoMessage, _WHERE)
        return {"devices": [device.as_dict() for device in list_devices()]}

    def _loaded(self, model: Optional[str], device: str) -> Any:
        from .model.bundle import DEFAULT_MODEL, find_model, load_model, read_metadata

        folder = find_model(model or DEFAULT_MODEL)
        # its metadata hold the checksum of the weights: a folder may hold another model than it did before
        key = (folder, read_metadata(folder), device)
        if key != self._key:
            self._model, self._key = None, None
            self._model, self._key = load_model(folder, device), key
        return self._model


def _answer(record: Any, summary: Optional[dict[str, Any]]) -> dict[str, Any]:
    from .finished_run import CONTRAST, contrast_kept

    if summary is not None:
        summary = {**summary, CONTRAST: contrast_kept(record.findings)}
    return {
        "provenance": record.as_dict(),
        "findings": [finding.as_dict() for finding in record.findings],
        "warnings": list(sentences(record.findings, SLICER)),
        "summary": summary,
        "suv_factor": _suv_factor(record),
    }


def _answer_of_frames(result: Any) -> dict[str, Any]:
    return {
        "provenance": result.provenance,
        "findings": [finding.as_dict() for finding in result.findings],
        "warnings": list(result.sentences(SLICER)),
        "summary": None,
        "suv_factor": _suv_factor(result),
    }


def _suv_factor(record: Any) -> Optional[float]:
    """Return SUV per unit of the PET's values where it is known and one for all slices."""
    suv = record.inputs["pet"].suv
    return suv.factor if suv is not None and isinstance(suv.factor, float) else None


def _end_soon() -> None:
    """End the process even if the work does not come to a point where it can be cancelled."""
    timer = threading.Timer(SECONDS_TO_STOP, os._exit, args=(0,))
    timer.daemon = True
    timer.start()


def main() -> None:
    """Run the worker on standard input and output until the input ends."""
    # libraries print, and C code writes to descriptor 1: both go to standard error, the messages to a private copy
    private = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    channel = Channel(private)
    worker = Worker(channel.send, Engine())

    def listen() -> None:
        worker.listen(sys.stdin.buffer)
        _end_soon()

    threading.Thread(target=listen, daemon=True).start()
    channel.send({"event": "ready", "pid": os.getpid()})
    worker.work()


if __name__ == "__main__":
    main()
    sys.stderr.flush()
    # everything is written; taking the libraries down in order would keep the caller waiting
    os._exit(0)
