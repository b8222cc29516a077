"""How results are shown: colours, the comparison layout with legends and histogram, numbers and findings."""

from dataclasses import dataclass
from typing import Any, Callable, Optional

import numpy as np
import qt
import slicer
from slicer.i18n import tr as _

from CSRDDenoiseLib.findings import Finding

from .volumes import ESTIMATE_REFERENCE, FINDINGS, PET_REFERENCE, SUMMARY, Volume, kept, part_of, unit_of
from .wording import finding_rows, summary_rows

HELPER_ATTRIBUTE = "CSRDDenoise.Helper"
DIFFERENCE_COLOURS, UNCERTAINTY_COLOURS = "DivergingBlueRed", "Inferno"
ADDED_COLOUR, REMOVED_COLOUR = (0.71, 0.02, 0.15), (0.23, 0.30, 0.75)
"""The ends of the difference map's colours: red where activity was added, blue where it was removed."""

LAYOUT_ID = 72911
WIDE_OFFSET = 100
PLOT_VIEW = "CSRDHistogram"
PET_VIEW = "CSRDPet"
LABEL_OPACITY = 0.5
KEEP_DELAY_MILLISECONDS = 250
COLUMN_WIDTH = 460
"""Width in pixels that Slicer asks for one slice view with its controller."""

_VIEWS = (
    (PET_VIEW, "PET", "#4A50C8"),
    ("CSRDDenoised", "Denoised", "#6EB04B"),
    ("CSRDDifference", "Difference", "#F34A33"),
    ("CSRDUncertainty", "Uncertainty", "#EDD54C"),
)
_VIEW = """<item splitSize="1"><view class="vtkMRMLSliceNode" singletontag="{tag}">
    <property name="orientation" action="default">Axial</property>
    <property name="viewlabel" action="default">{label}</property>
    <property name="viewcolor" action="default">{colour}</property>
   </view></item>"""
_ROW = """<item splitSize="{size}"><layout type="horizontal">{views}</layout></item>"""
_LAYOUT = """<layout type="vertical" split="true">{rows}
 <item splitSize="{plot_size}"><view class="vtkMRMLPlotViewNode" singletontag="{plot}">
  <property name="viewlabel" action="default">H</property>
 </view></item>
</layout>"""


@dataclass(frozen=True)
class Shown:
    """The volumes of one result; those that are None leave their view out.

    ``support``, a label map, lies over the denoised volume, see-through. ``summary`` holds the numbers kept with the
    result, see :mod:`CSRDDenoiseLib.report.summary`.
    """

    pet: Volume
    denoised: Volume
    difference: Optional[Volume]
    uncertainty: Optional[Volume]
    support: Optional[slicer.vtkMRMLLabelMapVolumeNode]
    summary: "dict[str, Any]"

    @property
    def in_views(self) -> "dict[str, Volume]":
        """View -> volume, in the order of the views."""
        volumes = (self.pet, self.denoised, self.difference, self.uncertainty)
        return {view: volume for (view, _label, _colour), volume in zip(_VIEWS, volumes) if volume is not None}


