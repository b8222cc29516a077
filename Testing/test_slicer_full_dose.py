"""Compare with a full-dose volume, by clicks, with a real worker: scores, regions as a table, agreement as a plot."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk
from conftest import head_array
from slicer_helpers import (
    SLICER,
    add_head,
    add_result,
    add_transform,
    add_volume,
    background,
    click,
    ijk_to_ras,
    matrix_of,
    pick,
    run_to_end,
    wait_until,
)

from CSRDDenoiseModule.views import plots  # isort: skip (needs the stand-in)
from CSRDDenoiseModule.volumes import part_of  # isort: skip

from CSRDDenoiseLib.full_dose import compare_with_full_dose
from CSRDDenoiseLib.io.volume import Header, ReadVolume

pytest_plugins = ["slicer_fixtures"]
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_worker")]

SHAPE = (24, 28, 26)
MOVED = np.array([[0, -1, 0, 30], [1, 0, 0, -5], [0, 0, 1, 8], [0, 0, 0, 1.0]])


@pytest.fixture
def result(ui, scene):
    """A PET, a result of it, and the full dose."""
    full = add_volume("Full", head_array(SHAPE, seed=2))
    pet = add_head("PET low dose")
    truth = SLICER.util.arrayFromVolume(full)
    made = add_result(pet, (0.5 * truth + 0.5 * SLICER.util.arrayFromVolume(pet)).astype(np.float32))
    ui.petSelector.setCurrentNode(pet)
    ui.denoisedSelector.setCurrentNode(made[0])
    ui.differenceSelector.setCurrentNode(made[1])
    return pet, made[0], full


def octants() -> np.ndarray:
    """Eight regions, 1 to 8."""
    z, y, x = np.meshgrid(*(np.arange(n) >= n // 2 for n in SHAPE), indexing="ij")
    return (1 + z + 2 * y + 4 * x).astype(np.int16)


def add_labels(scene):
    node = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "Atlas")
    SLICER.util.updateVolumeFromArray(node, octants())
    node.SetIJKToRASMatrix(SLICER.util.vtkMatrixFromArray(ijk_to_ras()))
    node.CreateDefaultDisplayNodes()
    return node


def add_segmentation(scene, pet, masks):
    """Add a segmentation with a segment a mask, on the PET's grid."""
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Segmentation")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(pet)
    labels = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "temporary")
    for name, mask in masks.items():
        SLICER.util.updateVolumeFromArray(labels, mask.astype(np.uint8))
        labels.CopyOrientation(pet)
        image = SLICER.vtkSlicerSegmentationsModuleLogic.CreateOrientedImageDataFromVolumeNode(labels)
        identity = node.GetSegmentation().AddEmptySegment(name, name)
        SLICER.vtkSlicerSegmentationsModuleLogic.SetBinaryLabelmapToSegment(image, node, identity)
    scene.RemoveNode(labels)
    return node


def compare(ui, full, regions=None) -> None:
    ui.fullDoseSelector.setCurrentNode(full)
    ui.regionsSelector.setCurrentNode(regions)
    assert ui.fullDoseButton.isEnabled()
    ui.fullDoseCollapsibleButton.collapsed = False
    click(ui.fullDoseButton)
    assert wait_until(lambda: "Comparing" not in ui.statusLabel.text)


def shown(ui) -> list[list[str]]:
    table = ui.fullDoseTable
    return [[table.item(row, column).text() for column in range(3)] for row in range(table.rowCount)]


def columns_of(table) -> dict[str, list]:
    """Name -> values of a table node."""
    found = table.GetTable()
    names = [found.GetColumnName(index) for index in range(found.GetNumberOfColumns())]
    return {
        name: [found.GetColumn(k).GetValue(row) for row in range(found.GetNumberOfRows())]
        for k, name in enumerate(names)
    }


def expected(result):
    """What the library finds for the same volumes."""
    images = []
    for node in result:
        image = sitk.GetImageFromArray(SLICER.util.arrayFromVolume(node))
        image.SetSpacing((2.0, 2.0, 2.0))
        images.append(ReadVolume(image, "unknown", (), Header("test", ())))
    labels = sitk.GetImageFromArray(octants())
    labels.SetSpacing((2.0, 2.0, 2.0))
    return compare_with_full_dose({"pet": images[0], "denoised": images[1]}, images[2], labels)


