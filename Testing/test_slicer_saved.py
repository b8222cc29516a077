"""Scenes with results that are saved, closed and opened again."""

from __future__ import annotations

import pytest
from slicer_helpers import SLICER, add_head, add_result, click, layout_manager

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
