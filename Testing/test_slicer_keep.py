"""The slider "Keep measured above", by clicks: live after a run, without the model, recorded and kept in the scene."""

from __future__ import annotations

import json
import os
import signal

import numpy as np
import pytest
from slicer_helpers import (
    SLICER,
    add_example,
    add_head,
    add_transform,
    choose,
    ijk_to_ras,
    raises_named,
    run_to_end,
    wait_until,
)
from tiny_model import save_tiny_model

pytest_plugins = ["slicer_fixtures"]

from CSRDDenoiseModule.nodes import Outputs  # noqa: E402 (needs the stand-in)
from CSRDDenoiseModule.volumes import ESTIMATE_REFERENCE, part_of  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_worker")]
CONTRAST = "contrast_kept_percent"


def stored(node, name):
    return json.loads(node.GetAttribute(f"CSRDDenoise.{name}"))


def width_of(node) -> float:
    return next(each["values"]["above_mm"] for each in stored(node, "Findings") if each["code"] == "keep.coarse")


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
        assert stored(denoised, "Provenance")["settings"]["keep_above_mm"] == width
        assert stored(denoised, "Summary")["max_change"] == pytest.approx(np.abs(change).max(), rel=1e-4)
        assert f"{stored(denoised, 'Summary')['max_change']:.5g}" in ui.resultsTable.item(1, 1).text()
    # the wider, the more is left to the model
    assert 0 < changes[4.0] < changes[20.0]


def test_maps_findings_report_and_contrast_follow_once_the_slider_rests(ui, logic_of, scene, coarse_model):
    pair = add_example("low_dose_1_10"), None
    choose(ui, logic_of, pair, coarse_model, steps=2, samples=2)
    logic_of.getParameterNode().makeSupport = True
    run_to_end(ui)
    denoised, uncertainty = ui.denoisedSelector.currentNode(), ui.uncertaintySelector.currentNode()
    before = SLICER.util.arrayFromVolume(uncertainty).copy()
    assert stored(denoised, "Summary")[CONTRAST] is not None
    assert any(
        ui.resultsTable.item(row, 0).text().startswith("Contrast kept") for row in range(ui.resultsTable.rowCount)
    )
    move(ui, logic_of, 25.0)
    # at once: the numbers beside the noise wait for the rest
    assert wait_until(lambda: stored(denoised, "Summary")[CONTRAST] is not None)
    wanted = logic_of.denoise(*pair, model=coarse_model, steps=2, samples=2, seed=0, device="cpu", keep_above_mm=25.0)
    top = SLICER.util.arrayFromVolume(pair[0]).max()
    for one, other in ((denoised, wanted.denoisedVolume), (uncertainty, wanted.uncertaintyVolume)):
        np.testing.assert_allclose(
            SLICER.util.arrayFromVolume(one), SLICER.util.arrayFromVolume(other), atol=1e-3 * top
        )
    assert np.abs(SLICER.util.arrayFromVolume(uncertainty) - before).max() > 0
    codes = {each["code"] for each in stored(denoised, "Findings")}
    assert codes == {each["code"] for each in stored(wanted.denoisedVolume, "Findings")}
    assert stored(denoised, "Summary")[CONTRAST] == stored(wanted.denoisedVolume, "Summary")[CONTRAST]
    record = stored(denoised, "Provenance")
    assert record["quality"]["keep"]["above_mm"] == 25.0
    assert record["quality"]["output"] == stored(wanted.denoisedVolume, "Provenance")["quality"]["output"]


def test_slider_sends_no_volume_to_a_worker_that_made_the_result(ui, logic_of, scene, pair, small_model, monkeypatch):
    choose(ui, logic_of, pair, small_model)
    run_to_end(ui)
    written = []
    real = SLICER.modules.csrddenoise.widgetRepresentation().self().logic.begin
    monkeypatch.setattr(logic_of, "begin", lambda *a, **o: (written.append(set(a[2])), real(*a, **o))[1])
    move(ui, logic_of, 15.0)
    assert written[0] == set()
    # the PET may have been changed: it is sent again
    SLICER.util.arrayFromVolumeModified(pair[0])
    written.clear()
    move(ui, logic_of, 16.0)
    assert written[0] == {"pet", "bare"}
    # it was: nothing is combined
    SLICER.util.arrayFromVolume(pair[0])[:] *= 1.01
    SLICER.util.arrayFromVolumeModified(pair[0])
    written.clear()
    ui.keepSlider.value = 17.0
    assert wait_until(lambda: "voxels were changed" in ui.statusLabel.text) and not written


def test_new_run_does_not_wait_for_a_refinement(ui, logic_of, scene, pair, small_model):
    choose(ui, logic_of, pair, small_model)
    run_to_end(ui)
    job = logic_of.startKeep(ui.denoisedSelector.currentNode(), 9.0)
    assert not logic_of.busy and ui.applyButton.enabled
    run_to_end(ui)
    assert job.state == "cancelled"
    assert ui.statusLabel.text.startswith("Done in"), ui.statusLabel.text


