"""Several PETs at once: a queue of pairs, or of the frames of a dynamic PET, in the background, and its table."""

import csv
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Callable, Optional

import qt
import slicer
from slicer.i18n import tr as _

from CSRDDenoiseLib.errors import Cancelled, CSRDError, InputError

from .parameters import RESULTS
from .volumes import ESTIMATE_REFERENCE, Volume, remove_volume
from .worker_process import CANCELLED, FAILED, FINISHED, RUNNING

WAITING = "waiting"
COLUMNS = ("pet", "mr")


@dataclass
class Entry:
    """One pair of the queue.

    Attributes:
        pet, mr: what is denoised, and with which MR, or None.
        state: ``waiting``, ``running``, ``finished``, ``failed`` or ``cancelled``.
        about: how far it is, or why it failed.
        result: the :class:`~.logic.DenoisedVolumes` once finished.
        take: receives the result, or None; for a frame of a sequence, whose results go into sequences too.
    """

    pet: Volume
    mr: Optional[Volume]
    take: "Optional[Callable[[Any], None]]" = None
    state: str = WAITING
    about: str = ""
    result: Any = None


class Batch:
    """Runs the entries one after the other; one that fails does not stop the others.

    Args:
        start: starts a run, ``start(pet, mr, onProgress, onFinished, onError)`` -> :class:`~.worker_process.Job`.
        onProgress: receives the progress of the entry under way.
        onChanged: hears of every change of an entry.
        onFinished: hears of the end.
    """

    def __init__(
        self,
        start: Callable[..., Any],
        onProgress: "Callable[[dict[str, Any]], None]",
        onChanged: Callable[[], None],
        onFinished: Callable[[], None],
    ):
        self.entries: list[Entry] = []
        self._start, self._onProgress = start, onProgress
        self._onChanged, self._onFinished = onChanged, onFinished
        self._job: Any = None
        self._current: Optional[Entry] = None

    @property
    def running(self) -> bool:
        """Whether an entry is under way."""
        return self._current is not None

    def add(self, pet: Volume, mr: Optional[Volume], take: "Optional[Callable[[Any], None]]" = None) -> None:
        """Add a pair; one that waits already is not added again."""
        if not any(entry.pet is pet and entry.mr is mr and entry.state == WAITING for entry in self.entries):
            self.entries.append(Entry(pet, mr, take))
            self._onChanged()

    def clear(self) -> None:
        """Forget every entry that is not under way."""
        for entry in self.entries:
            if entry is not self._current and entry.state == WAITING and entry.take is not None:
                entry.take(None)
        self.entries = [entry for entry in self.entries if entry is self._current]
        self._onChanged()

    def run(self) -> None:
        """Run what waits."""
        if not self.running:
            self._next()

    def cancel(self) -> None:
        """Stop the entry under way, and let the others be."""
        for entry in self.entries:
            if entry.state == WAITING:
                entry.state = CANCELLED
        if self._job is not None:
            self._job.cancel()
        self._onChanged()

    def _next(self) -> None:
        entry = next((entry for entry in self.entries if entry.state == WAITING), None)
        self._current, self._job = entry, None
        if entry is None:
            self._onFinished()
            return
        entry.state, entry.about = RUNNING, ""
        self._onChanged()
        if not slicer.mrmlScene.IsNodePresent(entry.pet):
            self._end(FAILED, _("The PET was removed from the scene."))
            return
        try:
            self._job = self._start(entry.pet, entry.mr, self._progress, self._finished, self._failed)
        except CSRDError as error:
            self._failed(error)

    def _progress(self, progress: "dict[str, Any]") -> None:
        self._current.about = f"{100 * progress['fraction']:.0f} %"
        self._onProgress(progress)
        self._onChanged()

    def _finished(self, result: Any) -> None:
        self._current.result = result
        warnings = len(result.warnings)
        self._end(FINISHED, _("{count} warning(s)").format(count=warnings) if warnings else "")

    def _failed(self, error: Exception) -> None:
        self._end(CANCELLED if isinstance(error, Cancelled) else FAILED, str(error))

    def _end(self, state: str, about: str) -> None:
        self._current.state, self._current.about = state, about
        if self._current.take is not None:
            self._current.take(self._current.result)
        self._onChanged()
        # the job ends after its handlers: the next one begins when Slicer comes back to its events
        qt.QTimer.singleShot(0, self._next)


