"""The reader study module in real Qt and a real scene, by clicks and keys."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from xml.etree import ElementTree

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image
from PySide6 import QtCore, QtTest, QtWidgets
from reader_study import make_study, write_table
from slicer_helpers import ENTRY as DENOISING
from slicer_helpers import ROOT, SLICER, add_head, add_result, matrix_of, wait_until
from test_slicer_package import LIGHT, file_scope_imports, files, listed

pytest_plugins = ["slicer_fixtures"]

import slicer_standin  # noqa: E402

from CSRDDenoiseLib.readers.answers import answers_name, read_answers  # noqa: E402
from CSRDDenoiseLib.readers.study import PREFERENCE, read_study  # noqa: E402

pytestmark = pytest.mark.slow

MODULE = ROOT / "CSRDReaderStudy"
ENTRY = slicer_standin.load_module(MODULE / "CSRDReaderStudy.py")


@pytest.fixture
def area(scene, monkeypatch):
    monkeypatch.setattr("CSRDReaderStudyModule.panel.SECONDS_APART", 0.0)
    made = ENTRY.widgetRepresentation()
    made._qt.resize(420, 700)
    made.show()
    made.enter()
    made._qt.activateWindow()
    assert QtTest.QTest.qWaitForWindowActive(made._qt)
    yield made
    made.exit()
    made.self().panel.close()
    made.hide()


@pytest.fixture
def ui(area):
    return area.self().ui


@pytest.fixture
def panel(area):
    return area.self().panel


def click(button):
    QtTest.QTest.mouseClick(button._qt, QtCore.Qt.LeftButton)


def press(area, key):
    """Press a key; Qt shows a button pressed for a moment before it counts as clicked."""
    QtTest.QTest.keyClick(area._qt, key)
    buttons = area._qt.findChildren(QtWidgets.QPushButton)
    assert wait_until(lambda: not any(button.isDown() for button in buttons), 10)


def volumes():
    return {node.GetName(): node for node in SLICER.util.getNodesByClass("vtkMRMLScalarVolumeNode")}


def begin(panel, ui, folder, reader="R1"):
    panel.openStudy(folder)
    ui.readerComboBox.setCurrentText(reader)
    click(ui.beginButton)


def answered(folder, reader="R1"):
    path = folder / answers_name(reader)
    return read_answers(path, read_study(folder)).answers if path.exists() else ()


def test_a_readers_story_of_pairs(area, ui, panel, tmp_path, monkeypatch):
    table = write_table(tmp_path, cases=3, mr=True)
    study, _, folder = make_study(tmp_path, table, kind=PREFERENCE, ties=True, repeats=0)
    trials = study.reading("R2").trials
    # nothing is open
    assert not ui.beginButton.enabled
    # open by the button
    import qt

    monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", lambda *_: str(folder), raising=False)
    click(ui.openButton)
    assert ui.studyLabel.text == "Reader study"
    assert [ui.readerComboBox.itemText(n) for n in range(ui.readerComboBox.count)] == ["R1", "R2"]
    ui.readerComboBox.setCurrentText("R2")
    click(ui.beginButton)
    # a pair with its MR, in linked views, with one window
    shown = volumes()
    assert set(shown) == {"Left", "Right", "MR"}
    assert shown["Left"].GetDisplayNodeID() == shown["Right"].GetDisplayNodeID() != shown["MR"].GetDisplayNodeID()
    display = shown["Left"].GetScalarVolumeDisplayNode()
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == pytest.approx(trials[0].window)
    check_image(shown["Left"], folder / "images" / trials[0].images[0])
    check_views(shown, trials[0].centre)
    # answers by mouse and by key
    assert ui.questionLabel.text == study.scales[0].question
    assert [getattr(ui, f"answerButton{n}").visible for n in range(1, 6)] == [True] * 3 + [False] * 2
    click(ui.answerButton2)
    assert [answer.values["preference"] for answer in answered(folder, "R2")] == [2]
    check_image(volumes()["Left"], folder / "images" / trials[1].images[0])
    press(area, QtCore.Qt.Key_3)
    assert len(answered(folder, "R2")) == 2
    press(area, QtCore.Qt.Key_5)
    assert len(answered(folder, "R2")) == 2
    # pause: the images go, keys do nothing; go on
    click(ui.pauseButton)
    assert not volumes()
    press(area, QtCore.Qt.Key_1)
    assert len(answered(folder, "R2")) == 2
    press(area, QtCore.Qt.Key_P)
    assert set(volumes()) == {"Left", "Right", "MR"}
    # a slip is taken back
    press(area, QtCore.Qt.Key_1)
    press(area, QtCore.Qt.Key_Backspace)
    assert len(answered(folder, "R2")) == 2
    # Slicer dies: another panel goes on with what is on the disk
    panel.session, panel.reading = None, False
    begin(panel, ui, folder, "R2")
    assert ui.progressBar.value == 2
    for choice in (3, 1, 2, 1, 2):
        press(area, getattr(QtCore.Qt, f"Key_{choice}"))
    assert [answer.values["preference"] for answer in answered(folder, "R2")] == [2, 3, 3, 1, 2, 1, 2]
    assert [answer.trial for answer in answered(folder, "R2")] == [trial.id for trial in trials]
    assert str(folder / answers_name("R2")) in ui.statusLabel.text
    assert not volumes()
    assert not ui.pauseButton.enabled


def check_image(node, path):
    """The volume is the image: its values, and where it lies."""
    image = sitk.ReadImage(str(path))
    assert np.array_equal(SLICER.util.arrayFromVolume(node), sitk.GetArrayFromImage(image))
    last = [size - 1 for size in image.GetSize()]
    x, y, z = image.TransformIndexToPhysicalPoint(last)
    np.testing.assert_allclose((matrix_of(node) @ [*last, 1])[:3], [-x, -y, z], atol=1e-3)


def check_views(shown, centre):
    """Every image has three planes through the centre of the case, all linked."""
    manager = SLICER.app.layoutManager()
    names = [name for name in manager.sliceViewNames() if name.startswith("CSRDReader")]
    assert len(names) == 9
    titles = ("Left", "Right", "MR")
    for name in names:
        logic = manager.sliceWidget(name).sliceLogic()
        composite, node = logic.GetSliceCompositeNode(), logic.GetSliceNode()
        assert composite.GetBackgroundVolumeID() == shown[titles[int(name[10]) - 1]].GetID()
        assert composite.GetLinkedControl() and composite.GetHotLinkedControl()
        assert node.GetOrientation() == name[11:]
        to_ras = SLICER.util.arrayFromVTKMatrix(node.GetSliceToRAS())
        ras = np.array([-centre[0], -centre[1], centre[2]])
        assert abs(to_ras[:3, 2] @ (ras - to_ras[:3, 3])) < 1e-3


def test_ratings_time_and_washout(area, ui, panel, tmp_path):
    table = write_table(tmp_path, cases=3, methods=("low", "denoised"))
    _, _, folder = make_study(tmp_path, table, ("noise", "lesion"), repeats=0, washout_days=7)
    seconds = [0.0]
    panel.clock._now = lambda: seconds[0]
    begin(panel, ui, folder)
    for expected in (4.0, 2.5, 3.0):
        assert "noise" in ui.questionLabel.text
        press(area, QtCore.Qt.Key_4)
        assert "lesion" in ui.questionLabel.text
        click(ui.backButton)
        assert "noise" in ui.questionLabel.text
        press(area, QtCore.Qt.Key_5)
        seconds[0] += expected
        press(area, QtCore.Qt.Key_2)
    assert [dict(answer.values) for answer in answered(folder)] == [{"noise": 5, "lesion": 2}] * 3
    assert [answer.seconds for answer in answered(folder)] == [4.0, 2.5, 3.0]
    opens = datetime.now(timezone.utc) + timedelta(days=7)
    assert re.search(r"\d{4}-\d\d-\d\d", ui.statusLabel.text).group() in {
        f"{opens.astimezone() + timedelta(minutes=m):%Y-%m-%d}" for m in (-1, 0)
    }
    assert not volumes()
    # eight days later
    path = folder / answers_name("R1")
    early = re.sub(r'"at": "\d{4}', '"at": "2020', path.read_text(encoding="utf-8"))
    path.write_text(early, encoding="utf-8")
    begin(panel, ui, folder)
    assert panel.reading
    assert panel.session.trial.block == 2


def test_a_pause_is_not_counted(ui, panel, tmp_path):
    _, _, folder = make_study(tmp_path, write_table(tmp_path, cases=3), ("noise",), repeats=0)
    seconds = [0.0]
    panel.clock._now = lambda: seconds[0]
    begin(panel, ui, folder)
    seconds[0] += 100
    click(ui.pauseButton)
    seconds[0] += 1000
    click(ui.pauseButton)
    seconds[0] += 2
    click(ui.answerButton1)
    assert answered(folder)[0].seconds == 2.0


def test_reader_chosen_during_a_pause_answers_under_that_name(ui, panel, tmp_path):
    _, _, folder = make_study(tmp_path, write_table(tmp_path, cases=3), ("noise",), repeats=0)
    begin(panel, ui, folder)
    click(ui.answerButton1)
    click(ui.pauseButton)
    ui.readerComboBox.setCurrentText("R2")
    assert not ui.pauseButton.isEnabled()
    click(ui.beginButton)
    click(ui.answerButton2)
    assert [len(answered(folder, reader)) for reader in ("R1", "R2")] == [1, 1]


def test_leaving_the_module_and_closing_the_scene_pause(area, ui, panel, scene, tmp_path):
    _, _, folder = make_study(tmp_path, write_table(tmp_path, cases=3), ("noise",), repeats=0)
    begin(panel, ui, folder)
    area.exit()
    assert not panel.reading
    assert not volumes()
    area.enter()
    click(ui.pauseButton)
    assert panel.reading
    scene.Clear(0)
    assert not panel.reading
    click(ui.pauseButton)
    click(ui.answerButton1)
    assert len(answered(folder)) == 1


def test_other_volumes_of_the_scene_stay(ui, panel, scene, tmp_path):
    from slicer_helpers import add_head

    other = add_head("Mine")
    _, _, folder = make_study(tmp_path, write_table(tmp_path, cases=3), ("noise",), repeats=0)
    begin(panel, ui, folder)
    click(ui.answerButton1)
    click(ui.pauseButton)
    assert set(volumes()) == {"Mine"}
    assert other.GetDisplayNode() is not None


def test_the_first_trial_fits_its_views_as_every_other_does(ui, panel, tmp_path, monkeypatch):
    monkeypatch.setattr("slicer_standin.application.SliceWidget.SIZE", (200, 400))
    _, _, folder = make_study(tmp_path, write_table(tmp_path, cases=3), ("noise",), repeats=0)
    begin(panel, ui, folder)
    SLICER.app.processEvents()
    manager = SLICER.app.layoutManager()
    logics = [manager.sliceWidget(name).sliceLogic() for name in manager.sliceViewNames()]
    fields = [logic.GetSliceNode().GetFieldOfView() for logic in logics]
    for logic, field in zip(logics, fields):
        logic.FitSliceToAll()
        assert logic.GetSliceNode().GetFieldOfView()[:2] == pytest.approx(field[:2])
    assert fields


def test_a_changed_image_and_a_full_disk_are_reported(ui, panel, tmp_path, monkeypatch):
    study, _, folder = make_study(tmp_path, write_table(tmp_path, cases=3), ("noise",), repeats=0)
    begin(panel, ui, folder)

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(os, "replace", full)
        click(ui.answerButton1)
    assert "No space" in ui.statusLabel.text
    assert panel.reading
    assert not answered(folder)
    (folder / "images" / study.reading("R1").trials[1].images[0]).write_bytes(b"another image")
    click(ui.answerButton1)
    assert len(answered(folder)) == 1
    assert "changed" in ui.statusLabel.text
    assert not panel.reading


def test_what_is_no_study_is_refused(ui, panel, tmp_path):
    panel.openStudy(tmp_path)
    assert "study.json" in ui.statusLabel.text
    assert not ui.beginButton.enabled


def test_nothing_shown_names_a_method(ui, panel, scene, tmp_path):
    _, _, folder = make_study(tmp_path, write_table(tmp_path, cases=3, mr=True), kind=PREFERENCE, repeats=0)
    before = {scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes())}
    begin(panel, ui, folder)
    texts = [getattr(ui, name).text for name in ("questionLabel", "progressLabel", "statusLabel", "studyLabel")]
    for index in range(scene.GetNumberOfNodes()):
        node = scene.GetNthNode(index)
        # the views of another module's layout may be there already
        if node.GetID() in before:
            continue
        texts += [node.GetName() or "", node.GetFileName() or "" if hasattr(node, "GetFileName") else ""]
    texts = [text.replace(str(tmp_path), "") for text in texts]
    assert not [text for text in texts if re.search("denoised|doe|low_|full", text, re.IGNORECASE)]


def test_widget_that_a_script_makes_without_a_parent_works(scene):
    made = ENTRY.python.CSRDReaderStudyWidget()
    assert made.panel is not None
    made.exit()
    made.cleanup()
    made.parent.hide()


def test_self_test_of_the_module(area):
    ENTRY.python.CSRDReaderStudyTest().runTest()


def test_the_module_can_be_read_again(area, tmp_path):
    area.self().onReload()
    assert ENTRY.widgetRepresentation().self().panel is not None


def test_every_file_is_packaged_and_every_control_has_a_tooltip():
    assert listed(MODULE, "MODULE_PYTHON_SCRIPTS") | listed(MODULE, "MODULE_PYTHON_RESOURCES") == files(MODULE, MODULE)
    assert "add_subdirectory(CSRDReaderStudy)" in (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    for widget in ElementTree.parse(MODULE / "Resources/UI/CSRDReaderStudy.ui").iter("widget"):
        names = [part.get("name") for part in widget.findall("property")]
        assert widget.get("class") == "qMRMLWidget" or "toolTip" in names, widget.get("name")
    with Image.open(MODULE / "Resources/Icons/CSRDReaderStudy.png") as icon:
        assert (icon.size, icon.mode) == ((128, 128), "RGBA")


@pytest.mark.skipif(sys.version_info < (3, 10), reason="Python 3.9 does not know the names of its standard library")
@pytest.mark.parametrize("path", sorted(MODULE.rglob("*.py")), ids=lambda path: path.name)
def test_files_are_light_and_parse_as_python_3_9(path):
    assert file_scope_imports(path) <= LIGHT | {"CSRDReaderStudyModule"} | set(sys.stdlib_module_names)
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 9))


@pytest.mark.slow
def test_the_module_file_loads_no_heavy_library():
    code = (
        "import sys; sys.path.insert(0, 'Testing'); import slicer_standin; slicer_standin.install()\n"
        "from pathlib import Path; before = set(sys.modules)\n"
        "slicer_standin.load_module(Path('CSRDReaderStudy/CSRDReaderStudy.py'))\n"
        "heavy = {'torch', 'scipy', 'SimpleITK', 'nibabel', 'pandas', 'cattrs'} & (set(sys.modules) - before)\n"
        "assert not heavy, heavy"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]


def test_a_scene_saved_during_a_study_names_neither_its_layout_nor_its_images(ui, panel, scene, tmp_path):
    def saved(of=r'currentViewArrangement="(\d+)"'):
        assert scene.Commit(str(tmp_path / "scene.mrml"))
        return re.findall(of, (tmp_path / "scene.mrml").read_text(encoding="utf-8"))

    add_head("own")
    manager, folder = SLICER.app.layoutManager(), make_study(tmp_path, write_table(tmp_path, cases=2))[-1]
    manager.setLayout(SLICER.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView)
    before = manager.layout
    begin(panel, ui, folder)
    assert manager.layout != before and saved() == []
    assert (len(saved(r"<Volume\s")), len(saved(r"<VolumeDisplay\s")), saved("study/images")) == (1, 1, [])
    assert len(saved(r"<SubjectHierarchyItem\s")) == 2  # the scene and the own volume
    click(ui.pauseButton)
    assert manager.layout == before and saved() == [str(before)]


def test_run_that_ends_during_a_study_leaves_its_images_in_view(area, ui, panel, tmp_path):
    """A run of the other module goes on in the background and is compared at its end."""
    denoising = DENOISING.widgetRepresentation().self()
    pet = add_head("PET")
    denoised, difference = add_result(pet, SLICER.util.arrayFromVolume(pet) * np.float32(0.9))
    begin(panel, ui, make_study(tmp_path, write_table(tmp_path, cases=2))[-1])
    before = SLICER.app.layoutManager().layout
    denoising.panel._results.compare(denoised, difference, None, None)
    assert panel.reading and SLICER.app.layoutManager().layout == before
    area.exit()
    denoising.panel._results.compare(denoised, difference, None, None)
    assert SLICER.app.layoutManager().layout != before
    area.enter()


def test_layout_of_a_study_is_none_of_the_comparison(scene):
    """The identities of a study's layouts lie between those of the denoising module."""
    from CSRDDenoiseModule.views.comparison import Comparison
    from CSRDReaderStudyModule.views import LAYOUT_ID, layout_description

    manager, identity = SLICER.app.layoutManager(), LAYOUT_ID + 2
    manager.layoutLogic().GetLayoutNode().AddLayoutDescription(identity, layout_description(2))
    manager.setLayout(identity)
    Comparison().leave()
    left = manager.layout
    manager.setLayout(SLICER.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    assert left == identity
