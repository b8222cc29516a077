"""What a real Slicer showed once: data mixed up, views that come up wrong, controls out of sight; each is mended."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from slicer_helpers import (
    ENTRY,
    SLICER,
    add_head,
    add_volume,
    choose,
    click,
    pick,
    run_to_end,
    sentences_of,
    wait_until,
)

pytest_plugins = ["slicer_fixtures"]

from CSRDDenoiseModule import readiness, volumes, wording, worker_process  # noqa: E402 (needs the stand-in)
from CSRDDenoiseModule.volumes import Outputs  # noqa: E402

from CSRDDenoiseLib.errors import CSRDError  # noqa: E402

pytestmark = pytest.mark.slow

QUICK = {"steps": 2, "samples": 2, "device": "cpu"}
VIEWS = ("CSRDPet", "CSRDDenoised", "CSRDDifference", "CSRDUncertainty")


def manager():
    return SLICER.app.layoutManager()


def background(view: str) -> str:
    return manager().sliceWidget(view).sliceLogic().GetSliceCompositeNode().GetBackgroundVolumeID()


def suv_unit():
    entry = SLICER.vtkCodedEntry()
    entry.SetValueSchemeMeaning("{SUVbw}g/ml", "UCUM", "Standardized Uptake Value body weight")
    return entry


# 1. sample data


def test_sample_is_registered_with_lists_and_refused_without(scene):
    from SampleData import SampleDataLogic

    with pytest.raises(TypeError):
        SampleDataLogic.registerCustomSampleDataSource(category="x", sampleName="y", customDownloader=print)
    SLICER.modules.sampleDataSources.clear()
    SLICER.app.complete_startup()
    assert [source.sampleName for source in SLICER.modules.sampleDataSources["CSRDDenoise"]] == ["CSRDDenoiseBrain"]


def test_sample_leaves_the_low_dose_in_view(scene):
    nodes = ENTRY.python.load_sample()
    assert [node.GetName() for node in nodes] == ["PET low dose 1/10", "MR T1", "PET full dose"]
    assert {background(view) for view in manager().sliceViewNames()} == {nodes[0].GetID()}


# 2. results belong to their PET


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


def test_same_pet_fills_its_results_again(ui, logic_of, scene, pair, small_model):
    choose(ui, logic_of, pair, small_model)
    run_to_end(ui)
    first = ui.denoisedSelector.currentNode()
    run_to_end(ui)
    assert ui.denoisedSelector.currentNode() is first


# 3. nodes that go


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


# 4. and 5. the comparison


def test_legends_are_drawn_and_the_whole_head_is_in_view(ui, logic_of, scene, pair, small_model):
    manager().setLayout(SLICER.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    choose(ui, logic_of, pair, small_model)
    run_to_end(ui)
    for view, role in (("CSRDDifference", "difference"), ("CSRDUncertainty", "uncertainty")):
        volume = getattr(ui, f"{role}Selector").currentNode()
        assert manager().sliceWidget(view).legends() == {volume.GetID()}
    for view in VIEWS:
        node = manager().sliceWidget(view).sliceLogic().GetSliceNode()
        fov, size = node.GetFieldOfView(), node.GetDimensions()
        assert tuple(size[:2]) == manager().sliceWidget(view).SIZE
        assert fov[0] / size[0] == pytest.approx(fov[1] / size[1], rel=1e-3)
        assert fov[0] >= 52 and fov[1] >= 56


@pytest.mark.parametrize(("width", "rows"), [(900, 2), (1900, 1)])
def test_views_stand_in_two_rows_where_the_window_is_narrow(ui, logic_of, scene, pair, small_model, width, rows):
    from xml.etree import ElementTree

    manager()._viewport.resize(width, 600)
    choose(ui, logic_of, pair, small_model)
    run_to_end(ui)
    layout = ElementTree.fromstring(manager().layoutLogic().GetLayoutNode().GetLayoutDescription(manager().layout))
    found = [row.findall(".//view[@class='vtkMRMLSliceNode']") for row in layout.findall("item")]
    assert [len(views) for views in found if views] == [4 // rows] * rows
    labels = [each.text for each in layout.iter("property") if each.get("name") == "viewlabel"]
    assert labels[:4] == ["PET", "Denoised", "Difference", "Uncertainty"]


# 6. what stays in sight


def test_apply_progress_and_status_stand_above_everything_that_can_be_long(area, ui):
    def top(widget):
        return widget._qt.mapTo(area._qt, widget._qt.rect().topLeft()).y()

    ui.progressBar.setVisible(True)
    SLICER.app.processEvents()
    others = [getattr(ui, f"{name}CollapsibleButton") for name in ("inputs", "outputs", "model", "advanced", "results")]
    assert max(top(widget) for widget in (ui.applyButton, ui.progressBar, ui.statusLabel)) < min(map(top, others))
    assert top(ui.statusLabel) < 200
    ui.progressBar.setVisible(False)


# 7. no torch


class Extensions:
    """A manager of extensions that installs at once."""

    interactive = True

    def __init__(self, works=True):
        self.asked, self._works = [], works

    def installExtensionFromServer(self, name, restart=True):
        self.asked.append((name, restart))
        return self._works


@pytest.fixture
def no_torch(monkeypatch):
    real = readiness.importlib.util.find_spec
    gone = {"torch", "PyTorchUtils"}
    monkeypatch.setattr(readiness.importlib.util, "find_spec", lambda name: None if name in gone else real(name))
    SLICER.util.standin.shown.clear()


def test_missing_pytorch_extension_is_offered_in_a_dialog(ui, logic_of, pair, small_model, no_torch, monkeypatch):
    extensions, restarts = Extensions(), []
    object.__setattr__(SLICER.app, "extensionsManagerModel", lambda: extensions)
    monkeypatch.setattr(SLICER.util, "restart", lambda: restarts.append(1), raising=False)
    try:
        choose(ui, logic_of, pair, small_model)
        click(ui.applyButton)
    finally:
        object.__delattr__(SLICER.app, "extensionsManagerModel")
    assert extensions.asked == [("PyTorch", False)] and not extensions.interactive and restarts
    assert "extension 'PyTorch'" in SLICER.util.standin.shown[0][0]
    assert "Restart Slicer" in ui.statusLabel.text


def test_slicer_without_a_manager_of_extensions_explains(ui, logic_of, pair, small_model, no_torch):
    choose(ui, logic_of, pair, small_model)
    click(ui.applyButton)
    assert any("Extensions Manager" in text for text, _ in SLICER.util.standin.shown)
    assert "Extensions Manager" in ui.statusLabel.text


def test_no_estimate_while_packages_are_missing(ui, logic_of, pair, small_model, no_torch):
    from CSRDDenoiseModule import readiness

    from CSRDDenoiseLib.infer.cost import DeviceSpeed

    measured = DeviceSpeed(**{name: 1e6 for name in DeviceSpeed.__dataclass_fields__})
    readiness.keep_speed("cpu", small_model, measured)
    choose(ui, logic_of, pair, small_model)
    assert "torch is not installed" in ui.estimateLabel.text and "About" not in ui.estimateLabel.text
    assert not logic_of.worker.running


# 8. volumes that are loaded later


def test_loaded_volume_leaves_the_comparison_alone(ui, logic_of, scene, pair, small_model, tmp_path):
    before = manager().layout
    choose(ui, logic_of, pair, small_model)
    run_to_end(ui)
    shown = [background(view) for view in VIEWS]
    assert manager().layout != before
    sitk.WriteImage(sitk.GetImageFromArray(np.ones((5, 6, 7), np.float32)), str(tmp_path / "v.nrrd"))
    SLICER.util.loadVolume(str(tmp_path / "v.nrrd"), {"name": "later"})
    assert [background(view) for view in VIEWS] == shown
    scene.Clear(0)
    assert manager().layout == before
    SLICER.app.processEvents()
    node = SLICER.util.loadVolume(str(tmp_path / "v.nrrd"), {"name": "afterwards"})
    assert {background(view) for view in manager().sliceViewNames()} == {node.GetID()}


# 9. maps of an earlier run


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


# 10. words, numbers, and the wait


def test_posterior_mean_has_neither_steps_nor_samples(ui, logic_of, scene):
    pick(ui.samplerComboBox, "mean")
    assert not ui.stepsSpinBox.isEnabled() and not ui.samplesSpinBox.isEnabled()
    pick(ui.samplerComboBox, "heun")
    assert ui.stepsSpinBox.isEnabled() and ui.samplesSpinBox.isEnabled() and ui.uncertaintyCheckBox.checked


def test_empty_map_of_unsupported_structure_is_put_in_words(scene, pair):
    pet = pair[0]
    empty, found = (add_labels(pet, value) for value in (0, 1))
    for node, words in ((empty, True), (found, False)):
        assert ("nothing found" in wording.result_text(_result(pet, node))) is words


def add_labels(pet, value):
    node = SLICER.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    array = np.zeros(SLICER.util.arrayFromVolume(pet).shape, np.uint8)
    array[2, 3, 4] = value
    SLICER.util.updateVolumeFromArray(node, array)
    return node


def _result(pet, support):
    from CSRDDenoiseModule.logic import DenoisedVolumes

    return DenoisedVolumes(pet, None, None, {"seconds": {"total": 2.0}}, supportVolume=support)


def test_colours_of_the_label_map_are_those_of_the_difference(logic, scene, pair, small_model):
    result = logic.denoise(*pair, model=small_model, outputs=Outputs(makeSupport=True), **QUICK)
    table, added, removed = result.supportVolume.GetDisplayNode().GetColorNode(), [0.0] * 4, [0.0] * 4
    table.GetColor(1, added)
    table.GetColor(2, removed)
    assert added[0] > 0.6 > added[2] and removed[2] > 0.6 > removed[0]
    assert table.GetColorName(1) == "added" and table.GetColorName(2) == "removed"


def test_warnings_are_a_list_with_severities(ui, logic_of, scene, pair, small_model):
    choose(ui, logic_of, pair, small_model)
    run_to_end(ui)
    rows = ui.findingsTable.rowCount
    assert rows >= 1
    kinds = [ui.findingsTable.item(row, 0).text() for row in range(rows)]
    assert set(kinds) <= {"Warning", "Note"} and kinds == sorted(kinds, key=lambda kind: kind != "Warning")
    assert not any(sentence in ui.statusLabel.text for sentence in sentences_of(ui.findingsTable))


def test_noise_has_the_same_name_in_panel_and_report(logic, scene, pair, small_model, tmp_path):
    example = add_head("PET", (40, 44, 40))
    result = logic.denoise(example, model=small_model, **QUICK)
    rows = dict(wording.summary_rows({**result.summary, **_FLAT}, "Bq/ml"))
    name = next(name for name in rows if "Noise" in name)
    assert rows[name] == "12.3 → 4.6 %"
    page = logic.writeReport(result.denoisedVolume, path=str(tmp_path / "r.html")).read_text(encoding="utf-8")
    assert name in page


_FLAT = {"noise_before_percent": 12.3, "noise_after_percent": 4.6, "reference_centre_ras": (1.0, 2.0, 3.0)}


def test_every_line_of_the_log_stands_once_a_run(ui, logic_of, scene, pair, small_model):
    ui.logTextEdit.clear()
    choose(ui, logic_of, pair, small_model)
    run_to_end(ui)
    lines = [line.split("  ", 1)[1] for line in ui.logTextEdit.plainText.splitlines()]
    assert len(lines) > 5 and len(lines) == len(set(lines))


@pytest.mark.parametrize(
    ("largest", "text"), [(12345.6, "12346"), (25.04, "25.0"), (4.5678, "4.57"), (0.123456, "0.123"), (0, "0")]
)
def test_numbers_of_legends_have_three_digits(largest, text):
    from CSRDDenoiseModule.views.display import legend_format

    assert legend_format(largest) % largest == text


@pytest.fixture
def slow_writing(monkeypatch):
    """A logic without a process yet, that writes one slice a turn."""
    monkeypatch.setattr(worker_process, "SECONDS_A_TURN", 0.0)
    monkeypatch.setattr(volumes, "BYTES_A_STEP", 1)
    made = ENTRY.python.CSRDDenoiseLogic()
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
    with pytest.raises(CSRDError, match="changed while it was read"):
        job.wait()


def test_cancel_while_writing(slow_writing, scene, small_model):
    job = slow_writing.start(add_head("PET"), None, model=small_model, **QUICK)
    job.cancel()
    assert wait_until(lambda: job.state == "cancelled", 5)


# 11. record, unit, quantity


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
    # voxels that are no longer those of the file
    SLICER.util.arrayFromVolume(loaded)[:] *= 2
    SLICER.util.arrayFromVolumeModified(loaded)
    assert logic.denoise(loaded, None, model=small_model, **QUICK).provenance["inputs"]["pet"]["path"] is None


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
        assert volumes.unit_of(node) == "SUVbw"


def test_unit_of_a_volume_from_dicom_is_read_from_its_files(scene, monkeypatch, tmp_path):
    class Database:
        def instanceValue(self, instance, tag):
            return {("1.2.3", "0054,1001"): "BQML"}[instance, tag]

    monkeypatch.setattr(SLICER, "dicomDatabase", Database(), raising=False)
    pet = add_head("PET")
    pet.SetAttribute("DICOM.instanceUIDs", "1.2.3 1.2.4")
    assert volumes.unit_of(pet) == "Bq/ml"
    volumes.write_volume(pet, tmp_path / "v.nrrd")
    assert sitk.ReadImage(str(tmp_path / "v.nrrd")).GetMetaData("0054|1001") == "BQML"


# today's Slicer


def test_packages_come_with_slicers_own_progress_where_it_has_one(monkeypatch):
    import sys
    import types

    gone, calls = {"monai"}, []
    real = readiness.importlib.util.find_spec
    monkeypatch.setattr(readiness.importlib.util, "find_spec", lambda name: None if name in gone else real(name))

    def pip_install(requirements, constraints=None, show_progress=True, requester=None, **_options):
        assert threading.current_thread() is threading.main_thread() and Path(constraints).is_file()
        calls.append((requirements, show_progress, requester))
        gone.clear()

    module = types.ModuleType("slicer.packaging")
    module.pip_install = pip_install
    monkeypatch.setitem(sys.modules, "slicer.packaging", module)
    assert readiness.install_packages()
    assert calls == [(["monai>=1.3"], True, "CSRDDenoise")]


def test_packages_are_never_installed_in_a_thread(monkeypatch):
    real = readiness.importlib.util.find_spec
    monkeypatch.setattr(readiness.importlib.util, "find_spec", lambda name: None if name == "monai" else real(name))
    errors = []

    def run():
        try:
            readiness.install_packages()
        except RuntimeError as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert len(errors) == 1


def test_module_is_named_for_what_it_does():
    assert ENTRY.title == "PET/MR denoising (CSRD)" and ENTRY.categories == ["Nuclear Medicine"]


def test_last_choices_are_the_defaults_of_the_next_scene(ui, logic_of, scene, pair, small_model):
    choose(ui, logic_of, pair, small_model)
    pick(ui.presetComboBox, "fast")
    logic_of.getParameterNode().settings.registerMr = True
    run_to_end(ui)
    scene.Clear(0)
    parameters = logic_of.getParameterNode()
    assert (ui.presetComboBox.currentText, parameters.settings.device) == ("Fast", "cpu")
    assert ui.registerCheckBox.checked and not parameters.makeUncertainty


def test_fade_and_toggle_between_pet_and_denoised(ui, logic_of, scene, pair, small_model):
    choose(ui, logic_of, pair, small_model)
    assert not ui.toggleButton.isEnabled()
    run_to_end(ui)
    composite = manager().sliceWidget("CSRDPet").sliceLogic().GetSliceCompositeNode()
    assert composite.GetForegroundVolumeID() is None
    click(ui.toggleButton)
    assert composite.GetForegroundVolumeID() == ui.denoisedSelector.currentNodeID
    assert composite.GetForegroundOpacity() == 1.0
    ui.fadeSlider.value = 0.4
    assert composite.GetForegroundOpacity() == pytest.approx(0.4)
    click(ui.toggleButton)
    click(ui.toggleButton)
    assert composite.GetForegroundOpacity() == 0.0 and composite.GetForegroundVolumeID() is None


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
