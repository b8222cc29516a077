"""A dynamic PET as a sequence of Slicer: the result is the command line's for the same frames."""

from __future__ import annotations

import json

import nibabel
import numpy as np
import pytest
from slicer_helpers import (
    SLICER,
    add_head,
    add_transform,
    choose,
    click,
    identities,
    ijk_to_ras,
    matrix_of,
    oblique,
    raises_named,
    run_to_end,
    wait_until,
)

pytest_plugins = ["slicer_fixtures"]

from CSRDDenoiseModule import nodes  # noqa: E402 (needs the stand-in)
from CSRDDenoiseModule.worker_process import save_certificates  # noqa: E402

from CSRDDenoiseLib.commands.main import main  # noqa: E402
from CSRDDenoiseLib.io import sequence_file  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_worker")]
FACTORS = (1.0, 0.6, 1.4, 1.2, 1.1, 0.9)
STARTS = (0, 60, 120, 240, 360, 600)


@pytest.fixture
def sequences_logic(scene):
    """Slicer's own logic of sequences, which makes the volumes that show the frames of a browser's sequences."""
    made = SLICER.vtkSlicerSequencesLogic()
    made.SetMRMLScene(scene)
    yield made
    made.SetMRMLScene(None)


@pytest.fixture
def dynamic(scene, sequences_logic):
    """A sequence of six frames of different activity, of 60 s and more, with a browser and its proxy."""
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "Dynamic PET")
    sequence.SetIndexName("time")
    sequence.SetIndexUnit("s")
    for number, factor in enumerate(FACTORS):
        frame = add_head("frame", seed=number)
        SLICER.util.updateVolumeFromArray(frame, SLICER.util.arrayFromVolume(frame) * np.float32(factor))
        sequence.SetDataNodeAtValue(frame, str(STARTS[number]))
        scene.RemoveNode(frame)
    proxy = add_head("PET shown")
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "Browser")
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    browser.AddProxyNode(proxy, sequence, False)
    return sequence, browser, browser.GetProxyNode(sequence)


def arrays(sequence) -> np.ndarray:
    count = sequence.GetNumberOfDataNodes()
    return np.array([SLICER.util.arrayFromVolume(sequence.GetNthDataNode(index)) for index in range(count)])


def by_command_line(folder, frames: np.ndarray, node, *options: str) -> None:
    """Denoise the same frames from a 4D NIfTI, with times and durations, into ``folder``."""
    image = nibabel.Nifti1Image(frames.T, matrix_of(node))
    image.header.set_xyzt_units("mm", "sec")
    nibabel.save(image, folder / "pet.nii")
    durations = [*np.diff(STARTS).tolist(), STARTS[-1] - STARTS[-2]]
    entries = {"FrameTimesStart": STARTS, "FrameDuration": durations}
    (folder / "pet.json").write_text(json.dumps(entries))
    words = ["--pet", folder / "pet.nii", "--output", folder / "out.nii", "--difference", folder / "difference.nii"]
    assert main(["denoise", *map(str, [*words, *options])]) == 0


def values(path) -> np.ndarray:
    return np.asanyarray(nibabel.load(path).dataobj).T