@pytest.fixture
def keeps(logic_of, monkeypatch):
    """The recomputations that the slider starts, as pairs: whether it is the exact one, its job."""
    begun, real = [], logic_of.startKeep
    monkeypatch.setattr(
        logic_of, "startKeep", lambda *a, **o: (begun.append((o["exact"], real(*a, **o))), begun[-1][1])[1]
    )
    return begun


@pytest.mark.parametrize("moment", ["moved", "shown", "refining"])
def test_maps_follow_the_slider_when_the_user_leaves_the_module(
    area, ui, logic_of, scene, small_model, keeps, monkeypatch, moment
):
    ended = []
    choose(ui, logic_of, (add_head("PET"), None), small_model, steps=2, samples=2)
    run_to_end(ui)
    denoised, uncertainty = ui.denoisedSelector.currentNode(), ui.uncertaintySelector.currentNode()
    before, name = SLICER.util.arrayFromVolume(uncertainty).copy(), uncertainty.GetName()
    monkeypatch.setattr(logic_of.worker, "end", lambda: ended.append([job.state for _exact, job in keeps]))
    ui.keepSlider.value = 20.0
    if moment != "moved":
        assert wait_until(lambda: keeps and keeps[0][1].state == "finished")
    if moment == "refining":
        assert wait_until(lambda: [exact for exact, _job in keeps] == [False, True])
    area.exit()
    assert wait_until(lambda: ended, 60)
    # the worker process ends once, and only after the maps
    assert ended == [["finished", "finished"]] and [exact for exact, _job in keeps] == [False, True]
    assert width_of(denoised) == stored(denoised, "Provenance")["settings"]["keep_above_mm"] == 20.0
    assert uncertainty.GetNodeReference("CSRDDenoise.Denoised") is denoised and uncertainty.GetName() == name
    assert np.abs(SLICER.util.arrayFromVolume(uncertainty) - before).max() > 0


def test_refinement_that_a_run_cancels_comes_after_it(ui, logic_of, scene, small_model, keeps):
    pet = add_head("PET")
    choose(ui, logic_of, (pet, None), small_model, steps=2, samples=2)
    run_to_end(ui)
    denoised, uncertainty = ui.denoisedSelector.currentNode(), ui.uncertaintySelector.currentNode()
    ui.keepSlider.value = 20.0
    assert wait_until(lambda: [exact for exact, _job in keeps] == [False, True])
    ui.petSelector.setCurrentNode(add_head("other", seed=1))
    run_to_end(ui)
    assert keeps[1][1].state == "cancelled" and ui.denoisedSelector.currentNode() is not denoised
    assert wait_until(lambda: len(keeps) == 3 and keeps[2][1].state == "finished", 30)
    # the process knows the last run alone, so the map that cannot follow belongs to the result no more
    assert width_of(denoised) == 20.0 and uncertainty.GetNodeReference("CSRDDenoise.Denoised") is None


@pytest.mark.parametrize("exact", [False, True])
def test_process_that_ends_during_a_recomputation_leaves_no_map_of_another_width(
    ui, logic_of, scene, small_model, monkeypatch, exact
):
    choose(ui, logic_of, (add_head("PET"), None), small_model, steps=2, samples=2)
    run_to_end(ui)
    denoised, uncertainty = ui.denoisedSelector.currentNode(), ui.uncertaintySelector.currentNode()
    before, real = width_of(denoised), logic_of.startKeep

    def ending(*arguments, **options):
        job = real(*arguments, **options)
        if options["exact"] is exact:
            os.kill(logic_of.worker.processId, signal.SIGKILL)
        return job

    monkeypatch.setattr(logic_of, "startKeep", ending)
    ui.keepSlider.value = 20.0
    assert wait_until(lambda: "ended" in ui.statusLabel.text, 30)
    # the fast part alone is done, or nothing is
    assert width_of(denoised) == (20.0 if exact else before)
    assert ui.keepSlider.value == pytest.approx(width_of(denoised), abs=0.051)
    assert (uncertainty.GetNodeReference("CSRDDenoise.Denoised") is None) == exact
    assert part_of(ui.differenceSelector.currentNode(), denoised) is not None


def test_report_waits_for_the_maps(ui, logic_of, scene, small_model):
    choose(ui, logic_of, (add_head("PET"), None), small_model, steps=2, samples=2)
    run_to_end(ui)
    ui.keepSlider.value = 20.0
    panel = SLICER.modules.csrddenoise.widgetRepresentation().self().panel
    panel.onReport()
    assert "again in a moment" in ui.statusLabel.text
    denoised = ui.denoisedSelector.currentNode()
    assert wait_until(lambda: not panel._results.following and width_of(denoised) == 20.0, 30)


