"""Compare with a full-dose volume: scores in the panel, regions as a table node, their agreement as a plot."""

import json
from dataclasses import dataclass
from typing import Any, Callable, Mapping, Optional

import numpy as np
import slicer
from slicer.i18n import tr as _

from CSRDDenoiseLib.errors import CSRDError, InputError
from CSRDDenoiseLib.findings import Finding

from ..job import Callbacks, Job, RunFiles, check_no_maps, check_nodes
from ..nodes import check_content, hardened_copy, unit_of
from ..volumes import PET_REFERENCE, SUMMARY, Volume, fill_node, part_of, stored
from ..wording import finding_text
from .display import HELPER_ATTRIBUTE, check_place, fill
from .plots import AGREEMENT, agreement, draw, fill_table, with_unit

COMPARED = "CSRDDenoise.FullDoseComparison"
FULL_DOSE_REFERENCE, REGIONS_REFERENCE = "CSRDDenoise.FullDose", "CSRDDenoise.Regions"
REGIONS, SCORES = "regions", "scores"


@dataclass(frozen=True)
class Labels:
    """Regions to measure: a label map, in no scene where it was made of a segmentation, and the names of its labels."""

    volume: Volume
    name_of: "Callable[[int], str]"


def start_comparison(
    logic: Any,
    denoised: Volume,
    full: Volume,
    regions: Any = None,
    onFinished: "Optional[Callable[[dict[str, Any]], None]]" = None,
    onError: Optional[Callable[[Exception], None]] = None,
) -> Job:
    """Measure a result, and the PET that it was made from, against a full-dose volume; return at once.

    Args:
        logic: the :class:`~..logic.CSRDDenoiseLogic` whose process does the work.
        denoised: a result of this module.
        full: the full dose of the same scan, on any grid.
        regions: label map or segmentation whose regions are measured, or None.
        onFinished: receives the fields of :class:`CSRDDenoiseLib.full_dose.FullDoseComparison` as a dict.
        onError: receives the exception when it failed.

    Raises:
        CSRDError: the volumes cannot be compared, or a run is under way.
    """
    check_nodes({"denoised": denoised, "full": full}, regions=regions)
    pet = denoised.GetNodeReference(PET_REFERENCE)
    if pet is None:
        raise InputError(f"The PET of '{denoised.GetName()}' is gone; denoise it again.")
    if full in (pet, denoised):
        raise InputError(f"'{full.GetName()}' is the PET or its result; choose the full dose of the same scan.")
    check_no_maps(full)
    check_content(pet, denoised)
    check_place(pet, denoised)
    labels = None if regions is None else labels_of(regions, pet)
    volumes = {"pet": pet, "denoised": denoised, "full": full, "labels": None if labels is None else labels.volume}

    def collect(message: "dict[str, Any]") -> "dict[str, Any]":
        if not (slicer.mrmlScene.IsNodePresent(denoised) and slicer.mrmlScene.IsNodePresent(full)):
            raise CSRDError("A volume was removed from the scene during the comparison, so it was dropped.")
        found = {key: value for key, value in message.items() if key not in ("event", "id")}
        for region in found["regions"]:
            region["name"] = labels.name_of(region["label"])
        store_comparison(denoised, full, regions, found)
        return found

    callbacks = Callbacks(onFinished=onFinished, onError=onError)
    return logic.begin(RunFiles(), {"command": "compare"}, volumes, collect, callbacks)


def labels_of(regions: Any, pet: Volume) -> Labels:
    """Return a label map or a segmentation as labels to measure.

    Raises:
        InputError: the segmentation is empty, or its segments overlap.
    """
    if not regions.IsA("vtkMRMLSegmentationNode"):
        display = regions.GetDisplayNode()
        colours = None if display is None else display.GetColorNode()
        return Labels(regions, lambda label: _label_name(colours, label))
    segmentation = regions.GetSegmentation()
    identities = [segmentation.GetNthSegmentID(index) for index in range(segmentation.GetNumberOfSegments())]
    if not identities:
        raise InputError(f"The segmentation '{regions.GetName()}' has no segment.")
    # what the worker reads lies in the world, so the labels do too: a node in no scene follows no transform
    grid = hardened_copy(pet)
    array = np.zeros(slicer.util.arrayFromVolume(grid).shape, np.int16)
    for number, identity in enumerate(identities, start=1):
        mask = slicer.util.arrayFromSegmentBinaryLabelmap(regions, identity, grid) > 0
        if array[mask].any():
            name = segmentation.GetSegment(identity).GetName()
            raise InputError(f"The segment '{name}' overlaps another one. Choose a segmentation without overlap.")
        array[mask] = number
    volume = slicer.vtkMRMLLabelMapVolumeNode()
    volume.SetName(regions.GetName())
    fill_node(volume, array, grid)
    names = [segmentation.GetSegment(identity).GetName() for identity in identities]
    return Labels(volume, lambda label: names[label - 1])


