"""The tools of the comparison, by clicks, with the pixels that Slicer's own slice logic makes."""

from __future__ import annotations

import re

import numpy as np
import pytest
from conftest import head_array
from PySide6 import QtWidgets
from slicer_helpers import (
    SLICER,
    add_head,
    add_result,
    add_transform,
    add_volume,
    background,
    click,
    ijk_to_ras,
    layout_manager,
    oblique,
    pixels,
    tick,
    wait_until,
)

pytest_plugins = ["slicer_fixtures"]
pytestmark = pytest.mark.usefixtures("without_worker")

PET, DENOISED = "CSRDPet", "CSRDDenoised"
GREY_OF_PET, GREY_OF_DENOISED = 51, 204


@pytest.fixture
def result(ui, scene):
    """A PET of 1 everywhere and a result of 4 everywhere, shown over 0 to 5, in the comparison."""
    pet = add_volume("PET", np.full((16, 20, 24), 1, np.float32))
    display = pet.GetDisplayNode()
    display.SetAutoWindowLevel(False)
    display.SetWindowLevelMinMax(0, 5)
    made = add_result(pet, np.full((16, 20, 24), 4, np.float32))
    compare(ui, pet, made)
    return pet, *made


def compare(ui, pet, made):
    ui.petSelector.setCurrentNode(pet)
    ui.denoisedSelector.setCurrentNode(made[0])
    ui.differenceSelector.setCurrentNode(made[1])
    click(ui.compareButton)


def shares(view):
    """Return the shares of the view's drawn pixels that show the PET and the denoised volume, and the mean columns."""
    grey = pixels(view)[..., 0]
    drawn = (grey == GREY_OF_PET) | (grey == GREY_OF_DENOISED)
    columns = [np.nonzero(grey == value)[1] for value in (GREY_OF_PET, GREY_OF_DENOISED)]
    middles = [float(each.mean()) if each.size else None for each in columns]
    return float((grey == GREY_OF_PET).sum() / drawn.sum()), middles


def chart_in_view(scene):
    return scene.GetSingletonNode("CSRDHistogram", "vtkMRMLPlotViewNode").GetPlotChartNode()


def column(table, name):
    values = table.GetTable().GetColumnByName(name)
    return np.array([values.GetValue(row) for row in range(values.GetNumberOfValues())])


def test_wipe_shows_the_denoised_volume_left_of_a_split_and_the_pet_right_of_it(ui, scene, result):
    assert shares(PET) == (1.0, [pytest.approx(200, abs=1), None])
    tick(ui.wipeCheckBox)
    ui.fadeSlider.value = 0.25
    left_of_pet, (pet_column, denoised_column) = shares(PET)
    assert left_of_pet == pytest.approx(0.75, abs=0.02)
    assert denoised_column < pet_column
    ui.fadeSlider.value = 1.0
    assert shares(PET)[0] == 0
    # the part is no volume for the user: it is in no list, not saved, and goes with the wipe
    part = scene.GetFirstNodeByName("CSRDDenoise wipe")
    assert part.GetHideFromEditors() and not part.GetSaveWithScene()
    hierarchy = SLICER.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    assert not hierarchy.GetItemByDataNode(part)
    tick(ui.wipeCheckBox)
    assert scene.GetFirstNodeByName("CSRDDenoise wipe") is None
    assert shares(PET)[0] == 0
    ui.fadeSlider.value = 0.0
    assert shares(PET)[0] == 1


def test_wipe_goes_with_the_result_that_it_shows(ui, scene, result):
    tick(ui.wipeCheckBox)
    ui.fadeSlider.value = 1.0
    scene.RemoveNode(result[1])
    assert wait_until(lambda: scene.GetFirstNodeByName("CSRDDenoise wipe") is None, 5)
    assert shares(PET)[0] == 1


