"""The part of the panel that shows a result: numbers, findings, the comparison and its tools."""

from dataclasses import dataclass, replace
from typing import Any, Callable, Optional

import qt
from slicer.i18n import tr as _

from CSRDDenoiseLib.errors import Cancelled, CSRDError
from CSRDDenoiseLib.findings import Finding

from ..nodes import unit_of
from ..volumes import ESTIMATE_REFERENCE, FINDINGS, PET_REFERENCE, SUMMARY, Volume, part_of, stored
from ..wording import finding_rows, summary_rows
from ..worker_process import RUNNING
from .display import fill
from .full_dose import FullDose
from .look import Look
from .plots import AGREEMENT

KEEP_DELAY_MILLISECONDS, REFINE_DELAY_MILLISECONDS = 60, 400


@dataclass(frozen=True)
class _Moved:
    """A result whose slider was moved, and to which width in mm; ``made`` is when its estimate came to be."""

    denoised: Volume
    difference: Optional[Volume]
    maps: "tuple[Optional[Volume], ...]"
    width: float
    made: Optional[int] = None


class Keep:
    """Lets a result follow the slider: result and difference at once, maps, findings and numbers once it rests.

    What was begun goes on when the user leaves the module or selects another result: until its end the maps are those
    of the width before. What another run cancels is begun again after that run.

    Args:
        logic: recomputes a result for another width.
        say: shows one sentence.
        onKept: receives a denoised volume and its difference after each recomputation.
        onRest: hears that nothing more is to be recomputed.
    """

    def __init__(
        self,
        logic: Any,
        say: "Callable[[str], None]",
        onKept: "Callable[[Volume, Optional[Volume]], None]",
        onRest: "Callable[[], None]",
    ):
        self._logic, self._say, self._onKept, self._onRest = logic, say, onKept, onRest
        self._moved: Optional[_Moved] = None
        self._job: Any = None
        # one recomputation for a movement of the slider, not one for each of its steps
        self._timer = _single_shot(KEEP_DELAY_MILLISECONDS, self.onSettled)
        self._refining = _single_shot(REFINE_DELAY_MILLISECONDS, self.onRested)

    @property
    def waiting(self) -> bool:
        """Whether the slider was moved and the result is still that of the width before."""
        return self._timer.isActive()

    @property
    def following(self) -> bool:
        """Whether something is recomputed or is about to be."""
        running = self._job is not None and self._job.state == RUNNING
        return running or self._timer.isActive() or self._refining.isActive()

    def move(
        self, denoised: Volume, difference: Optional[Volume], maps: "tuple[Optional[Volume], ...]", width: float
    ) -> None:
        """The width of a result was changed: wait until the slider rests."""
        self._moved = _Moved(denoised, difference, maps, width)
        self._refining.stop()
        self._timer.start()

    def stop(self) -> None:
        """Begin nothing more: the scene closes, or the module does."""
        self._moved = None
        self._timer.stop()
        self._refining.stop()

    def onSettled(self) -> None:
        """Recompute what is seen at once, or wait for the end of what is under way."""
        self._begin(self._timer, exact=False)

    def onRested(self) -> None:
        """The slider rests for longer: let maps, findings and numbers follow."""
        self._begin(self._refining, exact=True)

    def _begin(self, timer: qt.QTimer, exact: bool) -> None:
        if self._moved is None:
            return
        if self._logic.busy:
            timer.start()
            return
        moved, denoised = self._moved, self._moved.denoised
        estimate = denoised.GetNodeReference(ESTIMATE_REFERENCE)
        made = None if estimate is None else estimate.GetImageData().GetMTime()
        if made is None or (exact and made != moved.made):
            # the result was removed, or a run made it anew with its maps
            self._rest()
            return
        self._moved = replace(moved, made=made)
        difference, *maps = (part_of(node, denoised) for node in (moved.difference, *moved.maps))
        try:
            self._job = self._logic.startKeep(
                denoised,
                moved.width,
                difference,
                onFinished=lambda _result: self._kept(denoised, difference, exact),
                onError=self._notKept,
                uncertaintyVolume=maps[0],
                supportVolume=maps[1],
                exact=exact,
            )
        except CSRDError as error:
            self._notKept(error)

    def _kept(self, denoised: Volume, difference: Optional[Volume], exact: bool) -> None:
        if not exact:
            self._refining.start()
        self._onKept(denoised, difference)
        self._rest()

    def _notKept(self, error: Exception) -> None:
        if not isinstance(error, Cancelled):
            self._say(str(error))
            self._rest()
        elif self._moved is not None:
            self._refining.start()

    def _rest(self) -> None:
        if not self.following:
            self._moved = None
            self._onRest()


def _single_shot(milliseconds: int, receiver: "Callable[[], None]") -> qt.QTimer:
    timer = qt.QTimer()
    timer.setSingleShot(True)
    timer.setInterval(milliseconds)
    timer.timeout.connect(receiver)
    return timer


class Results:
    """The part of the panel that shows a result: its numbers, what the checks found, and the comparison.

    Args:
        ui: the widgets by their object names.
        logic: recomputes a result for another width.
        say: shows one sentence.
        onRest: hears that no result follows the slider any more.
    """

    def __init__(self, ui: Any, logic: Any, say: "Callable[[str], None]", onRest: "Callable[[], None]"):
        self._ui, self._logic, self._say = ui, logic, say
        self._denoised: Optional[Volume] = None
        self._difference: Optional[Volume] = None
        self._maps: tuple[Optional[Volume], ...] = (None, None, None)
        self._look = Look(ui, say)
        self._fullDose = FullDose(ui, logic, say, self.onCompared)
        self._keep = Keep(logic, say, self._kept, onRest)
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

    @property
    def following(self) -> bool:
        """Whether a result still follows the slider."""
        return self._keep.following

    def onKeepMoved(self, width: float) -> None:
        """The width above which the measurement is kept was changed."""
        if self._denoised is not None and self._denoised.GetNodeReference(ESTIMATE_REFERENCE) is not None:
            self._keep.move(self._denoised, self._difference, self._maps[1:], width)

    def _kept(self, denoised: Volume, difference: Optional[Volume]) -> None:
        if denoised is self._denoised:
            self.refresh(denoised, difference)

    def _showKept(self, there: bool, findings: "list[dict[str, Any]]") -> None:
        self._ui.keepSlider.setEnabled(there and self._denoised.GetNodeReference(ESTIMATE_REFERENCE) is not None)
        widths = [each["values"].get("above_mm") for each in findings if each["code"] == "keep.coarse"]
        if widths and widths[0] is not None and not self._keep.waiting:
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

    def stop(self) -> None:
        """Let no result follow the slider any more."""
        self._keep.stop()

    def leave(self) -> None:
        """Go back to the layout of before the comparison."""
        self._look.leave()
