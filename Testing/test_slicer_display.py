"""What a user sees of a run: views, legends, lists of warnings, words, offers to install."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PySide6 import QtCore, QtTest
from slicer_helpers import (
    ENTRY,
    SLICER,
    add_example,
    add_head,
    background,
    choose,
    click,
    layout_manager,
    pick,
    run_to_end,
    sentences_of,
    tick,
    wait_until,
)

pytest_plugins = ["slicer_fixtures"]

from CSRDDenoiseModule import readiness, wording  # noqa: E402 (needs the stand-in)
from CSRDDenoiseModule.views import plots  # noqa: E402
from CSRDDenoiseModule.volumes import Outputs  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_worker")]

QUICK = {"steps": 2, "samples": 2, "device": "cpu"}
VIEWS = ("CSRDPet", "CSRDDenoised", "CSRDDifference", "CSRDUncertainty")


def test_sample_leaves_the_low_dose_in_view(scene):
    nodes = ENTRY.python.load_sample()
    assert [node.GetName() for node in nodes] == ["PET low dose 1/10", "MR T1", "PET full dose"]
    assert {background(view) for view in layout_manager().sliceViewNames()} == {nodes[0].GetID()}


def text_contrast(text, behind):
    """Contrast ratio of a text on a grey (WCAG 2.1, section 1.4.3, which asks for 4.5), with its own background."""
    opacity = text.GetBackgroundOpacity()
    greys = [text.GetColor()[0], opacity * text.GetBackgroundColor()[0] + (1 - opacity) * behind]
    light, dark = sorted((0.05 + grey**2.2 for grey in greys), reverse=True)
    return light / dark


def test_legends_are_drawn_and_the_whole_head_is_in_view(ui, logic_of, scene, pair, small_model):
    layout_manager().setLayout(SLICER.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    choose(ui, logic_of, pair, small_model)
    run_to_end(ui)
    for view, role in (("CSRDDifference", "difference"), ("CSRDUncertainty", "uncertainty")):
        volume = getattr(ui, f"{role}Selector").currentNode()
        assert layout_manager().sliceWidget(view).legends() == {volume.GetID()}
        legend = SLICER.modules.colors.logic().GetColorLegendDisplayNode(volume)
        for text in (legend.GetTitleTextProperty(), legend.GetLabelTextProperty()):
            assert min(text_contrast(text, behind) for behind in (0.0, 0.87)) > 4.5
    for view in VIEWS:
        node = layout_manager().sliceWidget(view).sliceLogic().GetSliceNode()
        fov, size = node.GetFieldOfView(), node.GetDimensions()
        assert tuple(size[:2]) == layout_manager().sliceWidget(view).SIZE
        assert fov[0] / size[0] == pytest.approx(fov[1] / size[1], rel=1e-3)
        assert fov[0] >= 52 and fov[1] >= 56


@pytest.mark.parametrize(("width", "rows"), [(900, 2), (1900, 1)])
def test_views_stand_in_two_rows_where_the_window_is_narrow(ui, logic_of, scene, pair, small_model, width, rows):
    from xml.etree import ElementTree

    layout_manager()._viewport.resize(width, 600)
    choose(ui, logic_of, pair, small_model)
    run_to_end(ui)
    layout = ElementTree.fromstring(
        layout_manager().layoutLogic().GetLayoutNode().GetLayoutDescription(layout_manager().layout)
    )
    found = [row.findall(".//view[@class='vtkMRMLSliceNode']") for row in layout.findall("item")]
    assert [len(views) for views in found if views] == [4 // rows] * rows
    labels = [each.text for each in layout.iter("property") if each.get("name") == "viewlabel"]
    assert labels[:4] == ["PET", "Denoised", "Difference", "Uncertainty"]


def test_apply_progress_and_status_stand_above_everything_that_can_be_long(area, ui):
    def top(widget):
        return widget._qt.mapTo(area._qt, widget._qt.rect().topLeft()).y()

    ui.progressBar.setVisible(True)
    SLICER.app.processEvents()
    others = [getattr(ui, f"{name}CollapsibleButton") for name in ("inputs", "outputs", "model", "advanced", "results")]
    assert max(top(widget) for widget in (ui.applyButton, ui.progressBar, ui.statusLabel)) < min(map(top, others))
    assert top(ui.statusLabel) < 200
    ui.progressBar.setVisible(False)


class Extensions:
    """A manager of extensions that installs at once."""

    interactive = True

    def __init__(self, works=True):
        self.asked, self._works = [], works

    def installExtensionFromServer(self, name, restart=True):
        self.asked.append((name, restart, self.interactive))
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
    assert extensions.asked == [("PyTorch", False, False)] and restarts
    # the user is asked again when another extension is installed
    assert extensions.interactive
    assert "extension 'PyTorch'" in SLICER.util.standin.shown[0][0]
    assert "Restart Slicer" in ui.statusLabel.text


def test_slicer_without_a_manager_of_extensions_explains(ui, logic_of, pair, small_model, no_torch):
    choose(ui, logic_of, pair, small_model)
    click(ui.applyButton)
    assert any("Extensions Manager" in text for text, _ in SLICER.util.standin.shown)
    assert "Extensions Manager" in ui.statusLabel.text


def test_no_estimate_while_packages_are_missing(ui, logic_of, pair, small_model, no_torch, monkeypatch):
    from CSRDDenoiseModule import readiness

    from CSRDDenoiseLib.infer.cost import DeviceSpeed

    measured = DeviceSpeed(**{name: 1e6 for name in DeviceSpeed.__dataclass_fields__})
    readiness.save_speed("cpu", small_model, measured)
    asked = []
    monkeypatch.setattr(logic_of.worker, "send", asked.append)
    choose(ui, logic_of, pair, small_model)
    assert "torch is not installed" in ui.estimateLabel.text and "About" not in ui.estimateLabel.text
    assert not asked


def test_loaded_volume_leaves_the_comparison_alone(ui, logic_of, scene, pair, small_model, tmp_path):
    before = layout_manager().layout
    choose(ui, logic_of, pair, small_model)
    run_to_end(ui)
    shown = [background(view) for view in VIEWS]
    assert layout_manager().layout != before
    sitk.WriteImage(sitk.GetImageFromArray(np.ones((5, 6, 7), np.float32)), str(tmp_path / "v.nrrd"))
    SLICER.util.loadVolume(str(tmp_path / "v.nrrd"), {"name": "later"})
    assert [background(view) for view in VIEWS] == shown
    scene.Clear(0)
    assert layout_manager().layout == before
    SLICER.app.processEvents()
    node = SLICER.util.loadVolume(str(tmp_path / "v.nrrd"), {"name": "afterwards"})
    assert {background(view) for view in layout_manager().sliceViewNames()} == {node.GetID()}


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


def test_fade_and_toggle_between_pet_and_denoised(ui, logic_of, scene, pair, small_model):
    choose(ui, logic_of, pair, small_model)
    assert not ui.toggleButton.isEnabled()
    run_to_end(ui)
    composite = layout_manager().sliceWidget("CSRDPet").sliceLogic().GetSliceCompositeNode()
    assert composite.GetForegroundVolumeID() is None
    click(ui.toggleButton)
    assert composite.GetForegroundVolumeID() == ui.denoisedSelector.currentNodeID
    assert composite.GetForegroundOpacity() == 1.0
    ui.fadeSlider.value = 0.4
    assert composite.GetForegroundOpacity() == pytest.approx(0.4)
    click(ui.toggleButton)
    click(ui.toggleButton)
    assert composite.GetForegroundOpacity() == 0.0 and composite.GetForegroundVolumeID() is None


# -- check boxes and what their run reports


def test_wipe_and_plots_follow_the_slider(area, ui, logic_of, scene, small_model):
    choose(ui, logic_of, (add_head("PET"), None), small_model, precision="float32")
    run_to_end(ui)
    denoised = ui.denoisedSelector.currentNode()
    click(ui.profileButton)
    tick(ui.wipeCheckBox)
    ui.fadeSlider.value = 1.0
    before = SLICER.util.arrayFromVolume(denoised).copy()
    ui.keepSlider.value = 0.0
    assert wait_until(lambda: not area.self().panel._results.following)
    after = SLICER.util.arrayFromVolume(denoised)
    assert np.abs(after - before).max() > 1
    # at width 0 the result is the PET
    np.testing.assert_array_equal(SLICER.util.arrayFromVolume(scene.GetFirstNodeByName("CSRDDenoise wipe")), after)
    summary = json.loads(denoised.GetAttribute("CSRDDenoise.Summary"))
    np.testing.assert_array_equal(column(plots.HISTOGRAM, "voxels"), summary["histogram_counts"])
    np.testing.assert_allclose(column(plots.PROFILE, "denoised"), column(plots.PROFILE, "PET"), rtol=1e-4, atol=0.5)


def column(role, name):
    values = plots.drawn(role).GetNthPlotSeriesNode(0).GetTableNode().GetTable().GetColumnByName(name)
    return [values.GetValue(row) for row in range(values.GetNumberOfValues())]


def test_checkbox_registers_the_mr_and_the_status_reports_it(ui, logic_of, scene, pair, small_model):
    choose(ui, logic_of, pair, small_model, sampler="mean")
    assert not logic_of.getParameterNode().settings.registerMr
    box = ui.registerCheckBox._qt
    # the box and its text take the click, not the empty space beside them
    QtTest.QTest.mouseClick(box, QtCore.Qt.LeftButton, pos=QtCore.QPoint(8, box.height() // 2))
    assert logic_of.getParameterNode().settings.registerMr
    click(ui.applyButton)
    assert wait_until(lambda: ui.applyButton.text == "Apply")
    denoised = ui.denoisedSelector.currentNode()
    registration = json.loads(denoised.GetAttribute("CSRDDenoise.Provenance"))["quality"]["registration"]
    assert registration["applied"]
    assert denoised.GetNodeReference("CSRDDenoise.Registration").GetName() == "T1 registered to PET"
    assert f"moved by {registration['offset_mm']:.1f} mm" in ui.statusLabel.text


def test_checkbox_asks_for_the_label_map_and_it_lies_over_the_result(ui, logic_of, scene, pair, small_model):
    choose(ui, logic_of, pair, small_model)
    assert not logic_of.getParameterNode().makeSupport and not ui.supportSelector.isEnabled()
    box = ui.supportCheckBox._qt
    QtTest.QTest.mouseClick(box, QtCore.Qt.LeftButton, pos=QtCore.QPoint(8, box.height() // 2))
    assert logic_of.getParameterNode().makeSupport and ui.supportSelector.isEnabled()
    click(ui.applyButton)
    assert wait_until(lambda: ui.applyButton.text == "Apply")
    support = ui.supportSelector.currentNode()
    assert support.GetName() == "PET low dose unsupported structure"
    assert any("empty because" in sentence for sentence in sentences_of(ui.findingsTable))
    assert "nothing found" not in ui.statusLabel.text
    assert logic_of.getParameterNode().support is support
    over = {
        view: SLICER.app.layoutManager().sliceWidget(view).sliceLogic().GetSliceCompositeNode().GetLabelVolumeID()
        for view in ("CSRDPet", "CSRDDenoised")
    }
    assert over == {"CSRDPet": None, "CSRDDenoised": support.GetID()}


def test_full_dose_reference_is_chosen_and_the_status_reports_the_dose(ui, logic_of, scene, coarse_model):
    pair = add_example("low_dose_1_10"), None
    choose(ui, logic_of, pair, coarse_model, sampler="mean")
    assert logic_of.getParameterNode().fullDoseReference is None
    ui.fullDoseReferenceSelector.setCurrentNode(pair[0])
    assert logic_of.getParameterNode().fullDoseReference is pair[0]
    click(ui.applyButton)
    assert wait_until(lambda: ui.applyButton.text == "Apply")
    assert ui.statusLabel.text.startswith("The full-dose reference is identical to the PET")
    full = add_example("full_dose")
    logic_of.getParameterNode().fullDoseReference = full
    assert ui.fullDoseReferenceSelector.currentNode() is full
    click(ui.applyButton)
    assert wait_until(lambda: ui.applyButton.text == "Apply")
    about = " ".join(sentences_of(ui.findingsTable))
    assert re.search(r"The PET has about 0\.\d+ of the counts of the full-dose reference\.", about)