def test_projections_end_with_a_layout_that_the_user_left(ui, result):
    tick(ui.projectionCheckBox)
    layout_manager().setLayout(SLICER.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    click(ui.compareButton)
    node = layout_manager().sliceWidget(PET).sliceLogic().GetSliceNode()
    assert not ui.projectionCheckBox.checked
    assert (node.GetOrientation(), node.GetSlabReconstructionEnabled()) == ("Axial", False)
    tick(ui.projectionCheckBox)
    assert (node.GetOrientation(), node.GetSlabReconstructionEnabled()) == ("Coronal", True)


@pytest.mark.parametrize("orientation", ["Axial", "Sagittal", "Coronal"])
@pytest.mark.parametrize("flipped", [False, True])
def test_wipe_runs_across_any_view_of_any_volume(ui, scene, orientation, flipped):
    directions = np.diag([-1, -1, 1]) if flipped else oblique(10)
    pet = add_volume("PET", np.full((18, 20, 24), 1, np.float32), ijk_to_ras(directions, (2.0, 1.5, 3.0)))
    pet.GetDisplayNode().SetAutoWindowLevel(False)
    pet.GetDisplayNode().SetWindowLevelMinMax(0, 5)
    compare(ui, pet, add_result(pet, np.full((18, 20, 24), 4, np.float32)))
    logic = SLICER.app.layoutManager().sliceWidget(PET).sliceLogic()
    logic.GetSliceNode().SetOrientation(orientation)
    logic.FitSliceToAll()
    tick(ui.wipeCheckBox)
    ui.fadeSlider.value = 0.5
    of_pet, (pet_column, denoised_column) = shares(PET)
    assert of_pet == pytest.approx(0.5, abs=0.06)
    assert denoised_column < pet_column


def test_fade_and_toggle(ui, result):
    ui.fadeSlider.value = 0.5
    middle = round((GREY_OF_PET + GREY_OF_DENOISED) / 2)
    assert np.isin(pixels(PET)[..., 0], (0, middle - 1, middle, middle + 1)).all()
    click(ui.toggleButton)
    assert shares(PET)[0] == 0 or ui.fadeSlider.value == 1.0
    click(ui.toggleButton)
    assert ui.fadeSlider.value == 0.0 and shares(PET)[0] == 1


def test_projections_show_the_maximum_of_the_whole_volume(ui, scene):
    pet_array, denoised_array = (np.ones((16, 20, 24), np.float32) for _ in range(2))
    pet_array[3, 2, 5] = 5
    denoised_array[12, 17, 18] = 4
    pet = add_volume("PET", pet_array)
    pet.GetDisplayNode().SetInterpolate(False)
    pet.GetDisplayNode().SetAutoWindowLevel(False)
    pet.GetDisplayNode().SetWindowLevelMinMax(0, 5)
    compare(ui, pet, add_result(pet, denoised_array))
    for view in (PET, DENOISED):
        assert pixels(view)[..., 0].max() == 51
    tick(ui.projectionCheckBox)
    assert pixels(PET)[..., 0].max() == 255
    assert pixels(DENOISED)[..., 0].max() == 204
    nodes = [SLICER.app.layoutManager().sliceWidget(view).sliceLogic().GetSliceNode() for view in (PET, DENOISED)]
    assert [node.GetOrientation() for node in nodes] == ["Coronal", "Coronal"]
    # wherever the slice stands
    for node in nodes:
        node.SetSliceOffset(node.GetSliceOffset() + 15)
    assert pixels(PET)[..., 0].max() == 255 and pixels(DENOISED)[..., 0].max() == 204
    tick(ui.projectionCheckBox)
    assert [node.GetOrientation() for node in nodes] == ["Axial", "Axial"]
    assert not any(node.GetSlabReconstructionEnabled() for node in nodes)
    assert pixels(PET)[..., 0].max() == 51
    # a scene that was saved with projections: the comparison shows slices
    nodes[0].SetSlabReconstructionEnabled(True)
    click(ui.compareButton)
    assert not nodes[0].GetSlabReconstructionEnabled()


def test_crosshair_is_on_while_the_comparison_is_and_goes_back(ui, scene, result, tmp_path):
    crosshair = scene.GetNthNodeByClass(0, "vtkMRMLCrosshairNode")
    assert crosshair.GetCrosshairMode() == crosshair.ShowBasic
    assert saved(scene, tmp_path, "crosshairMode") == []
    tick(ui.crosshairCheckBox)
    assert crosshair.GetCrosshairMode() == crosshair.NoCrosshair
    assert saved(scene, tmp_path, "crosshairMode") == ["NoCrosshair"]
    tick(ui.crosshairCheckBox)
    assert crosshair.GetCrosshairMode() == crosshair.ShowBasic
    scene.Clear(0)
    assert crosshair.GetCrosshairMode() == crosshair.NoCrosshair


def test_profile_follows_a_line_before_and_after(ui, scene):
    ramp = np.broadcast_to(np.arange(24, dtype=np.float32), (16, 20, 24)).copy()
    pet = add_volume("PET", ramp)
    compare(ui, pet, add_result(pet, 2 * ramp))
    click(ui.profileButton)
    line = ui.profileSelector.currentNode()
    assert line.IsA("vtkMRMLMarkupsLineNode") and line.GetNumberOfControlPoints() == 2
    assert ui.plotComboBox.currentText == "Profile"
    # drag its ends to voxels 2 and 20 of a row; each voxel is 2 mm wide
    matrix = ijk_to_ras()
    ends = np.array([(matrix @ [i, 7, 8, 1])[:3] for i in (2, 20)])
    SLICER.util.updateMarkupsControlPointsFromArray(line, ends, world=True)
    chart = chart_in_view(scene)
    assert chart.GetTitle() == f"PET and denoised along {line.GetName()}"
    table = chart.GetNthPlotSeriesNode(0).GetTableNode()
    assert wait_until(lambda: abs(column(table, "PET")[-1] - 20) < 1e-3, 10)
    assert column(table, "PET") == pytest.approx(np.linspace(2, 20, 400), abs=1e-3)
    assert column(table, "denoised") == pytest.approx(2 * np.linspace(2, 20, 400), abs=1e-3)
    assert column(table, "distance")[-1] == pytest.approx(36, abs=1e-3)
    assert [chart.GetNthPlotSeriesNode(k).GetName() for k in range(2)] == ["PET", "denoised"]
    # a line that goes is followed no more
    scene.RemoveNode(line)
    assert ui.profileSelector.currentNode() is None


def test_profile_lies_where_the_volume_is_moved_to(ui, scene):
    ramp = np.broadcast_to(np.arange(24, dtype=np.float32), (16, 20, 24)).copy()
    pet = add_volume("PET", ramp)
    made = add_result(pet, ramp)
    move = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Move")
    shift = np.eye(4)
    shift[0, 3] = 100.0
    move.SetMatrixTransformToParent(SLICER.util.vtkMatrixFromArray(shift))
    for node in (pet, *made):
        node.SetAndObserveTransformNodeID(move.GetID())
    compare(ui, pet, made)
    click(ui.profileButton)
    matrix = shift @ ijk_to_ras()
    ends = np.array([(matrix @ [i, 7, 8, 1])[:3] for i in (0, 23)])
    SLICER.util.updateMarkupsControlPointsFromArray(ui.profileSelector.currentNode(), ends, world=True)
    table = chart_in_view(scene).GetNthPlotSeriesNode(0).GetTableNode()
    assert wait_until(lambda: abs(column(table, "PET")[-1] - 23) < 1e-3, 10)


def test_histogram_has_axes_that_can_be_read(ui, scene):
    pet = add_head()
    unit = SLICER.vtkCodedEntry()
    unit.SetValueSchemeMeaning("Bq/ml", "UCUM", "Becquerels/milliliter")
    pet.SetVoxelValueUnits(unit)
    made = add_result(pet, head_array(seed=7))
    for node in made:
        node.SetVoxelValueUnits(pet.GetVoxelValueUnits())
    compare(ui, pet, made)
    chart = chart_in_view(scene)
    assert (chart.GetXAxisTitle(), chart.GetYAxisTitle()) == ("difference (Bq/ml)", "voxels")
    assert 10 <= chart.GetAxisLabelFontSize() <= chart.GetAxisTitleFontSize() <= chart.GetTitleFontSize() < 20
    # Slicer draws charts on 255, 253, 246 in its light and in its dark theme: 3:1 is what WCAG asks of graphics
    for index in range(chart.GetNumberOfPlotSeriesNodes()):
        assert contrast(chart.GetNthPlotSeriesNode(index).GetColor(), (1.0, 0.992, 0.965)) > 3


def contrast(one, other):
    """Contrast ratio of two colours (WCAG 2.1)."""

    def luminance(colour):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_volumes_whose_files_are_missing_are_left_out_or_named(ui, scene, result):
    pet, denoised, difference = result
    full = add_volume("Full", SLICER.util.arrayFromVolume(pet).copy())
    denoised.SetNodeReferenceID("CSRDDenoise.FullDose", full.GetID())
    click(ui.profileButton)
    assert chart_in_view(scene).GetNumberOfPlotSeriesNodes() == 3
    for node in (difference, full):
        node.SetAndObserveImageData(None)
    click(ui.compareButton)
    assert background(DENOISED) == denoised.GetID() and "CSRDDifference" not in layout_manager().sliceViewNames()
    assert chart_in_view(scene).GetNumberOfPlotSeriesNodes() == 2
    pet.SetAndObserveImageData(None)
    click(ui.compareButton)
    assert "'PET' holds no image" in ui.statusLabel.text


def test_comparison_of_volumes_whose_displays_were_removed(ui, logic_of, scene):
    pet = add_volume("PET", np.full((16, 20, 24), 1, np.float32))
    denoised, difference = made = add_result(pet, np.full((16, 20, 24), 4, np.float32))
    support = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "support")
    SLICER.util.updateVolumeFromArray(support, np.ones((16, 20, 24), np.uint8))
    support.SetNodeReferenceID("CSRDDenoise.Denoised", denoised.GetID())
    # a legend is a display node too, and the only one then
    SLICER.modules.colors.logic().AddDefaultColorLegendDisplayNode(difference)
    for node in (pet, denoised, difference):
        scene.RemoveNode(node.GetDisplayNode())
    logic_of.getParameterNode().support = support
    compare(ui, pet, made)
    assert (background(PET), background(DENOISED)) == (pet.GetID(), denoised.GetID())
    assert denoised.GetDisplayNode().GetWindow() == pet.GetDisplayNode().GetWindow()
    assert difference.GetDisplayNode().GetColorNode().GetName() == "DivergingBlueRed"
    assert layout_manager().sliceWidget("CSRDDifference").legends() == {difference.GetID()}
    assert support.GetDisplayNode().GetColorNode().GetNumberOfColors() == 3