class Frames:
    """The frames of a dynamic PET as entries of a queue; the results go into sequences of the same browser.

    Args:
        pet: the volume that shows one frame of a sequence (a proxy of a sequence browser).

    Raises:
        InputError: it does not.
    """

    def __init__(self, pet: Volume):
        self._pet = pet
        self._browser = browser_of(pet)
        if self._browser is None:
            raise InputError(f"The volume '{pet.GetName()}' is no frame of a sequence.")
        self._sequence = self._browser.GetSequenceNode(pet)
        self._made: dict[str, Any] = {}

    def add_to(self, batch: Batch, mr: Optional[Volume]) -> None:
        """Add every frame to a queue. A frame shares its voxels with the sequence; nothing is copied."""
        for index in range(self._sequence.GetNumberOfDataNodes()):
            frame = self._sequence.GetNthDataNode(index)
            name = _("{pet} frame {number}").format(pet=self._pet.GetName(), number=index + 1)
            node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
            node.SetHideFromEditors(True)
            node.SetAndObserveImageData(frame.GetImageData())
            node.CopyOrientation(frame)
            node.SetVoxelValueUnits(frame.GetVoxelValueUnits() or self._pet.GetVoxelValueUnits())
            node.SetVoxelValueQuantity(frame.GetVoxelValueQuantity() or self._pet.GetVoxelValueQuantity())
            node.SetAndObserveTransformNodeID(self._pet.GetTransformNodeID())
            batch.add(node, mr, partial(self._take, index, node))

    def _take(self, index: int, frame: Volume, result: Any) -> None:
        value = self._sequence.GetNthIndexValue(index)
        # a frame in a sequence has no slider, so the estimate that it needs does not stay either
        estimate = result and result.denoisedVolume.GetNodeReference(ESTIMATE_REFERENCE)
        for kind in RESULTS if result is not None else ():
            node = getattr(result, f"{kind}Volume")
            if node is not None:
                self._sequence_of(kind).SetDataNodeAtValue(node, value)
                remove_volume(node)
        for node in filter(None, (estimate, frame)):
            remove_volume(node)

    def _sequence_of(self, kind: str) -> Any:
        if kind not in self._made:
            name = slicer.mrmlScene.GenerateUniqueName(f"{self._sequence.GetName()} {kind}")
            node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", name)
            node.SetIndexName(self._sequence.GetIndexName())
            node.SetIndexUnit(self._sequence.GetIndexUnit())
            node.SetIndexType(self._sequence.GetIndexType())
            self._browser.AddSynchronizedSequenceNode(node)
            self._made[kind] = node
        return self._made[kind]


def browser_of(volume: Optional[Volume]) -> Any:
    """Return the sequence browser whose frame a volume shows, or None."""
    if volume is None:
        return None
    browsers = slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode")
    return next((browser for browser in browsers if browser.IsProxyNodeID(volume.GetID())), None)


