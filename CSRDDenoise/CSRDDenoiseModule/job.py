"""A job for the worker process: what it is given, its files, started without blocking, cancelled or ended for sure."""

import hashlib
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator, Mapping, Optional, Protocol, Union

import numpy as np
import qt
import slicer

from CSRDDenoiseLib import errors
from CSRDDenoiseLib.errors import CSRDError, InputError
from CSRDDenoiseLib.io.names import located
from CSRDDenoiseLib.io.nrrd import BYTES_A_STEP, box_of, nrrd_header, write_steps
from CSRDDenoiseLib.model.bundle import list_models

from .nodes import Outputs, Volume, browser_of, hardened_copy, source_file
from .volumes import LPS_FROM_RAS, RESULT_REFERENCE, ijk_to_ras
from .worker_process import WorkerProcess

RUNNING, FINISHED, FAILED, CANCELLED = "running", "finished", "failed", "cancelled"
UNDER_WAY = "A run is under way. Wait for its end or cancel it first."
GRACE_MILLISECONDS = 900
SECONDS_A_TURN = 0.03
"""How long a job may hold Slicer up before it lets other events go on."""


class RunFiles:
    """The folder in which Slicer and the worker exchange volumes; removed at the end whatever happens.

    Raises:
        CSRDError: it cannot be made.
    """

    def __init__(self):
        try:
            self.folder = Path(tempfile.mkdtemp(prefix="CSRDDenoise-"))
        except OSError as error:
            raise CSRDError(
                f"No folder can be made for temporary files: {error}. Free space there, or start Slicer with TMPDIR "
                "(TEMP on Windows) set to another folder."
            ) from error

    def path(self, name: str) -> Path:
        """Return the path of one volume of the run."""
        return self.folder / f"{name}.nrrd"

    def remove(self) -> None:
        """Remove the folder and everything in it."""
        shutil.rmtree(self.folder, ignore_errors=True)


def describing(inputs: "dict[str, Optional[Volume]]", sources: "dict[str, dict[str, Any]]") -> "Iterator[None]":
    """Find the files that hold the inputs and their SHA-256, in steps of some milliseconds, for the record.

    A file that cannot be read is left out.
    """
    for name, node in inputs.items():
        path = None if node is None else source_file(node)
        if path is None:
            continue
        digest = hashlib.sha256()
        try:
            with path.open("rb") as stream:
                while block := stream.read(BYTES_A_STEP):
                    digest.update(block)
                    yield
        except OSError:
            # the voxels are in the scene: the run does not need the file
            continue
        sources[name] = {"path": str(located(path)), "files": 1, "sha256": digest.hexdigest()}


# What a script gives: refused before the work, with what to pass instead


def check_nodes(needed: "Mapping[str, Any]", **others: Any) -> None:
    """Refuse what is no node, such as a name or an array.

    Args:
        needed: name of an argument -> the node that it must be.
        others: the same of arguments that may be None.

    Raises:
        InputError: so it is.
    """
    for name, node in {**needed, **others}.items():
        if isinstance(node, slicer.vtkMRMLNode) or (node is None and name in others):
            continue
        shown, known = ("None" if node is None else type(node).__name__), "NAME"
        if isinstance(node, str):
            shown, known = f"'{node}'", node
        raise InputError(f"{name} is {shown}, no node. Pass the node itself, such as slicer.util.getNode('{known}').")


def check_inputs(petVolume: Volume, mrVolume: Any, fullDoseReferenceVolume: Any, regionNode: Any) -> None:
    """Refuse inputs of a run that are no nodes, or maps of a result, and a PET whose result would have no place.

    Raises:
        InputError: see :func:`check_nodes` and :func:`check_no_maps`; or the PET is in no scene.
    """
    others = {"mrVolume": mrVolume, "fullDoseReferenceVolume": fullDoseReferenceVolume, "regionNode": regionNode}
    check_nodes({"petVolume": petVolume}, **others)
    check_no_maps(petVolume, mrVolume, fullDoseReferenceVolume)
    if petVolume.GetScene() is None:
        raise InputError(f"The PET '{petVolume.GetName()}' is in no scene. Add it with slicer.mrmlScene.AddNode.")


def check_no_maps(*images: Optional[Volume]) -> None:
    """Refuse the difference or another map of a result in place of an image, which looks much like one in a list.

    Raises:
        InputError: so it is.
    """
    for node in images:
        owner = None if node is None else node.GetNodeReference(RESULT_REFERENCE)
        if owner is not None:
            raise InputError(f"'{node.GetName()}' is a map of '{owner.GetName()}' and no image. Choose another volume.")