def test_a_users_story(ui, scene, result):
    _pet, denoised, full = result
    assert not ui.fullDoseButton.isEnabled() and ui.fullDoseTable.rowCount == 0
    compare(ui, full, add_labels(scene))
    assert ui.statusLabel.text == "Compared with the full dose."
    # the numbers of the library
    found = expected(result)
    rows = dict((row[0], row[1:]) for row in shown(ui))
    for name, image in zip(("pet", "denoised"), range(2)):
        assert float(rows["PSNR (dB)"][image]) == pytest.approx(found.scores[name].psnr, abs=0.006)
        assert float(rows["SSIM"][image]) == pytest.approx(found.scores[name].ssim, abs=6e-5)
        assert float(rows["NRMSE (%)"][image]) == pytest.approx(100 * found.scores[name].nrmse, abs=0.006)
        assert float(rows["Bias in the brain (%)"][image]) == pytest.approx(100 * found.scores[name].bias, abs=0.006)
    assert len(rows) == 6
    # regions beside the plot
    table = scene.GetSingletonNode("CSRDRegions", "vtkMRMLTableViewNode").GetTableNode()
    columns = columns_of(table)
    assert [name.split()[-1] for name in columns["region"]] == [f"({number})" for number in range(1, 9)]
    assert columns["full dose"] == pytest.approx([region.full for region in found.regions], rel=1e-4)
    assert columns["denoised"] == pytest.approx([region.images["denoised"] for region in found.regions], rel=1e-4)
    assert columns["PET error (%)"] == pytest.approx([100 * region.errors["pet"] for region in found.regions], rel=1e-2)
    assert table.GetLocked() and table.GetUseColumnTitleAsColumnHeader()
    assert "CSRDPet" in SLICER.app.layoutManager().sliceViewNames()
    # their agreement
    assert ui.plotComboBox.currentText == "Regions, full dose"
    chart = scene.GetSingletonNode("CSRDHistogram", "vtkMRMLPlotViewNode").GetPlotChartNode()
    points, line = chart.GetNthPlotSeriesNode(1), chart.GetNthPlotSeriesNode(2)
    values = columns_of(points.GetTableNode())
    assert values[points.GetYColumnName()] == pytest.approx(found.agreement["denoised"].differences, rel=1e-3, abs=0.1)
    assert values[line.GetYColumnName()] == pytest.approx([found.agreement["denoised"].bias] * 8, rel=1e-3, abs=0.1)
    assert (points.GetLineStyle(), points.GetMarkerStyle()) == (points.LineStyleNone, points.MarkerStyleCircle)
    assert chart.GetNumberOfPlotSeriesNodes() == 5
    # another plot, and back
    ui.plotComboBox.setCurrentIndex(0)
    assert scene.GetSingletonNode("CSRDHistogram", "vtkMRMLPlotViewNode").GetPlotChartNode() is not chart
    # the profile shows the full dose too
    click(ui.profileButton)
    profile = scene.GetSingletonNode("CSRDHistogram", "vtkMRMLPlotViewNode").GetPlotChartNode()
    assert [profile.GetNthPlotSeriesNode(k).GetName() for k in range(3)] == ["PET", "denoised", "full dose"]
    # kept with the result: another one shows nothing, back again shows it
    ui.denoisedSelector.setCurrentNode(None)
    assert ui.fullDoseTable.rowCount == 0 and not ui.fullDoseButton.isEnabled()
    ui.denoisedSelector.setCurrentNode(denoised)
    assert ui.fullDoseTable.rowCount == 6 and ui.fullDoseSelector.currentNode() is full
    # a result that was changed since has no comparison
    denoised.SetAttribute(
        "CSRDDenoise.Summary",
        json.dumps({**json.loads(denoised.GetAttribute("CSRDDenoise.Summary")), "mean_change": 0.5}),
    )
    ui.denoisedSelector.setCurrentNode(None)
    ui.denoisedSelector.setCurrentNode(denoised)
    assert ui.fullDoseTable.rowCount == 0
    assert table.GetScene() is None and chart.GetScene() is None


def test_segments_are_named_and_may_not_overlap(ui, scene, result):
    pet, _denoised, full = result
    blocks = octants()
    segments = add_segmentation(scene, pet, {"left": blocks > 4, "right": blocks <= 4})
    compare(ui, full, segments)
    table = scene.GetSingletonNode("CSRDRegions", "vtkMRMLTableViewNode").GetTableNode()
    assert columns_of(table)["region"] == ["left", "right"]
    inside = SLICER.util.arrayFromVolume(full)[blocks > 4]
    assert 0.3 * inside.mean() < columns_of(table)["full dose"][0] < 3 * inside.mean()
    # without regions the earlier table goes
    compare(ui, full)
    assert len(shown(ui)) == 5
    assert scene.GetSingletonNode("CSRDRegions", "vtkMRMLTableViewNode") is None or not [
        node for node in SLICER.util.getNodesByClass("vtkMRMLTableNode") if node.GetName() == table.GetName()
    ]
    both = add_segmentation(scene, pet, {"a": blocks > 4, "b": blocks > 2})
    ui.regionsSelector.setCurrentNode(both)
    click(ui.fullDoseButton)
    assert "'b' overlaps" in ui.statusLabel.text
    assert ui.fullDoseButton.isEnabled()


