"""The panel of a reader: which study, which question, which answer. What comes next is decided in the library."""

from functools import partial
from pathlib import Path
from typing import Any, Optional

import qt
import slicer
from slicer.i18n import tr as _

from CSRDDenoiseLib.errors import CSRDError
from CSRDDenoiseLib.presses import once
from CSRDDenoiseLib.readers.answers import answers_name
from CSRDDenoiseLib.readers.session import Session
from CSRDDenoiseLib.readers.study import STUDY_FILE, Scale, Study, check_files, read_study

from .clock import Clock
from .views import clear, show_trial

TOOL = "Slicer"
MOST_CHOICES = 5
SECONDS_APART = 0.7
"""Presses of one button within this time are one press: more than what a key that is held waits for before it repeats,
usually 0.25 to 0.66 s, and less than what it takes to read an image."""


class Panel:
    """Connects the widgets of ``CSRDReaderStudy.ui`` with a session of the library.

    Args:
        ui: the widgets by their object names.
        clock: counts the time of a trial; a test may give another.
    """

    def __init__(self, ui: Any, clock: Optional[Clock] = None):
        self.ui = ui
        self.clock = clock or Clock()
        self.session: Optional[Session] = None
        self.reading = False
        self._folder: Optional[Path] = None
        self._study: Optional[Study] = None
        self._values: dict[str, int] = {}
        ui.openButton.connect("clicked()", self.onOpen)
        ui.beginButton.connect("clicked()", self.onBegin)
        ui.readerComboBox.currentIndexChanged.connect(self.onReaderChosen)
        ui.pauseButton.connect("clicked()", once(self.onPause, self._apart))
        ui.backButton.connect("clicked()", once(self.onBack, self._apart))
        for choice in range(1, MOST_CHOICES + 1):
            self._button(choice).connect("clicked()", once(partial(self.choose, choice), self._apart))
        self._refresh()

    # What the reader does

    def onOpen(self) -> None:
        """Ask for the folder of a study."""
        folder = qt.QFileDialog.getExistingDirectory(None, _("Folder of the study"))
        if folder:
            self.openStudy(Path(folder))

    def openStudy(self, folder: Path) -> None:
        """Open the study in a folder and offer its readers."""
        self.close()
        try:
            study = read_study(folder)
            check_files(folder, [STUDY_FILE])
        except CSRDError as error:
            self._say(str(error))
            return
        self._folder, self._study = folder, study
        self.ui.readerComboBox.clear()
        for reading in study.readings:
            self.ui.readerComboBox.addItem(reading.reader)
        self.ui.studyLabel.text = study.title
        self._say(_("Choose who you are and press Begin."))
        self._refresh()

    def onReaderChosen(self, *_arguments: Any) -> None:
        """Another reader was chosen during a pause: the reading of the one before does not go on."""
        if self.session is not None and self.ui.readerComboBox.currentText != self.session.answers.reader:
            self.session = None
            self._say(_("Choose who you are and press Begin."))
            self._refresh()

    def onBegin(self) -> None:
        """Begin, or go on where the answers file ends."""
        if self._study is None:
            return
        reader = self.ui.readerComboBox.currentText
        path = self._folder / answers_name(reader)
        try:
            self.session = Session(self._study, reader, path, TOOL)
        except CSRDError as error:
            self._say(str(error))
            return
        self._next()

    def onPause(self) -> None:
        """Stop the clock and hide the images, or go on."""
        if self.session is None or self.session.trial is None:
            return
        if not self.reading:
            self._next()
            return
        self.pause()
        self._say(_("Pause. Every answer is saved; you may close Slicer."))

    def pause(self) -> None:
        """Stop the clock and hide the images; the answers to the trial under way are asked again."""
        if self.reading:
            self.clock.stop()
            self.reading = False
            clear()
            self._refresh()

    def onBack(self) -> None:
        """Take back the last choice of this trial, or else the last answer."""
        if not self.reading or self.session is None:
            return
        if self._values:
            self._values.pop(next(reversed(self._values)))
            self._refresh()
            return
        try:
            self.session.take_back()
        except CSRDError as error:
            self._say(str(error))
            return
        self._next()

    def choose(self, choice: int) -> None:
        """Answer the present question; after the last one of a trial the answers are saved and the next one comes."""
        scale = self._scale()
        if not self.reading or scale is None or choice > len(scale.labels):
            return
        self._values[scale.name] = choice
        if self._scale() is not None:
            self._refresh()
            return
        try:
            self.session.record(self._values, self.clock.seconds)
        except CSRDError as error:
            # not saved: the question stays
            self._values.pop(scale.name)
            self._say(str(error))
            return
        self._next()

    def close(self) -> None:
        """Forget the study; the answers are in their file."""
        self.pause()
        self.session = self._study = self._folder = None
        self._values = {}
        self.ui.studyLabel.text = ""
        self._refresh()

    # What the reader sees

    def _next(self) -> None:
        session = self.session
        self._values = {}
        trial = session.trial
        if trial is None or session.waits():
            self.reading = False
            clear()
            done = _("Everything is read. Thank you. Your answers: {path}").format(path=session.path)
            self._say(done if trial is None else self._waiting())
            self._refresh()
            return
        try:
            show_trial(self._folder, trial)
        except CSRDError as error:
            self.pause()
            self._say(str(error))
            return
        self.reading = True
        self.clock.reset()
        self._say("")
        self._refresh()

    def _waiting(self) -> str:
        opens = self.session.opens().astimezone()
        return _("This block is done. The next one opens on {date}.").format(date=f"{opens:%Y-%m-%d %H:%M}")

    def _scale(self) -> Optional[Scale]:
        """The question that is open, None when all are answered."""
        if self.session is None:
            return None
        return next((scale for scale in self.session.study.scales if scale.name not in self._values), None)

    def _refresh(self) -> None:
        scale = self._scale() if self.reading else None
        self.ui.questionLabel.text = scale.question if scale else ""
        for choice in range(1, MOST_CHOICES + 1):
            offered = scale is not None and choice <= len(scale.labels)
            self._button(choice).setVisible(offered)
            self._button(choice).setEnabled(offered)
            if offered:
                # in this order: a new text takes the shortcut away
                self._button(choice).text = f"{choice}   {scale.labels[choice - 1]}"
                self._button(choice).setShortcut(qt.QKeySequence(str(choice)))
        under_way = self.session is not None and self.session.trial is not None
        self.ui.pauseButton.setEnabled(under_way)
        self.ui.pauseButton.text = _("Pause (P)") if self.reading else _("Go on (P)")
        self.ui.pauseButton.setShortcut(qt.QKeySequence("P"))
        self.ui.backButton.setEnabled(self.reading)
        self.ui.beginButton.setEnabled(self._study is not None and not self.reading)
        self.ui.readerComboBox.setEnabled(self._study is not None and not self.reading)
        self.ui.progressBar.setVisible(self.session is not None)
        if self.session is not None:
            self.ui.progressBar.maximum = self.session.total
            self.ui.progressBar.value = self.session.done
            self.ui.progressLabel.text = self._progress()

    def _progress(self) -> str:
        trial = self.session.trial
        done = _("{done} of {total} answered").format(done=self.session.done, total=self.session.total)
        if trial is None:
            return done
        text = _("{done}, block {block}").format(done=done, block=trial.block)
        return _("{text}, training").format(text=text) if trial.training else text

    def _say(self, text: str) -> None:
        self.ui.statusLabel.text = text

    def _button(self, choice: int) -> Any:
        return getattr(self.ui, f"answerButton{choice}")

    def _apart(self) -> float:
        return max(SECONDS_APART, float(slicer.app.doubleClickInterval) / 1000)