def check_outputs(given: Optional[Outputs], inputs: "Iterable[Optional[Volume]]" = ()) -> Outputs:
    """Refuse to write over an input, two results into one volume, numbers into a label map, or into a frame.

    Returns:
        What is given, or outputs that are all made.

    Raises:
        InputError: it is no ``Outputs``, a volume is chosen twice, one is of another kind, or one shows a frame of a
            sequence.
    """
    outputs = Outputs() if given is None else given
    # by name: the class is another one after the module was reloaded
    if type(outputs).__name__ != Outputs.__name__:
        shown = type(outputs).__name__
        raise InputError(f"outputs is {shown}. Pass Outputs(denoisedVolume=...), which CSRDDenoiseModule.nodes has.")
    names = [f"{kind}Volume" for kind in ("denoised", "difference", "uncertainty", "support")]
    check_nodes({}, **{name: getattr(outputs, name) for name in names})
    taken = list(inputs)
    for kind, node in list(outputs.chosen.items())[:-1]:
        if node is None:
            continue
        wanted = "a label map" if kind == "support" else "a scalar volume, no label map"
        if not node.IsA("vtkMRMLScalarVolumeNode") or node.IsA("vtkMRMLLabelMapVolumeNode") != (kind == "support"):
            raise InputError(f"The output '{node.GetName()}' must be {wanted}. Choose another, or a new volume.")
        if node in taken:
            raise InputError(f"The volume '{node.GetName()}' is chosen twice. Choose another output, or a new volume.")
        if browser_of(node) is not None:
            lost = "shows a frame of a sequence, and another frame would replace the result"
            raise InputError(f"The output '{node.GetName()}' {lost}. Choose another output, or a new volume.")
        taken.append(node)
    return outputs


# What the process is sent


def model_there(model: "Optional[Union[str, Path]]") -> Optional[str]:
    """Return a model as the process finds it, whose working directory is another: a name, an absolute folder, None."""
    # a message holds texts alone
    name = str(model or "")
    is_folder = bool(name) and name not in (folder.name for folder in list_models()) and os.path.isdir(name)
    return str(Path(name).absolute()) if is_folder else name or None


def writing_region(node: Any, pet: Volume, path: Path) -> "Iterator[None]":
    """Return the step that writes a region to an NRRD file, a mask above zero inside: a box, or visible segments.

    Args:
        node: a vtkMRMLMarkupsROINode, or a vtkMRMLSegmentationNode.
        pet: whose grid, as it lies in the world, the segments are written on.

    Raises:
        InputError: the node is neither, the ROI has no size, or the segmentation has no visible segment.
    """
    if not (node.IsA("vtkMRMLMarkupsROINode") or node.IsA("vtkMRMLSegmentationNode")):
        raise InputError(f"The region '{node.GetName()}' is neither an ROI nor a segmentation. Make one of it.")
    if node.IsA("vtkMRMLMarkupsROINode"):
        if min(node.GetSize()) <= 0:
            sides = " x ".join(f"{side:.4g}" for side in node.GetSize())
            raise InputError(f"The ROI '{node.GetName()}' has sides of {sides} mm. Draw a box, or choose no region.")
        to_world = slicer.util.arrayFromVTKMatrix(node.GetObjectToWorldMatrix())
        values, matrix = box_of(LPS_FROM_RAS @ to_world, node.GetSize())
    else:
        # a warp moves the grid too: segments on that of the node would lie elsewhere
        copy = hardened_copy(pet)
        values, matrix = _segments(node, copy), LPS_FROM_RAS @ ijk_to_ras(copy)
    return write_steps(path, nrrd_header(values, matrix), values, lambda: None)


def _segments(node: Any, grid: Volume) -> np.ndarray:
    display, segmentation = node.GetDisplayNode(), node.GetSegmentation()
    every = [segmentation.GetNthSegmentID(index) for index in range(segmentation.GetNumberOfSegments())]
    seen = [name for name in every if display is None or display.GetSegmentVisibility(name)]
    if not seen:
        raise InputError(
            f"The segmentation '{node.GetName()}' has no visible segment. Show the one that is the region."
        )
    masks = [slicer.util.arrayFromSegmentBinaryLabelmap(node, name, grid) for name in seen]
    return np.any([mask > 0 for mask in masks], axis=0).astype(np.uint8)