def test_closing_the_scene_takes_the_tools_along(ui, scene, result):
    tick(ui.wipeCheckBox)
    ui.fadeSlider.value = 0.5
    click(ui.profileButton)
    tick(ui.projectionCheckBox)
    scene.Clear(0)
    assert ui.profileSelector.currentNode() is None
    assert not ui.projectionCheckBox.checked
    assert not ui.wipeCheckBox.isEnabled()
    assert PET not in SLICER.app.layoutManager().sliceViewNames()


def test_a_comparison_that_an_earlier_panel_laid_out_is_left_too(ui, scene, result):
    from CSRDDenoiseModule.views.comparison import Comparison

    assert PET in SLICER.app.layoutManager().sliceViewNames()
    Comparison().leave()
    assert PET not in SLICER.app.layoutManager().sliceViewNames()


def test_a_comparison_without_its_pet_is_refused_with_a_sentence(ui, scene, result):
    ui.statusLabel.text = ""
    scene.RemoveNode(result[0])
    click(ui.compareButton)
    assert "'PET low dose denoised' is gone" in ui.statusLabel.text


@pytest.mark.parametrize("moved", ["transform", "hardened", "both", "by rounding"])
def test_a_comparison_of_a_pet_that_was_moved_alone_is_reported(ui, scene, result, moved):
    pet, denoised, _difference = result
    move = add_transform(ijk_to_ras(None, (1.0, 1.0, 1.0), (4.0, 0.0, 0.0)))
    if moved == "hardened":
        pet.SetOrigin(*np.add(pet.GetOrigin(), (4.0, 0.0, 0.0)))
    elif moved == "by rounding":
        pet.SetOrigin(*np.add(pet.GetOrigin(), (4e-5, 0.0, 0.0)))
    else:
        for node in (pet, denoised)[: 1 + (moved == "both")]:
            node.SetAndObserveTransformNodeID(move.GetID())
    ui.statusLabel.text = ""
    click(ui.compareButton)
    assert ("4 mm apart" in ui.statusLabel.text) == (moved in ("transform", "hardened"))
    assert PET in SLICER.app.layoutManager().sliceViewNames()