def test_a_sequence_becomes_what_the_command_line_makes_of_its_frames(logic_of, scene, dynamic, model_folder, tmp_path):
    sequence, browser, proxy = dynamic
    settings = {"sampler": "dpmpp", "steps": 2, "samples": 2, "device": "cpu", "precision": "float32", "seed": 3}
    before = {node.GetID() for node in SLICER.util.getNodesByClass("vtkMRMLScalarVolumeNode")}
    result = logic_of.startSequence(proxy, None, model=str(model_folder), **settings).wait()
    words = [f"--{name}={value}" for name, value in settings.items()]
    options = [*words, "--model", str(model_folder), "--uncertainty", str(tmp_path / "uncertainty.nii")]
    by_command_line(tmp_path, arrays(sequence), proxy, *options)
    made = result.sequences
    assert set(made) == {"output", "difference", "uncertainty"}
    for kind, name in (("output", "out"), ("difference", "difference"), ("uncertainty", "uncertainty")):
        np.testing.assert_array_equal(arrays(made[kind]), values(tmp_path / f"{name}.nii"))
        assert browser.IsSynchronizedSequenceNode(made[kind]) and made[kind].GetIndexUnit() == "s"
        assert [float(made[kind].GetNthIndexValue(index)) for index in range(len(FACTORS))] == list(STARTS)
    record = json.loads(made["output"].GetAttribute("CSRDDenoise.Provenance"))
    assert record["means_kept_over_frames"] == 5 and record["inputs"]["pet"]["volume"] == "PET shown"
    assert np.abs(arrays(made["difference"])).max() > 0
    # durations were not stated
    assert [each.code for each in result.findings if each.code.startswith("frames.")] == ["frames.no_durations"]
    after = {node.GetID() for node in SLICER.util.getNodesByClass("vtkMRMLScalarVolumeNode")}
    proxies = {browser.GetProxyNode(node).GetID() for node in made.values() if browser.GetProxyNode(node)}
    assert after - before <= proxies


def test_a_volume_that_shows_a_frame_is_no_output(logic_of, scene, dynamic, small_model):
    """The next frame would take the place of the result, and its record with it."""
    with raises_named("InputError", "shows a frame"):
        outputs = nodes.Outputs(denoisedVolume=dynamic[2])
        logic_of.start(add_head("PET"), None, model=small_model, outputs=outputs, device="cpu")


def test_results_lie_on_a_pet_that_a_transform_moves(logic_of, scene, dynamic, model_folder):
    _, browser, proxy = dynamic
    move = add_transform(ijk_to_ras(oblique(), (1.0, 1.0, 1.0), (40.0, -25.0, 10.0)))
    proxy.SetAndObserveTransformNodeID(move.GetID())
    made = logic_of.startSequence(proxy, None, model=str(model_folder), sampler="mean", device="cpu").wait().sequences
    assert set(made) == {"output", "difference"}
    for number in (0, 2):
        browser.SetSelectedItemNumber(number)
        for sequence in made.values():
            shown = browser.GetProxyNode(sequence)
            np.testing.assert_allclose(nodes.world_bounds(shown), nodes.world_bounds(proxy), atol=1e-3)
            np.testing.assert_array_equal(SLICER.util.arrayFromVolume(shown), arrays(sequence)[number])
    # moved on with the PET
    move.SetMatrixTransformToParent(SLICER.util.vtkMatrixFromArray(np.eye(4)))
    np.testing.assert_allclose(nodes.world_bounds(shown), nodes.world_bounds(proxy), atol=1e-3)


def test_a_volume_that_was_moved_without_its_frames_is_refused(logic_of, scene, dynamic, model_folder):
    """As by hardening a transform: the frames would be denoised where they were, the results lie where it is."""
    _, browser, proxy = dynamic
    before = matrix_of(proxy)
    proxy.SetOrigin(40.0, -25.0, 10.0)
    with raises_named("InputError", "elsewhere"):
        logic_of.startSequence(proxy, None, model=str(model_folder), sampler="mean", device="cpu")
    browser.SetSelectedItemNumber(2)
    np.testing.assert_allclose(matrix_of(proxy), before)
    job = logic_of.startSequence(proxy, None, model=str(model_folder), sampler="mean", device="cpu")
    job.cancel()


def test_a_sequence_of_one_frame_is_refused_before_the_work(logic, scene, dynamic, small_model):
    sequence, _browser, shown = dynamic
    for start in STARTS[1:]:
        sequence.RemoveDataNodeAtValue(str(start))
    with raises_named("InputError", "has one frame"):
        logic.startSequence(shown, None, model=small_model, steps=2, device="cpu")