class Comparison:
    """The comparison layout; gives back the layout that was there before."""

    def __init__(self):
        self._before: Optional[int] = None
        self._shown: Optional[Shown] = None

    def show(self, shown: Shown) -> None:
        """Switch to the layout and show the volumes in it.

        The order matters: a view has its size, and draws legends, only once the events of the new layout are done.
        """
        set_windows(shown)
        self._shown = shown
        manager = slicer.app.layoutManager()
        if manager is None:
            return
        self._use_layout(manager, shown)
        slicer.app.processEvents()
        for view, volume in shown.in_views.items():
            _show_in_view(manager, view, volume, shown.support if volume is shown.denoised else None)
        for view in shown.in_views:
            manager.sliceWidget(view).sliceLogic().FitSliceToAll()
        if shown.summary:
            _show_histogram(shown.summary)
        _show_legends(shown)

    def fade(self, opacity: float) -> None:
        """Lay the denoised volume over the PET's view: 0 shows the PET, 1 the denoised volume."""
        manager = slicer.app.layoutManager()
        if manager is None or self._shown is None or PET_VIEW not in manager.sliceViewNames():
            return
        composite = manager.sliceWidget(PET_VIEW).sliceLogic().GetSliceCompositeNode()
        composite.SetForegroundVolumeID(self._shown.denoised.GetID() if opacity > 0 else None)
        composite.SetForegroundOpacity(opacity)

    def leave(self) -> None:
        """Go back to the layout of before, so that volumes loaded next are shown as anywhere else in Slicer."""
        manager, before = slicer.app.layoutManager(), self._before
        self._before, self._shown = None, None
        if manager is not None and before is not None and is_comparison(manager.layout):
            manager.setLayout(before)

    def _use_layout(self, manager: "slicer.qMRMLLayoutManager", shown: Shown) -> None:
        if not is_comparison(manager.layout):
            self._before = manager.layout
        places = [view for view, _label, _colour in _VIEWS]
        wide = _is_wide(manager, len(shown.in_views))
        identity = LAYOUT_ID + sum(1 << places.index(view) for view in shown.in_views) + WIDE_OFFSET * wide
        node = manager.layoutLogic().GetLayoutNode()
        if not node.IsLayoutDescription(identity):
            node.AddLayoutDescription(identity, layout_description(list(shown.in_views), wide))
        manager.setLayout(identity)


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
        self._comparison = Comparison()
        # one recomputation for a movement of the slider, not one for each of its steps
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(KEEP_DELAY_MILLISECONDS)
        self._timer.timeout.connect(self.onKeepSettled)
        ui.keepSlider.valueChanged.connect(self.onKeepMoved)
        ui.toggleButton.clicked.connect(self.onToggle)
        ui.fadeSlider.valueChanged.connect(self._comparison.fade)

    def refresh(self, denoised: Optional[Volume], difference: Optional[Volume]) -> None:
        """Show the numbers and the findings kept with a result."""
        self._denoised, self._difference = denoised, difference
        there = denoised is not None and denoised.GetNodeReference(PET_REFERENCE) is not None
        for widget in (self._ui.compareButton, self._ui.toggleButton, self._ui.fadeSlider):
            widget.setEnabled(there)
        findings = None if denoised is None else kept(denoised, FINDINGS)
        self._showKept(there, findings or [])
        rows = finding_rows(Finding.from_dict(each) for each in findings or ())
        if findings is not None and not rows:
            rows = [("", _("The checks of this run noticed nothing."))]
        _fill(self._ui.findingsTable, rows)
        self._ui.findingsTable.resizeRowsToContents()
        numbers = {} if denoised is None else kept(denoised, SUMMARY) or {}
        _fill(self._ui.resultsTable, summary_rows(numbers, unit_of(denoised)) if numbers else [])

    def onKeepMoved(self, _value: float) -> None:
        """The width above which the measurement is kept was changed: wait until the slider rests."""
        self._timer.start()

    def onKeepSettled(self) -> None:
        """Recompute the result, or wait for the end of what is under way."""
        if self._denoised is None or self._denoised.GetNodeReference(ESTIMATE_REFERENCE) is None:
            return
        if self._logic.busy:
            self._timer.start()
            return
        denoised, difference = self._denoised, part_of(self._difference, self._denoised)
        self._logic.startKeep(
            denoised,
            self._ui.keepSlider.value,
            difference,
            onFinished=lambda _result: self.refresh(denoised, difference),
            onError=lambda error: self._say(str(error)),
        )

    def _showKept(self, there: bool, findings: "list[dict[str, Any]]") -> None:
        self._ui.keepSlider.setEnabled(there and self._denoised.GetNodeReference(ESTIMATE_REFERENCE) is not None)
        widths = [each["values"].get("above_mm") for each in findings if each["code"] == "keep.coarse"]
        if widths and widths[0] is not None and not self._timer.isActive():
            self._ui.keepSlider.blockSignals(True)
            self._ui.keepSlider.value = widths[0]
            self._ui.keepSlider.blockSignals(False)

    def compare(self, denoised: Volume, *maps: Optional[Volume]) -> None:
        """Show a result side by side with the PET that it was made from; maps of other results are left out."""
        pet, summary = denoised.GetNodeReference(PET_REFERENCE), kept(denoised, SUMMARY) or {}
        if pet is not None:
            difference, uncertainty, support = (part_of(node, denoised) for node in maps)
            self._comparison.show(Shown(pet, denoised, difference, uncertainty, support, summary))
            self._ui.fadeSlider.value = 0.0

    def leave(self) -> None:
        """Go back to the layout of before the comparison."""
        self._comparison.leave()

    def onToggle(self, *_arguments: Any) -> None:
        """Switch the first view between PET and denoised."""
        self._ui.fadeSlider.value = 0.0 if self._ui.fadeSlider.value > 0.5 else 1.0


