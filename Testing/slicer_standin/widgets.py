"""The CTK and qMRML widgets of the panel, over PySide6 and the real scene."""

from functools import partial

import vtk
from PySide6 import QtCore, QtWidgets

from .pythonqt import Proxy

CREATE_SUFFIX = "Create new "


class QMRMLWidget(QtWidgets.QWidget):
    """Holds the scene and hands it on."""

    mrmlSceneChanged = QtCore.Signal(object)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._scene = None

    def mrmlScene(self):
        return self._scene

    def setMRMLScene(self, scene):
        self._scene = scene
        self.mrmlSceneChanged.emit(scene)


class CtkCollapsibleButton(QtWidgets.QGroupBox):
    """A section that can be folded."""

    contentsCollapsed = QtCore.Signal(bool)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._collapsed = False

    def _text(self):
        return self.title()

    def _is_collapsed(self):
        return self._collapsed

    def _set_collapsed(self, collapsed):
        self._collapsed = collapsed
        for child in self.findChildren(QtWidgets.QWidget, options=QtCore.Qt.FindDirectChildrenOnly):
            child.setVisible(not collapsed)
        self.contentsCollapsed.emit(collapsed)

    def showEvent(self, event):
        super().showEvent(event)
        if self._collapsed:
            self._set_collapsed(True)

    text = QtCore.Property(str, _text, QtWidgets.QGroupBox.setTitle)
    collapsed = QtCore.Property(bool, _is_collapsed, _set_collapsed)


class CtkSliderWidget(QtWidgets.QWidget):
    """A number with decimals, as a slider beside a spin box; only the spin box is drawn."""

    valueChanged = QtCore.Signal(float)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._box = QtWidgets.QDoubleSpinBox(self)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._box)
        self._box.valueChanged.connect(self.valueChanged)

    def setValue(self, value):
        self._box.setValue(value)

    def setDecimals(self, decimals):
        self._box.setDecimals(decimals)

    value = QtCore.Property(float, lambda self: self._box.value(), lambda self, v: self._box.setValue(v))
    minimum = QtCore.Property(float, lambda self: self._box.minimum(), lambda self, v: self._box.setMinimum(v))
    maximum = QtCore.Property(float, lambda self: self._box.maximum(), lambda self, v: self._box.setMaximum(v))
    decimals = QtCore.Property(int, lambda self: self._box.decimals(), lambda self, v: self._box.setDecimals(v))
    singleStep = QtCore.Property(float, lambda self: self._box.singleStep(), lambda self, v: self._box.setSingleStep(v))


