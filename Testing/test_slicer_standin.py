"""The stand-in is honest: it offers no name that a real Slicer 5.6.2 or 5.12 lacks, and fails where those fail."""

from __future__ import annotations

import ast
import functools
import importlib.util
import inspect
import typing
from pathlib import Path

import pytest
from PySide6 import QtCore, QtGui, QtWidgets
from slicer_helpers import SLICER, add_head, wait_until
from slicer_standin import api, application, pythonqt, scripted, widgets

pytest_plugins = ["slicer_fixtures"]

import ctk  # noqa: E402 (the stand-in)
import qt  # noqa: E402
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper, parameterPack  # noqa: E402

WIDGETS = {
    "slicer.qMRMLWidget": widgets.QMRMLWidget,
    "slicer.qMRMLNodeComboBox": widgets.QMRMLNodeComboBox,
    "ctk.ctkCollapsibleButton": widgets.CtkCollapsibleButton,
    "ctk.ctkSliderWidget": widgets.CtkSliderWidget,
}
KIND_OF_TYPE = {"bool": bool, "int": int, "float": (int, float), "str": str, "tuple": tuple}


def public(thing) -> set[str]:
    return {name for name in vars(thing) if not name.startswith("_")}


@pytest.mark.parametrize("record", WIDGETS)
def test_widgets_offer_only_recorded_names_of_the_recorded_kind(record):
    kinds = api.kinds_of(record)
    events = {"showEvent", "staticMetaObject"}
    for name in public(WIDGETS[record]) - events:
        value = vars(WIDGETS[record])[name]
        expected = "Signal" if isinstance(value, QtCore.Signal) else "method" if inspect.isfunction(value) else None
        assert name in kinds, f"{record} has no {name} in Slicer"
        assert kinds[name] == expected or (expected is None and kinds[name] not in ("Signal", "method")), name


@pytest.mark.parametrize(
    ("record", "offered"),
    [
        ("slicer.util", public(SLICER.util) - {"standin"}),
        ("slicer.app", public(application.Application) - {"record", "qt_class", "complete_startup"}),
        ("slicer.app.layoutManager()", public(application.LayoutManager)),
        # a second set of modules would take the scene's colours along when it goes
        ("slicer.modules", {name for name in vars(SLICER.modules) if not name.lower().startswith("csrd")}),
    ],
)
def test_application_offers_only_recorded_names(record, offered):
    assert offered <= api.names_of(record)


@pytest.mark.parametrize("name", pythonqt.QT_CLASSES)
def test_qt_properties_have_the_recorded_type(name):
    if name in ("QFileDialog",):
        pytest.skip("only its static function is used")
    shown = pythonqt.QT_CLASSES[name]()
    for attribute, kind in api.kinds_of(f"qt.{name}").items():
        if kind in KIND_OF_TYPE and shown._qt.metaObject().indexOfProperty(attribute) >= 0:
            assert isinstance(getattr(shown, attribute), KIND_OF_TYPE[kind]), f"{name}.{attribute}"


def test_properties_are_attributes_and_methods_are_called():
    button = qt.QPushButton("a")
    assert button.text == "a"
    with pytest.raises(TypeError, match="'str' object is not callable"):
        button.text()
    assert button.isEnabled() is True
    button.enabled = False
    assert button.isEnabled() is False


def test_unknown_names_fail():
    button = qt.QPushButton()
    with pytest.raises(AttributeError):
        button.tooltip = "no such name"
    with pytest.raises(AttributeError):
        _ = button.nothing
    with pytest.raises(AttributeError):
        _ = qt.QProcess.Nothing
    with pytest.raises(AttributeError):
        _ = SLICER.util.nothing


def test_a_click_hands_over_false_or_nothing():
    button, heard = qt.QPushButton(), []
    button.clicked.connect(lambda *arguments: heard.append(arguments))
    button.connect("clicked()", lambda *arguments: heard.append(arguments))
    button.clicked.connect(functools.partial(lambda *arguments: heard.append(arguments), "partial"))
    button.click()
    assert heard == [(False,), (), ("partial", False)]