def is_comparison(layout: int) -> bool:
    """Return whether a layout is one of this module's."""
    return LAYOUT_ID < layout < LAYOUT_ID + 2 * WIDE_OFFSET


def layout_description(views: "list[str]", wide: bool) -> str:
    """Return Slicer's XML of slice views, in one row or two a row, above a plot view."""
    cells = [_VIEW.format(tag=tag, label=label, colour=colour) for tag, label, colour in _VIEWS if tag in views]
    columns = len(cells) if wide else 2
    rows = [cells[first : first + columns] for first in range(0, len(cells), columns)]
    xml = "".join(_ROW.format(size=700 // len(rows), views="".join(row)) for row in rows)
    return _LAYOUT.format(rows=xml, plot_size=300 if wide else 200, plot=PLOT_VIEW)


def show_results(nodes: "dict[str, Optional[Volume]]", pet: Volume) -> None:
    """Give new results displays: the PET's for the denoised volume, colours of their own for the maps."""
    for kind, node in nodes.items():
        if kind != "bare" and node is not None and node.GetDisplayNode() is None:
            node.CreateDefaultDisplayNodes()
    set_windows(Shown(pet, nodes["output"], nodes["difference"], nodes["uncertainty"], nodes["support"], {}))
    if nodes["support"] is not None:
        nodes["support"].GetDisplayNode().SetAndObserveColorNodeID(_support_colours().GetID())


def set_windows(shown: Shown) -> None:
    """Show the denoised volume like the PET, the difference around zero, and the uncertainty from zero."""
    copy_display(shown.pet, shown.denoised)
    if shown.difference is not None:
        low, high = shown.difference.GetImageData().GetScalarRange()
        window = shown.summary.get("window") or max(-low, high) or 1.0
        set_display(shown.difference, DIFFERENCE_COLOURS, -window, window)
    if shown.uncertainty is not None:
        set_display(shown.uncertainty, UNCERTAINTY_COLOURS, 0.0, shown.uncertainty.GetImageData().GetScalarRange()[1])


def copy_display(pet: Volume, node: Volume) -> None:
    """Show a volume with the colours, window and threshold of the PET."""
    source, target = pet.GetScalarVolumeDisplayNode(), node.GetScalarVolumeDisplayNode()
    if source is None:
        return
    target.SetAndObserveColorNodeID(source.GetColorNodeID())
    target.SetAutoWindowLevel(False)
    target.SetWindowLevel(source.GetWindow(), source.GetLevel())
    target.SetInterpolate(source.GetInterpolate())
    target.SetAutoThreshold(False)
    target.SetApplyThreshold(source.GetApplyThreshold())
    target.SetThreshold(source.GetLowerThreshold(), source.GetUpperThreshold())


def set_display(node: Volume, colours: str, low: float, high: float) -> None:
    """Show a volume with a colour table, known by name, over low to high; over 0 to 1 if it is zero everywhere."""
    display = node.GetScalarVolumeDisplayNode()
    table = slicer.mrmlScene.GetFirstNodeByName(colours)
    if table is not None and table.IsA("vtkMRMLColorNode"):
        display.SetAndObserveColorNodeID(table.GetID())
    display.SetAutoWindowLevel(False)
    display.SetWindowLevelMinMax(low, high if high > low else low + 1.0)


def helper_node(class_name: str, name: str) -> slicer.vtkMRMLNode:
    """Return this module's one node of a class, made the first time."""
    for node in slicer.util.getNodesByClass(class_name):
        if node.GetAttribute(HELPER_ATTRIBUTE):
            return node
    node = slicer.mrmlScene.AddNewNodeByClass(class_name, name)
    node.SetAttribute(HELPER_ATTRIBUTE, "1")
    return node


def legend_format(largest: float) -> str:
    """Return the format of a legend's numbers, three significant digits without an exponent where that is readable."""
    size = abs(largest)
    if size >= 100 or size == 0:
        return "%.0f"
    if size >= 0.01:
        return "%.1f" if size >= 10 else "%.2f" if size >= 1 else "%.3f"
    return "%.2g"


def _is_wide(manager: "slicer.qMRMLLayoutManager", columns: int) -> bool:
    viewport = manager.viewport()
    return viewport is not None and viewport.width >= columns * COLUMN_WIDTH


def _show_in_view(
    manager: "slicer.qMRMLLayoutManager",
    view: str,
    volume: Volume,
    labels: Optional[slicer.vtkMRMLLabelMapVolumeNode],
) -> None:
    composite = manager.sliceWidget(view).sliceLogic().GetSliceCompositeNode()
    # a volume that is loaded later does not push the results out of their views
    composite.SetDoPropagateVolumeSelection(False)
    composite.SetLinkedControl(True)
    composite.SetHotLinkedControl(True)
    composite.SetBackgroundVolumeID(volume.GetID())
    composite.SetForegroundVolumeID(None)
    composite.SetForegroundOpacity(0.0)
    composite.SetLabelVolumeID(labels.GetID() if labels is not None else None)
    composite.SetLabelOpacity(LABEL_OPACITY)


def _show_legends(shown: Shown) -> None:
    logic = slicer.modules.colors.logic()
    titles = {shown.difference: _("denoised - PET"), shown.uncertainty: _("standard deviation")}
    for volume, title in titles.items():
        if volume is None:
            continue
        legend = logic.GetColorLegendDisplayNode(volume) or logic.AddDefaultColorLegendDisplayNode(volume)
        if legend is not None:
            legend.SetTitleText(title)
            legend.SetLabelFormat(legend_format(volume.GetScalarVolumeDisplayNode().GetWindowLevelMax()))
            legend.SetVisibility(True)
            # one that was visible before its view was there is drawn only when it changes
            legend.Modified()


def _show_histogram(summary: "dict[str, Any]") -> None:
    edges = np.asarray(summary["histogram_edges"])
    columns = np.stack([(edges[:-1] + edges[1:]) / 2, np.asarray(summary["histogram_counts"], float)], axis=1)
    table = helper_node("vtkMRMLTableNode", _("Difference histogram"))
    slicer.util.updateTableFromArray(table, columns)
    table.GetTable().GetColumn(0).SetName("difference")
    table.GetTable().GetColumn(1).SetName("voxels")
    series = helper_node("vtkMRMLPlotSeriesNode", _("Difference in the head"))
    series.SetAndObserveTableNodeID(table.GetID())
    series.SetXColumnName("difference")
    series.SetYColumnName("voxels")
    series.SetPlotType(series.PlotTypeScatter)
    series.SetMarkerStyle(series.MarkerStyleNone)
    series.SetLineWidth(2)
    series.SetColor(0.2, 0.4, 0.8)
    chart = helper_node("vtkMRMLPlotChartNode", _("Difference"))
    if not chart.HasPlotSeriesNodeID(series.GetID()):
        chart.AddAndObservePlotSeriesNodeID(series.GetID())
    chart.SetTitle(_("Denoised - PET inside the head"))
    chart.SetXAxisTitle(_("difference"))
    chart.SetYAxisTitle(_("voxels"))
    chart.SetLegendVisibility(False)
    view = slicer.mrmlScene.GetSingletonNode(PLOT_VIEW, "vtkMRMLPlotViewNode")
    if view is not None:
        view.SetPlotChartNodeID(chart.GetID())
    # without this the plot stays empty when the same nodes are filled again
    chart.Modified()


def _fill(table: Any, rows: "list[tuple[str, str]]") -> None:
    table.setRowCount(len(rows))
    for row, cells in enumerate(rows):
        for column, text in enumerate(cells):
            table.setItem(row, column, qt.QTableWidgetItem(text))
    # the last column takes what is left, and long texts wrap in it
    table.resizeColumnToContents(0)


def _support_colours() -> slicer.vtkMRMLColorTableNode:
    table = helper_node("vtkMRMLColorTableNode", _("Unsupported structure"))
    table.SetTypeToUser()
    table.SetNumberOfColors(3)
    table.SetColor(0, _("nothing"), 0.0, 0.0, 0.0, 0.0)
    table.SetColor(1, _("added"), *ADDED_COLOUR, 1.0)
    table.SetColor(2, _("removed"), *REMOVED_COLOUR, 1.0)
    table.SetAttribute("Category", "CSRDDenoise")
    return table