class QMRMLNodeComboBox(QtWidgets.QWidget):
    """Chooses a node of the scene; follows nodes that come, go and are renamed."""

    currentNodeChanged = QtCore.Signal(object)
    currentNodeIDChanged = QtCore.Signal(str)
    nodeAdded = QtCore.Signal(object)
    nodeAddedByUser = QtCore.Signal(object)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._scene, self._observers, self._shown = None, [], None
        self._types, self._children, self._none, self._none_text = [], True, False, "None"
        self._add, self._remove, self._rename, self._select_new, self._base = True, True, False, True, ""
        self._box = QtWidgets.QComboBox(self)
        # as in Slicer, the list hands its focus on to this frame, which takes none
        self._box.setFocusProxy(self)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._box)
        self._box.currentIndexChanged.connect(self._chosen)

    def mrmlScene(self):
        return self._scene

    def setMRMLScene(self, scene):
        for tag in self._observers:
            self._scene.RemoveObserver(tag)
        self._scene = scene
        events = (scene.EndCloseEvent, scene.EndImportEvent)
        self._observers = [scene.AddObserver(event, lambda *_: self._begin_anew()) for event in events]
        # nodes of a scene that is read come when all of it was read
        self._observers.append(
            scene.AddObserver(scene.NodeAddedEvent, lambda *_: scene.IsImporting() or self._fill(), 10.0)
        )

        @vtk.calldata_type(vtk.VTK_OBJECT)
        def leaving(_caller, _event, node):
            self._remove_row(node)

        self._observers.append(scene.AddObserver(scene.NodeAboutToBeRemovedEvent, leaving, -10.0))
        # a widget in C++ takes its observers with it
        self.destroyed.connect(partial(_remove_observers, scene, self._observers))
        self._fill()
        # as in Slicer, whatever the .ui file says
        self.setEnabled(True)

    def currentNode(self):
        return self._scene.GetNodeByID(self._box.currentData()) if self._scene and self._box.currentData() else None

    def setCurrentNode(self, node):
        self.setCurrentNodeID(node.GetID() if node is not None else "")

    def setCurrentNodeID(self, identity):
        self._box.setCurrentIndex(max(self._box.findData(identity), 0 if self._none else -1))

    def setCurrentNodeIndex(self, index):
        self._box.setCurrentIndex(index + int(self._none))

    def nodeCount(self):
        return self._box.count() - int(self._none)

    def nodeFromIndex(self, index):
        return self._scene.GetNodeByID(self._box.itemData(index + int(self._none)))

    def addNode(self):
        node = self._scene.AddNewNodeByClass(self._types[0], self._scene.GenerateUniqueName(self._base or "Volume"))
        if self._select_new:
            self.setCurrentNode(node)
        self.nodeAddedByUser.emit(node)
        return node

    def _nodes(self):
        # asked of the scene by class, which is much quicker than to go through all of its nodes
        counts = {kind: self._scene.GetNumberOfNodesByClass(kind) for kind in self._types}
        nodes = [self._scene.GetNthNodeByClass(index, kind) for kind, count in counts.items() for index in range(count)]
        return [node for node in nodes if self._fits(node) and not node.GetHideFromEditors()]

    def _fits(self, node):
        exact = node.GetClassName() in self._types
        return exact or (self._children and any(node.IsA(name) for name in self._types))

    def _fill(self):
        if self._scene is None:
            return
        before = self._box.currentData()
        blocked = self._box.blockSignals(True)
        self._box.clear()
        if self._none:
            self._box.addItem(self._none_text, "")
        for node in self._nodes():
            self._box.addItem(node.GetName(), node.GetID())
        self._box.setCurrentIndex(max(self._box.findData(before), 0 if self._none else -1))
        self._box.blockSignals(blocked)
        self._chosen()

    def _begin_anew(self):
        # as in Slicer, the list loses all its rows before it gets those of the scene, and its choice with them
        blocked = self._box.blockSignals(True)
        while self._box.count() > int(self._none):
            self._box.removeItem(int(self._none))
        self._box.blockSignals(blocked)
        self._chosen()
        self._fill()

    def _remove_row(self, node):
        # as in Slicer, the list loses a row, and Qt goes to the next one, or to the last where there is none
        row = self._box.findData(node.GetID())
        if row >= 0:
            self._box.removeItem(row)

    def _chosen(self, *_):
        # a node is remembered by its address too: a scene loaded from a file gives another node the same name
        node = self.currentNode()
        if node is not self._shown:
            self._shown = node
            self.currentNodeChanged.emit(node)
            self.currentNodeIDChanged.emit(node.GetID() if node is not None else "")

    def _set(self, name, value):
        setattr(self, name, value)
        self._fill()

    nodeTypes = QtCore.Property("QStringList", lambda self: self._types, lambda self, v: self._set("_types", list(v)))
    showChildNodeTypes = QtCore.Property(bool, lambda self: self._children, lambda self, v: self._set("_children", v))
    noneEnabled = QtCore.Property(bool, lambda self: self._none, lambda self, v: self._set("_none", v))
    noneDisplay = QtCore.Property(str, lambda self: self._none_text, lambda self, v: self._set("_none_text", v))
    addEnabled = QtCore.Property(bool, lambda self: self._add, lambda self, v: self._set("_add", v))
    removeEnabled = QtCore.Property(bool, lambda self: self._remove, lambda self, v: self._set("_remove", v))
    renameEnabled = QtCore.Property(bool, lambda self: self._rename, lambda self, v: self._set("_rename", v))
    selectNodeUponCreation = QtCore.Property(
        bool, lambda self: self._select_new, lambda self, v: self._set("_select_new", v)
    )
    baseName = QtCore.Property(str, lambda self: self._base, lambda self, v: self._set("_base", v))
    currentNodeID = QtCore.Property(str, lambda self: self._box.currentData() or "", setCurrentNodeID)


def _remove_observers(scene, tags, *_):
    for tag in tags:
        scene.RemoveObserver(tag)


class qMRMLWidget(Proxy):
    record, qt_class = "slicer.qMRMLWidget", QMRMLWidget


class qMRMLNodeComboBox(Proxy):
    record, qt_class = "slicer.qMRMLNodeComboBox", QMRMLNodeComboBox


class ctkCollapsibleButton(Proxy):
    record, qt_class = "ctk.ctkCollapsibleButton", CtkCollapsibleButton


class ctkSliderWidget(Proxy):
    record, qt_class = "ctk.ctkSliderWidget", CtkSliderWidget


CUSTOM_WIDGETS = {
    "qMRMLWidget": QMRMLWidget,
    "qMRMLNodeComboBox": QMRMLNodeComboBox,
    "ctkCollapsibleButton": CtkCollapsibleButton,
    "ctkSliderWidget": CtkSliderWidget,
}
