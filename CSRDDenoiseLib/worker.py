"""A process that denoises on request and stays warm: JSON lines in, JSON lines out.

``python -m CSRDDenoiseLib.worker`` reads one JSON object a line from standard input and writes one a line to standard
output; the Slicer module talks to it so that Slicer never waits and no crash of the heavy work reaches it.

Requests (``id`` is chosen by the caller and comes back with every answer):

=============  =======================================================================================
``denoise``    ``pet``, ``output`` (paths), optional ``mr``, ``full_dose_reference``, ``difference``,
               ``uncertainty``, ``support``, ``bare`` (paths), ``model`` (name or folder), ``settings`` (fields of
               :class:`~CSRDDenoiseLib.settings.DenoiseSettings`)
``report``     ``pet``, ``denoised``, ``output`` (paths), ``provenance`` (the record of the run), optional ``mr``,
               ``uncertainty``, ``labels`` (paths): write the quality report, one HTML page
``keep``       ``pet``, ``bare``, ``output``, ``difference`` (paths), ``keep_above_mm``: recompute a result for another
               width, without the model
``compare``    ``pet``, ``denoised``, ``full`` (paths), optional ``labels`` (path): measure both against the full dose
``estimate``   ``model``, ``device``: time one evaluation of the network
``info``       devices and versions
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
from pathlib import Path
from typing import Any, BinaryIO, Callable, Optional

from .errors import MEMORY_IS_USED_UP, Cancelled, CSRDError, InputError, OutOfMemoryError, is_out_of_memory
from .progress import Progress, ProgressCallback
from .sentences import SLICER, error_sentence, sentences
from .settings import settings_from_fields

SECONDS_TO_STOP = 2.0
TIMED_SIDE = 48
# finding the head is about half of what a run does before and after sampling, files included
SHARE_OF_NORMALISING = 0.5
WORK = ("denoise", "keep", "report", "compare", "estimate", "info")
CANCEL = "cancel"
# a panel of before the rename
_FORMER_NAMES = {"calibrate": "estimate"}

Send = Callable[[dict[str, Any]], None]


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
        self._waiting: queue.Queue[Optional[dict[str, Any]]] = queue.Queue()
        self._cancelled: set[Any] = set()
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
            self._answer(request)
            self._cancelled.discard(request.get("id"))

    def _accept(self, line: bytes) -> None:
        try:
            request = json.loads(line)
            if not isinstance(request, dict) or request.get("command") not in (*WORK, CANCEL, *_FORMER_NAMES):
                raise InputError(f"A request is a JSON object whose 'command' is one of {', '.join((*WORK, CANCEL))}.")
        except (ValueError, RecursionError) as error:
            self._send(error_message(None, InputError(f"The line is not JSON: {error}.")))
        except InputError as error:
            self._send(error_message(None, error))
        else:
            request["command"] = _FORMER_NAMES.get(request["command"], request["command"])
            if request["command"] == CANCEL:
                self._cancelled.add(request.get("id"))
            else:
                self._waiting.put(request)

    def _answer(self, request: dict[str, Any]) -> None:
        identity = request.get("id")

        def report(progress: Progress) -> bool:
            self._send({"event": "progress", "id": identity, **progress.as_dict()})
            return identity not in self._cancelled and not self._closing.is_set()

        try:
            if identity in self._cancelled:
                raise Cancelled("Cancelled. Nothing was written.")
            answer = getattr(self._engine, request["command"])(request, report)
            self._send({"event": "result", "id": identity, **answer})
        except Exception as error:
            self._send(error_message(identity, error))


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
        self._key: Optional[tuple[str, str]] = None
        self._model: Any = None

    def denoise(self, request: dict[str, Any], report: ProgressCallback) -> dict[str, Any]:
        """Denoise files; answer with the record, the findings and the summary of what changed."""
        settings = settings_from_fields(request.get("settings", {}))
        _require_paths(request, "pet", "output")
        report(Progress("read", 0, 1, 0.0, message="loading the libraries"))
        from .denoise import FileRequest, denoise_files
        from .report.summary import summarise_change

        names = ("pet", "mr", "full_dose_reference", "output", "difference", "uncertainty", "support", "bare")
        paths: dict[str, Any] = {name: request.get(name) for name in names}
        files = FileRequest(**paths, overwrite=True)
        result = denoise_files(files, settings, self._loaded(request, settings.device), report)
        return {
            "provenance": result.provenance,
            "findings": [finding.as_dict() for finding in result.findings],
            "warnings": list(sentences(result.findings, SLICER)),
            "summary": summarise_change(result.denoised, result.difference).as_dict(),
        }

    def report(self, request: dict[str, Any], report: ProgressCallback) -> dict[str, Any]:
        """Write the report of a run that is over; answer with its path."""
        _require_paths(request, "pet", "denoised", "output")
        report(Progress("report", 0, 1, 0.0, message="loading the libraries"))
        from .io.read import read_volume
        from .io.write import all_or_nothing
        from .report.facts import facts_of_message
        from .report.report import check_unmoved, report_page
        from .report.run import RunImages

        names = ("pet", "denoised", "mr", "uncertainty", "labels")
        images = {name: read_volume(request[name], name) for name in names if request.get(name)}
        facts = facts_of_message(request.get("provenance") or {})
        check_unmoved(images, facts)
        path = Path(request["output"])
        with all_or_nothing([path]) as temporary:
            temporary[path].write_text(report_page(RunImages(**images), facts), encoding="utf-8")
        return {"path": str(path)}

    def keep(self, request: dict[str, Any], _report: ProgressCallback) -> dict[str, Any]:
        """Combine a PET and the model's bare estimate for another ``keep_above_mm``; answer with what changed."""
        _require_paths(request, "pet", "bare", "output", "difference")
        import SimpleITK as sitk

        from .io.read import read_volume
        from .report.summary import summarise_change
        from .restore import Keeping, keep_above

        width = float(request.get("keep_above_mm", 0.0))
        pet, bare = (read_volume(request[name], name) for name in ("pet", "bare"))
        denoised = keep_above(pet, bare, width)
        difference = denoised - pet
        # read once by the one who asked, from the folder that goes with it: compressing would take the longest
        for name, image in (("output", denoised), ("difference", difference)):
            sitk.WriteImage(image, request[name], False)
        return {
            "keep_above_mm": width,
            "finding": Keeping(width, 0.0, pet.GetSpacing(), chosen=True).finding.as_dict(),
            "summary": summarise_change(denoised, difference).as_dict(),
        }

    def compare(self, request: dict[str, Any], report: ProgressCallback) -> dict[str, Any]:
        """Measure a PET and its denoised volume against the full dose; answer with the scores and the regions."""
        _require_paths(request, "pet", "denoised", "full")
        report(Progress("compare", 0, 1, 0.0))
        from .full_dose import compare_with_full_dose
        from .io.read import read, read_volume

        images = {name: read(request[name], name) for name in ("pet", "denoised")}
        labels = read_volume(request["labels"], "label map") if request.get("labels") else None
        return compare_with_full_dose(images, read(request["full"], "full-dose volume"), labels).as_dict()

    def estimate(self, request: dict[str, Any], report: ProgressCallback) -> dict[str, Any]:
        """Time the network; answer with what an estimate of time and memory needs."""
        from .devices import choose_device
        from .infer.cost import BYTES_PER_FIELD_VOXEL
        from .infer.memory import STATE_VOLUMES, measure_speed, memory_budget, resident_bytes
        from .scan import measure_normalising

        report(Progress("read", 0, 1, 0.0, message="measuring the speed"))
        device = str(request.get("device", "auto"))
        model = self._loaded(request, device)
        return {
            "device": device,
            "model": _model_of(request),
            "voxel_spacing_mm": model.metadata.voxel_spacing_mm,
            "voxels_per_second": measure_speed(model, TIMED_SIDE),
            "seconds_per_field_voxel": measure_normalising(TIMED_SIDE) / SHARE_OF_NORMALISING,
            "bytes_per_voxel": model.metadata.bytes_per_voxel,
            "bytes_per_state_voxel": 4 * STATE_VOLUMES,
            "bytes_per_field_voxel": BYTES_PER_FIELD_VOXEL,
            "bytes_resident": resident_bytes(),
            "bytes_for_evaluation": memory_budget(choose_device(device), 0),
        }

    def info(self, _request: dict[str, Any], _report: ProgressCallback) -> dict[str, Any]:
        """Answer with the devices of this machine."""
        from .devices import list_devices

        return {"devices": [device.as_dict() for device in list_devices()]}

    def _loaded(self, request: dict[str, Any], device: str) -> Any:
        from .model.bundle import load_model

        key = (_model_of(request), device)
        if key != self._key:
            self._model, self._key = None, None
            self._model, self._key = load_model(*key), key
        return self._model


def _require_paths(request: dict[str, Any], *names: str) -> None:
    for name in names:
        if not isinstance(request.get(name), str):
            raise InputError(f"The request has no '{name}'; it must be the path of a file.")


def _model_of(request: dict[str, Any]) -> str:
    from .model.bundle import DEFAULT_MODEL

    return str(request.get("model") or DEFAULT_MODEL)


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
