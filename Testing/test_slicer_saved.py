"""Scenes that are saved and opened again, and what changes in a scene while a run or a comparison is under way."""

from __future__ import annotations

import numpy as np
import pytest
from slicer_helpers import (
    SLICER,
    add_head,
    add_result,
    click,
    identities,
    layout_manager,
    raises_named,
    wait_until,
)

pytest_plugins = ["slicer_fixtures"]

from CSRDDenoiseModule import nodes, volumes  # noqa: E402 (needs the stand-in)
from CSRDDenoiseModule.views import comparison  # noqa: E402

pytestmark = pytest.mark.slow


def reopen(scene, folder) -> None:
    """Save the scene with its volumes, close it and open it again."""
    scene.SetURL(str(folder / "scene.mrml"))
    assert scene.Commit()
    scene.Clear(0)
    scene.SetURL(str(folder / "scene.mrml"))
    assert scene.Import()


@pytest.mark.parametrize("name", ["FDG PET & MR", "PET \"1/10\" <b>'%s' {0} \U0001f600 100 %"])
def test_a_scene_with_a_result_opens_again_whatever_the_pet_is_called(logic, scene, small_model, tmp_path, name):
    logic.denoise(add_head(name, (12, 14, 13)), None, model=small_model, sampler="mean", device="cpu")
    reopen(scene, tmp_path)
    denoised = scene.GetFirstNodeByName(f"{name} denoised")
    assert denoised.GetNodeReference(volumes.PET_REFERENCE).GetName() == name
    # the estimate is hidden, and is saved with the scene alone
    assert SLICER.util.arrayFromVolume(nodes.estimate_of(denoised)).shape == (12, 14, 13)


def test_the_layout_is_observed_while_the_comparison_is_shown_and_not_after_it(ui, scene, pair, monkeypatch):
    heard, on_layout = [], comparison._on_layout
    monkeypatch.setattr(comparison, "_on_layout", lambda node, *_: (heard.append(node), on_layout(node)))
    denoised = add_result(pair[0], SLICER.util.arrayFromVolume(pair[0]))[0]
    ui.petSelector.setCurrentNode(pair[0])
    manager = layout_manager()
    for _time in range(2):
        ui.denoisedSelector.setCurrentNode(denoised)
        click(ui.compareButton)
    shown = len(heard)
    assert shown and not manager.layoutLogic().GetLayoutNode().GetSaveWithScene()
    scene.Clear(0)
    assert len(heard) > shown and manager.layoutLogic().GetLayoutNode().GetSaveWithScene()
    heard.clear()
    manager.setLayout(SLICER.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView)
    assert not heard


def test_a_pet_that_is_warped_otherwise_during_its_run_gets_no_result(logic, scene, small_model):
    import vtk

    pet, move = add_head("PET"), scene.AddNewNodeByClass("vtkMRMLTransformNode", "Warp")

    def warp(bend: float) -> None:
        """Move the middle alone: the grid stays as it is."""
        made = vtk.vtkThinPlateSplineTransform()
        for setter, shift in ((made.SetSourceLandmarks, 0.0), (made.SetTargetLandmarks, bend)):
            points = vtk.vtkPoints()
            for place in (*(np.array(list(np.ndindex(2, 2, 2))) * 60 - 5.0), (35.0 + shift, 20.0, 50.0)):
                points.InsertNextPoint(*place)
            setter(points)
        move.SetAndObserveTransformToParent(made)

    warp(2.0)
    pet.SetAndObserveTransformNodeID(move.GetID())
    size = nodes.hardened_copy(pet).GetImageData().GetDimensions()
    before = identities(scene)
    job = logic.start(pet, None, model=small_model, sampler="mean", device="cpu")
    assert wait_until(lambda: job._sent)
    warp(1.5)
    assert nodes.hardened_copy(pet).GetImageData().GetDimensions() == size
    with raises_named("InputError", "warped"):
        job.wait()
    assert identities(scene) == before
    assert logic.denoise(pet, None, model=small_model, sampler="mean", device="cpu").denoisedVolume
