"""The part of the panel that shows a result: numbers, findings, the comparison and its tools."""

from typing import Any, Callable, Optional

import qt
from slicer.i18n import tr as _

from CSRDDenoiseLib.errors import Cancelled, CSRDError
from CSRDDenoiseLib.findings import Finding

from ..nodes import unit_of
from ..volumes import ESTIMATE_REFERENCE, FINDINGS, PET_REFERENCE, SUMMARY, Volume, part_of, stored
from ..wording import finding_rows, summary_rows
from .display import fill
from .full_dose import FullDose
from .look import Look
from .plots import AGREEMENT

KEEP_DELAY_MILLISECONDS, REFINE_DELAY_MILLISECONDS = 60, 400


class Results:
    """The part of the panel that shows a result: its numbers, what the checks found, and the comparison.

    Args:
        ui: the widgets by their object names.
        logic: recomputes a result for another width.
        say: shows one sentence.
    """

    def __init__(self, ui: Any, logic: Any, say: "Callable[[str], None]"):
        self._ui, self._logic, self._say = ui, logic, say
        self._denoised: Optional[Volume] = None
        self._difference: Optional[Volume] = None
        self._maps: tuple[Optional[Volume], ...] = (None, None, None)
        self._look = Look(ui, say)
        self._fullDose = FullDose(ui, logic, say, self.onCompared)
        # one recomputation for a movement of the slider, not one for each of its steps
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(KEEP_DELAY_MILLISECONDS)
        self._timer.timeout.connect(self.onKeepSettled)
        self._refining = qt.QTimer()
        self._refining.setSingleShot(True)
        self._refining.setInterval(REFINE_DELAY_MILLISECONDS)
        self._refining.timeout.connect(self.onKeepRefined)
        ui.keepSlider.valueChanged.connect(self.onKeepMoved)

    def refresh(self, denoised: Optional[Volume], difference: Optional[Volume]) -> None:
        """Show the numbers and the findings kept with a result."""
        self._denoised, self._difference = denoised, difference
        there = denoised is not None and denoised.GetNodeReference(PET_REFERENCE) is not None
        self._ui.compareButton.setEnabled(there)
        self._look.setEnabled(there)
        self._fullDose.refresh(denoised)
        findings = None if denoised is None else stored(denoised, FINDINGS)
        self._showKept(there, findings or [])
        rows = finding_rows(Finding.from_dict(each) for each in findings or ())
        if findings is not None and not rows:
            rows = [("", _("The checks of this run noticed nothing."))]
        fill(self._ui.findingsTable, rows)
        self._ui.findingsTable.resizeRowsToContents()
        numbers = {} if denoised is None else stored(denoised, SUMMARY) or {}
        fill(self._ui.resultsTable, summary_rows(numbers, unit_of(denoised)) if numbers else [])

    def onKeepMoved(self, _value: float) -> None:
        """The width above which the measurement is kept was changed: wait until the slider rests."""
        self._refining.stop()
        self._timer.start()

    def onKeepSettled(self) -> None:
        """Recompute what is seen at once, or wait for the end of what is under way."""
        self._keep(self._timer, exact=False)

    def onKeepRefined(self) -> None:
        """The slider rests for longer: let maps, findings and numbers follow."""
        self._keep(self._refining, exact=True)

    def _keep(self, timer: qt.QTimer, exact: bool) -> None:
        if self._denoised is None or self._denoised.GetNodeReference(ESTIMATE_REFERENCE) is None:
            return
        if self._logic.busy:
            timer.start()
            return
        denoised, difference = self._denoised, part_of(self._difference, self._denoised)
        maps = [part_of(node, denoised) for node in self._maps[1:]]
        callbacks = {"onFinished": lambda _result: self._kept(denoised, difference, exact), "onError": self._notKept}
        given = {"uncertaintyVolume": maps[0], "supportVolume": maps[1], "exact": exact}
        try:
            self._logic.startKeep(denoised, self._ui.keepSlider.value, difference, **callbacks, **given)
        except CSRDError as error:
            self._notKept(error)

    def _kept(self, denoised: Volume, difference: Optional[Volume], exact: bool) -> None:
        if denoised is self._denoised:
            self.refresh(denoised, difference)
            if not exact:
                self._refining.start()

    def _notKept(self, error: Exception) -> None:
        if not isinstance(error, Cancelled):
            self._say(str(error))

    def _showKept(self, there: bool, findings: "list[dict[str, Any]]") -> None:
        self._ui.keepSlider.setEnabled(there and self._denoised.GetNodeReference(ESTIMATE_REFERENCE) is not None)
        widths = [each["values"].get("above_mm") for each in findings if each["code"] == "keep.coarse"]
        if widths and widths[0] is not None and not self._timer.isActive():
            self._ui.keepSlider.blockSignals(True)
            self._ui.keepSlider.value = widths[0]
            self._ui.keepSlider.blockSignals(False)

    def compare(self, denoised: Volume, *maps: Optional[Volume]) -> None:
        """Show a result side by side with the PET that it was made from; maps of other results are left out."""
        self._maps = maps
        self._look.show(denoised, *maps)

    def onCompared(self) -> None:
        """The result was compared with a full dose: show the regions."""
        if self._denoised is None:
            return
        self._look.show(self._denoised, *self._maps)
        self._look.showPlot(AGREEMENT)

    def forget(self, node: Any) -> None:
        """A node is about to leave the scene."""
        self._look.forget(node)
        self._fullDose.forget(node)

    def leave(self) -> None:
        """Go back to the layout of before the comparison."""
        self._look.leave()
