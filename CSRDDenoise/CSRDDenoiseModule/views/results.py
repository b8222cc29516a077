"""The part of the panel that shows a result: numbers, findings, the comparison and its tools."""

from typing import Any, Callable, Optional

import slicer
from slicer.i18n import tr as _

from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.findings import Finding, find

from ..nodes import check_content, estimate_of, has_image, unit_of
from ..parameters import RESULTS, CSRDDenoiseParameterNode
from ..volumes import FINDINGS, KIND, PET_REFERENCE, RESULT_REFERENCE, SUMMARY, Volume, is_free_for, part_of, stored
from ..wording import finding_rows, summary_rows
from .display import check_place, fill
from .full_dose import FullDose, compared
from .keep import Keep
from .look import Look
from .plots import AGREEMENT


def settle(parameters: CSRDDenoiseParameterNode, before: Optional[Volume]) -> None:
    """Choose the maps of a denoised volume with it, in place of those of another, and no result of another PET.

    Args:
        before: the denoised volume that was chosen before.
    """
    # while a scene is read a reference comes before its node
    if slicer.mrmlScene.IsImporting():
        return
    with slicer.util.NodeModify(parameters.parameterNode):
        if parameters.denoised is not before:
            _choose_maps(parameters)
        strange = [name for name in RESULTS if not is_free_for(getattr(parameters, name), parameters.pet)]
        for name in strange if parameters.pet is not None else ():
            setattr(parameters, name, None)


def _choose_maps(parameters: CSRDDenoiseParameterNode) -> None:
    denoised = parameters.denoised
    theirs = _maps_of(denoised)
    for name in RESULTS[1:]:
        chosen = getattr(parameters, name)
        owner = None if chosen is None else chosen.GetNodeReference(RESULT_REFERENCE)
        if chosen is None or owner not in (None, denoised):
            wanted = theirs.get(name)
            if wanted is not chosen:
                setattr(parameters, name, wanted)


def _maps_of(denoised: Optional[Volume]) -> "dict[str, Volume]":
    """Return the maps of a result by their kind."""
    if denoised is None:
        return {}
    nodes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    return {node.GetAttribute(KIND): node for node in nodes if part_of(node, denoised) is not None}


class Bonds:
    """Maps and their results while Slicer's undo takes them away: what comes back does not refer to the other any more.

    MRML clears the reference to a node that leaves, and a redo adds the nodes as they left.
    """

    def __init__(self):
        self._owners: dict[str, str] = {}
        self._there: set[str] = set()

    def note(self) -> None:
        """An undo or a redo begins."""
        volumes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
        self._there = {node.GetID() for node in volumes}
        owners = {node.GetID(): node.GetNodeReference(RESULT_REFERENCE) for node in volumes}
        left = {name: owner for name, owner in self._owners.items() if name not in self._there}
        self._owners = {**left, **{name: owner.GetID() for name, owner in owners.items() if owner is not None}}

    def restore(self) -> None:
        """It is done: a map or a result that came back belongs to the other again."""
        for name, owner in self._owners.items():
            node, came_back = slicer.mrmlScene.GetNodeByID(name), not {name, owner} <= self._there
            there = node is not None and slicer.mrmlScene.GetNodeByID(owner) is not None
            if there and came_back and node.GetNodeReference(RESULT_REFERENCE) is None:
                node.SetNodeReferenceID(RESULT_REFERENCE, owner)


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
        self._maps: tuple[Optional[Volume], ...] = ()
        self._look = Look(ui, say)
        self._fullDose = FullDose(ui, logic, say, self.onCompared, lambda: self.following)
        self._keep = Keep(logic, say, self._kept, onRest)
        ui.keepSlider.valueChanged.connect(self.onKeepMoved)

    def refresh(self, denoised: Optional[Volume], *maps: Optional[Volume]) -> None:
        """Show the numbers and the findings kept with a result; its maps follow the slider."""
        self._denoised, self._maps = denoised, maps
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
        if self._denoised is not None and estimate_of(self._denoised) is not None:
            self._keep.move(self._denoised, self._maps[0], self._maps[1:], width)

    def _kept(self, denoised: Volume) -> None:
        self._look.follow(denoised)
        if denoised is self._denoised:
            self.refresh(denoised, *self._maps)

    def _showKept(self, there: bool, findings: "list[dict[str, Any]]") -> None:
        self._ui.keepSlider.setEnabled(there and estimate_of(self._denoised) is not None)
        kept = find(map(Finding.from_dict, findings), "keep")
        if kept is not None and not self._keep.waiting:
            slider, width = self._ui.keepSlider, kept.values.get("above_mm")
            slider.blockSignals(True)
            # the bare estimate keeps nothing, which is a width without end
            slider.value = slider.maximum if width is None else width
            slider.blockSignals(False)

    def compare(self, denoised: Volume, *maps: Optional[Volume]) -> None:
        """Show a result side by side with the PET that it was made from; maps of other results are left out."""
        self._look.show(denoised, *maps)
        pet = denoised.GetNodeReference(PET_REFERENCE)
        if pet is None or not (has_image(pet) and has_image(denoised)):
            return
        try:
            check_content(pet, denoised)
            check_place(pet, denoised)
        except InputError as error:
            self._say(str(error))

    def onCompared(self) -> None:
        """A result was compared with a full dose: show its regions, unless another one was chosen meanwhile."""
        if compared(self._denoised):
            self._look.show(self._denoised, *self._maps, plot=AGREEMENT)

    def forget(self, node: Any) -> None:
        """A node is about to leave the scene: nothing here keeps it in memory."""
        self._maps = tuple(None if each is node else each for each in self._maps)
        self._look.forget(node)
        self._fullDose.forget(node)

    def stop(self) -> None:
        """Let no result follow the slider any more."""
        self._keep.stop()

    def leave(self) -> None:
        """Go back to the layout of before the comparison, and hold no volume any more."""
        self._denoised, self._maps = None, ()
        self._look.leave()