def test_arguments_that_a_partial_function_does_not_take_are_not_left_out():
    button, heard = qt.QPushButton(), []
    button.clicked.connect(functools.partial(lambda one: heard.append(one), "partial"))
    button.clicked.connect(lambda: heard.append("function"))
    button.click()
    assert heard == ["function"]


def test_a_signal_is_connected_by_its_full_signature():
    selector, button = SLICER.qMRMLNodeComboBox(), qt.QPushButton()
    assert selector.connect("currentNodeChanged(vtkMRMLNode*)", print)
    for widget, signature in ((selector, "currentNodeChanged(QString)"), (button, "clicked(int)")):
        with pytest.raises(AttributeError):
            widget.connect(signature, print)


def test_a_view_shows_the_node_that_the_layout_made(scene):
    manager = SLICER.app.layoutManager()
    for name in manager.sliceViewNames():
        node = manager.sliceWidget(name).sliceLogic().GetSliceNode()
        assert scene.IsNodePresent(node) and node.GetLayoutName() == name and not node.GetDisableModifiedEvent()


def test_hidden_volumes_are_not_in_the_subject_hierarchy(scene):
    node = SLICER.vtkMRMLScalarVolumeNode()
    node.SetHideFromEditors(True)
    scene.AddNode(node)
    assert not SLICER.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene).GetItemByDataNode(node)


def test_process_ends_with_its_exit_code_alone_and_gives_bytes():
    import sys

    process, heard = qt.QProcess(), []
    process.finished.connect(lambda *arguments: heard.append(arguments))
    process.start(sys.executable, ["-c", "print('x'); raise SystemExit(3)"])
    assert wait_until(lambda: heard)
    assert heard == [(3,)]
    assert process.state() == qt.QProcess.NotRunning == 0
    assert process.readAllStandardOutput().data() == b"x\n"


def test_node_selector_as_in_slicer(scene):
    selector, heard = SLICER.qMRMLNodeComboBox(), []
    selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    selector.noneEnabled = True
    selector.setMRMLScene(scene)
    selector.currentNodeChanged.connect(heard.append)
    volume = add_head()
    assert selector.nodeTypes == ("vtkMRMLScalarVolumeNode",)
    assert selector.currentNode() is None
    selector.setCurrentNode(volume)
    assert selector.currentNodeID == volume.GetID()
    scene.RemoveNode(volume)
    assert heard == [volume, None]
    with pytest.raises(TypeError):
        selector.currentNodeID()


def test_parameter_node_stores_and_refuses_as_in_slicer(scene):
    @parameterNodeWrapper
    class Parameters:
        volume: SLICER.vtkMRMLScalarVolumeNode
        share: typing.Annotated[float, WithinRange(0, 1)] = 0.5
        count: typing.Annotated[int, WithinRange(1, 200)] = 8
        name: str = "a"

    node = scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")
    parameters, volume = Parameters(node), add_head()
    assert parameters.volume is None
    assert (node.GetParameter("share"), node.GetParameter("count")) == ("0.5", "8")
    parameters.volume = volume
    assert node.GetNodeReference("volume") is volume
    with pytest.raises(ValueError, match=r"Value must be within range \[1, 200\], is 0"):
        parameters.count = 0
    with pytest.raises(TypeError):
        parameters.name = 3
    spin, slider = qt.QSpinBox(), ctk.ctkSliderWidget()
    tag = parameters.connectParametersToGui({"count": spin, "share": slider})
    assert (spin.minimum, spin.maximum, spin.value, slider.maximum) == (1, 200, 8, 1.0)
    spin.value = 20
    assert parameters.count == 20
    parameters.share = 0.25
    assert slider.value == 0.25
    parameters.disconnectGui(tag)
    spin.value = 30
    assert parameters.count == 20
    with pytest.raises(RuntimeError, match="Unable to create GUI connector"):
        parameters.connectParametersToGui({"name": spin})


