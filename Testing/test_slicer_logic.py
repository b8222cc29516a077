"""The logic against the real MRML and the real worker process."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from conftest import head_array
from slicer_helpers import (
    ENTRY,
    SLICER,
    add_example,
    add_head,
    add_transform,
    add_volume,
    identities,
    ijk_to_ras,
    matrix_of,
    oblique,
    place,
    wait_until,
)

pytest_plugins = ["slicer_fixtures"]

from CSRDDenoiseModule.volumes import Outputs, make_volumes  # noqa: E402 (the stand-in makes it importable)

from CSRDDenoiseLib.checks.dose import REFERENCE  # noqa: E402
from CSRDDenoiseLib.errors import Cancelled, CSRDError, InputError, ModelError  # noqa: E402

pytestmark = pytest.mark.slow

QUICK = {"steps": 2, "samples": 2, "device": "cpu"}
SLOW = {"sampler": "heun", "steps": 200, "samples": 8, "device": "cpu"}


def run_folders() -> set[Path]:
    """Temporary folders of runs that exist now."""
    import tempfile

    return set(Path(tempfile.gettempdir()).glob("CSRDDenoise-*"))


@pytest.fixture
def pair(scene):
    """An oblique PET and an MR that overlaps it, with a unit and a display of their own."""
    place = ijk_to_ras(oblique(15))
    pet = add_head("PET", matrix=place)
    mr = add_volume("T1", 1000 - head_array((40, 44, 36)) / 10, ijk_to_ras(oblique(15), (1.3, 1.2, 1.2)))
    unit = SLICER.vtkCodedEntry()
    unit.SetValueSchemeMeaning("Bq/ml", "UCUM", "Becquerels/milliliter")
    pet.SetVoxelValueUnits(unit)
    quantity = SLICER.vtkCodedEntry()
    quantity.SetValueSchemeMeaning("126400", "DCM", "Activity")
    pet.SetVoxelValueQuantity(quantity)
    display = pet.GetDisplayNode()
    display.SetAndObserveColorNodeID("vtkMRMLPETProceduralColorNodePET-DICOM")
    display.SetAutoWindowLevel(False)
    display.SetWindowLevelMinMax(0, 7000)
    return pet, mr


def test_one_call_from_the_console(logic, pair, small_model):
    pet, mr = pair
    before, changed = SLICER.util.arrayFromVolume(pet).copy(), pet.GetMTime()
    hierarchy = SLICER.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(SLICER.mrmlScene)
    study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "Study")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(pet), study)
    folders = run_folders()
    result = logic.denoise(pet, mr, preset="balanced", model=small_model, overlap=0.5, seed=3, **QUICK)

    after, change = (SLICER.util.arrayFromVolume(n) for n in (result.denoisedVolume, result.differenceVolume))
    np.testing.assert_array_equal(SLICER.util.arrayFromVolume(pet), before)
    assert pet.GetMTime() == changed
    assert np.abs(change).max() > 0
    np.testing.assert_allclose(after, before + change, rtol=1e-5, atol=1e-2)
    assert SLICER.util.arrayFromVolume(result.uncertaintyVolume).max() > 0
    names = [n.GetName() for n in (result.denoisedVolume, result.differenceVolume, result.uncertaintyVolume)]
    assert names == ["PET denoised", "PET difference", "PET uncertainty"]
    for node in (result.denoisedVolume, result.differenceVolume, result.uncertaintyVolume):
        np.testing.assert_array_equal(matrix_of(node), matrix_of(pet))
        assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == study
        assert node.GetVoxelValueUnits().GetCodeValue() == "Bq/ml"
        assert node.GetVoxelValueQuantity().GetCodeMeaning() == "Activity"
        assert node.GetNodeReference("CSRDDenoise.PET") is pet
        assert node.GetNodeReference("CSRDDenoise.MR") is mr
    display = result.denoisedVolume.GetDisplayNode()
    assert display.GetColorNodeID() == pet.GetDisplayNode().GetColorNodeID()
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (0, 7000)
    shown = result.differenceVolume.GetDisplayNode()
    assert shown.GetColorNode().GetName() == "DivergingBlueRed"
    assert shown.GetWindowLevelMin() == -shown.GetWindowLevelMax() < 0

    settings = result.provenance["settings"]
    assert (settings["overlap"], settings["seed"], settings["steps"]) == (0.5, 3, 2)
    assert result.provenance["inputs"]["pet"]["volume"] == "PET"
    assert result.provenance["units"] == result.provenance["inputs"]["pet"]["units"] == "Bq/mL"
    assert json.loads(result.denoisedVolume.GetAttribute("CSRDDenoise.Provenance")) == result.provenance
    assert result.summary["max_change"] == pytest.approx(np.abs(change).max(), rel=1e-5)
    assert run_folders() == folders


@pytest.mark.timing
def test_same_seed_same_result_and_warm_second_run(logic, pair, small_model):
    pet, mr = pair
    options = {"model": small_model, "seed": 5, **QUICK}
    first = SLICER.util.arrayFromVolume(logic.denoise(pet, mr, **options).denoisedVolume).copy()
    process = logic.worker.processId
    began = time.monotonic()
    first_report = []
    job = logic.start(pet, mr, onProgress=lambda p: first_report.append(time.monotonic() - began), **options)
    second = SLICER.util.arrayFromVolume(job.wait().denoisedVolume)
    np.testing.assert_array_equal(first, second)
    assert logic.worker.processId == process
    assert first_report[0] < 10


def test_chosen_volumes_are_filled_and_none_is_made(logic, pair, small_model, scene):
    pet, _ = pair
    nodes = [scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name) for name in "abc"]
    before = identities(scene)
    result = logic.denoise(pet, None, model=small_model, outputs=Outputs(*nodes), **QUICK)
    assert [result.denoisedVolume, result.differenceVolume, result.uncertaintyVolume] == nodes
    made = identities(scene) - before
    assert all(node.IsA("vtkMRMLDisplayNode") or node.GetHideFromEditors() for node in map(scene.GetNodeByID, made))
    assert result.provenance["inputs"]["mr"] is None


def test_uncertainty_only_where_there_are_samples_and_it_is_wanted(logic, pair, small_model):
    pet, mr = pair
    assert logic.denoise(pet, mr, preset="fast", model=small_model, device="cpu").uncertaintyVolume is None
    assert logic.denoise(pet, mr, model="tissue", device="cpu").uncertaintyVolume is None, "it draws no samples"
    unwanted = Outputs(makeUncertainty=False)
    assert logic.denoise(pet, mr, model=small_model, outputs=unwanted, **QUICK).uncertaintyVolume is None


def test_label_map_of_what_counts_do_not_support_only_where_it_is_wanted(logic, pair, small_model, scene):
    pet, mr = pair
    assert logic.denoise(pet, mr, model=small_model, **QUICK).supportVolume is None
    result = logic.denoise(pet, mr, model=small_model, outputs=Outputs(makeSupport=True), **QUICK)
    node = result.supportVolume
    assert (node.GetClassName(), node.GetName()) == ("vtkMRMLLabelMapVolumeNode", "PET unsupported structure")
    np.testing.assert_array_equal(matrix_of(node), matrix_of(pet))
    labels = SLICER.util.arrayFromVolume(node)
    assert labels.dtype == np.uint8 and labels.shape == SLICER.util.arrayFromVolume(pet).shape
    assert node.GetVoxelValueUnits() is None
    references = ("CSRDDenoise.PET", "CSRDDenoise.MR", "CSRDDenoise.Denoised")
    assert [node.GetNodeReference(name) for name in references] == [pet, mr, result.denoisedVolume]
    chosen = Outputs(supportVolume=node, makeSupport=True)
    before = identities(scene)
    assert logic.denoise(pet, mr, model=small_model, outputs=chosen, **QUICK).supportVolume is node
    made = [scene.GetNodeByID(name) for name in identities(scene) - before]
    assert not [each for each in made if each.IsA("vtkMRMLLabelMapVolumeNode")]


def test_labels_of_the_worker_come_as_they_are(pair, tmp_path):
    pet, _ = pair
    values = SLICER.util.arrayFromVolume(pet)
    labels = np.zeros(values.shape, np.uint8)
    labels[3, 4, 5], labels[6, 7, 8] = 1, 2
    arrays = {"output": values, "difference": values, "uncertainty": None, "support": labels, "bare": None}
    paths = {kind: None if array is None else tmp_path / f"{kind}.nrrd" for kind, array in arrays.items()}
    for kind, path in paths.items():
        if path is not None:
            sitk.WriteImage(sitk.GetImageFromArray(arrays[kind]), str(path))
    node = make_volumes(paths, Outputs(makeSupport=True), pet, None, lambda *_: None)["support"]
    np.testing.assert_array_equal(SLICER.util.arrayFromVolume(node), labels)


def test_result_follows_a_pet_under_a_transform_and_sees_the_mr_where_it_is(logic, scene, small_model):
    pet, mr = add_head("PET"), add_head("T1", seed=1)
    move = add_transform(ijk_to_ras(oblique(20), (1, 1, 1), (300, 0, 0)))
    pet.SetAndObserveTransformNodeID(move.GetID())
    with pytest.raises(InputError, match="overlap"):
        logic.denoise(pet, mr, model=small_model, **QUICK)
    mr.SetAndObserveTransformNodeID(move.GetID())
    result = logic.denoise(pet, mr, model=small_model, **QUICK)
    assert result.denoisedVolume.GetParentTransformNode() is move
    np.testing.assert_array_equal(matrix_of(result.denoisedVolume), matrix_of(pet))


def test_result_survives_saving_and_loading_the_scene(logic, pair, small_model, scene, tmp_path):
    pet, mr = pair
    result = logic.denoise(pet, mr, model=small_model, **QUICK)
    values = SLICER.util.arrayFromVolume(result.denoisedVolume).copy()
    place, record = matrix_of(result.denoisedVolume), result.provenance
    for index, node in enumerate(SLICER.util.getNodesByClass("vtkMRMLScalarVolumeNode")):
        storage = scene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
        storage.SetFileName(str(tmp_path / f"{index}.nrrd"))
        node.SetAndObserveStorageNodeID(storage.GetID())
        assert storage.WriteData(node)
    scene.SetURL(str(tmp_path / "scene.mrml"))
    assert scene.Commit()
    scene.Clear(0)
    scene.SetURL(str(tmp_path / "scene.mrml"))
    assert scene.Import()
    loaded = scene.GetFirstNodeByName("PET denoised")
    np.testing.assert_array_equal(SLICER.util.arrayFromVolume(loaded), values)
    np.testing.assert_allclose(matrix_of(loaded), place, atol=1e-5)
    assert json.loads(loaded.GetAttribute("CSRDDenoise.Provenance")) == record
    assert loaded.GetNodeReference("CSRDDenoise.PET").GetName() == "PET"


def test_transform_of_the_registration_brings_the_mr_to_the_pet(logic, scene, coarse_model):
    offset = ijk_to_ras(oblique(10), (1, 1, 1), (14.0, -9.0, 4.0))
    pet, mr = add_example("low_dose_1_10"), add_example("mr")
    place(mr, offset @ matrix_of(mr))
    before = matrix_of(mr)
    result = logic.denoise(pet, mr, preset="fast", model=coarse_model, device="cpu", register=True)
    np.testing.assert_array_equal(matrix_of(mr), before)
    assert mr.GetParentTransformNode() is None
    transform = result.registrationTransform
    assert transform.GetName() == "mr registered to PET"
    assert result.denoisedVolume.GetNodeReference("CSRDDenoise.Registration") is transform
    # what a user does: put the MR under the transform, and harden it
    mr.SetAndObserveTransformNodeID(transform.GetID())
    assert mr.HardenTransform()
    corners = np.array([[x, y, z, 1] for x in (5, 40) for y in (5, 50) for z in (5, 45)]).T
    wrong = np.linalg.norm(((matrix_of(mr) - np.linalg.inv(offset) @ before) @ corners)[:3], axis=0)
    assert wrong.mean() < 1.5
    assert result.provenance["quality"]["alignment"]["verdict"] == "aligned"
    assert not any("aligned" in warning for warning in result.warnings)


def test_dose_is_estimated_against_a_full_dose_reference(logic, scene, coarse_model):
    pet, reference = add_example("low_dose_1_10"), add_example("full_dose")
    options = {"preset": "fast", "model": coarse_model, "device": "cpu"}
    result = logic.denoise(pet, fullDoseReferenceVolume=reference, **options)
    dose = result.provenance["quality"]["noise"]["dose"]
    # a tenth; on such coarse voxels structure passes for noise
    assert dose["relative_to"] == REFERENCE and 0.05 < dose["estimate"] < 0.2
    facts = result.provenance["inputs"]["full_dose_reference"]
    assert (facts["volume"], facts["path"]) == ("full_dose", None)
    alone = logic.denoise(pet, **options)
    assert "full_dose_reference" not in alone.provenance["inputs"]
    np.testing.assert_array_equal(*(SLICER.util.arrayFromVolume(each.denoisedVolume) for each in (result, alone)))


def test_full_dose_reference_that_cannot_be_used_is_refused(logic, pair, small_model, scene):
    pet, mr = pair
    nodes = identities(scene)
    with pytest.raises(InputError, match="full-dose reference is identical to the PET"):
        logic.denoise(pet, mr, model=small_model, fullDoseReferenceVolume=pet, **QUICK)
    assert identities(scene) == nodes
    reference = add_head("full dose", seed=1)
    with pytest.raises(InputError, match="'full dose' is chosen twice"):
        logic.denoise(pet, mr, model=small_model, fullDoseReferenceVolume=reference, outputs=Outputs(reference))


def test_no_transform_unless_the_mr_was_registered(logic, pair, small_model, scene):
    result = logic.denoise(*pair, model=small_model, **QUICK)
    assert result.registrationTransform is None
    assert result.denoisedVolume.GetNodeReference("CSRDDenoise.Registration") is None
    with pytest.raises(InputError, match="no MR to register"):
        logic.denoise(pair[0], None, model=small_model, register=True, **QUICK)


@pytest.mark.timing
def test_cancel_is_quick_and_leaves_nothing(logic, pair, slow_model, scene):
    pet, mr = pair
    nodes, folders, errors, reports = identities(scene), run_folders(), [], []
    began = time.monotonic()
    job = logic.start(pet, mr, model=slow_model, onProgress=reports.append, onError=errors.append, **SLOW)
    assert time.monotonic() - began < 10
    assert job.state == "running"
    with pytest.raises(InputError, match="A run is under way"):
        logic.start(pet, mr, model=slow_model)
    assert wait_until(lambda: any(report["stage"] == "sample" for report in reports))
    began = time.monotonic()
    job.cancel()
    with pytest.raises(Cancelled):
        job.wait()
    assert time.monotonic() - began < 10
    assert job.state == "cancelled"
    assert [type(error) for error in errors] == [Cancelled]
    assert identities(scene) == nodes
    assert run_folders() == folders
    assert not logic.busy


@pytest.mark.timing
@pytest.mark.slow
def test_worker_that_does_not_listen_is_ended(logic, pair, slow_model):
    pet, mr = pair
    reports = []
    job = logic.start(pet, mr, model=slow_model, onProgress=reports.append, **SLOW)
    assert wait_until(lambda: reports)
    os.kill(logic.worker.processId, signal.SIGSTOP)
    began = time.monotonic()
    job.cancel()
    assert wait_until(lambda: job.state == "cancelled", 5)
    assert time.monotonic() - began < 10
    assert not logic.worker.running


def test_killed_worker_is_reported_and_the_next_run_works(logic, pair, slow_model, small_model, scene):
    pet, mr = pair
    nodes, folders, reports = identities(scene), run_folders(), []
    job = logic.start(pet, mr, model=slow_model, onProgress=reports.append, **SLOW)
    assert wait_until(lambda: reports)
    os.kill(logic.worker.processId, signal.SIGKILL)
    with pytest.raises(CSRDError, match="most likely because the memory ran out"):
        job.wait()
    assert job.state == "failed"
    assert identities(scene) == nodes
    assert run_folders() == folders
    assert logic.denoise(pet, mr, model=small_model, **QUICK).denoisedVolume is not None


def test_failure_is_one_sentence_with_details_and_leaves_nothing(logic, pair, scene, tmp_path):
    pet, mr = pair
    nodes, folders = identities(scene), run_folders()
    with pytest.raises(ModelError, match="is not known") as caught:
        logic.denoise(pet, mr, model=str(tmp_path / "none"), **QUICK)
    assert "Traceback" in caught.value.details
    assert identities(scene) == nodes
    assert run_folders() == folders


def test_failure_while_nodes_are_made_leaves_nothing(logic, pair, small_model, scene, monkeypatch):
    from CSRDDenoiseModule import volumes

    def fail(*_arguments):
        raise RuntimeError("the disk is full")

    monkeypatch.setattr(volumes, "_refer", fail)
    pet, mr = pair
    nodes = identities(scene)
    with pytest.raises(RuntimeError, match="disk is full"):
        logic.denoise(pet, mr, model=small_model, **QUICK)
    assert identities(scene) == nodes


def test_pet_removed_during_the_run(logic, pair, small_model, scene):
    pet, mr = pair
    job = logic.start(pet, mr, model=small_model, **QUICK)
    scene.RemoveNode(pet)
    with pytest.raises(CSRDError, match="removed from the scene"):
        job.wait()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "best"}, "Preset 'best' is not known"),
        ({"steps": 0}, "'steps' is 0"),
        ({"overlap": 0.95}, "'overlap' is 0.95"),
    ],
)
def test_bad_settings_are_refused_before_anything_starts(pair, options, message):
    fresh = ENTRY.python.CSRDDenoiseLogic()
    with pytest.raises(InputError, match=message):
        fresh.denoise(*pair, **options)
    assert not fresh.worker.running


def test_an_input_is_never_written_over(pair):
    pet, mr = pair
    fresh = ENTRY.python.CSRDDenoiseLogic()
    other = add_head("other")
    for outputs in (Outputs(pet), Outputs(None, mr), Outputs(other, other)):
        with pytest.raises(InputError, match="is chosen twice"):
            fresh.denoise(pet, mr, outputs=outputs)
    assert not fresh.worker.running


def test_no_pet_is_refused():
    with pytest.raises(InputError, match="petVolume is None"):
        ENTRY.python.CSRDDenoiseLogic().denoise(None)


def test_missing_interpreter_is_reported(pair, monkeypatch):
    from CSRDDenoiseModule import worker_process

    monkeypatch.setattr(worker_process.shutil, "which", lambda *_, **__: None)
    monkeypatch.setattr(worker_process.sys, "executable", "")
    logic = ENTRY.python.CSRDDenoiseLogic()
    for _ in range(2):
        with pytest.raises(CSRDError, match="PythonSlicer"):
            logic.denoise(*pair)
    assert not logic.busy and not logic.worker.running


@pytest.mark.slow
def test_closing_the_logic_ends_the_worker(pair, small_model):
    fresh = ENTRY.python.CSRDDenoiseLogic()
    fresh.denoise(*pair, model=small_model, **QUICK)
    process = fresh.worker.processId
    fresh.close()
    assert not Path(f"/proc/{process}").exists() or not Path("/proc").exists()
