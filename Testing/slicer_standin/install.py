"""Puts the stand-in where ``import slicer``, ``import qt`` and ``import ctk`` find it."""

import sys
import types

import slicer
from PySide6 import QtCore

from . import application, scripted, widgets
from .api import names_of
from .pythonqt import QT_CLASSES

EXTRA_UTIL = ("shown", "answers")


class SampleDataSource:
    """One entry of the Sample Data module; it counts what it is given as Slicer does, so None is refused."""

    def __init__(self, sampleName, uris, fileNames, nodeNames, customDownloader, thumbnailFileName):
        if isinstance(uris, str):
            uris, fileNames, nodeNames = [uris], [fileNames], [nodeNames]
        for _name in zip(fileNames, nodeNames):
            pass
        if not len(uris) == len(fileNames) == len(nodeNames):
            raise ValueError("All fields of sample data source must have the same length")
        self.sampleName, self.customDownloader, self.thumbnailFileName = sampleName, customDownloader, thumbnailFileName


class SampleDataLogic:
    """The part of Slicer's Sample Data module that takes registrations."""

    @staticmethod
    def registerCustomSampleDataSource(
        category="Custom",
        sampleName=None,
        uris=None,
        fileNames=None,
        nodeNames=None,
        customDownloader=None,
        thumbnailFileName=None,
        loadFileType="VolumeFile",
        loadFiles=None,
        loadFileProperties=None,
        checksums=None,
    ):
        source = SampleDataSource(sampleName, uris, fileNames, nodeNames, customDownloader, thumbnailFileName)
        slicer.modules.sampleDataSources.setdefault(category, []).append(source)

    @staticmethod
    def click(category, sampleName):
        """Do what a click on an entry's picture does."""
        source = next(each for each in slicer.modules.sampleDataSources[category] if each.sampleName == sampleName)
        return source.customDownloader(source)


def install():
    """Make the stand-in importable and return its ``slicer`` module. Call it once a process."""
    scene = application.make_scene()
    slicer.mrmlScene = scene
    slicer.app = application.make_application(scene)
    slicer.modules = application.Modules(scene)
    slicer.selfTests = {}
    slicer.util = _util()
    slicer.qMRMLWidget, slicer.qMRMLNodeComboBox = widgets.qMRMLWidget, widgets.qMRMLNodeComboBox
    about_addresses = {"QUrl": QtCore.QUrl, "QDesktopServices": application.DesktopServices}
    # of an event loop only the flags are used
    _module("qt", **QT_CLASSES, **about_addresses, QEventLoop=QtCore.QEventLoop, Qt=QtCore.Qt)
    _module("ctk", ctkCollapsibleButton=widgets.ctkCollapsibleButton, ctkSliderWidget=widgets.ctkSliderWidget)
    _module("slicer.i18n", tr=_same, translate=_second)
    _module("SampleData", SampleDataLogic=SampleDataLogic, SampleDataSource=SampleDataSource)
    from . import parameter_node

    _module(
        "slicer.parameterNodeWrapper",
        parameterNodeWrapper=parameter_node.parameterNodeWrapper,
        parameterPack=parameter_node.parameterPack,
        WithinRange=parameter_node.WithinRange,
    )
    bases = ("", "Widget", "Logic", "Test")
    classes = {f"ScriptedLoadableModule{end}": getattr(scripted, f"ScriptedLoadableModule{end}") for end in bases}
    _module("slicer.ScriptedLoadableModule", **classes)
    return slicer


def load_module(path):
    """Load a scripted module as Slicer does at its start and return what ``slicer.modules`` then holds."""
    sys.path.append(str(path.parent))
    entry = scripted.ModuleEntry(path)
    setattr(slicer.modules, entry.name.lower(), entry)
    return entry


def _util():
    """Return ``slicer.util`` with no name that Slicer 5.6 lacks; what needs an application comes from the stand-in."""
    real, own = sys.modules["slicer.util"], application.Util()
    module = types.ModuleType("slicer.util")
    for name in names_of("slicer.util") & set(dir(real)):
        setattr(module, name, getattr(real, name))
    for name in dir(own):
        if not name.startswith("_") and name not in EXTRA_UTIL:
            setattr(module, name, getattr(own, name))
    module.standin = own
    sys.modules["slicer.util"] = module
    return module


def _module(name, **content):
    module = types.ModuleType(name)
    module.__dict__.update(content)
    sys.modules[name] = module
    if name.startswith("slicer."):
        setattr(slicer, name.split(".")[1], module)


def _same(text):
    return text


def _second(_context, text):
    return text