def test_estimate_whose_file_is_missing_leaves_no_slider(area, ui, logic_of, scene, small_model, tmp_path):
    choose(ui, logic_of, (add_head("PET"), None), small_model, steps=1, samples=1)
    run_to_end(ui)
    scene.SetURL(str(tmp_path / "scene.mrml"))
    assert scene.Commit()
    # Slicer keeps hidden volumes in a folder of its own, which is easily left behind
    files = list((tmp_path / "scene_Private").iterdir())
    assert files
    for path in files:
        path.unlink()
    scene.Clear(0)
    scene.Import()
    denoised = ui.denoisedSelector.currentNode()
    assert denoised.GetNodeReference(ESTIMATE_REFERENCE) is not None and ui.compareButton.isEnabled()
    assert not ui.keepSlider.isEnabled()
    with raises_named("InputError", "denoise the PET again"):
        logic_of.startKeep(denoised, 12.0)


def test_closing_the_scene_stops_what_follows_the_slider(ui, logic_of, scene, small_model, keeps):
    choose(ui, logic_of, (add_head("PET"), None), small_model, steps=2, samples=2)
    run_to_end(ui)
    ui.keepSlider.value = 20.0
    assert wait_until(lambda: [exact for exact, _job in keeps] == [False, True])
    scene.Clear(0)
    assert keeps[1][1].state == "cancelled" and not wait_until(lambda: len(keeps) > 2, 0.6)


def test_maps_of_an_earlier_process_cannot_follow_and_belong_to_the_result_no_more(logic, scene, small_model):
    result = logic.denoise(add_head("PET"), None, model=small_model, device="cpu", steps=2, samples=2)
    logic.worker.end()
    logic.startKeep(
        result.denoisedVolume, 20.0, result.differenceVolume, uncertaintyVolume=result.uncertaintyVolume
    ).wait()
    assert result.uncertaintyVolume.GetNodeReference("CSRDDenoise.Denoised") is None
    assert "(earlier run)" in result.uncertaintyVolume.GetName()
    assert width_of(result.denoisedVolume) == 20.0
    record = stored(result.denoisedVolume, "Provenance")
    assert record["quality"]["keep"]["above_mm"] == record["settings"]["keep_above_mm"] == 20.0
    assert record["findings"] == stored(result.denoisedVolume, "Findings")
    values, change = (SLICER.util.arrayFromVolume(node) for node in (result.denoisedVolume, result.differenceVolume))
    pet = SLICER.util.arrayFromVolume(result.denoisedVolume.GetNodeReference("CSRDDenoise.PET"))
    np.testing.assert_allclose(values, pet + change, rtol=1e-4, atol=0.5)


def test_map_that_cannot_follow_is_no_output_of_the_next_run(ui, logic_of, scene, pair, small_model):
    choose(ui, logic_of, pair, small_model)
    run_to_end(ui)
    released = ui.uncertaintySelector.currentNode()
    before = SLICER.util.arrayFromVolume(released).copy()
    # the process that knows the run ends
    logic_of.close()
    move(ui, logic_of, 12.0)
    assert wait_until(lambda: part_of(released, ui.denoisedSelector.currentNode()) is None)
    run_to_end(ui)
    made = ui.uncertaintySelector.currentNode()
    assert part_of(made, ui.denoisedSelector.currentNode()) is made and made is not released
    np.testing.assert_array_equal(SLICER.util.arrayFromVolume(released), before)


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


def test_pet_whose_voxels_were_changed_is_not_combined_with_the_estimate(logic, scene, small_model):
    pet = add_head("PET")
    denoised = logic.denoise(pet, None, model=small_model, preset="fast", device="cpu").denoisedVolume
    before, voxels = SLICER.util.arrayFromVolume(denoised).copy(), SLICER.util.arrayFromVolume(pet).copy()
    SLICER.util.updateVolumeFromArray(pet, 3 * voxels)
    with pytest.raises(Exception, match="voxels were changed") as refused:
        logic.startKeep(denoised, 12.0)
    assert type(refused.value).__name__ == "InputError"
    np.testing.assert_array_equal(SLICER.util.arrayFromVolume(denoised), before)
    # the same voxels again, as when a sequence comes back to the frame
    SLICER.util.updateVolumeFromArray(pet, voxels)
    logic.startKeep(denoised, 12.0).wait()