def read_table(path: Path) -> "list[tuple[Path, Optional[Path]]]":
    """Read a TSV file with the columns ``pet`` and ``mr``; paths may be relative to the file, an MR may be left out.

    Raises:
        InputError: the file cannot be read, a column or a value is missing, or a volume does not exist.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.DictReader(stream, delimiter="\t"))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"The table '{path}' cannot be read: {error}.") from error
    pairs: list[tuple[Path, Optional[Path]]] = []
    for number, row in enumerate(rows, start=2):
        pet, mr = ((row.get(name) or "").strip() for name in COLUMNS)
        if not pet:
            raise InputError(f"Line {number} of '{path.name}' has no PET; the columns are 'pet' and 'mr', tab between.")
        found = path.parent / pet, (path.parent / mr if mr and mr != "n/a" else None)
        gone = next((str(each) for each in found if each is not None and not each.exists()), None)
        if gone is not None:
            raise InputError(f"Line {number} of '{path.name}' names '{gone}', which does not exist.")
        pairs.append(found)
    if not pairs:
        raise InputError(f"The table '{path}' has no line below its header.")
    return pairs


def load_table(path: Path) -> "list[tuple[Volume, Optional[Volume]]]":
    """Load the volumes of a table, each file once.

    Raises:
        InputError: see :func:`read_table`; or a file is no volume that Slicer can read.
    """
    loaded: dict[Path, Volume] = {}
    for file in dict.fromkeys(file for pair in read_table(path) for file in pair if file is not None):
        name = file.name.split(".")[0]
        try:
            loaded[file] = slicer.util.loadVolume(str(file), {"name": name, "show": False})
        except RuntimeError as error:
            raise InputError(f"'{file}' cannot be loaded as a volume: {error}") from error
    return [(loaded[pet], loaded.get(mr)) for pet, mr in read_table(path)]


class BatchTable:
    """The table of the queue and its buttons.

    Args:
        ui: the widgets by their object names.
        batch: the queue.
        chosen: returns the PET and the MR that the panel shows.
        say: shows one sentence.
    """

    def __init__(
        self,
        ui: Any,
        batch: Batch,
        chosen: "Callable[[], tuple[Optional[Volume], Optional[Volume]]]",
        say: Callable[[str], None],
    ):
        self._ui, self._batch, self._chosen, self._say = ui, batch, chosen, say
        ui.addPairButton.clicked.connect(self.onAdd)
        ui.loadPairsButton.clicked.connect(self.onLoad)
        ui.clearPairsButton.clicked.connect(self.onClear)
        ui.addFramesButton.clicked.connect(self.onAddFrames)
        ui.pairsTable.setHorizontalHeaderLabels([_("PET"), _("MR"), _("State"), ""])
        self.refresh()

    def onAdd(self, *_arguments: Any) -> None:
        """Add the pair that is chosen above."""
        pet, mr = self._chosen()
        if pet is not None:
            self._batch.add(pet, mr)

    def onAddFrames(self, *_arguments: Any) -> None:
        """Add every frame of the sequence that the PET shows one frame of."""
        pet, mr = self._chosen()
        try:
            Frames(pet).add_to(self._batch, mr)
        except InputError as error:
            self._say(str(error))

    def onClear(self, *_arguments: Any) -> None:
        """Empty the table."""
        self._batch.clear()

    def onLoad(self, *_arguments: Any) -> None:
        """Ask for a table and add its pairs."""
        name = qt.QFileDialog.getOpenFileName(slicer.util.mainWindow(), _("Table of pairs"), "", "TSV (*.tsv *.txt)")
        if name:
            self.load(Path(str(name)))

    def load(self, path: Path) -> None:
        """Add the pairs of a table, or say why they cannot be."""
        try:
            for pet, mr in load_table(path):
                self._batch.add(pet, mr)
        except InputError as error:
            self._say(str(error))

    def refresh(self, busy: bool = False) -> None:
        """Show the entries as they are now; ``busy`` while any run is under way."""
        titles = {
            WAITING: _("waiting"),
            RUNNING: _("running"),
            FINISHED: _("done"),
            FAILED: _("failed"),
            CANCELLED: _("cancelled"),
        }
        table = self._ui.pairsTable
        table.setRowCount(len(self._batch.entries))
        for row, entry in enumerate(self._batch.entries):
            mr = entry.mr.GetName() if entry.mr is not None else _("none")
            for column, text in enumerate((entry.pet.GetName(), mr, titles[entry.state], entry.about)):
                table.setItem(row, column, qt.QTableWidgetItem(text))
        table.resizeColumnsToContents()
        waiting = any(entry.state == WAITING for entry in self._batch.entries)
        self._ui.runPairsButton.setEnabled(self._batch.running or (waiting and not busy))
        self._ui.runPairsButton.text = _("Cancel all") if self._batch.running else _("Denoise all")
        self._ui.addPairButton.setEnabled(self._chosen()[0] is not None)
        self._ui.addFramesButton.setEnabled(browser_of(self._chosen()[0]) is not None)
