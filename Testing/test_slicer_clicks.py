"""Double clicks and keys that are held, in both Slicer modules: they are one press."""

from __future__ import annotations

import pytest
from PySide6 import QtCore, QtTest
from reader_study import make_study, write_table
from slicer_helpers import ROOT, SLICER, add_head, choose, double_click, wait_until

pytest_plugins = ["slicer_fixtures"]

import slicer_standin  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("without_worker")]


@pytest.fixture
def patient_ui(ui, logic_of, pair, small_model):
    """The panel with a run to start, in a Slicer with the usual time for a double click."""
    choose(ui, logic_of, pair, small_model)
    SLICER.app.setDoubleClickInterval(400)
    # the last press of another test is long ago
    QtTest.QTest.qWait(450)
    return ui


def test_a_double_click_on_apply_starts_a_run_and_does_not_cancel_it(patient_ui, logic_of):
    double_click(patient_ui.applyButton)
    SLICER.app.processEvents()
    assert logic_of.busy and patient_ui.applyButton.text == "Cancel" and patient_ui.applyButton.enabled


def test_apply_cancels_when_it_is_pressed_later(patient_ui, logic_of):
    double_click(patient_ui.applyButton)
    QtTest.QTest.qWait(450)
    double_click(patient_ui.applyButton)
    assert wait_until(lambda: not logic_of.busy, 10)


def test_a_double_click_on_denoise_all_does_not_cancel_the_table(patient_ui):
    patient_ui.batchCollapsibleButton.collapsed = False
    patient_ui.addPairButton.click()
    patient_ui.petSelector.setCurrentNode(add_head("PET other", seed=3))
    patient_ui.addPairButton.click()
    double_click(patient_ui.runPairsButton)
    states = [patient_ui.pairsTable.item(row, 3).text() for row in range(2)]
    assert states == ["running", "waiting"]


@pytest.fixture
def reading(scene, tmp_path):
    """A study of two questions an image that is being read; its panel."""
    folder = make_study(tmp_path, write_table(tmp_path, cases=4), repeats=0)[2]
    widget = slicer_standin.load_module(ROOT / "CSRDReaderStudy" / "CSRDReaderStudy.py").widgetRepresentation()
    widget.show()
    widget.enter()
    widget._qt.activateWindow()
    assert QtTest.QTest.qWaitForWindowActive(widget._qt)
    panel = widget.self().panel
    panel.openStudy(folder)
    panel.onBegin()
    yield widget
    widget.exit()
    panel.close()
    widget.hide()


def test_a_double_click_answers_one_question_of_a_reader_study(reading):
    panel = reading.self().panel
    double_click(panel.ui.answerButton2)
    assert list(panel._values.values()) == [2] and panel.session.done == 0


@pytest.mark.parametrize(("key", "done"), [("1", (3, 1)), ("\b", (2, 0))])
def test_a_key_that_is_held_answers_or_takes_back_once(reading, key, done):
    panel = reading.self().panel
    for _trial in range(3):
        for _question in panel.session.study.scales:
            panel.choose(3)
    code = {"1": QtCore.Qt.Key_1, "\b": QtCore.Qt.Key_Backspace}[key]
    for number in range(20):
        QtTest.QTest.simulateEvent(reading._qt, True, code, QtCore.Qt.NoModifier, key, number > 0)
        QtTest.QTest.qWait(20)
    assert wait_until(lambda: (panel.session.done, len(panel._values)) == done, 5)
