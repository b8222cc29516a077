"""One run: its files, its state, its end."""

import shutil
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Optional

import qt
import slicer

from CSRDDenoiseLib import errors

from .worker_process import WorkerProcess

RUNNING, FINISHED, FAILED, CANCELLED = "running", "finished", "failed", "cancelled"
GRACE_MILLISECONDS = 900


@dataclass(frozen=True)
class DenoisedVolumes:
    """What a run made: nodes in the scene, and the record of how.

    ``uncertaintyVolume`` is None when only one sample was drawn or none was asked for. ``registrationTransform``, put
    above the MR, brings it to where it was used; it is None unless the MR was registered. ``supportVolume`` is 1 where
    structure was added and 2 where it was removed that the PET's counts do not support; None unless asked for.
    """

    denoisedVolume: slicer.vtkMRMLScalarVolumeNode
    differenceVolume: Optional[slicer.vtkMRMLScalarVolumeNode]
    uncertaintyVolume: Optional[slicer.vtkMRMLScalarVolumeNode]
    provenance: dict[str, Any]
    registrationTransform: Optional[slicer.vtkMRMLLinearTransformNode] = None
    summary: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    supportVolume: Optional[slicer.vtkMRMLLabelMapVolumeNode] = None


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


class Job:
    """A run under way; what :meth:`CSRDDenoiseLogic.start` returns.

    Attributes:
        state: ``running``, ``finished``, ``failed`` or ``cancelled``.
        result: the :class:`DenoisedVolumes` once finished.
        error: the exception (of :mod:`CSRDDenoiseLib.errors`, its ``details`` a traceback) once failed or cancelled.
    """

    def __init__(
        self,
        worker: WorkerProcess,
        files: RunFiles,
        collect: Callable[[dict], DenoisedVolumes],
        onProgress: Optional[Callable[[dict], None]] = None,
        onFinished: Optional[Callable[[DenoisedVolumes], None]] = None,
        onError: Optional[Callable[[Exception], None]] = None,
    ):
        self.state = RUNNING
        self.result: Optional[DenoisedVolumes] = None
        self.error: Optional[Exception] = None
        self._worker = worker
        self._files = files
        self._collect = collect
        self._onProgress, self._onFinished, self._onError = onProgress, onFinished, onError
        self._cancelling = False

    @property
    def identity(self) -> str:
        """What the worker's answers to this run are marked with."""
        return self._files.folder.name

    def cancel(self) -> None:
        """Stop the run; within two seconds it ends as cancelled, and the scene is as it was before."""
        if self.state != RUNNING or self._cancelling:
            return
        self._cancelling = True
        self._worker.send({"command": "cancel", "id": self.identity})
        qt.QTimer.singleShot(GRACE_MILLISECONDS, self._insist)

    def abort(self) -> None:
        """Stop the run at once by ending the process."""
        if self.state == RUNNING:
            self._worker.kill()
            self._fail(errors.Cancelled("Cancelled. Nothing was changed."), CANCELLED)

    def wait(self) -> DenoisedVolumes:
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
    error = kind(message.get("message", "The run failed."))
    error.details = message.get("details", "")
    return error, FAILED
