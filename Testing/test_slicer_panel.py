"""The panel in real Qt, driven by clicks, with a real worker process behind it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
import time
import unittest
from pathlib import Path

import numpy as np
import pytest
from PySide6 import QtCore
from slicer_helpers import (
    ENTRY,
    SLICER,
    choose,
    click,
    identities,
    wait_until,
)

pytest_plugins = ["slicer_fixtures"]

import CSRDDenoisePanelTest  # noqa: E402 (needs the stand-in)
import qt  # noqa: E402

pytestmark = pytest.mark.slow

VOLUMES = ("pet", "mr", "fullDoseReference", "denoised", "difference", "uncertainty", "support")
INPUTS = tuple(f"{name}Selector" for name in VOLUMES)
CHOICES = ("modelComboBox", "presetComboBox", "samplerComboBox", "stepsSpinBox", "samplesSpinBox", "patchSizeSpinBox")
OTHERS = (
    "registerCheckBox",
    "supportCheckBox",
    "overlapSlider",
    "seedSpinBox",
    "deviceComboBox",
    "applyButton",
    "progressBar",
    "statusLabel",
    "logTextEdit",
)
RESULTS = ("denoised", "difference", "uncertainty")


def test_every_documented_object_is_there_with_a_tooltip(ui):
    for name in (*INPUTS, *CHOICES, *OTHERS, "compareButton"):
        assert getattr(ui, name).toolTip, f"{name} has no tooltip"
    page = (Path(__file__).parents[1] / "docs" / "slicer.md").read_text(encoding="utf-8")
    named = re.findall(r"`(\w+)`", page.partition("use its object names:")[2].partition("\n\n")[0])
    assert len(named) > 50 and [name for name in named if not hasattr(ui, name)] == []


@pytest.mark.usefixtures("without_estimate")
def test_a_users_story(area, ui, logic_of, scene, pair, small_model, slow_model, tmp_path):
    pet = pair[0]
    # nothing chosen
    assert not ui.applyButton.enabled
    assert ui.applyButton.toolTip == "Choose a PET volume first."
    # select
    choose(ui, logic_of, pair, slow_model, sampler="heun", steps=200, samples=8)
    assert ui.applyButton.enabled
    assert ui.petInfoLabel.text.startswith("26 x 28 x 24 voxels of 2 x 2 x 2 mm, max")
    assert "Random weights, for tests" in ui.modelCardLabel.text
    assert ui.presetComboBox.currentText == "Custom"
    # Apply, watch, Cancel
    before = identities(scene)
    click(ui.applyButton)
    assert ui.applyButton.text == "Cancel"
    assert ui.progressBar.visible
    assert not ui.petSelector.isEnabled()
    assert wait_until(lambda: "Sampling: step" in ui.statusLabel.text)
    began = time.monotonic()
    click(ui.applyButton)
    assert wait_until(lambda: ui.applyButton.text == "Apply", 10)
    assert time.monotonic() - began < 10
    assert ui.statusLabel.text == "Cancelled. Nothing was changed."
    assert not ui.detailsButton.visible
    assert identities(scene) == before
    # Apply again, with less to do
    choose(ui, logic_of, pair, small_model, sampler="dpmpp")
    assert ui.applyButton.enabled
    click(ui.applyButton)
    assert wait_until(lambda: ui.applyButton.text == "Apply")
    assert ui.statusLabel.text.startswith("Done in"), ui.statusLabel.text
    results = [
        selector.currentNode() for selector in (ui.denoisedSelector, ui.differenceSelector, ui.uncertaintySelector)
    ]
    assert [node.GetName() for node in results] == [
        f"PET low dose {end}" for end in ("denoised", "difference", "uncertainty")
    ]
    # results side by side
    views = ("CSRDPet", "CSRDDenoised", "CSRDDifference", "CSRDUncertainty")
    manager = SLICER.app.layoutManager()
    for view, volume in zip(views, (pet, *results)):
        composite = manager.sliceWidget(view).sliceLogic().GetSliceCompositeNode()
        assert composite.GetBackgroundVolumeID() == volume.GetID()
        assert composite.GetLinkedControl()
    plot = scene.GetSingletonNode("CSRDHistogram", "vtkMRMLPlotViewNode")
    series = plot.GetPlotChartNode().GetNthPlotSeriesNode(0)
    counted = sum(series.GetTableNode().GetTable().GetColumn(1).GetValue(row) for row in range(80))
    assert counted == sum(json.loads(results[0].GetAttribute("CSRDDenoise.Summary"))["histogram_counts"])
    assert ui.resultsTable.rowCount >= 3
    assert ui.resultsTable.item(2, 0).text() == "Change of total activity"
    legend = SLICER.modules.colors.logic().GetColorLegendDisplayNode(results[1])
    assert legend.GetVisibility() and legend.GetTitleText() == "denoised - PET"
    # save, close, load
    values = SLICER.util.arrayFromVolume(results[0]).copy()
    ui.seedSpinBox.value = 77
    for index, node in enumerate(SLICER.util.getNodesByClass("vtkMRMLScalarVolumeNode")):
        storage = scene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
        storage.SetFileName(str(tmp_path / f"{index}.nrrd"))
        node.SetAndObserveStorageNodeID(storage.GetID())
        assert storage.WriteData(node)
    scene.SetURL(str(tmp_path / "scene.mrml"))
    assert scene.Commit()
    scene.Clear(0)
    assert ui.petSelector.currentNode() is None
    assert (ui.seedSpinBox.value, ui.presetComboBox.currentText) == (0, "Balanced")
    assert not logic_of.worker.running
    scene.SetURL(str(tmp_path / "scene.mrml"))
    assert scene.Import()
    assert ui.petSelector.currentNode().GetName() == "PET low dose"
    assert (ui.seedSpinBox.value, ui.stepsSpinBox.value) == (77, 2)
    assert ui.modelComboBox.itemData(ui.modelComboBox.currentIndex) == small_model
    np.testing.assert_array_equal(SLICER.util.arrayFromVolume(ui.denoisedSelector.currentNode()), values)
    assert ui.resultsTable.rowCount >= 3
    click(ui.compareButton)
    composite = manager.sliceWidget("CSRDDenoised").sliceLogic().GetSliceCompositeNode()
    assert composite.GetBackgroundVolumeID() == ui.denoisedSelector.currentNodeID


def test_picture_of_the_panel_with_the_sample(area, ui, logic_of, scene, small_model, tmp_path):
    """Written to look at, by the bundled model to the folder that CSRD_TEST_PICTURES names; the guide shows it."""
    from CSRDDenoiseModule import readiness

    from CSRDDenoise import load_sample
    from CSRDDenoiseLib.model.bundle import DEFAULT_MODEL

    pet, mr = load_sample()[:2]
    trained = DEFAULT_MODEL in readiness.model_choices() and "CSRD_TEST_PICTURES" in os.environ
    if not trained:
        # before the volumes, or the speed of the bundled model would be measured too
        ENTRY.widgetRepresentation().self().panel.importModel(small_model)
    ui.petSelector.setCurrentNode(pet)
    ui.mrSelector.setCurrentNode(mr)
    ui.presetComboBox.setCurrentIndex(ui.presetComboBox.findData("fast"))
    assert wait_until(lambda: "GiB of memory" in ui.estimateLabel.text)
    if trained:
        click(ui.applyButton)
        assert wait_until(lambda: ui.applyButton.text == "Apply")
        assert ui.statusLabel.text.startswith("Done in"), ui.statusLabel.text
    # the run ended the look at the volumes, which is taken again
    assert wait_until(lambda: "Looking" not in ui.petInfoLabel.text + ui.mrInfoLabel.text)
    # as high as its contents: Slicer would scroll
    area._qt.resize(480, 1750)
    SLICER.app.processEvents()
    path = Path(os.environ.get("CSRD_TEST_PICTURES", tmp_path)) / "slicer-panel.png"
    # the window may be higher than what stands in it
    last = ui.logCollapsibleButton._qt
    below = last.mapTo(area._qt, last.rect().bottomLeft()).y() + 22
    assert area._qt.grab(QtCore.QRect(0, 0, area._qt.width(), below)).save(str(path))
    assert path.stat().st_size > 20_000


def test_presets_set_what_they_stand_for_and_changes_make_it_custom(ui, logic_of, scene):
    ui.presetComboBox.setCurrentIndex(ui.presetComboBox.findData("quality"))
    assert (ui.stepsSpinBox.value, ui.samplesSpinBox.value) == (5, 16)
    ui.presetComboBox.setCurrentIndex(ui.presetComboBox.findData("fast"))
    assert ui.samplerComboBox.currentText == "Posterior mean"
    assert logic_of.getParameterNode().settings.sampler == "mean"
    ui.stepsSpinBox.value = 3
    assert ui.presetComboBox.currentText == "Custom"
    ui.presetComboBox.setCurrentIndex(ui.presetComboBox.findData("balanced"))
    ui.samplerComboBox.setCurrentIndex(ui.samplerComboBox.findData("heun"))
    assert logic_of.getParameterNode().settings.sampler == "heun"
    assert ui.presetComboBox.currentText == "Custom"


def test_estimate_appears_and_is_kept(ui, logic_of, pair, small_model):
    choose(ui, logic_of, pair, small_model)
    assert "Measuring" in ui.estimateLabel.text
    assert wait_until(lambda: "GiB of memory" in ui.estimateLabel.text)
    assert wait_until(lambda: ui.deviceComboBox.findData("cpu") > 0)
    assert any("Speed" in key for key in qt.QSettings().allKeys())


@pytest.mark.usefixtures("without_estimate")
def test_errors_are_one_sentence_with_details_behind_a_button(ui, logic_of, pair, slow_model, tmp_path):
    choose(ui, logic_of, pair, str(tmp_path / "gone"))
    click(ui.applyButton)
    assert wait_until(lambda: ui.applyButton.text == "Apply")
    assert "is not known" in ui.statusLabel.text
    assert ui.detailsButton.visible
    SLICER.util.standin.shown.clear()
    click(ui.detailsButton)
    ((sentence, details),) = SLICER.util.standin.shown
    assert "is not known" in sentence and "Traceback" in details
    # a crash of the worker
    choose(ui, logic_of, pair, slow_model, steps=200, samples=8)
    click(ui.applyButton)
    assert wait_until(lambda: "Sampling" in ui.statusLabel.text)
    os.kill(logic_of.worker.processId, signal.SIGKILL)
    assert wait_until(lambda: ui.applyButton.text == "Apply")
    assert "memory ran out" in ui.statusLabel.text
    ui.copyLogButton.click()
    assert "memory ran out" in SLICER.app.clipboard().text()


@pytest.mark.usefixtures("without_worker")
def test_warnings_stand_under_the_selectors(ui, pair):
    pet, mr = pair
    ui.petSelector.setCurrentNode(mr)
    assert "looks like an MR" in ui.petInfoLabel.text
    ui.petSelector.setCurrentNode(pet)
    ui.mrSelector.setCurrentNode(pet)
    assert "the PET itself" in ui.mrInfoLabel.text


@pytest.mark.usefixtures("without_worker")
def test_missing_packages_are_asked_for_once_by_name_and_size(ui, logic_of, pair, small_model, monkeypatch):
    from CSRDDenoiseModule import readiness

    real = readiness.importlib.util.find_spec
    gone = {"monai", "torch"}
    monkeypatch.setattr(readiness.importlib.util, "find_spec", lambda name: None if name in gone else real(name))
    choose(ui, logic_of, pair, small_model)
    click(ui.applyButton)
    assert "extension 'PyTorch', which is not installed" in ui.statusLabel.text
    gone.discard("torch")
    SLICER.util.standin.shown.clear()
    monkeypatch.setattr(SLICER.util.standin, "answers", False)
    click(ui.applyButton)
    ((question, _),) = SLICER.util.standin.shown
    assert "monai (2 MB)" in question
    assert "not installed, so nothing was done" in ui.statusLabel.text
    monkeypatch.setattr(SLICER.util.standin, "answers", True)
    asked = []
    monkeypatch.setattr(SLICER.util, "pip_install", lambda arguments: (asked.append(arguments), gone.clear()))
    assert readiness.install_packages()
    assert asked[0][:2] == ["monai>=1.3", "--constraint"]
    assert not any("torch" in argument for argument in asked[0])


@pytest.mark.usefixtures("without_worker")
def test_panel_works_where_no_package_is_installed_yet(ui, pair, monkeypatch):
    """A new Slicer has none of them, cattrs among them, which reads a model's metadata."""
    from CSRDDenoiseModule import readiness

    from CSRDDenoiseLib import configuration

    real, gone = readiness.importlib.util.find_spec, ("torch", "monai", "cattrs")
    monkeypatch.setattr(readiness.importlib.util, "find_spec", lambda name: None if name in gone else real(name))
    for name in ("cattrs", "cattrs.errors", "cattrs.gen"):
        monkeypatch.setitem(sys.modules, name, None)
    configuration._converter.cache_clear()
    ui.petSelector.setCurrentNode(pair[0])
    assert ui.modelCardLabel.text.startswith("Python packages are missing: torch, monai, cattrs. Open")
    assert ui.petInfoLabel.text and ui.applyButton.enabled
    click(ui.applyButton)
    assert "extension 'PyTorch', which is not installed" in ui.statusLabel.text