def test_segments_are_measured_where_a_moved_pet_lies(scene, result):
    pet, _denoised, _full = result
    segments = add_segmentation(scene, pet, {"left": octants() > 4})
    for node in (pet, segments):
        node.SetAndObserveTransformNodeID(add_transform(MOVED).GetID())
    from CSRDDenoiseModule.views.full_dose import labels_of

    labels = labels_of(segments, pet)
    np.testing.assert_allclose(matrix_of(labels.volume), MOVED @ matrix_of(pet), atol=1e-6)
    np.testing.assert_array_equal(SLICER.util.arrayFromVolume(labels.volume) > 0, octants() > 4)


def set_unit(code, *volumes) -> None:
    for node in volumes:
        unit = SLICER.vtkCodedEntry()
        unit.SetValueSchemeMeaning(code, "UCUM", code)
        node.SetVoxelValueUnits(unit)


def test_table_of_regions_names_the_unit(ui, scene, result):
    set_unit("Bq/ml", *result)
    compare(ui, result[2], add_labels(scene))
    titles = list(columns_of(scene.GetSingletonNode("CSRDRegions", "vtkMRMLTableViewNode").GetTableNode()))
    assert titles[2:5] == ["full dose (Bq/ml)", "PET (Bq/ml)", "denoised (Bq/ml)"]


def test_another_grid_is_reported_and_another_unit_refused(ui, scene, result):
    fine = np.repeat(np.repeat(np.repeat(SLICER.util.arrayFromVolume(result[2]), 2, 0), 2, 1), 2, 2)
    matrix = ijk_to_ras(spacing=(1.0, 1.0, 1.0), origin=(11.5, -7.5, 30.5))
    full = add_volume("Full, fine", fine, matrix)
    compare(ui, full)
    assert "52 x 56 x 48" in ui.fullDoseInfoLabel.text
    set_unit("Bq/ml", result[0])
    set_unit("{SUVbw}g/ml", full)
    before = shown(ui)
    compare(ui, full)
    assert "Bq/mL" in ui.statusLabel.text and "SUV" in ui.statusLabel.text
    assert shown(ui) == before


def test_a_result_that_is_deleted_meanwhile_is_not_compared(ui, scene, result):
    tables = len(SLICER.util.getNodesByClass("vtkMRMLTableNode"))
    ui.fullDoseSelector.setCurrentNode(result[2])
    ui.fullDoseCollapsibleButton.collapsed = False
    click(ui.fullDoseButton)
    scene.RemoveNode(result[1])
    assert wait_until(lambda: "removed" in ui.statusLabel.text)
    assert len(SLICER.util.getNodesByClass("vtkMRMLTableNode")) == tables


def test_result_of_another_frame_is_not_compared(ui, scene, result):
    from CSRDDenoiseModule.nodes import content_of

    pet, denoised, full = result
    denoised.SetAttribute("CSRDDenoise.Content", content_of(pet))
    # the volume of a sequence shows another frame by now
    SLICER.util.updateVolumeFromArray(pet, 2 * SLICER.util.arrayFromVolume(pet))
    ui.fullDoseSelector.setCurrentNode(full)
    ui.fullDoseCollapsibleButton.collapsed = False
    click(ui.fullDoseButton)
    assert "another frame" in ui.statusLabel.text


def test_a_pet_that_was_moved_alone_is_not_compared(ui, scene, result):
    moved = add_transform(ijk_to_ras(None, (1.0, 1.0, 1.0), (0.0, 0.0, -3.0)))
    result[0].SetAndObserveTransformNodeID(moved.GetID())
    ui.fullDoseSelector.setCurrentNode(result[2])
    ui.fullDoseCollapsibleButton.collapsed = False
    click(ui.fullDoseButton)
    assert "3 mm apart" in ui.statusLabel.text


def plotted(scene) -> str:
    """The role of the chart below the comparison."""
    chart = scene.GetSingletonNode("CSRDHistogram", "vtkMRMLPlotViewNode").GetPlotChartNode()
    return chart.GetAttribute("CSRDDenoise.Helper")


def test_a_comparison_without_regions_leaves_the_plot(ui, scene, result):
    click(ui.compareButton)
    compare(ui, result[2])
    assert plotted(scene) == ui.plotComboBox.itemData(ui.plotComboBox.currentIndex) == "histogram"
    click(ui.profileButton)
    compare(ui, result[2])
    assert plotted(scene) == ui.plotComboBox.itemData(ui.plotComboBox.currentIndex) == "profile"
    # the profile of another result, along a line that is gone, is none of this one
    scene.RemoveNode(ui.profileSelector.currentNode())
    click(ui.compareButton)
    assert plotted(scene) == "histogram"