def test_copy_of_a_result_keeps_its_estimate_when_the_result_is_made_again(logic, scene, small_model, coarse_model):
    pet, quick = add_head("PET"), {"preset": "fast", "device": "cpu", "precision": "float32"}
    first = logic.denoise(pet, None, model=small_model, **quick)
    copy = SLICER.modules.volumes.logic().CloneVolume(scene, first.denoisedVolume, "copy")
    before = SLICER.util.arrayFromVolume(copy.GetNodeReference(ESTIMATE_REFERENCE)).copy()
    outputs = Outputs(first.denoisedVolume, first.differenceVolume)
    second = logic.denoise(pet, None, model=coarse_model, outputs=outputs, **quick).denoisedVolume
    estimates = [SLICER.util.arrayFromVolume(node.GetNodeReference(ESTIMATE_REFERENCE)) for node in (copy, second)]
    np.testing.assert_array_equal(estimates[0], before)
    assert np.abs(estimates[1] - before).max() > 0


@pytest.mark.parametrize("known", [True, False])
def test_pet_of_another_voxel_size_is_not_combined_with_the_estimate(logic, scene, small_model, known):
    pet = add_head("PET")
    denoised = logic.denoise(pet, None, model=small_model, preset="fast", device="cpu").denoisedVolume
    if not known:
        logic.close()
    pet.SetSpacing(4.0, 4.0, 4.0)
    with raises_named("InputError", "4 x 4 x 4 mm"):
        logic.startKeep(denoised, 12.0)
    pet.SetSpacing(2.0, 2.0, 2.0)
    # a transform may scale too, and a hidden estimate does not follow it
    scaling = add_transform(ijk_to_ras(None, (1.5, 1.5, 1.5), (0.0, 0.0, 0.0)))
    pet.SetAndObserveTransformNodeID(scaling.GetID())
    with raises_named("InputError", "3 x 3 x 3 mm"):
        logic.startKeep(denoised, 12.0)
    pet.SetAndObserveTransformNodeID(None)
    logic.startKeep(denoised, 12.0).wait()
    assert width_of(denoised) == 12.0


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("exact", [True, False])
def test_width_without_end_gives_the_bare_estimate(logic, scene, small_model, known, exact):
    pet, quick = add_head("PET"), {"preset": "fast", "device": "cpu", "precision": "float32"}
    result = logic.denoise(pet, None, model=small_model, **quick)
    if not known:
        logic.close()
    logic.startKeep(result.denoisedVolume, np.float64("inf"), result.differenceVolume, exact=exact).wait()
    bare = logic.denoise(pet, None, model=small_model, keep_above_mm=np.inf, **quick).denoisedVolume
    after, expected = (SLICER.util.arrayFromVolume(node) for node in (result.denoisedVolume, bare))
    np.testing.assert_allclose(after, expected, rtol=1e-5, atol=1e-2)
    assert stored(result.denoisedVolume, "Provenance")["settings"]["keep_above_mm"] == "inf"
    with raises_named("InputError", "600"):
        logic.startKeep(result.denoisedVolume, 600.0).wait()


def test_slider_shows_the_width_of_the_chosen_result(ui, logic_of, scene, pair, small_model):
    choose(ui, logic_of, pair, small_model)
    quick = {"preset": "fast", "device": "cpu", "precision": "float32"}
    widths = {0.0: 0.0, 9.0: 9.0, np.inf: ui.keepSlider.maximum}
    made = [logic_of.denoise(*pair, model=small_model, keep_above_mm=width, **quick) for width in widths]
    for result, shown in [*zip(made, widths.values()), (made[0], 0.0)]:
        ui.denoisedSelector.setCurrentNode(result.denoisedVolume)
        assert ui.keepSlider.value == shown


def test_slider_of_a_chosen_result_takes_its_maps_along(ui, logic_of, scene, pair, small_model):
    choose(ui, logic_of, pair, small_model)
    result = logic_of.denoise(*pair, model=small_model, device="cpu", steps=2, samples=2)
    ui.denoisedSelector.setCurrentNode(result.denoisedVolume)
    before = SLICER.util.arrayFromVolume(result.uncertaintyVolume).copy()
    move(ui, logic_of, 30.0)
    assert wait_until(lambda: np.abs(SLICER.util.arrayFromVolume(result.uncertaintyVolume) - before).max() > 0)
    assert part_of(result.uncertaintyVolume, result.denoisedVolume) is result.uncertaintyVolume


def test_dose_of_the_estimate_stays_in_the_record_of_another_width(logic, scene, tmp_path):
    folder = str(save_tiny_model(tmp_path / "free", target="noise-free"))
    result = logic.denoise(add_head("PET"), None, model=folder, preset="fast", device="cpu", dose=0.25)
    assert stored(result.denoisedVolume, "Provenance")["quality"]["keep"]["dose"] == 0.25
    logic.close()
    logic.startKeep(result.denoisedVolume, 20.0, result.differenceVolume).wait()
    kept = stored(result.denoisedVolume, "Provenance")["quality"]["keep"]
    assert (kept["above_mm"], kept["dose"]) == (20.0, 0.25)
