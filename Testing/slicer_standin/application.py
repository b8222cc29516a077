"""``slicer.app``, its layout manager, ``slicer.modules``, and what of ``slicer.util`` needs an application."""

import logging
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import ClassVar
from xml.etree import ElementTree

import numpy as np
import slicer
import vtk
from PySide6 import QtCore, QtUiTools, QtWidgets

from .api import names_of
from .pythonqt import Proxy, wrap
from .widgets import CUSTOM_WIDGETS

COLOUR_TABLES = {
    "DivergingBlueRed": ((0.23, 0.30, 0.75), (0.87, 0.87, 0.87), (0.71, 0.02, 0.15)),
    "Inferno": ((0.0, 0.0, 0.01), (0.34, 0.06, 0.43), (0.74, 0.21, 0.33), (0.98, 0.56, 0.04), (0.99, 1.0, 0.64)),
    "InvertedGrey": ((1.0, 1.0, 1.0), (0.0, 0.0, 0.0)),
}
"""Name -> colours at even steps; Slicer reads 256 of them from a file."""


class SliceWidget:
    """A slice view without a window: its logic is real, and it remembers what it would draw.

    As in Slicer a view has a size, and an observer for legends, only once the events of its layout are done. A legend
    that was made visible before stays undrawn until it changes, or the view's volume does.
    """

    SIZE, UNREALISED_SIZE = (400, 300), (100, 30)

    def __init__(self, name, scene, application_logic):
        self._scene, self._drawn, self._observers = scene, set(), {}
        self._logic = slicer.vtkMRMLSliceLogic()
        self._logic.SetMRMLApplicationLogic(application_logic)
        self._logic.SetMRMLScene(scene)
        # the layout logic made the view's node, and the view takes that one
        self._logic.SetSliceNode(scene.GetSingletonNode(name, "vtkMRMLSliceNode"))
        self.realised = self._listening = False

    def sliceLogic(self):
        return self._logic

    def begin(self):
        """Come into a layout: without a size yet, and with nothing drawn."""
        self.realised = False
        self._drawn.clear()
        self._logic.GetSliceNode().SetDimensions(*self.UNREALISED_SIZE, 1)

    def realise(self):
        """Give the view its size, and let it hear of legends from now on."""
        if self.realised:
            return
        # as qMRMLSliceControllerWidget does: the field of view keeps its height alone
        self._logic.ResizeSliceNode(*self.SIZE)
        self.realised = True
        if not self._listening:
            self._listening = True
            for legend in self._scene.GetNodesByClass("vtkMRMLColorLegendDisplayNode"):
                self._observe(legend)

            @vtk.calldata_type(vtk.VTK_OBJECT)
            def added(_caller, _event, node):
                if node.IsA("vtkMRMLColorLegendDisplayNode"):
                    self._observe(node)

            self._scene.AddObserver(self._scene.NodeAddedEvent, added)

    def legends(self):
        """Return the volumes whose legend is drawn here."""
        background = self._logic.GetSliceCompositeNode().GetBackgroundVolumeID()
        return {identity for identity in self._drawn if identity == background}

    def _observe(self, legend):
        def draw(*_):
            displayed, background = legend.GetDisplayableNode(), self._logic.GetSliceCompositeNode()
            if not self.realised:
                return
            if (
                displayed is not None
                and legend.GetVisibility()
                and displayed.GetID() == background.GetBackgroundVolumeID()
            ):
                self._drawn.add(displayed.GetID())

        self._observers[legend] = legend.AddObserver("ModifiedEvent", draw)


class LayoutManager:
    """``slicer.app.layoutManager()``; the layout logic is real and makes the view nodes."""

    def __init__(self, scene):
        self._scene = scene
        self._logic = slicer.vtkMRMLLayoutLogic()
        self._logic.SetMRMLScene(scene)
        self._slices = {}
        self._viewport = QtWidgets.QWidget()
        self._viewport.resize(900, 700)
        self._application_logic = slicer.vtkMRMLApplicationLogic()
        self._application_logic.SetMRMLScene(scene)
        self._logic.GetLayoutNode().SetViewArrangement(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)

    @property
    def layout(self):
        return self._logic.GetLayoutNode().GetViewArrangement()

    def layoutLogic(self):
        return self._logic

    def viewport(self):
        return wrap(self._viewport)

    def setLayout(self, identity):
        before = self.sliceViewNames()
        self._logic.GetLayoutNode().SetViewArrangement(identity)
        for name in set(self.sliceViewNames()) - set(before):
            self._slice(name).begin()

    def sliceViewNames(self):
        found = [
            self._logic.GetViewNodes().GetItemAsObject(index)
            for index in range(self._logic.GetViewNodes().GetNumberOfItems())
        ]
        return tuple(node.GetLayoutName() for node in found if node.IsA("vtkMRMLSliceNode"))

    def sliceWidget(self, name):
        return self._slice(name) if name in self.sliceViewNames() else None

    def _events_done(self):
        """Do what the first events after a change of the layout do."""
        for name in self.sliceViewNames():
            self._slice(name).realise()

    def _select_volume(self, volume):
        """Show a volume that was loaded, as Slicer does: in every slice view that takes part."""
        self._application_logic.GetSelectionNode().SetActiveVolumeID(volume.GetID())
        self._application_logic.PropagateVolumeSelection(0)

    def _slice(self, name):
        if name not in self._slices:
            self._slices[name] = SliceWidget(name, self._scene, self._application_logic)
        return self._slices[name]


