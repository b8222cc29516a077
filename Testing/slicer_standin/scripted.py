"""``slicer.ScriptedLoadableModule`` and the loading, entering, leaving and reloading of a scripted module."""

import importlib.util
import sys
import unittest
from pathlib import Path

import slicer

from .pythonqt import QT_CLASSES
from .widgets import qMRMLWidget


class ScriptedLoadableModule:
    def __init__(self, parent):
        self.parent = parent
        self.moduleName = type(self).__name__
        parent.title, parent.categories, parent.dependencies, parent.contributors = "", [], [], []
        parent.helpText, parent.acknowledgementText = "", ""
        if not hasattr(slicer, "selfTests"):
            slicer.selfTests = {}
        slicer.selfTests[self.moduleName] = self.runTest

    def resourcePath(self, filename):
        return str(Path(self.parent.path).parent / "Resources" / filename)

    def runTest(self, msec=100, **options):
        test = getattr(sys.modules[type(self).__module__], self.moduleName + "Test")()
        test.messageDelay = msec
        test.runTest(**options)


class ScriptedLoadableModuleWidget:
    def __init__(self, parent=None):
        super().__init__()
        self.moduleName = type(self).__name__.removesuffix("Widget")
        self.parent = parent
        if parent is None:
            self.parent = qMRMLWidget()
            self.parent.setLayout(QT_CLASSES["QVBoxLayout"]())
            self.parent.setMRMLScene(slicer.mrmlScene)
        self.layout = self.parent.layout()
        if parent is None:
            self.setup()
            self.parent.show()

    def resourcePath(self, filename):
        return str(Path(slicer.util.modulePath(self.moduleName)).parent / "Resources" / filename)

    def setup(self):
        pass

    def cleanup(self):
        pass

    def onReload(self):
        slicer.util.reloadScriptedModule(self.moduleName)


class ScriptedLoadableModuleLogic:
    def __init__(self, parent=None):
        self.moduleName = type(self).__name__.removesuffix("Logic")
        self.isSingletonParameterNode = True

    def getParameterNode(self):
        node = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
        if node is None:
            node = slicer.mrmlScene.AddNode(self.createParameterNode())
        # closing a scene can take the attribute away
        node.SetAttribute("ModuleName", self.moduleName)
        return node

    def createParameterNode(self):
        node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
        node.UnRegister(None)
        node.SetSingletonTag(self.moduleName)
        node.SetAttribute("ModuleName", self.moduleName)
        node.SetName(slicer.mrmlScene.GenerateUniqueName(self.moduleName))
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    messageDelay = 0

    def runTest(self):
        pass

    def delayDisplay(self, message, requestedDelay=None, msec=None):
        slicer.util.delayDisplay(message, msec or self.messageDelay)


class ModuleEntry:
    """What ``slicer.modules.<name>`` is: the module as loaded, and its one widget."""

    def __init__(self, path):
        self.path = str(path)
        self.name = Path(path).stem
        self._widget = None
        self.load()
        self.instance = getattr(self.python, self.name)(self)

    @property
    def python(self):
        return sys.modules[self.name]

    def load(self):
        spec = importlib.util.spec_from_file_location(self.name, self.path)
        sys.modules[self.name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[self.name])

    def widgetRepresentation(self):
        if self._widget is None:
            self._widget = ModuleWidget(self)
        return self._widget

    def reload(self):
        if self._widget is not None:
            self._widget.self().cleanup()
        self.load()
        if self._widget is not None:
            self._widget.reload()


class ModuleWidget(qMRMLWidget):
    """The panel's outer widget: what Slicer hands to the Python widget class as ``parent``."""

    record, qt_class = "slicer.qMRMLWidget", type("ModuleArea", (qMRMLWidget.qt_class,), {})
    _own = ("isEntered", "_entry", "_python")

    def __init__(self, entry):
        super().__init__()
        self.setMRMLScene(slicer.mrmlScene)
        self.setLayout(QT_CLASSES["QVBoxLayout"]())
        object.__setattr__(self, "isEntered", False)
        object.__setattr__(self, "_entry", entry)
        self.reload()

    def self(self):
        return self._python

    def reload(self):
        while self._qt.layout().count():
            self._qt.layout().takeAt(0).widget().hide()
        widget = getattr(self._entry.python, self._entry.name + "Widget")(self)
        object.__setattr__(self, "_python", widget)
        setattr(slicer.modules, self._entry.name + "Widget", widget)
        widget.setup()

    def enter(self):
        object.__setattr__(self, "isEntered", True)
        self._python.enter()

    def exit(self):
        object.__setattr__(self, "isEntered", False)
        self._python.exit()