def test_a_transform_for_each_frame_is_refused(logic, scene, dynamic, small_model):
    """The motion of each frame: the one shown now is not that of the others."""
    _sequence, browser, shown = dynamic
    motion = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "Motion")
    for number, start in enumerate(STARTS):
        moved = add_transform(ijk_to_ras(None, (1.0, 1.0, 1.0), (float(number), 0.0, 0.0)))
        motion.SetDataNodeAtValue(moved, str(start))
        scene.RemoveNode(moved)
    above = add_transform(ijk_to_ras(None, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)))
    browser.AddSynchronizedSequenceNode(motion)
    browser.AddProxyNode(above, motion, False)
    bed = add_transform(np.eye(4), "Bed")
    shown.SetAndObserveTransformNodeID(bed.GetID())
    bed.SetAndObserveTransformNodeID(browser.GetProxyNode(motion).GetID())
    with raises_named("InputError", "moves 'PET shown' elsewhere"):
        logic.startSequence(shown, None, model=small_model, steps=2, device="cpu")
    shown.SetAndObserveTransformNodeID(None)
    mr = add_head("T1", seed=9)
    mr.SetAndObserveTransformNodeID(bed.GetID())
    with raises_named("InputError", "moves 'T1' elsewhere"):
        logic.startSequence(shown, mr, model=small_model, steps=2, device="cpu")


def test_row_of_one_frame_is_not_run_on_another(ui, logic_of, scene, dynamic, small_model):
    _sequence, browser, shown = dynamic
    choose(ui, logic_of, (shown, None), small_model)
    for number in (1, 2):
        browser.SetSelectedItemNumber(number)
        click(ui.addPairButton)
    names = [ui.pairsTable.item(row, 0).text() for row in range(ui.pairsTable.rowCount)]
    assert len(names) == 2 and "60" in names[0] and "120" in names[1]
    click(ui.runPairsButton)
    assert wait_until(lambda: ui.runPairsButton.text == "Denoise all" and ui.applyButton.text == "Apply")
    assert [ui.pairsTable.item(row, 3).text() for row in range(2)] == ["failed", "done"]


def test_volumes_that_show_a_result_have_the_study_unit_and_colours_of_a_single_one(
    logic_of, scene, dynamic, model_folder
):
    _, browser, proxy = dynamic
    hierarchy = SLICER.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "Study")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(proxy), study)
    unit = SLICER.vtkCodedEntry()
    unit.SetValueSchemeMeaning("Bq/ml", "UCUM", "Becquerels/milliliter")
    proxy.SetVoxelValueUnits(unit)
    proxy.GetDisplayNode().SetAutoWindowLevel(False)
    proxy.GetDisplayNode().SetWindowLevelMinMax(0, 7777)
    made = logic_of.startSequence(proxy, None, model=str(model_folder), sampler="mean", device="cpu").wait().sequences
    browser.SetSelectedItemNumber(2)
    of_pet = proxy.GetDisplayNode().GetColorNode().GetName()
    for kind, colours in (("output", of_pet), ("difference", "DivergingBlueRed")):
        shown = browser.GetProxyNode(made[kind])
        assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(shown)) == study
        assert nodes.unit_of(shown) == nodes.unit_of(made[kind].GetNthDataNode(1)) == "Bq/ml"
        assert shown.GetDisplayNode().GetColorNode().GetName() == colours
    assert browser.GetProxyNode(made["output"]).GetDisplayNode().GetWindowLevelMax() == 7777
    assert shown.GetDisplayNode().GetWindowLevelMin() == -shown.GetDisplayNode().GetWindowLevelMax()


def test_all_frames_are_one_row_of_the_table(area, ui, logic_of, scene, pair, dynamic, small_model):
    sequence, browser, proxy = dynamic
    ui.batchCollapsibleButton.collapsed = False
    choose(ui, logic_of, pair, small_model)
    ui.mrSelector.setCurrentNode(None)
    assert not ui.addFramesButton.isEnabled()
    ui.petSelector.setCurrentNode(proxy)
    SLICER.app.processEvents()
    assert ui.addFramesButton.isEnabled()
    click(ui.addFramesButton)
    assert ui.pairsTable.rowCount == 1 and "6 frames" in ui.pairsTable.item(0, 0).text()
    click(ui.runPairsButton)
    assert wait_until(lambda: ui.applyButton.text == "Apply" and ui.pairsTable.item(0, 3).text() == "done")
    made = {node.GetName(): node for node in SLICER.util.getNodesByClass("vtkMRMLSequenceNode")}
    denoised, difference = made["Dynamic PET denoised"], made["Dynamic PET difference"]
    np.testing.assert_allclose(arrays(denoised), arrays(sequence) + arrays(difference), rtol=1e-4, atol=0.5)
    assert np.abs(arrays(difference)).max() > 0 and browser.IsSynchronizedSequenceNode(denoised)


