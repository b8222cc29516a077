"""PET, denoised, difference (and uncertainty) side by side with linked slices, and the histogram of the difference."""

import json
from typing import Any, Optional

import numpy as np
import slicer
from slicer.i18n import tr as _

from .results import DIFFERENCE_COLOURS, UNCERTAINTY_COLOURS, copy_display, set_display

LAYOUT_ID = 72911
PLOT_VIEW = "CSRDHistogram"
LABEL_OPACITY = 0.5
HELPER_ATTRIBUTE = "CSRDDenoise.Helper"
_COLUMN = """
   <item splitSize="1"><view class="vtkMRMLSliceNode" singletontag="{tag}">
    <property name="orientation" action="default">Axial</property>
    <property name="viewlabel" action="default">{label}</property>
    <property name="viewcolor" action="default">{colour}</property>
   </view></item>"""
_LAYOUT = """
<layout type="vertical" split="true">
 <item splitSize="700">
  <layout type="horizontal">{columns}
  </layout>
 </item>
 <item splitSize="300"><view class="vtkMRMLPlotViewNode" singletontag="{plot}">
  <property name="viewlabel" action="default">H</property>
 </view></item>
</layout>"""
_VIEWS = (
    ("CSRDPet", "PET", "#4A50C8"),
    ("CSRDDenoised", "DEN", "#6EB04B"),
    ("CSRDDifference", "DIF", "#F34A33"),
    ("CSRDUncertainty", "UNC", "#EDD54C"),
)


def layout_description(shown: "list[bool]") -> str:
    """Return Slicer's XML of a row of slice views above a plot view; ``shown`` says which of the four there are."""
    views = [view for view, there in zip(_VIEWS, shown) if there]
    xml = "".join(_COLUMN.format(tag=tag, label=label, colour=colour) for tag, label, colour in views)
    return _LAYOUT.format(columns=xml, plot=PLOT_VIEW)


def show_comparison(
    pet: slicer.vtkMRMLScalarVolumeNode,
    denoised: slicer.vtkMRMLScalarVolumeNode,
    difference: Optional[slicer.vtkMRMLScalarVolumeNode],
    uncertainty: Optional[slicer.vtkMRMLScalarVolumeNode],
    support: Optional[slicer.vtkMRMLLabelMapVolumeNode] = None,
) -> None:
    """Switch to the comparison layout and show the volumes in it; volumes that are None leave their column out.

    The label map ``support`` lies over the denoised volume, see-through.
    """
    volumes = (pet, denoised, difference, uncertainty)
    summary = summary_of(denoised)
    copy_display(pet, denoised)
    if difference is not None:
        window = summary.get("window") or float(np.abs(difference.GetImageData().GetScalarRange()).max()) or 1.0
        set_display(difference, DIFFERENCE_COLOURS, -window, window)
        _show_legend(difference, _("denoised - PET"))
    if uncertainty is not None:
        set_display(uncertainty, UNCERTAINTY_COLOURS, 0.0, uncertainty.GetImageData().GetScalarRange()[1] or 1.0)
        _show_legend(uncertainty, _("standard deviation"))
    manager = slicer.app.layoutManager()
    if manager is None:
        return
    _use_layout(manager, [volume is not None for volume in volumes])
    for (view, _label, _colour), volume in zip(_VIEWS, volumes):
        if volume is not None:
            _show_in_view(manager, view, volume, support if volume is denoised else None)
    if summary:
        _show_histogram(summary)


def summary_of(denoised: slicer.vtkMRMLScalarVolumeNode) -> "dict[str, Any]":
    """Return the numbers kept with a result (see :mod:`CSRDDenoiseLib.report.summary`), empty if there are none."""
    text = denoised.GetAttribute("CSRDDenoise.Summary")
    return json.loads(text) if text else {}


