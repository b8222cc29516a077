"""Pictures of the layout: real slices, charts and tables, put where the layout's XML puts their views.

The slices come from Slicer's own slice logic (``slicer-core``), the charts from VTK with the properties that Slicer's
plot view sets; bars, colour legends and lines are drawn here, much simpler than in Slicer.
"""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import slicer
import vtk
from PIL import Image
from PySide6 import QtCore, QtGui, QtWidgets
from vtk.util.numpy_support import vtk_to_numpy

BAR, GAP = 18, 2
COLOURS = 160
PLOT_GROUND = (255, 253, 246)
LINES = {0: vtk.vtkPen.NO_PEN, 1: vtk.vtkPen.SOLID_LINE, 2: vtk.vtkPen.DASH_LINE}


def draw_layout(path: Path, width: int = 1200, height: int = 700) -> None:
    """Write what the present layout shows as PNG."""
    manager = slicer.app.layoutManager()
    node = manager.layoutLogic().GetLayoutNode()
    root = ElementTree.fromstring(node.GetLayoutDescription(manager.layout))
    picture = QtGui.QImage(width, height, QtGui.QImage.Format_RGB32)
    picture.fill(QtGui.QColor("#202020"))
    painter = QtGui.QPainter(picture)
    _draw_layout(painter, root, QtCore.QRect(0, 0, width, height))
    painter.end()
    assert picture.save(str(path))
    # a fifth of the size, and no difference that can be seen
    few = Image.open(path).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    few.save(path, optimize=True)


def _draw_layout(painter, layout, place):
    items = layout.findall("item")
    upright = layout.get("type") == "vertical"
    sizes = [int(item.get("splitSize", "1")) for item in items]
    start, whole = 0, place.height() if upright else place.width()
    for item, size in zip(items, sizes):
        share = round(whole * size / sum(sizes))
        part = QtCore.QRect(place)
        part.setRect(
            *(
                (place.x(), place.y() + start, place.width(), share)
                if upright
                else (place.x() + start, place.y(), share, place.height())
            )
        )
        start += share
        inner = item.find("layout")
        if inner is not None:
            _draw_layout(painter, inner, part)
        else:
            _draw_view(painter, item.find("view"), part.adjusted(GAP, GAP, -GAP, -GAP))


def _draw_view(painter, view, place):
    name, kind = view.get("singletontag"), view.get("class")
    properties = {each.get("name"): each.text for each in view.findall("property")}
    painter.fillRect(place.x(), place.y(), place.width(), BAR, QtGui.QColor(properties.get("viewcolor", "#808080")))
    painter.setPen(QtGui.QColor("black"))
    painter.drawText(place.x() + 6, place.y() + BAR - 5, properties["viewlabel"])
    inside = place.adjusted(0, BAR, 0, 0)
    draw = {"vtkMRMLSliceNode": _slice, "vtkMRMLPlotViewNode": _plot, "vtkMRMLTableViewNode": _table}[kind]
    painter.drawImage(inside.topLeft(), draw(name, inside.width(), inside.height()))


def _slice(name, width, height):
    logic = slicer.app.layoutManager().sliceWidget(name).sliceLogic()
    node = logic.GetSliceNode()
    node.SetDimensions(width, height, 1)
    logic.FitSliceToAll()
    connection = logic.GetImageDataConnection()
    connection.GetProducer().Update()
    data = connection.GetProducer().GetOutputDataObject(connection.GetIndex())
    values = vtk_to_numpy(data.GetPointData().GetScalars()).reshape(height, width, -1)[::-1, :, :3]
    image = _image(values)
    painter = QtGui.QPainter(image)
    painter.setPen(QtGui.QPen(QtGui.QColor("#FFD040"), 2))
    for line in slicer.util.getNodesByClass("vtkMRMLMarkupsLineNode"):
        ends = slicer.util.arrayFromMarkupsControlPoints(line, world=True)
        to_xy = vtk.vtkMatrix4x4()
        vtk.vtkMatrix4x4.Invert(node.GetXYToRAS(), to_xy)
        points = [to_xy.MultiplyPoint([*end, 1.0])[:2] for end in ends]
        painter.drawLine(*(QtCore.QPointF(x, height - y) for x, y in points))
    _legend(painter, logic.GetSliceCompositeNode().GetBackgroundVolumeID(), width, height)
    painter.end()
    return image


