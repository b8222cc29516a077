"""What a run reads from the scene and leaves in it: nodes, units, records, files, choices."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from slicer_helpers import (
    ENTRY,
    ROOT,
    SLICER,
    add_head,
    add_result,
    add_transform,
    add_volume,
    background,
    choose,
    click,
    ijk_to_ras,
    pick,
    run_to_end,
    wait_until,
)

pytest_plugins = ["slicer_fixtures"]

from CSRDDenoiseModule import nodes, volumes  # noqa: E402 (needs the stand-in)
from CSRDDenoiseModule.parameters import CSRDDenoiseParameterNode  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_worker")]

QUICK = {"steps": 2, "samples": 2, "device": "cpu"}


def suv_unit():
    entry = SLICER.vtkCodedEntry()
    entry.SetValueSchemeMeaning("{SUVbw}g/ml", "UCUM", "Standardized Uptake Value body weight")
    return entry


def test_sample_data_is_offered(scene):
    from SampleData import SampleDataLogic

    SLICER.app.complete_startup()
    # a module that was loaded again in this process has registered its source again
    source = SLICER.modules.sampleDataSources["CSRDDenoise"][-1]
    assert Path(source.thumbnailFileName).is_file()
    nodes = SampleDataLogic.click("CSRDDenoise", "CSRDDenoiseBrain")
    assert [node.GetName() for node in nodes] == ["PET low dose 1/10", "MR T1", "PET full dose"]
    for view in SLICER.app.layoutManager().sliceViewNames():
        composite = SLICER.app.layoutManager().sliceWidget(view).sliceLogic().GetSliceCompositeNode()
        assert composite.GetBackgroundVolumeID() == nodes[0].GetID()
    for node in nodes:
        assert not Path(node.GetStorageNode().GetFileName()).is_relative_to(ROOT)


def test_sample_is_registered_with_lists_and_refused_without(scene):
    from SampleData import SampleDataLogic

    with pytest.raises(TypeError):
        SampleDataLogic.registerCustomSampleDataSource(category="x", sampleName="y", customDownloader=print)
    SLICER.modules.sampleDataSources.clear()
    SLICER.app.complete_startup()
    assert [source.sampleName for source in SLICER.modules.sampleDataSources["CSRDDenoise"]] == ["CSRDDenoiseBrain"]


def test_second_pet_gets_results_of_its_own(ui, logic_of, scene, pair, small_model):
    choose(ui, logic_of, pair, small_model)
    run_to_end(ui)
    first = ui.denoisedSelector.currentNode()
    values = SLICER.util.arrayFromVolume(first).copy()
    other = add_head("PET other", seed=5)
    ui.petSelector.setCurrentNode(other)
    assert ui.denoisedSelector.currentNode() is None and ui.uncertaintySelector.currentNode() is None
    assert not ui.compareButton.isEnabled()
    run_to_end(ui)
    second = ui.denoisedSelector.currentNode()
    assert second is not first and second.GetNodeReference("CSRDDenoise.PET") is other
    np.testing.assert_array_equal(SLICER.util.arrayFromVolume(first), values)
    assert (background("CSRDPet"), background("CSRDDenoised")) == (other.GetID(), second.GetID())
    # a result that is chosen by hand is compared with its own PET
    logic_of.getParameterNode().pet = None
    ui.denoisedSelector.setCurrentNode(first)
    click(ui.compareButton)
    assert (background("CSRDPet"), background("CSRDDenoised")) == (pair[0].GetID(), first.GetID())


def test_results_of_a_deleted_pet_are_no_outputs_of_the_next(ui, logic_of, scene, pair, small_model):
    choose(ui, logic_of, pair, small_model)
    run_to_end(ui)
    first = [getattr(ui, f"{name}Selector").currentNode() for name in ("denoised", "difference", "uncertainty")]
    values = [SLICER.util.arrayFromVolume(node).copy() for node in first]
    scene.RemoveNode(pair[0])
    ui.petSelector.setCurrentNode(add_head("PET other", seed=5))
    assert ui.denoisedSelector.currentNode() is None and ui.differenceSelector.currentNode() is None
    run_to_end(ui)
    assert ui.denoisedSelector.currentNode() not in (None, first[0])
    for node, before in zip(first, values):
        np.testing.assert_array_equal(SLICER.util.arrayFromVolume(node), before)


def test_same_pet_fills_its_results_again(ui, logic_of, scene, pair, small_model):
    choose(ui, logic_of, pair, small_model)
    run_to_end(ui)
    first = ui.denoisedSelector.currentNode()
    run_to_end(ui)
    assert ui.denoisedSelector.currentNode() is first


def test_maps_of_a_result_are_chosen_with_it(ui, logic_of, scene, pair, small_model):
    selectors = [getattr(ui, f"{name}Selector") for name in ("denoised", "difference", "uncertainty", "support")]
    choose(ui, logic_of, pair, small_model)
    logic_of.getParameterNode().makeSupport = True
    run_to_end(ui)
    first = [selector.currentNode() for selector in selectors]
    values = [SLICER.util.arrayFromVolume(node).copy() for node in first]
    # a new volume for the result: its maps are new too, and those of before stay with theirs
    ui.denoisedSelector.setCurrentNode(None)
    assert [selector.currentNode() for selector in selectors] == [None] * 4
    logic_of.getParameterNode().settings.seed = 9
    run_to_end(ui)
    second = [selector.currentNode() for selector in selectors]
    assert not set(first) & set(second)
    for node, before in zip(first, values):
        np.testing.assert_array_equal(SLICER.util.arrayFromVolume(node), before)
        assert node is first[0] or volumes.part_of(node, first[0]) is node
    for chosen in (first, second):
        ui.denoisedSelector.setCurrentNode(chosen[0])
        assert [selector.currentNode() for selector in selectors] == chosen
    # a volume of the user's own stays chosen
    own = add_volume("own", np.zeros((4, 4, 4), np.float32))
    ui.differenceSelector.setCurrentNode(own)
    ui.denoisedSelector.setCurrentNode(None)
    assert ui.differenceSelector.currentNode() is own and ui.uncertaintySelector.currentNode() is None


def test_map_that_is_filled_with_a_result_is_no_map_of_the_former_one(ui, logic_of, scene, pair, small_model):
    choose(ui, logic_of, pair, small_model)
    run_to_end(ui)
    first, former_map = ui.denoisedSelector.currentNode(), ui.differenceSelector.currentNode()
    ui.denoisedSelector.setCurrentNode(former_map)
    ui.differenceSelector.setCurrentNode(first)
    run_to_end(ui)
    assert (ui.denoisedSelector.currentNode(), ui.differenceSelector.currentNode()) == (former_map, first)
    assert volumes.has_record(former_map) and not volumes.has_record(first)
    assert volumes.part_of(first, former_map) is first and volumes.part_of(former_map, first) is None


@pytest.mark.parametrize("role", ["pet", "mr", "fullDoseReference", "difference"])
def test_deleted_node_leaves_nothing_selected(ui, logic_of, scene, role):
    nodes = [add_volume(name, np.full((4, 4, 4), value, np.float32)) for value, name in enumerate("abcd")]
    selector = getattr(ui, f"{role}Selector")
    selector.setCurrentNode(nodes[1])
    assert getattr(logic_of.getParameterNode(), role) is nodes[1]
    scene.RemoveNode(nodes[1])
    assert selector.currentNode() is None
    assert getattr(logic_of.getParameterNode(), role) is None
    scene.RemoveNode(nodes[3])
    assert selector.currentNode() is None


def test_panel_shows_what_somebody_else_chose_in_the_scene(ui, logic_of, scene, pair):
    """A script with a wrapper of its own, or the module as it was before it was read again."""
    other = CSRDDenoiseParameterNode(logic_of.getParameterNode().parameterNode)
    other.pet = pair[0]
    assert ui.petSelector.currentNode() is pair[0] and ui.applyButton.enabled
    other.pet = None
    assert ui.petSelector.currentNode() is None and not ui.applyButton.enabled


def test_fast_run_leaves_no_map_that_seems_its_own(ui, logic_of, scene, pair, small_model):
    choose(ui, logic_of, pair, small_model)
    run_to_end(ui)
    old = ui.uncertaintySelector.currentNode()
    assert ui.uncertaintyCheckBox.checked
    pick(ui.presetComboBox, "fast")
    assert not ui.uncertaintyCheckBox.checked and not ui.uncertaintyCheckBox.isEnabled()
    run_to_end(ui)
    assert ui.uncertaintySelector.currentNode() is None
    assert scene.IsNodePresent(old) and old.GetNodeReference("CSRDDenoise.Denoised") is None
    assert old.GetName() == "PET low dose uncertainty (earlier run)"
    pick(ui.presetComboBox, "balanced")
    assert ui.uncertaintyCheckBox.checked and ui.uncertaintyCheckBox.isEnabled()


def test_model_that_draws_no_samples_leaves_no_map_either(ui, logic_of, scene, pair, small_model):
    choose(ui, logic_of, pair, small_model)
    run_to_end(ui)
    old = ui.uncertaintySelector.currentNode()
    pick(ui.modelComboBox, "tissue")
    assert not ui.uncertaintyCheckBox.isEnabled() and not ui.samplesSpinBox.isEnabled()
    run_to_end(ui)
    assert ui.uncertaintySelector.currentNode() is None and old.GetNodeReference("CSRDDenoise.Denoised") is None


@pytest.fixture
def slow_writing(monkeypatch):
    """A logic without a process yet, that writes one slice a turn."""
    made = ENTRY.python.CSRDDenoiseLogic()
    # a test of reloading in the same process reads the modules anew: those that this logic uses are meant
    used = type(made).begin.__globals__
    monkeypatch.setitem(used["Job"].begin.__globals__, "SECONDS_A_TURN", 0.0)
    monkeypatch.setitem(used["writing"].__globals__["write_steps"].__globals__, "BYTES_A_STEP", 1)
    yield made
    made.close()


def test_volumes_are_written_while_events_go_on(slow_writing, scene, small_model):
    import qt

    heard = []
    job = slow_writing.start(add_head("PET"), None, model=small_model, **QUICK)
    assert job.state == "running" and not slow_writing.worker.running
    qt.QTimer.singleShot(0, lambda: heard.append(slow_writing.worker.running))
    assert job.wait().denoisedVolume is not None
    assert heard == [False]


def test_volume_that_changes_while_it_is_written_is_refused(slow_writing, scene, small_model):
    pet = add_head("PET")
    job = slow_writing.start(pet, None, model=small_model, **QUICK)
    SLICER.util.arrayFromVolume(pet)[:] = 1
    SLICER.util.arrayFromVolumeModified(pet)
    pet.GetImageData().Modified()
    # any class: a test of reloading in the same process reads the classes of errors anew
    with pytest.raises(Exception, match="changed while it was read"):
        job.wait()


def test_cancel_while_writing(slow_writing, scene, small_model):
    job = slow_writing.start(add_head("PET"), None, model=small_model, **QUICK)
    job.cancel()
    assert wait_until(lambda: job.state == "cancelled", 5)


def test_record_in_the_scene_names_files_that_exist(logic, scene, small_model, tmp_path):
    import hashlib

    path = tmp_path / "pet.nrrd"
    volumes.write_volume(add_head("PET"), path)
    loaded, unsaved = SLICER.util.loadVolume(str(path), {"name": "loaded"}), add_head("T1", seed=1)
    record = logic.denoise(loaded, unsaved, model=small_model, **QUICK).provenance
    about = record["inputs"]["pet"]
    assert (about["path"], about["volume"]) == (str(path.resolve()), "loaded")
    assert about["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert record["inputs"]["mr"]["path"] is None and "sha256" not in record["inputs"]["mr"]
    for text in json.dumps(record).split('"'):
        assert not text.startswith("/") or Path(text).exists(), text
    # a stack of files: its first is not the volume
    loaded.GetStorageNode().AddFileName(str(tmp_path / "second.nrrd"))
    (tmp_path / "second.nrrd").write_bytes(path.read_bytes())
    assert nodes.source_file(loaded) is None
    assert nodes.header_files(loaded) == [path, tmp_path / "second.nrrd"]
    loaded.GetStorageNode().ResetFileNameList()
    # voxels that are no longer those of the file
    SLICER.util.arrayFromVolume(loaded)[:] *= 2
    SLICER.util.arrayFromVolumeModified(loaded)
    assert logic.denoise(loaded, None, model=small_model, **QUICK).provenance["inputs"]["pet"]["path"] is None


def test_unit_of_a_bids_sidecar_is_read_though_a_transform_moves_the_volume(logic, scene, small_model, tmp_path):
    path = tmp_path / "sub-01_pet.nrrd"
    volumes.write_volume(add_head("PET"), path)
    path.with_suffix(".json").write_text(json.dumps({"Units": "kBq/mL"}))
    loaded = SLICER.util.loadVolume(str(path), {"name": "loaded"})
    for transform in (None, add_transform(ijk_to_ras(None, (1.0, 1.0, 1.0), (5.0, 0.0, 0.0)))):
        loaded.SetAndObserveTransformNodeID(None if transform is None else transform.GetID())
        about = logic.denoise(loaded, None, model=small_model, **QUICK).provenance["inputs"]["pet"]
        assert about["units"] == "kBq/mL"
        # the file does not hold the volume where it was denoised
        assert about["path"] == (str(path.resolve()) if transform is None else None)


def test_loaded_volume_whose_file_cannot_be_read_any_more_is_denoised(logic, scene, small_model, tmp_path, monkeypatch):
    path, real = tmp_path / "pet.nrrd", Path.open
    volumes.write_volume(add_head("PET"), path)
    loaded = SLICER.util.loadVolume(str(path), {"name": "loaded"})

    def refuse(self, *args, **options):
        if self == path:
            raise PermissionError(13, "Permission denied", str(path))
        return real(self, *args, **options)

    monkeypatch.setattr(Path, "open", refuse)
    about = logic.denoise(loaded, None, model=small_model, **QUICK).provenance["inputs"]["pet"]
    assert about["path"] is None and "sha256" not in about


def test_unit_and_quantity_reach_the_worker_and_the_results(logic, scene, small_model):
    pet = add_head("PET")
    pet.SetVoxelValueUnits(suv_unit())
    quantity = SLICER.vtkCodedEntry()
    quantity.SetValueSchemeMeaning("126400", "DCM", "Standardized Uptake Value")
    pet.SetVoxelValueQuantity(quantity)
    result = logic.denoise(pet, None, model=small_model, **QUICK)
    assert (
        "SUV" in result.provenance["units"]
        and result.provenance["units"] == result.provenance["inputs"]["pet"]["units"]
    )
    for node in (result.denoisedVolume, result.differenceVolume, result.uncertaintyVolume):
        assert node.GetVoxelValueUnits().GetCodeValue() == "{SUVbw}g/ml"
        assert node.GetVoxelValueQuantity().GetCodeValue() == "126400"
        assert nodes.unit_of(node) == "SUVbw"


def test_unit_of_a_volume_from_dicom_is_read_from_its_files(scene, monkeypatch, tmp_path):
    class Database:
        def instanceValue(self, instance, tag):
            return {("1.2.3", "0054,1001"): "BQML"}[instance, tag]

    monkeypatch.setattr(SLICER, "dicomDatabase", Database(), raising=False)
    pet = add_head("PET")
    pet.SetAttribute("DICOM.instanceUIDs", "1.2.3 1.2.4")
    assert nodes.unit_of(pet) == "Bq/ml"
    volumes.write_volume(pet, tmp_path / "v.nrrd")
    assert sitk.ReadImage(str(tmp_path / "v.nrrd")).GetMetaData("0054|1001") == "BQML"
    # a result has no DICOM files, so the unit goes into its node, and with it into a saved scene
    result = add_volume("denoised", np.ones((4, 4, 4), np.float32))
    nodes.copy_unit(pet, result)
    assert nodes.unit_of(result) == "Bq/ml" and result.GetVoxelValueUnits().GetCodeValue() == "Bq/ml"


def test_last_choices_are_the_defaults_of_the_next_scene(ui, logic_of, scene, pair, small_model):
    choose(ui, logic_of, pair, small_model)
    pick(ui.presetComboBox, "fast")
    logic_of.getParameterNode().settings.registerMr = True
    run_to_end(ui)
    scene.Clear(0)
    parameters = logic_of.getParameterNode()
    assert (ui.presetComboBox.currentText, parameters.settings.device) == ("Fast", "cpu")
    assert ui.registerCheckBox.checked and not parameters.makeUncertainty


def test_large_volume_is_written_in_many_steps(scene, tmp_path):
    node = add_volume("large", np.zeros((40, 512, 512), np.float32))
    assert sum(1 for _step in volumes.writing(node, tmp_path / "v.nrrd")) == 5
    assert sitk.ReadImage(str(tmp_path / "v.nrrd")).GetSize() == (512, 512, 40)


def test_precision_is_chosen_kept_in_the_scene_and_recorded(ui, logic_of, scene, pair, small_model):
    choose(ui, logic_of, pair, small_model)
    assert [ui.precisionComboBox.itemData(index) for index in range(4)] == ["auto", "float32", "bfloat16", "float16"]
    pick(ui.precisionComboBox, "float32")
    assert logic_of.getParameterNode().settings.precision == "float32"
    run_to_end(ui)
    record = json.loads(ui.denoisedSelector.currentNode().GetAttribute("CSRDDenoise.Provenance"))
    assert record["settings"]["precision"] == "float32"


@pytest.mark.usefixtures("without_worker")
def test_maps_that_a_redo_brings_back_belong_to_their_result(ui, scene, undo):
    pet = add_head("PET")
    undo(pet)
    scene.SaveStateForUndo()
    denoised, difference = add_result(pet, SLICER.util.arrayFromVolume(pet) * np.float32(0.9))
    undo(denoised, difference)
    for _again in range(2):
        scene.Undo()
        assert scene.GetFirstNodeByName(denoised.GetName()) is None
        scene.Redo()
        assert volumes.part_of(difference, denoised) is difference
        assert denoised.GetNodeReference("CSRDDenoise.PET") is pet
    # a map that was let go before stays so
    volumes.release_maps(denoised)
    scene.Undo()
    scene.Redo()
    assert volumes.part_of(difference, denoised) is None


@pytest.mark.usefixtures("without_worker")
def test_panel_follows_undo_and_redo(ui, logic_of, scene, undo):
    pet = add_head("PET")
    denoised, difference = add_result(pet, SLICER.util.arrayFromVolume(pet) * np.float32(0.9))
    choices = logic_of.getParameterNode().parameterNode
    undo(pet, denoised, difference, choices)
    choose(ui, logic_of, (pet, None), "")
    ui.denoisedSelector.setCurrentNode(denoised)
    first = ui.resultsTable.item(1, 1).text()
    # the numbers of a result are those of its state
    scene.SaveStateForUndo(denoised)
    denoised.SetAttribute("CSRDDenoise.Summary", None)
    choices.Modified()
    assert ui.resultsTable.rowCount == 0
    scene.Undo()
    assert ui.resultsTable.item(1, 1).text() == first
    scene.Redo()
    assert ui.resultsTable.rowCount == 0
    # what comes back into the scene comes back into the choices that were put back with it
    scene.SaveStateForUndo(choices)
    scene.RemoveNode(denoised)
    assert ui.denoisedSelector.currentNode() is None
    scene.Undo()
    assert ui.denoisedSelector.currentNode() is logic_of.getParameterNode().denoised is denoised
    assert ui.compareButton.isEnabled()