def test_too_old_package_is_reported_and_not_replaced(monkeypatch):
    from CSRDDenoiseModule import readiness

    monkeypatch.setattr(readiness.installed, "version_of", lambda name: "0.9.1" if name == "monai" else "99.0")
    with pytest.raises(readiness.PackagesMissing, match=r"monai 0\.9\.1 is installed, but CSRDDenoise needs 1\.3"):
        readiness.missing_packages()


@pytest.mark.usefixtures("without_worker")
def test_imported_model_is_checked_chosen_and_remembered(ui, logic_of, small_model, tmp_path, monkeypatch):
    monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path), raising=False)
    click(ui.importModelButton)
    assert "is not known" in ui.statusLabel.text
    monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", lambda *_: small_model, raising=False)
    click(ui.importModelButton)
    assert logic_of.getParameterNode().model == small_model
    assert ui.modelComboBox.currentText == "tiny (imported)"
    assert "Random weights" in ui.modelCardLabel.text
    # offered from now on, as long as the folder is there
    adapted = tmp_path / "site A, adapted"
    shutil.copytree(small_model, adapted)
    monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", lambda *_: str(adapted), raising=False)
    click(ui.importModelButton)
    assert {"tiny (imported)", "site A, adapted (imported)"} <= titles(ui.modelComboBox)
    shutil.rmtree(adapted)
    ENTRY.widgetRepresentation().self().panel._lists.fillModels()
    assert "site A, adapted (imported)" not in titles(ui.modelComboBox)


