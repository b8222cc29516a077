"""Scenes with results that are saved, closed and opened again."""

from __future__ import annotations

import pytest
from slicer_helpers import SLICER, add_head

pytest_plugins = ["slicer_fixtures"]

from CSRDDenoiseModule import nodes, volumes  # noqa: E402 (needs the stand-in)

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