def _label_name(colours: Any, label: int) -> str:
    """Return a label as Slicer's data probe shows it: the name in its colour table, and its number."""
    name = colours.GetColorName(label) if colours is not None else ""
    return f"{name} ({label})" if name else str(label)


def store_comparison(denoised: Volume, full: Volume, regions: Any, found: "Mapping[str, Any]") -> None:
    """Keep what was found with the result, and as table and plot nodes in the scene."""
    of_result = {"scores": found["scores"], "findings": found["findings"], "of": denoised.GetAttribute(SUMMARY)}
    limits = {name: {key: one[key] for key in ("bias", "low", "high")} for name, one in found["agreement"].items()}
    denoised.SetAttribute(COMPARED, json.dumps({**of_result, "agreement": limits}))
    denoised.SetNodeReferenceID(FULL_DOSE_REFERENCE, full.GetID())
    denoised.SetNodeReferenceID(REGIONS_REFERENCE, regions.GetID() if regions is not None else None)
    rows = score_rows(found["scores"])
    texts = {_("measure"): [row[0] for row in rows], "PET": [row[1] for row in rows]}
    columns = {**texts, _("denoised"): [row[2] for row in rows]}
    fill_table(SCORES, _of(_("Against the full dose"), denoised), columns, denoised)
    if found["regions"]:
        draw(agreement(found["agreement"], unit_of(denoised)), denoised)
        _fill_regions(found["regions"], denoised)
    else:
        _forget((REGIONS, AGREEMENT), denoised)


def _of(title: str, denoised: Volume) -> str:
    return f"{title}: {denoised.GetName()}"


def compared(denoised: Optional[Volume]) -> "Optional[dict[str, Any]]":
    """Return what is kept of the comparison of a result, None where there is none or the result was changed since."""
    found = None if denoised is None else stored(denoised, COMPARED)
    return found if found and found["of"] == denoised.GetAttribute(SUMMARY) else None


def score_rows(scores: "Mapping[str, Mapping[str, Any]]") -> "list[tuple[str, str, str]]":
    """Return the scores of PET and denoised as rows of a table: measure, PET, denoised."""
    names = {
        "psnr": (_("PSNR (dB)"), "{:.2f}", 1),
        "ssim": (_("SSIM"), "{:.4f}", 1),
        "nrmse": (_("NRMSE (%)"), "{:.2f}", 100),
        "bias": (_("Bias in the brain (%)"), "{:+.2f}", 100),
        "total_bias": (_("Bias in the head (%)"), "{:+.2f}", 100),
    }

    def text(image: str, key: str) -> str:
        value, (_name, form, factor) = scores[image][key], names[key]
        return _("equal") if value is None else form.format(factor * value)

    return [(names[key][0], text("pet", key), text("denoised", key)) for key in names]


