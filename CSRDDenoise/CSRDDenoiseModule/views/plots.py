"""Plots in the plot view below the comparison: histogram, profile along a line, agreement with a full dose.

A plot is a table, one series a column, and a chart, all nodes of the scene. Slicer draws charts on a light ground, with
black axes, in its dark theme too, so the series have colours that are dark enough for it.
"""

from dataclasses import dataclass
from typing import Any, Mapping, Optional, Sequence, Union

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from ..nodes import Volume, hardened_copy
from .display import find_helper, helper_node

PLOT_VIEW, TABLE_VIEW = "CSRDHistogram", "CSRDRegions"
HISTOGRAM, PROFILE, AGREEMENT = "histogram", "profile", "agreement"
PET_COLOUR, DENOISED_COLOUR, FULL_COLOUR, LINE_COLOUR = (
    (0.75, 0.15, 0.10),
    (0.10, 0.35, 0.75),
    (0.05, 0.45, 0.20),
    (0.30, 0.30, 0.30),
)
TITLE_POINTS, AXIS_POINTS, LABEL_POINTS = 14, 13, 12
"""Sizes of texts; Slicer's own, 20 and 16, leave no room for the axes in a plot of a quarter of the window."""
MARKER_POINTS = 7
PROFILE_POINTS = 400


Numbers = Union[Sequence[float], np.ndarray]


@dataclass(frozen=True)
class Series:
    """One curve or cloud of points: names of its columns in the plot's table, and how it is drawn."""

    name: str
    x: str
    y: str
    colour: "tuple[float, float, float]"
    points: bool = False
    dashed: bool = False


@dataclass(frozen=True)
class Plot:
    """A chart to be: its role, texts, columns (name -> numbers, all of one length) and series."""

    role: str
    title: str
    x_title: str
    y_title: str
    columns: "Mapping[str, Numbers]"
    series: "tuple[Series, ...]"


def draw(plot: Plot, of: Optional[Volume] = None) -> slicer.vtkMRMLPlotChartNode:
    """Fill the chart of a role, and its table and series, made the first time; return the chart.

    With ``of`` it is the chart of this result, beside those of others; without it there is one in the scene.
    """
    table = helper_node("vtkMRMLTableNode", plot.role, plot.title, of)
    slicer.util.updateTableFromArray(
        table, [np.asarray(values, float) for values in plot.columns.values()], list(plot.columns)
    )
    chart = helper_node("vtkMRMLPlotChartNode", plot.role, plot.title, of)
    series = [_series_node(plot, index, table, of) for index in range(len(plot.series))]
    with slicer.util.NodeModify(chart):
        _label(chart, plot, [node.GetID() for node in series])
    # without this the plot stays empty when the same nodes are filled again
    chart.Modified()
    return chart


def drawn(role: str, of: Optional[Volume] = None) -> Optional[slicer.vtkMRMLPlotChartNode]:
    """Return the chart of a role, of a result if one is given; None if it was never drawn."""
    return find_helper("vtkMRMLPlotChartNode", role, of)


def show_plot(role: str, denoised: Optional[Volume]) -> None:
    """Put the chart of a role, of this result where each has its own, into the plot view of the comparison."""
    view = slicer.mrmlScene.GetSingletonNode(PLOT_VIEW, "vtkMRMLPlotViewNode")
    chart = drawn(role, denoised if role == AGREEMENT else None)
    if view is not None:
        # another chart of the scene does not push this one out
        view.SetDoPropagatePlotChartSelection(False)
        view.SetPlotChartNodeID(chart.GetID() if chart is not None else None)


def show_table(role: str, denoised: Volume) -> None:
    """Put the table of a role of a result into the table view of the comparison, if both are there."""
    view = slicer.mrmlScene.GetSingletonNode(TABLE_VIEW, "vtkMRMLTableViewNode")
    if view is not None:
        view.SetDoPropagateTableSelection(False)
        table = find_helper("vtkMRMLTableNode", role, denoised)
        view.SetTableNodeID(table.GetID() if table is not None else None)


def fill_table(role: str, name: str, columns: "Mapping[str, Sequence[Any]]", of: Volume) -> slicer.vtkMRMLTableNode:
    """Fill the table node of a role of a result, made the first time, with columns of texts or numbers; return it."""
    table = helper_node("vtkMRMLTableNode", role, name, of)
    with slicer.util.NodeModify(table):
        table.SetName(name)
        table.SetLocked(True)
        table.RemoveAllColumns()
        for title, values in columns.items():
            texts = any(isinstance(value, str) for value in values)
            column = vtk.vtkStringArray() if texts else vtk.vtkDoubleArray()
            column.SetName(title)
            for value in values:
                column.InsertNextValue(value if texts else float("nan") if value is None else value)
            table.AddColumn(column)
        table.SetUseColumnTitleAsColumnHeader(True)
    return table


def histogram(summary: "Mapping[str, Any]", unit: str) -> Plot:
    """Return the histogram of the difference in the head, from the numbers kept with a result."""
    edges = np.asarray(summary["histogram_edges"])
    columns = {"difference": (edges[:-1] + edges[1:]) / 2, "voxels": summary["histogram_counts"]}
    curve = Series(_("Difference in the head"), "difference", "voxels", DENOISED_COLOUR)
    return Plot(
        HISTOGRAM,
        _("Denoised - PET inside the head"),
        with_unit(_("difference"), unit),
        _("voxels"),
        columns,
        (curve,),
    )