def _legend(painter, identity, width, height):
    volume = slicer.mrmlScene.GetNodeByID(identity)
    legend = slicer.modules.colors.logic().GetColorLegendDisplayNode(volume)
    if legend is None or not legend.GetVisibility():
        return
    display = volume.GetScalarVolumeDisplayNode()
    colours, form = display.GetColorNode().GetLookupTable(), legend.GetLabelFormat()
    left, top, long = width - 60, round(0.2 * height), round(0.6 * height)
    for row in range(long):
        r, g, b, _a = colours.GetTableValue(round((1 - row / long) * (colours.GetNumberOfTableValues() - 1)))
        painter.fillRect(left, top + row, 12, 1, QtGui.QColor.fromRgbF(r, g, b))
    low, high = display.GetWindowLevelMin(), display.GetWindowLevelMax()
    for share in (0.0, 0.5, 1.0):
        number = form % (low + share * (high - low))
        _text(painter, left + 16, top + 4 + round((1 - share) * long), number, legend.GetLabelTextProperty())
    _text(painter, width - 120, top - 10, legend.GetTitleText(), legend.GetTitleTextProperty())


def _text(painter, left, base, text, look):
    """Write a text with the colour and the background of a vtkTextProperty."""
    background = QtGui.QColor.fromRgbF(*look.GetBackgroundColor(), look.GetBackgroundOpacity())
    place = painter.fontMetrics().tightBoundingRect(text).translated(left, base).adjusted(-3, -3, 3, 3)
    painter.fillRect(place, background)
    painter.setPen(QtGui.QColor.fromRgbF(*look.GetColor()))
    painter.drawText(left, base, text)


def _plot(name, width, height):
    chart_node = slicer.mrmlScene.GetSingletonNode(name, "vtkMRMLPlotViewNode").GetPlotChartNode()
    view = vtk.vtkContextView()
    view.GetRenderWindow().SetOffScreenRendering(1)
    view.GetRenderWindow().SetSize(width, height)
    chart = vtk.vtkChartXY()
    view.GetScene().AddItem(chart)
    chart.GetBackgroundBrush().SetColor(*PLOT_GROUND, 255)
    if chart_node is not None:
        _fill_chart(chart, chart_node)
    view.Render()
    grab = vtk.vtkWindowToImageFilter()
    grab.SetInput(view.GetRenderWindow())
    grab.Update()
    values = vtk_to_numpy(grab.GetOutput().GetPointData().GetScalars()).reshape(height, width, -1)
    return _image(values[::-1, :, :3])


def _fill_chart(chart, node):
    for index in range(node.GetNumberOfPlotSeriesNodes()):
        series = node.GetNthPlotSeriesNode(index)
        table = series.GetTableNode().GetTable()
        plot = vtk.vtkPlotLine()
        plot.SetInputData(table, series.GetXColumnName(), series.GetYColumnName())
        plot.SetColorF(*series.GetColor())
        plot.SetWidth(series.GetLineWidth())
        plot.SetMarkerSize(series.GetMarkerSize())
        plot.SetMarkerStyle(series.GetMarkerStyle())
        plot.GetPen().SetLineType(LINES[series.GetLineStyle()])
        plot.SetLabel(series.GetName())
        chart.AddPlot(plot)
    chart.SetTitle(node.GetTitle())
    chart.GetTitleProperties().SetFontSize(node.GetTitleFontSize())
    chart.SetShowLegend(node.GetLegendVisibility())
    for side, title in ((vtk.vtkAxis.BOTTOM, node.GetXAxisTitle()), (vtk.vtkAxis.LEFT, node.GetYAxisTitle())):
        axis = chart.GetAxis(side)
        axis.SetTitle(title)
        axis.GetTitleProperties().SetFontSize(node.GetAxisTitleFontSize())
        axis.GetLabelProperties().SetFontSize(node.GetAxisLabelFontSize())


def _table(name, width, height):
    table = slicer.mrmlScene.GetSingletonNode(name, "vtkMRMLTableViewNode").GetTableNode().GetTable()
    widget = QtWidgets.QTableWidget(table.GetNumberOfRows(), table.GetNumberOfColumns())
    widget.setHorizontalHeaderLabels([table.GetColumnName(k) for k in range(table.GetNumberOfColumns())])
    for row in range(table.GetNumberOfRows()):
        for column in range(table.GetNumberOfColumns()):
            text = table.GetValue(row, column).ToString()
            widget.setItem(row, column, QtWidgets.QTableWidgetItem(text))
    widget.resizeColumnsToContents()
    widget.resize(width, height)
    return widget.grab().toImage().convertToFormat(QtGui.QImage.Format_RGB32)


def _image(values):
    pixels = np.ascontiguousarray(values, np.uint8)
    height, width = pixels.shape[:2]
    return QtGui.QImage(pixels.data, width, height, 3 * width, QtGui.QImage.Format_RGB888).copy()
