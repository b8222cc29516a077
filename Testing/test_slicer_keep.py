"""The slider "Keep measured above", by clicks: live after a run, without the model, recorded and kept in the scene."""

from __future__ import annotations

import json

import numpy as np
import pytest
from slicer_helpers import SLICER, add_head, choose, run_to_end, wait_until

pytest_plugins = ["slicer_fixtures"]

from CSRDDenoiseModule.volumes import ESTIMATE_REFERENCE  # noqa: E402 (needs the stand-in)

pytestmark = pytest.mark.slow


def kept(node, name):
    return json.loads(node.GetAttribute(f"CSRDDenoise.{name}"))


def width_of(node) -> float:
    return next(each["values"]["above_mm"] for each in kept(node, "Findings") if each["code"] == "keep.coarse")


def move(ui, logic_of, value: float) -> None:
    """Move the slider and wait until the result has followed."""
    before = ui.denoisedSelector.currentNode().GetAttribute("CSRDDenoise.Findings")
    ui.keepSlider.value = value
    assert wait_until(
        lambda: not logic_of.busy and ui.denoisedSelector.currentNode().GetAttribute("CSRDDenoise.Findings") != before
    )


def test_slider_recomputes_result_difference_and_numbers(ui, logic_of, scene, pair, small_model):
    assert not ui.keepSlider.isEnabled()
    choose(ui, logic_of, pair, small_model)
    run_to_end(ui)
    denoised, difference = ui.denoisedSelector.currentNode(), ui.differenceSelector.currentNode()
    pet = SLICER.util.arrayFromVolume(pair[0])
    assert ui.keepSlider.isEnabled()
    assert ui.keepSlider.value == pytest.approx(width_of(denoised), abs=0.051)
    estimate = denoised.GetNodeReference(ESTIMATE_REFERENCE)
    assert estimate.GetHideFromEditors()
    changes = {}
    for width in (4.0, 20.0):
        move(ui, logic_of, width)
        values, change = (SLICER.util.arrayFromVolume(node).copy() for node in (denoised, difference))
        np.testing.assert_allclose(values, pet + change, rtol=1e-4, atol=0.5)
        changes[width] = np.abs(change).mean()
        assert kept(denoised, "Provenance")["settings"]["keep_above_mm"] == width
        assert kept(denoised, "Summary")["max_change"] == pytest.approx(np.abs(change).max(), rel=1e-4)
        assert f"{kept(denoised, 'Summary')['max_change']:.5g}" in ui.resultsTable.item(1, 1).text()
    # the wider, the more is left to the model
    assert 0 < changes[4.0] < changes[20.0]


def test_same_width_as_the_run_gives_the_same_result(ui, logic_of, scene, pair, small_model):
    choose(ui, logic_of, pair, small_model)
    logic_of.getParameterNode().settings.seed = 3
    result = logic_of.denoise(*pair, model=small_model, preset="fast", device="cpu", keep_above_mm=6.0)
    before = SLICER.util.arrayFromVolume(result.denoisedVolume).copy()
    logic_of.startKeep(result.denoisedVolume, 30.0).wait()
    assert np.abs(SLICER.util.arrayFromVolume(result.denoisedVolume) - before).max() > 0
    logic_of.startKeep(result.denoisedVolume, 6.0).wait()
    again = SLICER.util.arrayFromVolume(result.denoisedVolume)
    # the Gaussian of a run is on the model's grid, here it is on the PET's
    assert np.abs(again - before).max() < 0.05 * np.abs(before).max()


def test_zero_gives_the_pet_back(logic, scene, small_model):
    pet = add_head("PET")
    result = logic.denoise(pet, None, model=small_model, preset="fast", device="cpu")
    logic.startKeep(result.denoisedVolume, 0.0, result.differenceVolume).wait()
    np.testing.assert_array_equal(SLICER.util.arrayFromVolume(result.denoisedVolume), SLICER.util.arrayFromVolume(pet))
    assert not SLICER.util.arrayFromVolume(result.differenceVolume).any()


def test_result_without_its_estimate_is_refused(logic, scene, small_model):
    result = logic.denoise(add_head("PET"), None, model=small_model, preset="fast", device="cpu")
    scene.RemoveNode(result.denoisedVolume.GetNodeReference(ESTIMATE_REFERENCE))
    # by name: a test of reloading in the same process makes the class anew
    with pytest.raises(Exception, match="denoise the PET again") as refused:
        logic.startKeep(result.denoisedVolume, 5.0)
    assert type(refused.value).__name__ == "InputError"