@pytest.mark.parametrize(("width", "difference"), [(900, True), (1900, True), (1900, False)])
def test_a_scene_that_an_earlier_version_saved_in_the_comparison_has_its_views_in_a_new_session(
    ui, scene, result, tmp_path, monkeypatch, width, difference
):
    manager = layout_manager()
    monkeypatch.setattr(manager, "_viewport", QtWidgets.QWidget())
    manager._viewport.resize(width, 600)
    if not difference:
        scene.RemoveNode(result[2])
    click(ui.compareButton)
    views = manager.sliceViewNames()
    assert len(views) == 2 + difference
    node = manager.layoutLogic().GetLayoutNode()
    node.DisableModifiedEventOn()
    node.SetSaveWithScene(True)
    node.DisableModifiedEventOff()
    assert saved(scene, tmp_path) == [str(manager.layout)]
    later = new_session(monkeypatch)
    SLICER.app.complete_startup()
    later.SetURL(str(tmp_path / "scene.mrml"))
    assert later.Import()
    assert layout_manager().layout == manager.layout
    assert layout_manager().sliceViewNames() == views


def test_a_scene_saved_in_the_comparison_names_no_layout_that_others_do_not_know(ui, scene, result, tmp_path):
    manager = layout_manager()
    assert PET in manager.sliceViewNames() and saved(scene, tmp_path) == []
    manager.setLayout(SLICER.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView)
    assert saved(scene, tmp_path) == [str(manager.layout)]
    click(ui.compareButton)
    assert PET in manager.sliceViewNames() and saved(scene, tmp_path) == []
    scene.Clear(0)
    assert PET not in manager.sliceViewNames() and saved(scene, tmp_path) == [str(manager.layout)]