class FullDose:
    """The section *Compare with a full-dose volume* of the panel.

    Args:
        ui: the widgets by their object names.
        logic: does the work.
        say: shows one sentence.
        show: shows the views of a result again, with the table of regions.
        follows: returns whether a result still follows the slider, which takes a comparison of before away.
    """

    def __init__(
        self,
        ui: Any,
        logic: Any,
        say: "Callable[[str], None]",
        show: "Callable[[], None]",
        follows: "Callable[[], bool]",
    ):
        self._ui, self._logic, self._say, self._show, self._follows = ui, logic, say, show, follows
        self._denoised: Optional[Volume] = None
        ui.fullDoseButton.clicked.connect(self.onCompare)
        ui.fullDoseSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.onChosen)

    def refresh(self, denoised: Optional[Volume]) -> None:
        """Show what was found for a result."""
        if denoised is not self._denoised and denoised is not None:
            for name, selector in self._selectors().items():
                if denoised.GetNodeReference(name) is not None:
                    selector.setCurrentNode(denoised.GetNodeReference(name))
        self._denoised = denoised
        found = compared(denoised) or {}
        if denoised is not None and not found and denoised.GetAttribute(COMPARED):
            # the result is another one by now, and its numbers would be taken for those of the new one
            denoised.SetAttribute(COMPARED, None)
            _forget((SCORES, REGIONS, AGREEMENT), denoised)
        fill(self._ui.fullDoseTable, [*score_rows(found["scores"]), *_limit_rows(found, denoised)] if found else [])
        findings = [Finding.from_dict(each) for each in found.get("findings", ())]
        self._ui.fullDoseInfoLabel.text = "\n".join(map(finding_text, findings))
        self.onChosen()

    def forget(self, node: Any) -> None:
        """A node is about to leave the scene: where it is selected, nothing is."""
        for selector in self._selectors().values():
            if selector.currentNode() is node:
                selector.setCurrentNode(None)

    def onChosen(self, *_arguments: Any) -> None:
        """Another full dose was chosen."""
        there = self._denoised is not None and self._denoised.GetNodeReference(PET_REFERENCE) is not None
        ready = there and self._ui.fullDoseSelector.currentNode() is not None and not self._logic.busy
        self._ui.fullDoseButton.setEnabled(ready)

    def onCompare(self, *_arguments: Any) -> None:
        """Measure the result against the chosen full dose."""
        if self._follows():
            self._say(_("The maps still follow the slider. Compare again in a moment."))
            return
        try:
            start_comparison(
                self._logic,
                self._denoised,
                self._ui.fullDoseSelector.currentNode(),
                self._ui.regionsSelector.currentNode(),
                onFinished=self.onFinished,
                onError=self.onError,
            )
            self._ui.fullDoseButton.setEnabled(False)
            self._say(_("Comparing with the full dose..."))
        except CSRDError as error:
            self._say(str(error))

    def onFinished(self, _found: "dict[str, Any]") -> None:
        """The numbers are there: show them."""
        self._say(_("Compared with the full dose."))
        self.refresh(self._denoised)
        self._show()

    def onError(self, error: Exception) -> None:
        """The two could not be compared."""
        self._say(str(error))
        self.onChosen()

    def _selectors(self) -> "dict[str, Any]":
        return {FULL_DOSE_REFERENCE: self._ui.fullDoseSelector, REGIONS_REFERENCE: self._ui.regionsSelector}


def _limit_rows(found: "Mapping[str, Any]", denoised: Volume) -> "list[tuple[str, str, str]]":
    """Return the agreement of the regions as a row, none without regions."""
    if not found["agreement"]:
        return []
    unit = unit_of(denoised)

    def text(one: "Mapping[str, Any]") -> str:
        limits = "" if one["low"] is None else f" ({one['low']:+.4g} ... {one['high']:+.4g})"
        return f"{one['bias']:+.4g}{limits}"

    name = _("Regions: bias (limits){unit}").format(unit=f", {unit}" if unit else "")
    return [(name, text(found["agreement"]["pet"]), text(found["agreement"]["denoised"]))]


def _fill_regions(regions: "list[dict[str, Any]]", denoised: Volume) -> None:
    unit = unit_of(denoised)
    # a table that is saved holds no other word of the unit
    columns: dict[str, list[Any]] = {
        _("region"): [region["name"] for region in regions],
        _("mL"): [_rounded(region["millilitres"]) for region in regions],
        with_unit(_("full dose"), unit): [_rounded(region["full"]) for region in regions],
        with_unit("PET", unit): [_rounded(region["images"]["pet"]) for region in regions],
        with_unit(_("denoised"), unit): [_rounded(region["images"]["denoised"]) for region in regions],
    }
    for image, title in (("pet", _("PET error (%)")), ("denoised", _("denoised error (%)"))):
        errors = [region["errors"][image] for region in regions]
        columns[title] = [None if error is None else _rounded(100 * error, 3) for error in errors]
    fill_table(REGIONS, _of(_("Regions against the full dose"), denoised), columns, denoised)


def _rounded(value: float, digits: int = 5) -> float:
    """Round to significant digits, because Slicer's table view shows every digit there is."""
    return float(f"{value:.{digits}g}")


def _forget(roles: "tuple[str, ...]", denoised: Volume) -> None:
    """Remove tables and plots of a result that show what is no more."""
    for class_name in ("vtkMRMLTableNode", "vtkMRMLPlotChartNode", "vtkMRMLPlotSeriesNode"):
        for node in slicer.util.getNodesByClass(class_name):
            role = (node.GetAttribute(HELPER_ATTRIBUTE) or "").split(".")[0]
            if role in roles and part_of(node, denoised) is not None:
                slicer.mrmlScene.RemoveNode(node)
