"""The worker process as Slicer sees it, and a job for it: started without blocking, cancelled or ended for sure."""

import hashlib
import json
import logging
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Iterator, Optional

import qt
import slicer

import CSRDDenoiseLib
from CSRDDenoiseLib import errors
from CSRDDenoiseLib.errors import CSRDError
from CSRDDenoiseLib.io.nrrd import BYTES_A_STEP

from .nodes import Volume, source_file

MODULE = "CSRDDenoiseLib.worker"
LIBRARY_ROOT = Path(CSRDDenoiseLib.__file__).resolve().parents[1]
MILLISECONDS_TO_END = 1000
KEPT_CHARACTERS = 20000
RUNNING, FINISHED, FAILED, CANCELLED = "running", "finished", "failed", "cancelled"
GRACE_MILLISECONDS = 900
SECONDS_A_TURN = 0.03
"""How long a job may hold Slicer up before it lets other events go on."""


def find_python() -> str:
    """Return the Python interpreter that belongs to this Slicer.

    Looked for in this order: ``PythonSlicer`` beside Slicer's own executable, ``PythonSlicer`` on the PATH,
    ``sys.executable`` if that is a Python.

    Raises:
        CSRDError: there is none.
    """
    beside = shutil.which("PythonSlicer", path=str(slicer.app.applicationDirPath()))
    found = beside or shutil.which("PythonSlicer")
    if found:
        return found
    if sys.executable and Path(sys.executable).name.lower().startswith("python"):
        return sys.executable
    raise CSRDError(
        f"Slicer's Python interpreter (PythonSlicer) was found neither in {slicer.app.applicationDirPath()} nor on "
        "the PATH, so the denoising process cannot be started. Install Slicer again."
    )


class WorkerProcess:
    """One ``python -m CSRDDenoiseLib.worker``, started at the first :meth:`send` and kept warm.

    Args:
        on_message: receives every message of the worker, a dict with an ``event``.
        on_end: receives one sentence and its details when the process ended without being asked to.
    """

    def __init__(self, on_message: Callable[[dict], None], on_end: Callable[[str, str], None]):
        self._on_message = on_message
        self._on_end = on_end
        self._process: Optional[qt.QProcess] = None
        # kept until the next one ends: a QProcess must not be deleted inside one of its own signals
        self._ended: Optional[qt.QProcess] = None
        self._unfinished = b""
        self._errors = ""

    @property
    def running(self) -> bool:
        """Whether there is a process."""
        return self._process is not None

    @property
    def processId(self) -> Optional[int]:
        """Number that the operating system gave the process, or None."""
        return int(self._process.processId()) if self._process is not None else None

    def send(self, message: dict[str, Any]) -> None:
        """Send one request, starting the process if there is none.

        Raises:
            CSRDError: there is no Python to start.
        """
        if self._process is None:
            self._start()
        self._process.write(json.dumps(message).encode() + b"\n")

    def end(self) -> None:
        """Close the worker's input, which ends it; kill it if it takes more than a second."""
        process = self._forget()
        if process is None:
            return
        process.closeWriteChannel()
        if not process.waitForFinished(MILLISECONDS_TO_END):
            process.kill()
            process.waitForFinished(MILLISECONDS_TO_END)

    def kill(self) -> None:
        """End the process at once."""
        process = self._forget()
        if process is None:
            return
        process.kill()
        process.waitForFinished(MILLISECONDS_TO_END)

    def _start(self) -> None:
        # first, so that there is no process where there is no Python
        python, process = find_python(), qt.QProcess()
        process.setProcessEnvironment(_environment())
        process.setWorkingDirectory(str(LIBRARY_ROOT))
        process.readyReadStandardOutput.connect(self._read)
        process.readyReadStandardError.connect(self._read_errors)
        process.finished.connect(self._finished)
        process.errorOccurred.connect(self._failed)
        self._unfinished, self._errors = b"", ""
        self._process = process
        process.start(python, ["-m", MODULE])

    def _forget(self) -> Optional[qt.QProcess]:
        """Disconnect the process, so that its late messages are ignored."""
        process, self._process = self._process, None
        if process is not None:
            self._ended = process
            process.readyReadStandardOutput.disconnect(self._read)
            process.readyReadStandardError.disconnect(self._read_errors)
            process.finished.disconnect(self._finished)
            process.errorOccurred.disconnect(self._failed)
        return process

    def _read(self) -> None:
        if self._process is None:
            return
        lines = (self._unfinished + self._process.readAllStandardOutput().data()).split(b"\n")
        self._unfinished = lines.pop()
        for line in lines:
            try:
                message = json.loads(line)
            except ValueError:
                logging.warning("CSRDDenoise: the worker wrote a line that is no message: %r", line[:200])
                continue
            self._on_message(message)

    def _read_errors(self) -> None:
        if self._process is not None:
            text = self._process.readAllStandardError().data().decode(errors="replace")
            self._errors = (self._errors + text)[-KEPT_CHARACTERS:]

    def _finished(self, exit_code: int) -> None:
        self._read()
        self._read_errors()
        crashed = self._process is not None and self._process.exitStatus() == qt.QProcess.CrashExit
        self._ended, self._process = self._process, None
        self._on_end(_why_ended(exit_code, crashed, self._errors), self._errors)

    def _failed(self, error: int) -> None:
        if self._process is not None and error == qt.QProcess.FailedToStart:
            reason = self._process.errorString()
            self._ended, self._process = self._process, None
            self._on_end(f"The denoising process could not be started: {reason}.", reason)