class Application(Proxy):
    """``slicer.app``."""

    record, qt_class = "slicer.app", QtWidgets.QApplication

    def __init__(self, qt_application, scene):
        object.__setattr__(self, "_qt", qt_application)
        object.__setattr__(self, "_slots", [])
        object.__setattr__(self, "_started", [])
        object.__setattr__(self, "urlReceived", [])
        object.__setattr__(self, "_layout_manager", LayoutManager(scene))
        object.__setattr__(self, "temporaryPath", tempfile.mkdtemp(prefix="standin-"))

    applicationName = "Slicer"

    def applicationDirPath(self):
        # no PythonSlicer lies here, so the search goes on as in a build tree
        return str(Path(self.temporaryPath) / "bin")

    def layoutManager(self):
        return self._layout_manager

    def testingEnabled(self):
        return True

    def startupEnvironment(self):
        return dict(os.environ)

    def openUrl(self, url):
        # no web browser: modules hear of the address, such as DICOM of a study to load
        self.urlReceived.append(url)

    def processEvents(self, flags=None):
        self._qt.processEvents() if flags is None else self._qt.processEvents(flags)
        self._layout_manager._events_done()

    def clipboard(self):
        return self._qt.clipboard()

    def translate(self, _context, text):
        return text

    def connect(self, signature, receiver):
        if signature == "startupCompleted()":
            self._started.append(receiver)
            return True
        return super().connect(signature, receiver)

    def complete_startup(self):
        """Do what the end of Slicer's start does."""
        for receiver in self._started:
            receiver()


class DesktopServices:
    """``qt.QDesktopServices``, which Slicer's own modules open files and pages with; no browser starts."""

    opened: ClassVar[list] = []

    @classmethod
    def openUrl(cls, url):
        cls.opened.append(url)
        return True


class Modules:
    """``slicer.modules``."""

    def __init__(self, scene):
        self.colors = _ColorsModule(scene)
        self.segmentations = _SegmentationsModule(scene)
        self.sampleDataSources = {}
        self.segmentations = _Module(slicer.vtkSlicerSegmentationsModuleLogic(), scene)
        self.volumes = _Module(slicer.vtkSlicerVolumesLogic(), scene)


class _Module:
    """A module of which the logic alone is there, the real one."""

    def __init__(self, logic, scene):
        self._logic = logic
        logic.SetMRMLScene(scene)

    def logic(self):
        return self._logic


class _SegmentationsModule:
    def __init__(self, scene):
        self._logic = slicer.vtkSlicerSegmentationsModuleLogic()
        self._logic.SetMRMLScene(scene)

    def logic(self):
        return self._logic


class _ColorsModule:
    def __init__(self, scene):
        self._logic = slicer.vtkSlicerColorLogic()
        application_logic = slicer.vtkMRMLApplicationLogic()
        application_logic.SetHomeDirectory(slicer.app.temporaryPath)
        application_logic.SetShareDirectory(slicer.app.temporaryPath)
        self._logic.SetMRMLApplicationLogic(application_logic)
        self._logic.SetMRMLScene(scene)
        for name, colours in COLOUR_TABLES.items():
            table = scene.AddNewNodeByClass("vtkMRMLColorTableNode", name)
            table.SetTypeToUser()
            table.SetNumberOfColors(256)
            steps = np.linspace(0, len(colours) - 1, 256)
            channels = [np.interp(steps, range(len(colours)), channel) for channel in zip(*colours)]
            for index, colour in enumerate(zip(*channels)):
                table.SetColor(index, str(index), *map(float, colour), 1.0)
            table.SetSingletonTag(name)

    def logic(self):
        return self._logic