def titles(combo) -> set[str]:
    return {combo.itemText(index) for index in range(combo.count)}


@pytest.mark.usefixtures("without_estimate")
def test_leaving_the_module_lets_a_run_end_and_then_the_worker(area, ui, logic_of, pair, small_model):
    choose(ui, logic_of, pair, small_model)
    click(ui.applyButton)
    area.exit()
    assert logic_of.busy
    assert wait_until(lambda: not logic_of.busy)
    assert logic_of.getParameterNode().denoised is not None
    assert not logic_of.worker.running


@pytest.mark.usefixtures("without_estimate")
def test_closing_the_scene_stops_a_run(ui, logic_of, pair, slow_model, scene):
    choose(ui, logic_of, pair, slow_model, steps=200, samples=8)
    click(ui.applyButton)
    assert wait_until(lambda: "Sampling" in ui.statusLabel.text)
    process = logic_of.worker.processId
    scene.Clear(0)
    assert not logic_of.busy
    assert not Path(f"/proc/{process}").exists()
    assert ui.applyButton.text == "Apply"
    assert not ui.applyButton.enabled


def test_reload_reads_every_part_again(area, pair):
    import sys

    before = sys.modules["CSRDDenoiseModule.panel"], sys.modules["CSRDDenoiseLib.settings"]
    ours = ("CSRDDenoiseLib", "CSRDDenoiseModule")
    kept = {name: module for name, module in sys.modules.items() if name.split(".")[0] in ours}
    old = area.self()
    old.ui.petSelector.setCurrentNode(pair[0])
    old.onReload()
    new = area.self()
    try:
        assert new is not old
        assert sys.modules["CSRDDenoiseModule.panel"] is not before[0]
        assert sys.modules["CSRDDenoiseLib.settings"] is not before[1]
        assert new.ui.petSelector.currentNode() is pair[0]
        assert new.ui.applyButton.enabled
    finally:
        new.logic.close()
        # tests that come later compare with the classes they imported, also in modules that are first read here
        for name in [name for name in sys.modules if name.split(".")[0] in ours and name not in kept]:
            del sys.modules[name]
        sys.modules.update(kept)