def summary_rows(summary: "dict[str, Any]", unit: str) -> "list[tuple[str, str]]":
    """Return the numbers of a result as rows of a table, name and value with unit."""
    if not summary:
        return []
    rows = [
        (_("Mean change"), f"{summary['mean_change']:+.5g} {unit}".strip()),
        (_("Largest change"), f"{summary['max_change']:.5g} {unit}".strip()),
        (_("Total activity"), f"{summary['total_change_percent']:+.2f} %"),
    ]
    if summary.get("noise_before_percent") is not None and summary.get("noise_after_percent") is not None:
        centre = ", ".join(f"{value:.0f}" for value in summary["reference_centre_ras"])
        rows += [
            (_("Noise before"), f"{summary['noise_before_percent']:.1f} %"),
            (_("Noise after"), f"{summary['noise_after_percent']:.1f} %"),
            (_("Noise measured at"), _("20 mm cube, RAS {centre}").format(centre=centre)),
        ]
    return rows


def _use_layout(manager: "slicer.qMRMLLayoutManager", shown: "list[bool]") -> None:
    node = manager.layoutLogic().GetLayoutNode()
    identity = LAYOUT_ID + sum(1 << place for place, there in enumerate(shown) if there)
    if not node.IsLayoutDescription(identity):
        node.AddLayoutDescription(identity, layout_description(shown))
    manager.setLayout(identity)


def _show_in_view(
    manager: "slicer.qMRMLLayoutManager",
    view: str,
    volume: slicer.vtkMRMLScalarVolumeNode,
    labels: Optional[slicer.vtkMRMLLabelMapVolumeNode],
) -> None:
    logic = manager.sliceWidget(view).sliceLogic()
    composite = logic.GetSliceCompositeNode()
    composite.SetLinkedControl(True)
    composite.SetHotLinkedControl(True)
    composite.SetBackgroundVolumeID(volume.GetID())
    composite.SetForegroundVolumeID(None)
    composite.SetLabelVolumeID(labels.GetID() if labels is not None else None)
    composite.SetLabelOpacity(LABEL_OPACITY)
    logic.FitSliceToAll()


def _show_legend(volume: slicer.vtkMRMLScalarVolumeNode, title: str) -> None:
    logic = slicer.modules.colors.logic()
    legend = logic.GetColorLegendDisplayNode(volume) or logic.AddDefaultColorLegendDisplayNode(volume)
    if legend is not None:
        legend.SetTitleText(title)
        legend.SetLabelFormat("%.3g")
        legend.SetVisibility(True)


def _show_histogram(summary: "dict[str, Any]") -> None:
    edges = np.asarray(summary["histogram_edges"])
    columns = np.stack([(edges[:-1] + edges[1:]) / 2, np.asarray(summary["histogram_counts"], float)], axis=1)
    table = _helper("vtkMRMLTableNode", _("Difference histogram"))
    slicer.util.updateTableFromArray(table, columns)
    table.GetTable().GetColumn(0).SetName("difference")
    table.GetTable().GetColumn(1).SetName("voxels")
    series = _helper("vtkMRMLPlotSeriesNode", _("Difference in the head"))
    series.SetAndObserveTableNodeID(table.GetID())
    series.SetXColumnName("difference")
    series.SetYColumnName("voxels")
    series.SetPlotType(series.PlotTypeScatter)
    series.SetMarkerStyle(series.MarkerStyleNone)
    series.SetLineWidth(2)
    series.SetColor(0.2, 0.4, 0.8)
    chart = _helper("vtkMRMLPlotChartNode", _("Difference"))
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


def _helper(class_name: str, name: str) -> slicer.vtkMRMLNode:
    """Return this module's one node of a class, made the first time."""
    for node in slicer.util.getNodesByClass(class_name):
        if node.GetAttribute(HELPER_ATTRIBUTE):
            return node
    node = slicer.mrmlScene.AddNewNodeByClass(class_name, name)
    node.SetAttribute(HELPER_ATTRIBUTE, "1")
    return node