class Util:
    """Functions of ``slicer.util`` for which there must be an application; messages are kept in ``shown``."""

    def __init__(self):
        self.shown = []
        self.answers = True

    def loadUI(self, path):
        tree = ElementTree.parse(path)
        connections = tree.getroot().find("connections")
        wanted = [tuple(part.findtext(tag) for tag in ("sender", "signal", "receiver", "slot")) for part in connections]
        tree.getroot().remove(connections)
        widget = _UiLoader().load_text(ElementTree.tostring(tree.getroot()))
        for sender, signal, receiver, slot in wanted:
            _connect(widget, sender, signal, receiver, slot)
        return wrap(widget)

    def childWidgetVariables(self, widget):
        ui = type("", (), {})()
        for child in [widget._qt, *widget._qt.findChildren(QtWidgets.QWidget)]:
            if child.objectName():
                setattr(ui, child.objectName(), wrap(child))
        return ui

    def mainWindow(self, verbose=True):
        return None

    def modulePath(self, name):
        return getattr(slicer.modules, name.lower()).path

    def reloadScriptedModule(self, name):
        getattr(slicer.modules, name.lower()).reload()

    def startupEnvironment(self):
        return slicer.app.startupEnvironment()

    def errorDisplay(self, text, windowTitle=None, parent=None, standardButtons=None, **options):
        self.shown.append((text, options.get("detailedText", "")))
        logging.error(text)

    def confirmOkCancelDisplay(self, text, windowTitle=None, parent=None, **options):
        self.shown.append((text, ""))
        return self.answers

    def delayDisplay(self, message, autoCloseMsec=1000, parent=None, **options):
        logging.info(message)

    def pip_install(self, requirements):
        raise RuntimeError(f"no test may install packages: {requirements}")

    def loadVolume(self, filename, properties=None, returnNode=False):
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", (properties or {}).get("name", "Volume"))
        storage = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
        storage.SetFileName(filename)
        if not storage.ReadData(node):
            raise RuntimeError(f"Failed to load node from file: {filename}")
        node.SetAndObserveStorageNodeID(storage.GetID())
        node.CreateDefaultDisplayNodes()
        if (properties or {}).get("show", True):
            slicer.app.layoutManager()._select_volume(node)
        return node


def make_scene():
    """Return the application's scene with what Slicer puts there at its start."""
    scene = slicer.vtkMRMLScene()
    scene.RegisterNodeClass(slicer.vtkMRMLSequenceBrowserNode())
    scene.RegisterNodeClass(slicer.vtkMRMLSequenceNode())
    scene.RegisterNodeClass(slicer.vtkMRMLColorLegendDisplayNode())
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene)
    scene.AddNode(slicer.vtkMRMLCrosshairNode())

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def added(caller, _event, node):
        # in Slicer the subject hierarchy plugins do this at once
        if node.IsA("vtkMRMLVolumeNode") and not caller.IsImporting() and not node.GetHideFromEditors():
            hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(caller)
            if not hierarchy.GetItemByDataNode(node):
                hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)

    scene.AddObserver(scene.NodeAddedEvent, added)
    return scene


def make_application(scene):
    """Return ``slicer.app`` over an offscreen Qt, its settings in a temporary folder."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    qt_application = QtWidgets.QApplication.instance() or QtWidgets.QApplication(sys.argv[:1])
    qt_application.setApplicationName("Slicer")
    qt_application.setOrganizationName("NA-MIC")
    application = Application(qt_application, scene)
    QtCore.QSettings.setDefaultFormat(QtCore.QSettings.IniFormat)
    QtCore.QSettings.setPath(QtCore.QSettings.IniFormat, QtCore.QSettings.UserScope, application.temporaryPath)
    return application


def remove_traces(application):
    """Remove what the application wrote."""
    shutil.rmtree(application.temporaryPath, ignore_errors=True)


def util_names():
    """Return the names that a real ``slicer.util`` has."""
    return names_of("slicer.util")


class _UiLoader(QtUiTools.QUiLoader):
    def load_text(self, text):
        buffer = QtCore.QBuffer()
        buffer.setData(text)
        buffer.open(QtCore.QIODevice.ReadOnly)
        widget = self.load(buffer)
        if widget is None:
            raise RuntimeError(f"Could not load UI file: {self.errorString()}")
        return widget

    def createWidget(self, class_name, parent=None, name=""):
        if class_name in CUSTOM_WIDGETS:
            widget = CUSTOM_WIDGETS[class_name](parent)
            widget.setObjectName(name)
            return widget
        return super().createWidget(class_name, parent, name)


def _connect(root, sender, signal, receiver, slot):
    """Make a connection of the .ui file; a name that does not exist is an error, not the warning Qt gives."""
    objects = {child.objectName(): child for child in [root, *root.findChildren(QtWidgets.QWidget)]}
    function = getattr(objects[receiver], slot.split("(")[0])
    getattr(objects[sender], signal.split("(")[0]).connect(function)
