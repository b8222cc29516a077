"""Several PETs at once: a queue of pairs in the background, with its table."""

from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any, Callable, Optional

import qt
import slicer
from slicer.i18n import tr as _

from CSRDDenoiseLib.errors import Cancelled, InputError
from CSRDDenoiseLib.io.pair_list import read_pairs

from .job import CANCELLED, FAILED, FINISHED, RUNNING
from .nodes import Volume, frame_count, frame_of, remove_volume

WAITING = "waiting"


@dataclass
class Entry:
    """One pair of the queue.

    Attributes:
        pet, mr: what is denoised, and with which MR, or None; neither once it has ended.
        region: ROI or segmentation of what of this PET is denoised, or None for all.
        state: ``waiting``, ``running``, ``finished``, ``failed`` or ``cancelled``.
        about: how far it is, or why it failed.
        frames: how many the sequence has that the PET shows a frame of; 0 for the volume alone.
        frame: index value of the frame that the volume alone shows, None for another volume.
        ended: names of PET, MR and region once it has ended.
    """

    pet: Optional[Volume]
    mr: Optional[Volume]
    region: Any = None
    frames: int = 0
    frame: Optional[str] = None
    state: str = WAITING
    about: str = ""
    ended: "tuple[str, str, str]" = ("", "", "")

    @property
    def names(self) -> "tuple[str, str, str]":
        """How the table calls PET, MR and region."""
        if self.pet is None:
            return self.ended
        pet = self.pet.GetName()
        if self.frames:
            pet = _("{pet} ({count} frames)").format(pet=pet, count=self.frames)
        elif self.frame is not None:
            pet = _("{pet} (frame {index})").format(pet=pet, index=self.frame)
        mr = self.mr.GetName() if self.mr is not None else _("none")
        return pet, mr, self.region.GetName() if self.region is not None else _("whole head")

    def end(self, state: str, about: str) -> None:
        """Keep the names alone: volumes that the user removes leave the memory."""
        self.state, self.about, self.ended = state, about, self.names
        self.pet = self.mr = self.region = None