def test_volumes_appear_in_the_subject_hierarchy_at_once(scene):
    volume = add_head()
    assert SLICER.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene).GetItemByDataNode(volume)
    SLICER.util.updateVolumeFromArray(volume, __import__("numpy").zeros((4, 5, 6)))
    assert volume.GetImageData().GetDimensions() == (6, 5, 4)
    assert volume.GetDisplayNode().GetColorNodeID() == "vtkMRMLColorTableNodeGrey"


def test_scripted_classes_have_slicers_names():
    assert public(scripted.ScriptedLoadableModuleWidget) <= {"resourcePath", "setup", "cleanup", "onReload"}
    assert public(scripted.ScriptedLoadableModuleLogic) <= {"getParameterNode", "createParameterNode"}


QT_MODULES = (QtWidgets, QtGui, QtCore)


@pytest.mark.parametrize("record", [name for name in api.today()["removed"] if name.startswith("qt.")])
def test_names_recorded_as_removed_are_neither_in_qt_6_nor_here(record):
    name = record.split(".")[1]
    qt_class = next(getattr(module, name) for module in QT_MODULES if hasattr(module, name))
    for attribute in api.today()["removed"][record]:
        assert attribute in api.recorded(record) and not hasattr(qt_class, attribute), attribute
        assert attribute not in api.kinds_of(record)


def test_names_recorded_as_added_are_in_todays_slicer_core():
    import slicer_core  # noqa: F401 (the wheel that brings slicer/util.py)

    source = Path(importlib.util.find_spec("slicer").submodule_search_locations[0]) / "util.py"
    defined = {node.name for node in ast.parse(source.read_text(encoding="utf-8")).body if hasattr(node, "name")}
    assert set(api.today()["added"]["slicer.util"]) <= defined - api.names_of("slicer.util")


def test_node_that_goes_takes_its_row_and_qt_jumps_to_the_next(scene):
    selector = SLICER.qMRMLNodeComboBox()
    selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    selector.noneEnabled = True
    selector.setMRMLScene(scene)
    nodes = [add_head(name) for name in "abc"]
    selector.setCurrentNode(nodes[1])
    scene.RemoveNode(nodes[1])
    assert selector.currentNode() is nodes[2]


def test_selector_begins_anew_when_a_scene_was_read(scene, tmp_path):
    selector = SLICER.qMRMLNodeComboBox()
    selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    selector.noneEnabled = True
    selector.setMRMLScene(scene)
    selector.setCurrentNode(add_head("a"))
    assert SLICER.vtkMRMLScene().Commit(str(tmp_path / "empty.mrml"))
    scene.SetURL(str(tmp_path / "empty.mrml"))
    assert scene.Import()
    assert selector.currentNode() is None and selector.nodeCount() == 1


@parameterPack
class Pack:
    count: typing.Annotated[int, WithinRange(1, 9)] = 4
    name: str = "a"


@parameterNodeWrapper
class Packed:
    pack: Pack


@parameterNodeWrapper
class Referring:
    volume: SLICER.vtkMRMLScalarVolumeNode


def test_wrapper_reads_again_only_when_its_node_says_that_it_changed(scene):
    node, volume = (scene.AddNewNodeByClass(f"vtkMRML{name}Node") for name in ("ScriptedModule", "ScalarVolume"))
    parameters = Referring(node)
    with SLICER.util.NodeModify(node):
        node.SetNodeReferenceID("volume", volume.GetID())
        assert parameters.volume is None
    assert parameters.volume is volume


def test_parameter_pack_is_kept_member_by_member(scene):
    node = scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")
    parameters = Packed(node)
    assert node.GetParameter("pack.count") == "4"
    parameters.pack.count = 7
    assert (node.GetParameter("pack.count"), parameters.pack.count) == ("7", 7)
    with pytest.raises(ValueError, match="within range"):
        parameters.pack.count = 10
    with pytest.raises(AttributeError):
        parameters.pack.nothing = 1
    spin = qt.QSpinBox()
    parameters.connectParametersToGui({"pack.count": spin})
    spin.value = 2
    assert parameters.pack.count == 2