def test_a_result_chosen_during_the_comparison_of_another_gets_no_regions_of_it(ui, scene, result):
    other = add_result(result[0], 0.5 * SLICER.util.arrayFromVolume(result[0]), "other")[0]
    click(ui.compareButton)
    ui.regionsSelector.setCurrentNode(add_labels(scene))
    ui.fullDoseSelector.setCurrentNode(result[2])
    ui.fullDoseCollapsibleButton.collapsed = False
    click(ui.fullDoseButton)
    ui.denoisedSelector.setCurrentNode(other)
    assert wait_until(lambda: "Compared" in ui.statusLabel.text)
    assert plotted(scene) == "histogram" and background("CSRDDenoised") == result[1].GetID()
    ui.denoisedSelector.setCurrentNode(result[1])
    click(ui.compareButton)
    assert ui.fullDoseTable.rowCount and plotted(scene) == "histogram"


def test_what_is_deleted_is_chosen_no_more(ui, scene, result):
    add_volume("Another", head_array(SHAPE))
    ui.fullDoseSelector.setCurrentNode(result[2])
    ui.regionsSelector.setCurrentNode(add_labels(scene))
    add_labels(scene)
    scene.RemoveNode(result[2])
    scene.RemoveNode(ui.regionsSelector.currentNode())
    assert ui.fullDoseSelector.currentNode() is None and ui.regionsSelector.currentNode() is None
    assert not ui.fullDoseButton.isEnabled()
    # the PET or the result itself is no full dose
    ui.fullDoseSelector.setCurrentNode(result[1])
    ui.fullDoseCollapsibleButton.collapsed = False
    click(ui.fullDoseButton)
    assert "choose the full dose" in ui.statusLabel.text


def test_another_pet_or_the_table_during_a_comparison(ui, scene, result, small_model):
    """The PET chosen meanwhile gets results of its own, and the table waits instead of failing row by row."""
    _pet, denoised, full = result
    before, other = SLICER.util.arrayFromVolume(denoised).copy(), add_head("PET other", seed=5)
    pick(ui.presetComboBox, "fast")
    ui.modelComboBox.addItem("tiny", small_model)
    pick(ui.modelComboBox, small_model)
    ui.fullDoseSelector.setCurrentNode(full)
    ui.batchCollapsibleButton.collapsed = ui.fullDoseCollapsibleButton.collapsed = False
    click(ui.addPairButton)
    click(ui.fullDoseButton)
    click(ui.runPairsButton)
    assert ui.pairsTable.item(0, 3).text() == "waiting"
    ui.petSelector.setCurrentNode(other)
    assert wait_until(lambda: "Compared" in ui.statusLabel.text)
    run_to_end(ui)
    made = ui.denoisedSelector.currentNode()
    assert made is not denoised and made.GetNodeReference("CSRDDenoise.PET") is other
    np.testing.assert_array_equal(SLICER.util.arrayFromVolume(denoised), before)


def test_each_result_keeps_its_own_regions(ui, scene, result):
    pet, first, full = result
    second = add_result(pet, 0.5 * SLICER.util.arrayFromVolume(pet), "second")[0]
    compare(ui, full, add_labels(scene))
    before = columns_of(plots.find_helper("vtkMRMLTableNode", "regions", first))
    ui.denoisedSelector.setCurrentNode(second)
    compare(ui, full, ui.regionsSelector.currentNode())
    tables = [plots.find_helper("vtkMRMLTableNode", "regions", each) for each in (first, second)]
    assert columns_of(tables[0]) == before != columns_of(tables[1])
    assert [table.GetName() for table in tables] == [
        f"Regions against the full dose: {each.GetName()}" for each in (first, second)
    ]
    # each is shown with its own result, and goes with its own alone
    for each, table in zip((first, second), tables):
        ui.denoisedSelector.setCurrentNode(each)
        click(ui.compareButton)
        pick(ui.plotComboBox, "agreement")
        assert scene.GetSingletonNode("CSRDRegions", "vtkMRMLTableViewNode").GetTableNodeID() == table.GetID()
        chart = scene.GetSingletonNode("CSRDHistogram", "vtkMRMLPlotViewNode").GetPlotChartNode()
        assert chart is plots.drawn("agreement", each)
    compare(ui, full)
    assert plots.find_helper("vtkMRMLTableNode", "regions", second) is None
    assert not [node for node in SLICER.util.getNodesByClass("vtkMRMLPlotSeriesNode") if part_of(node, second)]
    assert columns_of(plots.find_helper("vtkMRMLTableNode", "regions", first)) == before