def test_projections_end_with_the_scene_that_was_saved_with_them(ui, scene, result, tmp_path):
    tick(ui.projectionCheckBox)
    assert scene.Commit(str(tmp_path / "scene.mrml"))
    scene.SetURL(str(tmp_path / "scene.mrml"))
    assert scene.Connect()
    for node in SLICER.util.getNodesByClass("vtkMRMLScalarVolumeNode"):
        SLICER.util.updateVolumeFromArray(node, np.ones((16, 20, 24), np.float32))
    click(ui.compareButton)
    node = layout_manager().sliceWidget(PET).sliceLogic().GetSliceNode()
    assert not ui.projectionCheckBox.checked
    assert (node.GetOrientation(), node.GetSlabReconstructionEnabled()) == ("Axial", False)


def saved(scene, folder, what="currentViewArrangement"):
    """Return the layouts, or what else, that the file of a saved scene names."""
    assert scene.Commit(str(folder / "scene.mrml"))
    return re.findall(rf'{what}="(\w+)"', (folder / "scene.mrml").read_text(encoding="utf-8"))


def new_session(monkeypatch):
    """A scene and a layout manager as Slicer makes them at its start; return the scene."""
    from slicer_standin import application

    fresh = application.make_scene()
    monkeypatch.setitem(SLICER.app.__dict__, "_layout_manager", application.LayoutManager(fresh))
    return fresh
