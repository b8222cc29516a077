"""Texts for translators, and the keyboard."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
import translations

from CSRDDenoiseLib.sentences import SENTENCES

UI = translations.MODULE / "Resources" / "UI" / "CSRDDenoise.ui"
CONTROLS = ("qMRMLNodeComboBox", "QComboBox", "QSpinBox", "ctkSliderWidget", "QCheckBox", "QPushButton")


def test_translation_file_holds_every_text_and_no_other():
    """After a change of texts: ``python Testing/translations.py``."""
    wanted = {context: set(texts) for context, texts in translations.all_texts().items()}
    assert translations.texts_in(translations.FILE) == wanted


def test_contexts_are_those_that_slicer_looks_up():
    contexts = set(translations.all_texts())
    known = {"CSRDDenoise", "CSRDDenoiseModule.panel", "views.results", "qSlicerAbstractCoreModule"}
    assert known | {translations.CATALOGUE} <= contexts


def test_findings_are_shown_in_the_language_of_slicer(monkeypatch):
    pytest.importorskip("slicer_core")
    pytest.importorskip("PySide6")
    import slicer_helpers  # noqa: F401 (puts the stand-in in place)
    from CSRDDenoiseModule import wording

    from CSRDDenoiseLib.findings import warning

    german = {
        "units.length": "Längen ({what}) sind in {unit} und wurden umgerechnet.",
        "mean.changed": "Das Mittel ändert sich um {chnge:+.1%}.",
    }
    texts = {SENTENCES[code]: text for code, text in german.items()}
    monkeypatch.setattr(wording, "translate", lambda context, text: texts.get(text, text))
    rows = wording.finding_rows(
        [
            warning("units.length", what="PET", unit="cm"),
            warning("mean.changed", change=0.05, limit=0.02, left=0.01),
        ]
    )
    assert rows[0][1] == "Längen (PET) sind in cm und wurden umgerechnet."
    # a translation with a wrong field does not hide the finding
    assert "+5.0%" in rows[1][1] and "mean brain activity" in rows[1][1]


def test_placeholders_of_texts_are_names_that_translators_can_move():
    for context, texts in translations.all_texts().items():
        for text in texts:
            assert "{}" not in text and not re.search(r"%[sd]", text), (context, text)


def widgets() -> list[ElementTree.Element]:
    return list(ElementTree.parse(UI).iter("widget"))


def value(widget: ElementTree.Element, name: str) -> str:
    found = [part for part in widget.findall("property") if part.get("name") == name]
    return "".join(found[0].itertext()).strip() if found else ""


def test_labels_with_a_mnemonic_have_a_buddy_and_no_two_share_a_letter():
    letters = {}
    for widget in widgets():
        text = value(widget, "text")
        if "&" in text:
            letter = text[text.index("&") + 1].lower()
            assert letter not in letters, (letter, widget.get("name"), letters.get(letter))
            letters[letter] = widget.get("name")
            assert widget.get("class") != "QLabel" or value(widget, "buddy"), widget.get("name")
    assert {"petLabel", "mrLabel", "presetLabel", "keepLabel"} <= set(letters.values())


def test_tooltips_of_numbers_name_their_range():
    for widget in widgets():
        if widget.get("class") in ("QSpinBox", "ctkSliderWidget"):
            tip = value(widget, "toolTip")
            assert re.search(r"\d", tip), (widget.get("name"), tip)


@pytest.mark.slow
def test_keyboard_alone_denoises(request):
    """Every control is reached by Tab in the order it stands; Apply has a key that stays when its text changes."""
    pytest.importorskip("slicer_core")
    pytest.importorskip("PySide6")
    from PySide6 import QtCore, QtTest, QtWidgets
    from slicer_helpers import choose, wait_until

    request.getfixturevalue("without_estimate")
    area, ui = request.getfixturevalue("area"), request.getfixturevalue("ui")
    names = [widget.get("name") for widget in widgets() if widget.get("class") in CONTROLS]
    first = ui.applyButton._qt
    met, each = [], first
    while True:
        owner = each
        while owner is not None and owner.objectName() not in names:
            owner = owner.parentWidget()
        if owner is not None and owner.objectName() not in met:
            met.append(owner.objectName())
        each = each.nextInFocusChain()
        if each is first:
            break
    assert [name for name in met if name in names] == names
    logic = request.getfixturevalue("logic_of")
    choose(ui, logic, request.getfixturevalue("pair"), request.getfixturevalue("small_model"), sampler="mean")
    # offscreen no window is active, which is what a key sequence needs
    QtWidgets.QApplication.setActiveWindow(area._qt)
    for text in ("Cancel", "Apply"):
        assert ui.applyButton._qt.shortcut().toString() == "Alt+A"
        if text == "Cancel":
            QtTest.QTest.keyClick(ui.applyButton._qt, QtCore.Qt.Key_Space)
            assert ui.applyButton.text == text
        assert wait_until(lambda: ui.applyButton.text == "Apply")
    assert ui.statusLabel.text.startswith("Done in"), ui.statusLabel.text


@pytest.mark.slow
def test_tab_and_the_letters_of_labels_reach_selectors_and_sliders(request):
    """In Slicer the list in a node selector hands its focus on to the selector, which takes none."""
    pytest.importorskip("slicer_core")
    pytest.importorskip("PySide6")
    from PySide6 import QtCore, QtTest, QtWidgets

    request.getfixturevalue("without_worker")
    area, ui = request.getfixturevalue("area"), request.getfixturevalue("ui")
    QtWidgets.QApplication.setActiveWindow(area._qt)
    selectors = ("petSelector", "mrSelector", "fullDoseReferenceSelector", "regionSelector", "denoisedSelector")

    def owner() -> str:
        widget = QtWidgets.QApplication.focusWidget()
        while not hasattr(ui, widget.objectName() or "-"):
            widget = widget.parentWidget()
        return widget.objectName()

    ui.registerCheckBox._qt.setFocus()
    met = []
    for _ in range(10):
        QtTest.QTest.keyClick(QtWidgets.QApplication.focusWidget(), QtCore.Qt.Key_Backtab)
        met.append(owner())
    assert set(selectors[:2]) <= set(met)
    ui.keepSlider.setEnabled(True)
    for letter, name in zip("PMFGDK", (*selectors, "keepSlider")):
        ui.seedSpinBox._qt.setFocus()
        QtTest.QTest.keyClick(area._qt, getattr(QtCore.Qt, f"Key_{letter}"), QtCore.Qt.AltModifier)
        assert owner() == name


pytest_plugins = ["slicer_fixtures"]