@dataclass(frozen=True)
class Callbacks:
    """Who hears of a job: its progress (fields of a dict), its result, and the exception that ended it."""

    onProgress: Optional[Callable[[dict], None]] = None
    onFinished: Optional[Callable[[Any], None]] = None
    onError: Optional[Callable[[Exception], None]] = None


class LogicProtocol(Protocol):
    """What the panel needs of the logic; a test may give it another."""

    busy: bool
    worker: Any
    onWorkerMessage: Any

    def getParameterNode(self) -> Any: ...
    def start(self, petVolume: Any, mrVolume: Any = None, **options: Any) -> Any: ...
    def startSequence(self, petVolume: Any, mrVolume: Any = None, **options: Any) -> Any: ...
    def startReport(self, denoisedVolume: Any, uncertaintyVolume: Any = None, **options: Any) -> Any: ...
    def startInspect(self, volume: Any, what: str = "PET", **options: Any) -> Any: ...
    def startKeep(self, denoisedVolume: Any, keepAboveMm: float, **options: Any) -> Any: ...
    def ask(self, request: "dict[str, Any]") -> None: ...
    def close(self) -> None: ...


class Job:
    """Work of the process under way; what :meth:`CSRDDenoiseLogic.start` returns.

    Args:
        worker: the process.
        files: the folder of the job's volumes.
        collect: makes the result of the answer.
        callbacks: who hears of the job.
        owner: the logic, which lives at least as long as the job runs.

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
        callbacks: Callbacks,
        owner: Any = None,
    ):
        self.state = RUNNING
        self.result: Any = None
        self.error: Optional[Exception] = None
        self._worker = worker
        self._files = files
        self._collect: Optional[Callable[[dict], Any]] = collect
        self._callbacks, self._owner = callbacks, owner
        self._steps: Iterator[None] = iter(())
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
        self._worker.check()
        self._steps, self._request = steps, request
        if self._write():
            self._send()

    def cancel(self) -> None:
        """Stop the run; within two seconds it ends as cancelled, and the scene is as it was before."""
        if self.state != RUNNING or self._cancelling:
            return
        self._cancelling = True
        if self._sent and self._worker.running:
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
            if self._callbacks.onProgress is not None and not self._cancelling:
                self._callbacks.onProgress(message)
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
        try:
            for _step in self._steps:
                if time.monotonic() > end:
                    qt.QTimer.singleShot(0, self._write_on)
                    return False
        except OSError as error:
            raise CSRDError(f"The volumes cannot be handed over in {self._files.folder}: {error}.") from error
        return True

    def _write_on(self) -> None:
        if self.state != RUNNING or self._cancelling:
            return
        try:
            if self._write():
                self._send()
        except Exception as error:
            self._fail(error, FAILED)

    def _send(self) -> None:
        self._worker.send({**self._request, "id": self.identity})
        self._worker.underWay.add(self)
        self._sent = True

    def _insist(self) -> None:
        if self._cancelling:
            self.abort()

    def _finish(self, message: dict[str, Any]) -> None:
        try:
            self.result = self._collect(message) if self._collect is not None else None
        except Exception as error:
            self._fail(error, FAILED)
            return
        self._end(FINISHED, self._callbacks.onFinished, self.result)

    def _fail(self, error: Exception, state: str) -> None:
        self.error = error
        self._end(state, self._callbacks.onError, error)

    def _end(self, state: str, receiver: Optional[Callable[[Any], None]], outcome: Any) -> None:
        self._files.remove()
        self.state = state
        owner, self._owner = self._owner, None
        # what was needed to get here would keep volumes that the user removes in memory
        self._callbacks, self._collect, self._steps = Callbacks(), None, iter(())
        self._worker.underWay.discard(self)
        # a logic that nobody else holds ends its process: not now, which may be within a signal of that process
        qt.QTimer.singleShot(0, lambda: owner)
        if receiver is not None:
            receiver(outcome)


def _error_of(message: dict[str, Any], cancelling: bool) -> tuple[Exception, str]:
    if cancelling or message.get("kind") == errors.Cancelled.__name__:
        return errors.Cancelled("Cancelled. Nothing was changed."), CANCELLED
    kind = getattr(errors, str(message.get("kind")), errors.CSRDError)
    error: Any = kind(message.get("message", "The run failed."))
    error.details = message.get("details", "")
    return error, FAILED