def profile(volumes: "Mapping[str, Volume]", line: Any, unit: str) -> Optional[Plot]:
    """Return the values of volumes along a line markup, or None while the line has no two ends.

    Args:
        volumes: ``PET``, ``denoised`` and, if there is one, ``full dose`` -> volume.
        line: a vtkMRMLMarkupsLineNode, in world coordinates.
        unit: of the volumes.

    Raises:
        ImportError: SciPy is not installed.
    """
    if line.GetNumberOfDefinedControlPoints() < 2:
        return None
    # SciPy, which it brings, may not be installed yet
    from CSRDDenoiseLib.measures import along_line

    ends = slicer.util.arrayFromMarkupsControlPoints(line, world=True)
    columns: dict[str, Numbers] = {
        "distance": np.linspace(0.0, float(np.linalg.norm(ends[1] - ends[0])), PROFILE_POINTS)
    }
    for name, volume in volumes.items():
        copy = hardened_copy(volume)
        start, end = (_index_of(copy, point) for point in ends)
        columns[name] = along_line(slicer.util.arrayFromVolume(copy), start, end, PROFILE_POINTS)
    colours = dict(zip(("PET", "denoised", "full dose"), (PET_COLOUR, DENOISED_COLOUR, FULL_COLOUR)))
    series = tuple(Series(name, "distance", name, colours[name]) for name in volumes)
    title = _("PET and denoised along {line}").format(line=line.GetName())
    return Plot(PROFILE, title, _("distance (mm)"), with_unit(_("activity"), unit), columns, series)


def agreement(found: "Mapping[str, Any]", unit: str) -> Plot:
    """Return the Bland-Altman plot of regions against the full dose.

    Args:
        found: ``pet`` and ``denoised`` -> fields of :class:`CSRDDenoiseLib.measures.Agreement`.
        unit: of the regions' means.
    """
    count = len(found["pet"]["means"])
    columns: dict[str, Numbers] = {}
    series: list[Series] = []
    for key, name, colour in (("pet", "PET", PET_COLOUR), ("denoised", _("denoised"), DENOISED_COLOUR)):
        one = found[key]
        columns[f"{key} mean"], columns[f"{key} difference"] = one["means"], one["differences"]
        series.append(Series(name, f"{key} mean", f"{key} difference", colour, points=True))
    after = found["denoised"]
    levels = {_("bias of denoised"): after["bias"], _("lower limit"): after["low"], _("upper limit"): after["high"]}
    columns["mean"] = np.linspace(min(after["means"]), max(after["means"]), count)
    for name, level in levels.items():
        if level is not None:
            columns[name] = np.full(count, level)
            series.append(Series(name, "mean", name, LINE_COLOUR, dashed=name != _("bias of denoised")))
    return Plot(
        AGREEMENT,
        _("Regions against the full dose (Bland-Altman)"),
        with_unit(_("mean of both"), unit),
        with_unit(_("difference"), unit),
        columns,
        tuple(series),
    )


def _series_node(plot: Plot, index: int, table: Any, of: Optional[Volume]) -> Any:
    about = plot.series[index]
    series = helper_node("vtkMRMLPlotSeriesNode", f"{plot.role}.{index}", about.name, of)
    with slicer.util.NodeModify(series):
        series.SetName(about.name)
        series.SetAndObserveTableNodeID(table.GetID())
        series.SetXColumnName(about.x)
        series.SetYColumnName(about.y)
        series.SetPlotType(series.PlotTypeScatter)
        series.SetMarkerStyle(series.MarkerStyleCircle if about.points else series.MarkerStyleNone)
        series.SetMarkerSize(MARKER_POINTS)
        line = series.LineStyleDash if about.dashed else series.LineStyleSolid
        series.SetLineStyle(series.LineStyleNone if about.points else line)
        series.SetLineWidth(1 if about.dashed else 2)
        series.SetColor(*about.colour)
    return series


def _label(chart: Any, plot: Plot, series: "list[str]") -> None:
    if [chart.GetNthPlotSeriesNodeID(index) for index in range(chart.GetNumberOfPlotSeriesNodes())] != series:
        chart.RemoveAllPlotSeriesNodeIDs()
        for identity in series:
            chart.AddAndObservePlotSeriesNodeID(identity)
    chart.SetTitle(plot.title)
    chart.SetXAxisTitle(plot.x_title)
    chart.SetYAxisTitle(plot.y_title)
    chart.SetTitleFontSize(TITLE_POINTS)
    chart.SetAxisTitleFontSize(AXIS_POINTS)
    chart.SetAxisLabelFontSize(LABEL_POINTS)
    chart.SetLegendVisibility(len(series) > 1)


def _index_of(volume: Volume, point: "Sequence[float]") -> "list[float]":
    """Return the position (slices, rows, columns) of a world point in a volume that has no transform."""
    matrix = vtk.vtkMatrix4x4()
    volume.GetRASToIJKMatrix(matrix)
    return (slicer.util.arrayFromVTKMatrix(matrix) @ [*point, 1.0])[2::-1].tolist()


def with_unit(text: str, unit: str) -> str:
    """Return the title of an axis or a column with the unit, if one is known."""
    return f"{text} ({unit})" if unit else text