def test_widget_that_a_script_makes_without_a_parent_works(scene, pair):
    """Slicer's base class makes the parent then, and sets the widget up before its constructor is done."""
    made = ENTRY.python.CSRDDenoiseWidget()
    made.enter()
    made.ui.petSelector.setCurrentNode(pair[0])
    assert made.ui.applyButton.enabled
    scene.RemoveNode(pair[0])
    assert made.ui.petSelector.currentNode() is None and not made.ui.applyButton.enabled
    made.exit()
    made.cleanup()
    assert made.panel is None and not made.logic.worker.running
    made.parent.hide()
    chosen = made.logic.getParameterNode()
    chosen.mr = pair[1]
    made.ui.mrSelector.setCurrentNode(None)
    assert chosen.mr is pair[1], "what is left of a panel chooses nothing"
    # its controls stay connected to the choices, so a script must not let go of them while the scene lives
    ENTRY.madeByScript = made


def test_self_tests_for_a_real_slicer_pass_here(scene, small_model, monkeypatch):
    from CSRDDenoiseModule import readiness
    from CSRDDenoiseModule.logic import CSRDDenoiseLogic

    from CSRDDenoiseLib.model.bundle import DEFAULT_MODEL

    if DEFAULT_MODEL not in readiness.model_choices():
        start = CSRDDenoiseLogic.start
        monkeypatch.setattr(
            CSRDDenoiseLogic,
            "start",
            lambda self, *a, **o: start(self, *a, **{**o, "model": o.get("model") or small_model}),
        )
    SLICER.selfTests["CSRDDenoise"](msec=0)
    monkeypatch.setattr(CSRDDenoisePanelTest.CSRDDenoisePanelTest, "MODEL", small_model)
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromModule(CSRDDenoisePanelTest).run(result)
    assert result.testsRun == 1
    assert not result.errors and not result.failures, result.errors or result.failures