def test_a_full_dose_reference_is_left_out_for_a_sequence(ui, logic_of, scene, dynamic, small_model):
    """It goes with the static rows of the table, and no result depends on it."""
    sequence, _browser, proxy = dynamic
    choose(ui, logic_of, (proxy, None), small_model, sampler="mean", precision="float32")
    click(ui.addFramesButton)
    choose(ui, logic_of, (add_head("PET static"), None), small_model, sampler="mean", precision="float32")
    click(ui.addPairButton)
    ui.fullDoseReferenceSelector.setCurrentNode(add_head("full", seed=7))
    click(ui.runPairsButton)
    assert wait_until(lambda: ui.runPairsButton.text == "Denoise all" and ui.applyButton.text == "Apply")
    assert [ui.pairsTable.item(row, 3).text() for row in range(2)] == ["done", "done"]
    assert "full-dose reference" in ui.statusLabel.text
    record = json.loads(scene.GetFirstNodeByName("PET static denoised").GetAttribute("CSRDDenoise.Provenance"))
    assert record["inputs"]["full_dose_reference"]["volume"] == "full"
    made = scene.GetFirstNodeByName("Dynamic PET denoised")
    assert made.GetNumberOfDataNodes() == sequence.GetNumberOfDataNodes()


def test_another_frame_gets_results_of_its_own(area, ui, logic_of, scene, pair, dynamic, small_model):
    browser, proxy = dynamic[1:]
    browser.SetSelectedItemNumber(0)
    choose(ui, logic_of, (proxy, None), small_model, sampler="mean", precision="float32")
    run_to_end(ui)
    first = ui.denoisedSelector.currentNode(), ui.differenceSelector.currentNode()
    values = [SLICER.util.arrayFromVolume(node).copy() for node in first]
    run_to_end(ui)
    assert ui.denoisedSelector.currentNode() is first[0]
    browser.SetSelectedItemNumber(2)
    run_to_end(ui)
    second = ui.denoisedSelector.currentNode(), ui.differenceSelector.currentNode()
    assert not set(first) & set(second)
    pet, denoised, difference = (SLICER.util.arrayFromVolume(node) for node in (proxy, *second))
    np.testing.assert_allclose(denoised, pet + difference, rtol=1e-4, atol=0.5)
    for node, before in zip(first, values):
        np.testing.assert_array_equal(SLICER.util.arrayFromVolume(node), before)


def test_what_is_no_sequence_and_what_is_cancelled_leave_nothing(logic_of, scene, pair, dynamic, model_folder):
    with raises_named("InputError", "sequence"):
        logic_of.startSequence(pair[0], None, model=str(model_folder))
    assert nodes.frame_count(pair[0]) == 0 and nodes.frame_count(dynamic[2]) == len(FACTORS)
    with raises_named("InputError", "static"):
        logic_of.startSequence(dynamic[2], None, fullDoseReferenceVolume=pair[0])
    there = scene.GetNumberOfNodes()
    job = logic_of.startSequence(dynamic[2], None, model=str(model_folder), sampler="mean", device="cpu")
    job.cancel()
    with raises_named("Cancelled"):
        job.wait()
    assert scene.GetNumberOfNodes() == there


