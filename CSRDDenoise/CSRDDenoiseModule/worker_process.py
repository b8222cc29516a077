"""The worker process as Slicer sees it: started when first needed, ended for sure; and the places that it can ask."""

import json
import logging
import os
import shutil
import sys
import weakref
from functools import partial
from pathlib import Path
from typing import Any, Callable, Optional

import qt
import slicer

import CSRDDenoiseLib
from CSRDDenoiseLib.errors import CSRDError, InputError

MODULE = "CSRDDenoiseLib.worker"
LIBRARY_ROOT = Path(CSRDDenoiseLib.__file__).resolve().parents[1]
MILLISECONDS_TO_END = 1000
KEPT_CHARACTERS = 20000
PLACES_KEY, CERTIFICATES_KEY = "CSRDDenoise/Places", "CSRDDenoise/Certificates"
HERE, DASKS_OWN, MOST_KEPT, TLS = "", "", 8, "tls://"


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
        on_message: method that receives every message of the worker, a dict with an ``event``.
        on_end: method that receives one sentence and its details when the process ended without being asked to.
            The object of both methods, the logic, is not kept alive by its process.
    """

    def __init__(self, on_message: Callable[[dict], None], on_end: Callable[[str, str], None]):
        self._on_message, self._on_end = _weakly(on_message), _weakly(on_end)
        self._process: Optional[qt.QProcess] = None
        # kept until the next one ends: a QProcess must not be deleted inside one of its own signals
        self._ended: Optional[qt.QProcess] = None
        self._unfinished = b""
        self._errors = ""
        self.underWay: set[Any] = set()
        """Jobs that wait for an answer; they stay alive, as their logics do, though nobody else may hold them."""

    @property
    def running(self) -> bool:
        """Whether there is a process."""
        return self._process is not None

    @property
    def processId(self) -> Optional[int]:
        """Number that the operating system gave the process, or None."""
        return int(self._process.processId()) if self._process is not None else None

    def check(self) -> None:
        """Refuse before the work what :meth:`send` would refuse after it.

        Raises:
            CSRDError: there is no Python to start.
        """
        if self._process is None:
            find_python()

    def send(self, message: dict[str, Any]) -> None:
        """Send one request, starting the process if there is none; one that cannot start has ended, ``on_end`` hears.

        Raises:
            CSRDError: there is no Python to start.
        """
        if self._process is None:
            self._start()
        if self._process is not None:
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
            try:
                self._on_message(message)
            except Exception:
                # a fault of one who listens loses no message that came with this one
                logging.exception("CSRDDenoise: a message of the worker was not handled.")

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
            sentence = f"The denoising process could not be started: {reason}."
            # not now: on Windows Qt says so before the start returns, and whoever asks has not noted the question yet
            qt.QTimer.singleShot(0, partial(self._on_end, sentence, reason))


def _weakly(method: Callable[..., None]) -> Callable[..., None]:
    """Return a function that calls a method as long as its object lives, and does not keep it alive."""
    reference = weakref.WeakMethod(method)

    def call(*arguments: Any) -> None:
        alive = reference()
        if alive is not None:
            alive(*arguments)

    return call


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


# Other places to work


def on_place(address: str) -> "dict[str, Any]":
    """Return what a request to the worker has to say of a place, with the chosen certificates; nothing for HERE.

    Raises:
        InputError: the address is no text.
    """
    if not address:
        return {}
    if not isinstance(address, str):
        raise InputError(f"place is {address!r}. Pass the address of a Dask scheduler, such as 'tls://host:8786'.")
    folder = next(iter(saved_certificates()), DASKS_OWN)
    needed = address.startswith(TLS) and folder != DASKS_OWN
    return {"on": {"address": address, **({"tls": folder} if needed else {})}}


def save_place(address: str) -> None:
    """Remember the address of a Dask scheduler in Slicer's settings."""
    if address != HERE:
        _keep(PLACES_KEY, address)


def saved_places() -> "list[str]":
    """Return the addresses that were used before, the last one first."""
    return _saved(PLACES_KEY)


def save_certificates(folder: str) -> None:
    """Remember a folder of certificates in Slicer's settings, as the one that is used; empty for Dask's own."""
    _keep(CERTIFICATES_KEY, folder)


def saved_certificates() -> "list[str]":
    """Return the folders of certificates that were chosen before, the one that is used first."""
    return _saved(CERTIFICATES_KEY)


def _keep(key: str, value: str) -> None:
    """Remember a value in Slicer's settings, before those of earlier times."""
    others = [known for known in _saved(key) if known != value]
    qt.QSettings().setValue(key, json.dumps([value, *others][:MOST_KEPT]))


def _saved(key: str) -> "list[str]":
    try:
        return [str(value) for value in json.loads(qt.QSettings().value(key) or "[]")]
    except (TypeError, ValueError):
        return []