class Batch:
    """Runs the entries one after the other; one that fails does not stop the others.

    Args:
        start: starts a run, ``start(pet, mr, region, onProgress, onFinished, onError, isSequence=)`` ->
            :class:`~.job.Job`.
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

    def add(self, pet: Volume, mr: Optional[Volume], region: Any = None, frames: int = 0) -> None:
        """Add a pair, or all frames of a dynamic PET; what waits already is not added again."""
        entry = Entry(pet, mr, region, frames, None if frames else frame_of(pet))
        if entry not in [each for each in self.entries if each.state == WAITING]:
            self.entries.append(entry)
            self._onChanged()

    def clear(self) -> None:
        """Forget every entry that is not under way."""
        self.entries = [entry for entry in self.entries if entry.state == RUNNING]
        self._onChanged()

    def run(self) -> None:
        """Run what waits."""
        if not self.running:
            self._next()

    def stop(self) -> None:
        """The scene closes: forget every entry, and begin none."""
        self.entries, self._current, self._job = [], None, None
        self._onChanged()

    def cancel(self) -> None:
        """Stop the entry under way, and let the others be."""
        for entry in self.entries:
            if entry.state == WAITING:
                entry.end(CANCELLED, "")
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
        removed = {
            entry.pet: _("The PET was removed from the scene."),
            entry.mr: _("The MR was removed from the scene."),
            entry.region: _("The region was removed from the scene."),
        }
        for node, sentence in removed.items():
            if node is not None and not slicer.mrmlScene.IsNodePresent(node):
                self._end(FAILED, sentence)
                return
        if not entry.frames and frame_of(entry.pet) != entry.frame:
            self._end(FAILED, _("The PET shows another frame than when it was added. Show that one and add it again."))
            return
        try:
            handlers = (self._progress, self._finished, self._failed)
            self._job = self._start(entry.pet, entry.mr, entry.region, *handlers, isSequence=bool(entry.frames))
        except Exception as error:
            # whatever is wrong with this entry, the others run
            self._failed(error)

    def _progress(self, progress: "dict[str, Any]") -> None:
        self._current.about = f"{100 * progress['fraction']:.0f} %"
        self._onProgress(progress)
        self._onChanged()

    def _finished(self, result: Any) -> None:
        warnings = len(result.warnings)
        self._end(FINISHED, _("{count} warning(s)").format(count=warnings) if warnings else "")

    def _failed(self, error: Exception) -> None:
        self._end(CANCELLED if isinstance(error, Cancelled) else FAILED, str(error))

    def _end(self, state: str, about: str) -> None:
        self._current.end(state, about)
        self._onChanged()
        # the job ends after its handlers: the next one begins when Slicer comes back to its events
        qt.QTimer.singleShot(0, self._go_on)

    def _go_on(self) -> None:
        if self.running:
            self._next()


def ended_text(entries: "list[Entry]", fullDoseReference: Optional[Volume]) -> str:
    """Return what there is to say at the end of a table: how many rows are done, and what sequences did not use."""
    done = [entry for entry in entries if entry.state == FINISHED]
    text = _("{done} of {count} pairs are denoised.").format(done=len(done), count=len(entries))
    if fullDoseReference is None or not any(entry.frames for entry in done):
        return text
    left_out = _("Sequences were denoised without the full-dose reference: it is for static PETs, no result needs it.")
    return f"{text} {left_out}"


def load_table(path: Path) -> "list[tuple[Volume, Optional[Volume]]]":
    """Load the volumes of a table, each file once.

    Raises:
        InputError: see :func:`read_pairs`; or a file is no volume that Slicer can read, and none is loaded.
    """
    loaded: dict[Path, Volume] = {}
    files = dict.fromkeys(file for pair in read_pairs(path) for file in pair if file is not None)
    for file, name in names_of(list(files)).items():
        try:
            loaded[file] = slicer.util.loadVolume(str(file), {"name": name, "show": False})
        except RuntimeError as error:
            for node in loaded.values():
                remove_volume(node)
            raise InputError(f"'{file}' cannot be loaded as a volume: {error}") from error
    return [(loaded[pet], loaded.get(mr)) for pet, mr in read_pairs(path)]


def names_of(files: "list[Path]") -> "dict[Path, str]":
    """Return a name for each file: its own, after the folders that tell it from others of the same name."""
    # SimpleITK, which it brings, is slow to import
    from CSRDDenoiseLib.io.sidecar import stem_of

    own = {file: stem_of(file) for file in files}
    names = {}
    for file, name in own.items():
        folders = [other.parent.parts for other in files if own[other] == name]
        shared = sum(1 for _level in takewhile(lambda level: len(set(level)) == 1, zip(*folders)))
        names[file] = "_".join([*file.parent.parts[shared:], name])
    return names


class BatchTable:
    """The table of the queue and its buttons.

    Args:
        ui: the widgets by their object names.
        batch: the queue.
        chosen: returns the PET, the MR and the region that the panel shows.
        say: shows one sentence.
    """

    def __init__(
        self,
        ui: Any,
        batch: Batch,
        chosen: "Callable[[], tuple[Optional[Volume], Optional[Volume], Any]]",
        say: Callable[[str], None],
    ):
        self._ui, self._batch, self._chosen, self._say = ui, batch, chosen, say
        ui.addPairButton.clicked.connect(self.onAdd)
        ui.loadPairsButton.clicked.connect(self.onLoad)
        ui.clearPairsButton.clicked.connect(self.onClear)
        ui.addFramesButton.clicked.connect(self.onAddFrames)
        ui.pairsTable.setHorizontalHeaderLabels([_("PET"), _("MR"), _("Region"), _("State"), ""])
        self.refresh()

    def onAdd(self, *_arguments: Any) -> None:
        """Add the pair that is chosen above."""
        pet, mr, region = self._chosen()
        if pet is not None:
            self._batch.add(pet, mr, region)

    def onAddFrames(self, *_arguments: Any) -> None:
        """Add the sequence that the PET shows one frame of."""
        pet, mr, region = self._chosen()
        if pet is not None and frame_count(pet):
            self._batch.add(pet, mr, region, frame_count(pet))

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
            for column, text in enumerate((*entry.names, titles[entry.state], entry.about)):
                table.setItem(row, column, qt.QTableWidgetItem(text))
        table.resizeColumnsToContents()
        waiting = any(entry.state == WAITING for entry in self._batch.entries)
        self._ui.runPairsButton.setEnabled(self._batch.running or (waiting and not busy))
        self._ui.runPairsButton.text = _("Cancel all") if self._batch.running else _("Denoise all")
        self._ui.addPairButton.setEnabled(self._chosen()[0] is not None)
        self._ui.addFramesButton.setEnabled(frame_count(self._chosen()[0]) > 1)
