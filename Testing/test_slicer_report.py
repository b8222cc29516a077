"""The quality report in Slicer: from the logic, by the panel's button, and when it cannot be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PySide6 import QtCore, QtTest
from slicer_helpers import (
    ENTRY,
    SLICER,
    add_head,
    add_transform,
    add_volume,
    choose,
    click,
    ijk_to_ras,
    oblique,
    run_to_end,
    wait_until,
)
from slicer_standin import application

pytestmark = pytest.mark.slow

pytest_plugins = ["slicer_fixtures"]


QUICK = {"steps": 2, "samples": 2, "device": "cpu"}


@pytest.fixture
def result(logic, scene, small_model):
    """A finished run on an oblique PET and its MR."""
    pet = add_head("PET / low dose", matrix=ijk_to_ras(oblique(15)))
    mr = add_head("T1", matrix=ijk_to_ras(oblique(15)), seed=1)
    return logic.denoise(pet, mr, model=small_model, **QUICK)


@pytest.mark.usefixtures("without_estimate")
def test_a_map_that_is_selected_as_one_of_another_kind_is_left_out(ui, logic_of, scene, pair, small_model):
    """The difference, selected as uncertainty: neither the slider writes it over, nor is it shown as one."""
    choose(ui, logic_of, pair, small_model)
    run_to_end(ui)
    difference = ui.differenceSelector.currentNode()
    before = SLICER.util.arrayFromVolume(difference).copy()
    ui.differenceSelector.setCurrentNode(None)
    ui.uncertaintySelector.setCurrentNode(difference)
    click(ui.compareButton)
    assert SLICER.app.layoutManager().sliceViewNames() == ("CSRDPet", "CSRDDenoised")
    ui.keepSlider.value = 25.0
    keep = ENTRY.widgetRepresentation().self().panel._results._keep
    assert wait_until(lambda: not keep.following, 60)
    np.testing.assert_array_equal(SLICER.util.arrayFromVolume(difference), before)
    assert difference.GetNodeReference("CSRDDenoise.Denoised") is None


def labels_like(pet):
    array = np.zeros(SLICER.util.arrayFromVolume(pet).shape, np.int16)
    array[10:14, 10:14, 10:14] = 5
    return add_volume("Labels", array, ijk_to_ras(oblique(15)))


def test_report_of_a_result_names_its_volumes(logic, result, tmp_path):
    pet = result.denoisedVolume.GetNodeReference("CSRDDenoise.PET")
    path = logic.writeReport(
        result.denoisedVolume, result.uncertaintyVolume, labels_like(pet), str(tmp_path / "r.html")
    )
    page = path.read_text(encoding="utf-8")
    assert page.count("<svg") == 4 and "<h2>Regions</h2>" in page and "Median uncertainty" in page
    assert "PET / low dose" in page and "T1" in page
    assert "oblique by" in page


def test_what_has_no_record_or_was_moved_is_refused(logic, result, tmp_path):
    path = str(tmp_path / "r.html")
    with pytest.raises(Exception, match="'Other' has no record"):
        logic.writeReport(add_head("Other"), path=path)
    mr = result.denoisedVolume.GetNodeReference("CSRDDenoise.MR")
    mr.SetAndObserveTransformNodeID(add_transform(ijk_to_ras(None, (1, 1, 1), (7, 0, 0))).GetID())
    with pytest.raises(Exception, match="MR is not the volume of the run, or its place changed"):
        logic.writeReport(result.denoisedVolume, path=path)
    assert not Path(path).exists()
    mr.SetAndObserveTransformNodeID(None)
    assert logic.writeReport(result.denoisedVolume, path=path).is_file()


def test_report_of_a_result_with_a_long_and_odd_name(logic, result):
    result.denoisedVolume.SetName("Ä/<b>|" * 60)
    assert logic.writeReport(result.denoisedVolume).is_file()


def test_results_whose_names_differ_in_other_letters_alone_have_reports_of_their_own(logic, result, small_model):
    other = logic.denoise(add_head("PET", seed=2), None, model=small_model, **QUICK)
    for node, name in ((result.denoisedVolume, "脳 1"), (other.denoisedVolume, "頭 1")):
        node.SetName(name)
    paths = {logic.writeReport(each.denoisedVolume) for each in (result, other)}
    assert len(paths) == 2 and all(path.is_file() for path in paths)


def test_a_result_of_another_scene_has_a_report_of_its_own(logic, scene, small_model):
    """Names and IDs are the same again, and so is the folder, as for two programs that run at once."""
    reports = {}
    for seed in (1, 2):
        scene.Clear(0)
        made = logic.denoise(add_head("PET", seed=seed), None, model=small_model, **QUICK).denoisedVolume
        path = logic.writeReport(made)
        reports[path] = made.GetName(), made.GetID(), path.read_bytes()
    assert len(reports) == 2 and len({each[:2] for each in reports.values()}) == 1
    assert all(path.read_bytes() == page for path, (_name, _id, page) in reports.items())


def test_report_of_a_pet_whose_voxels_were_changed_is_refused(logic, result, tmp_path):
    pet = result.denoisedVolume.GetNodeReference("CSRDDenoise.PET")
    SLICER.util.updateVolumeFromArray(pet, 2 * SLICER.util.arrayFromVolume(pet))
    with pytest.raises(Exception, match="its voxels were changed"):
        logic.writeReport(result.denoisedVolume, path=str(tmp_path / "r.html"))


@pytest.mark.usefixtures("without_estimate")
def test_button_draws_the_report_and_opens_it(scene, small_model, monkeypatch):
    area = ENTRY.widgetRepresentation()
    area.show()
    area.enter()
    ui, logic = area.self().ui, area.self().logic
    try:
        assert not ui.reportButton.enabled and ui.reportButton.toolTip
        ui.petSelector.setCurrentNode(add_head())
        logic.getParameterNode().model = small_model
        for name, value in QUICK.items():
            setattr(logic.getParameterNode().settings, name, value)
        ui.applyButton.click()
        assert not ui.reportButton.enabled
        assert wait_until(lambda: ui.applyButton.text == "Apply")
        assert ui.reportButton.enabled, ui.statusLabel.text
        opened = application.DesktopServices.opened
        opened.clear()
        QtTest.QTest.mouseClick(ui.reportButton._qt, QtCore.Qt.LeftButton)
        assert wait_until(lambda: ui.applyButton.text == "Apply")
        assert [url.isLocalFile() for url in opened] == [True] and not SLICER.app.urlReceived
        path = Path(opened[0].toLocalFile())
        assert path.is_relative_to(SLICER.app.temporaryPath) and path.name.startswith("PET_low_dose_denoised")
        assert "PET denoising report" in path.read_text(encoding="utf-8")
        assert str(path) in ui.statusLabel.text
        monkeypatch.setattr(application.DesktopServices, "openUrl", lambda url: False)
        opened_text = ui.statusLabel.text
        QtTest.QTest.mouseClick(ui.reportButton._qt, QtCore.Qt.LeftButton)
        assert wait_until(lambda: ui.applyButton.text == "Apply")
        assert str(path) in ui.statusLabel.text and ui.statusLabel.text != opened_text
    finally:
        area.exit()
        area.hide()
        logic.close()


def test_relative_paths_are_those_of_the_caller(logic, result, small_model, tmp_path, monkeypatch):
    """The process has a working directory of its own, in which a report would be lost."""
    monkeypatch.chdir(tmp_path)
    assert logic.writeReport(result.denoisedVolume, path="r.html").samefile(tmp_path / "r.html")
    monkeypatch.chdir(Path(small_model).parent)
    pet = result.denoisedVolume.GetNodeReference("CSRDDenoise.PET")
    again = logic.denoise(pet, None, model=Path(small_model).name, **QUICK)
    assert again.provenance["model"] == result.provenance["model"]