def test_frames_that_go_while_they_are_read_end_the_run(logic_of, scene, dynamic, model_folder, monkeypatch):
    # one slice a turn, between which Slicer has other events
    monkeypatch.setitem(type(logic_of).begin.__globals__["Job"].begin.__globals__, "SECONDS_A_TURN", 0.0)
    monkeypatch.setattr(sequence_file, "BYTES_A_STEP", 1)
    job = logic_of.startSequence(dynamic[2], None, model=str(model_folder), sampler="mean", device="cpu")
    dynamic[0].RemoveAllDataNodes()
    with raises_named("InputError", "frames"):
        job.wait()


@pytest.mark.parametrize("change", ["first frame goes", "a frame comes"])
def test_a_sequence_that_changes_after_it_was_read_leaves_each_result_at_its_time(
    logic_of, scene, dynamic, model_folder, change
):
    sequence, started, options = dynamic[0], [], {"sampler": "mean", "device": "cpu", "precision": "float32"}
    before = arrays(sequence)
    job = logic_of.startSequence(dynamic[2], None, model=str(model_folder), onProgress=started.append, **options)
    assert wait_until(lambda: started)
    if change == "first frame goes":
        sequence.RemoveDataNodeAtValue("0")
    else:
        sequence.SetDataNodeAtValue(sequence.GetNthDataNode(0), "900")
    made = job.wait().sequences
    assert [float(made["output"].GetNthIndexValue(index)) for index in range(len(FACTORS))] == list(STARTS)
    assert made["output"].GetNumberOfDataNodes() == made["difference"].GetNumberOfDataNodes() == len(FACTORS)
    np.testing.assert_allclose(arrays(made["output"]), before + arrays(made["difference"]), rtol=1e-4, atol=0.5)


FRAMES_OF_ANOTHER_GRID = {
    "28 x 22 voxels, the first": lambda frame, array: SLICER.util.updateVolumeFromArray(frame, array[:22]),
    "holds int16, the first float32": lambda frame, array: SLICER.util.updateVolumeFromArray(frame, array.astype("i2")),
    "2 x 2 x 4 mm, the first of 2 x 2 x 2 mm": lambda frame, _array: frame.SetSpacing(2.0, 2.0, 4.0),
    "up to 3 mm from the first": lambda frame, _array: frame.SetOrigin(12.0, -7.0, 34.0),
}


@pytest.mark.parametrize("words", list(FRAMES_OF_ANOTHER_GRID))
def test_a_frame_of_another_grid_is_named_with_the_numbers_before_the_work(logic, scene, dynamic, small_model, words):
    frame = dynamic[0].GetNthDataNode(3)
    FRAMES_OF_ANOTHER_GRID[words](frame, SLICER.util.arrayFromVolume(frame).copy())
    with raises_named("InputError", f"Frame 4 .*{words}"):
        logic.startSequence(dynamic[2], None, model=small_model, sampler="mean", device="cpu").wait()


def test_a_sequence_whose_voxel_size_changes_during_its_run_gets_no_result(logic_of, scene, dynamic, model_folder):
    sequence, _browser, shown = dynamic
    before, options = identities(scene), {"sampler": "mean", "device": "cpu"}
    started: list = []
    job = logic_of.startSequence(shown, None, model=str(model_folder), onProgress=started.append, **options)
    assert wait_until(lambda: started)
    for node in (shown, *(sequence.GetNthDataNode(index) for index in range(len(FACTORS)))):
        node.SetSpacing(4.0, 4.0, 4.0)
    with raises_named("InputError", "4 x 4 x 4 mm by now and was denoised with 2 x 2 x 2 mm"):
        job.wait()
    assert identities(scene) == before


def test_a_sequence_goes_to_an_encrypted_place_with_the_chosen_certificates(logic_of, dynamic, monkeypatch):
    begun = []
    monkeypatch.setattr(logic_of, "begin", lambda files, request, *_: begun.append((files, request)))
    save_certificates("/lab/certificates")
    logic_of.startSequence(dynamic[2], None, place="tls://gpu-box:8786")
    logic_of.startSequence(dynamic[2], None)
    for files, _ in begun:
        files.remove()
    there, here = (request for _, request in begun)
    assert there["on"] == {"address": "tls://gpu-box:8786", "tls": "/lab/certificates"} and "on" not in here