def _why_ended(exit_code: int, crashed: bool, errors: str) -> str:
    if "No module named" in errors:
        missing = errors.rsplit("No module named", 1)[1].strip().splitlines()[0]
        return f"The denoising process could not start because the Python package {missing} is missing."
    if crashed:
        return (
            "The denoising process was ended from outside, most likely because the memory ran out. "
            "Choose smaller patches or close other programs, then press Apply again."
        )
    return f"The denoising process ended unexpectedly with exit code {exit_code}. See the details, then try again."


def _environment() -> qt.QProcessEnvironment:
    """Return the environment Slicer was started in, with the library first on Python's path."""
    environment = qt.QProcessEnvironment()
    variables = dict(slicer.util.startupEnvironment())
    before = variables.get("PYTHONPATH")
    variables["PYTHONPATH"] = os.pathsep.join([str(LIBRARY_ROOT)] + ([before] if before else []))
    variables["PYTHONUNBUFFERED"] = "1"
    for name, value in variables.items():
        environment.insert(name, value)
    return environment


class RunFiles:
    """The folder in which Slicer and the worker exchange volumes; removed at the end whatever happens."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="CSRDDenoise-"))

    def path(self, name: str) -> Path:
        """Return the path of one volume of the run."""
        return self.folder / f"{name}.nrrd"

    def remove(self) -> None:
        """Remove the folder and everything in it."""
        shutil.rmtree(self.folder, ignore_errors=True)


def describing(inputs: "dict[str, Optional[Volume]]", sources: "dict[str, dict[str, Any]]") -> "Iterator[None]":
    """Find the files that hold the inputs and their SHA-256, in steps of some milliseconds, for the record."""
    for name, node in inputs.items():
        path = None if node is None else source_file(node)
        if path is None:
            continue
        digest = hashlib.sha256()
        with path.open("rb") as stream:
            while block := stream.read(BYTES_A_STEP):
                digest.update(block)
                yield
        sources[name] = {"path": str(path.resolve()), "files": 1, "sha256": digest.hexdigest()}


class Job:
    """Work of the process under way; what :meth:`CSRDDenoiseLogic.start` returns.

    Attributes:
        state: ``running``, ``finished``, ``failed`` or ``cancelled``.
        result: what the job makes, such as :class:`~.logic.DenoisedVolumes`, once finished.
        error: the exception (of :mod:`CSRDDenoiseLib.errors`, its ``details`` a traceback) once failed or cancelled.
    """

    def __init__(
        self,
        worker: WorkerProcess,
        files: RunFiles,
        collect: Callable[[dict], Any],
        onProgress: Optional[Callable[[dict], None]] = None,
        onFinished: Optional[Callable[[Any], None]] = None,
        onError: Optional[Callable[[Exception], None]] = None,
    ):
        self.state = RUNNING
        self.result: Any = None
        self.error: Optional[Exception] = None
        self._worker = worker
        self._files = files
        self._collect = collect
        self._onProgress, self._onFinished, self._onError = onProgress, onFinished, onError
        self._cancelling = False
        self._sent = False

    @property
    def identity(self) -> str:
        """What the worker's answers to this run are marked with."""
        return self._files.folder.name

    def begin(self, steps: "Iterator[None]", request: "dict[str, Any]") -> None:
        """Write the inputs step by step, as long as Slicer has no other events, then send the request.

        Raises:
            CSRDError: there is no Python to start, or a volume cannot be written.
        """
        self._steps, self._request = steps, request
        if self._write():
            self._send()

    def cancel(self) -> None:
        """Stop the run; within two seconds it ends as cancelled, and the scene is as it was before."""
        if self.state != RUNNING or self._cancelling:
            return
        self._cancelling = True
        if self._sent:
            self._worker.send({"command": "cancel", "id": self.identity})
        qt.QTimer.singleShot(GRACE_MILLISECONDS if self._sent else 0, self._insist)

    def abort(self) -> None:
        """Stop the run at once by ending the process."""
        if self.state == RUNNING:
            if self._sent:
                self._worker.kill()
            self._fail(errors.Cancelled("Cancelled. Nothing was changed."), CANCELLED)

    def drop(self) -> None:
        """End work that nobody waits for any more; the worker goes on, and its answer is not heard."""
        if self.state == RUNNING:
            if self._sent and self._worker.running:
                self._worker.send({"command": "cancel", "id": self.identity})
            self._fail(errors.Cancelled("Cancelled. Nothing was changed."), CANCELLED)

    def wait(self) -> Any:
        """Keep Slicer responsive until the run has ended and return its result.

        Raises:
            CSRDError: the run failed, or (``Cancelled``) was cancelled.
        """
        while self.state == RUNNING:
            slicer.app.processEvents()
            time.sleep(0.01)
        if self.error is not None:
            raise self.error
        return self.result

    def receive(self, message: dict[str, Any]) -> None:
        """Take one message of the worker that belongs to this run."""
        if self.state != RUNNING:
            return
        if message["event"] == "progress":
            if self._onProgress is not None and not self._cancelling:
                self._onProgress(message)
        elif message["event"] == "result" and not self._cancelling:
            self._finish(message)
        else:
            self._fail(*_error_of(message, self._cancelling))

    def worker_ended(self, sentence: str, details: str) -> None:
        """End the run as failed because its process is gone."""
        if self.state == RUNNING:
            message = {"event": "error", "kind": "CSRDError", "message": sentence, "details": details}
            self._fail(*_error_of(message, self._cancelling))

    def _write(self) -> bool:
        """Write for one turn and return whether everything is written; otherwise come back later."""
        end = time.monotonic() + SECONDS_A_TURN
        for _step in self._steps:
            if time.monotonic() > end:
                qt.QTimer.singleShot(0, self._write_on)
                return False
        return True

    def _write_on(self) -> None:
        if self.state != RUNNING or self._cancelling:
            return
        try:
            if self._write():
                self._send()
        except (CSRDError, OSError) as error:
            self._fail(error, FAILED)

    def _send(self) -> None:
        self._worker.send({**self._request, "id": self.identity})
        self._sent = True

    def _insist(self) -> None:
        if self._cancelling:
            self.abort()

    def _finish(self, message: dict[str, Any]) -> None:
        try:
            self.result = self._collect(message)
        except Exception as error:
            self._fail(error, FAILED)
            return
        self._files.remove()
        self.state = FINISHED
        if self._onFinished is not None:
            self._onFinished(self.result)

    def _fail(self, error: Exception, state: str) -> None:
        self._files.remove()
        self.error = error
        self.state = state
        if self._onError is not None:
            self._onError(error)


def _error_of(message: dict[str, Any], cancelling: bool) -> tuple[Exception, str]:
    if cancelling or message.get("kind") == errors.Cancelled.__name__:
        return errors.Cancelled("Cancelled. Nothing was changed."), CANCELLED
    kind = getattr(errors, str(message.get("kind")), errors.CSRDError)
    error: Any = kind(message.get("message", "The run failed."))
    error.details = message.get("details", "")
    return error, FAILED
