"""What the panel says: the status line, the details behind it, and the log; and which presses are one."""

import time
from typing import Any

import slicer


def double_click() -> float:
    """Return the time in seconds within which two presses are a double click: its second one must not cancel a run."""
    return float(slicer.app.doubleClickInterval) / 1000


class Messages:
    """Shows sentences in the status line, and each of them once a run in the log.

    Args:
        ui: the widgets by their object names.
    """

    def __init__(self, ui: Any):
        self._ui = ui
        self._details = ""
        self._logged: set[str] = set()
        ui.detailsButton.clicked.connect(self.onDetails)
        ui.copyLogButton.clicked.connect(self.onCopyLog)

    def begin(self) -> None:
        """A run begins: what was logged before may be logged again."""
        self._logged.clear()

    def say(self, text: str, details: str = "") -> None:
        """Show a sentence, with a button for its details if there are any."""
        self._ui.statusLabel.text = text
        self._details = details
        self._ui.detailsButton.setVisible(bool(details))
        self.log(text)

    def log(self, text: str) -> None:
        """Add a line to the log, once a run."""
        if text and text not in self._logged:
            self._logged.add(text)
            self._ui.logTextEdit.appendPlainText(f"{time.strftime('%H:%M:%S')}  {text}")

    def onDetails(self, *_arguments: Any) -> None:
        """Show the technical details of the last error."""
        slicer.util.errorDisplay(self._ui.statusLabel.text, detailedText=self._details)

    def onCopyLog(self, *_arguments: Any) -> None:
        """Copy the log to the clipboard."""
        slicer.app.clipboard().setText(self._ui.logTextEdit.plainText)
