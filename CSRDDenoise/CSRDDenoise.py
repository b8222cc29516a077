"""CSRDDenoise: denoise brain PET with its MR. The parts are in CSRDDenoiseModule, the numerics in CSRDDenoiseLib."""

import shutil
import sys
from itertools import product
from pathlib import Path
from typing import Any

import ctk
import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

LIBRARY, PARTS = "CSRDDenoiseLib", "CSRDDenoiseModule"


def make_library_importable():
    """Put the folder of the library first on the path: beside the module (installed, build tree) or one up (source)."""
    here = Path(__file__).resolve()
    root = next((str(root) for root in list(here.parents)[:2] if (root / LIBRARY / "__init__.py").is_file()), None)
    if root is None:
        raise ImportError(f"The package {LIBRARY} is missing beside {here}. Install the extension again.")
    sys.path[:] = [root, *(entry for entry in sys.path if entry != root)]


make_library_importable()

from CSRDDenoiseModule.logic import CSRDDenoiseLogic  # noqa: E402 (needs the library on the path)
from CSRDDenoiseModule.panel import Panel  # noqa: E402
from CSRDDenoiseModule.views.comparison import register_layouts  # noqa: E402
from CSRDDenoiseModule.views.results import Bonds  # noqa: E402

from CSRDDenoiseLib.errors import Cancelled  # noqa: E402

__all__ = ["CSRDDenoise", "CSRDDenoiseLogic", "CSRDDenoiseTest", "CSRDDenoiseWidget", "load_sample"]

SAMPLE_CATEGORY, SAMPLE = "CSRDDenoise", "CSRDDenoiseBrain"
SAMPLE_FILES = {"low_dose_1_10.nii.gz": "PET low dose 1/10", "mr.nii.gz": "MR T1", "full_dose.nii.gz": "PET full dose"}
BEFORE_THE_SELECTORS = 100.0
"""Priority of an observer that hears of a removal, or of a scene that was read, before the node selectors do (theirs
are -10 and 0)."""


class CSRDDenoise(ScriptedLoadableModule):
    """What Slicer's module list shows."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("PET/MR denoising (CSRD)")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Nuclear Medicine")]
        parent.dependencies = []
        parent.contributors = ["The CSRDDenoise developers"]
        parent.helpText = _(
            "Denoises brain PET with the help of its MR by volumetric conditional score-based residual diffusion. "
            "Choose PET and MR, press Apply, and compare the result with its difference and its uncertainty.<br><br>"
            "From the Python console:<br><code>from CSRDDenoise import CSRDDenoiseLogic<br>"
            "result = CSRDDenoiseLogic().denoise(petVolume, mrVolume, preset='balanced', seed=0)<br>"
            "result.denoisedVolume, result.differenceVolume, result.uncertaintyVolume, result.provenance</code><br><br>"
            "For research only; not for diagnosis."
        )
        parent.acknowledgementText = _(
            "The method is conditional score-based residual diffusion (CSRD) with the samplers and the preconditioning "
            "of Karras et al. 2022. Licence: Apache-2.0."
        )
        slicer.app.connect("startupCompleted()", register_sample_data)
        slicer.app.connect("startupCompleted()", register_layouts)


class CSRDDenoiseWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The module's place in Slicer: makes the panel and hands on when the module or the scene comes and goes."""

    def __init__(self, parent=None):
        # first of all: without a parent the base class, which begins the mixin too, calls setup itself
        self.logic = None
        self.panel = None
        self.chosen: dict = {}
        self.bonds = Bonds()
        ScriptedLoadableModuleWidget.__init__(self, parent)

    def setup(self):
        """Make the panel; called when the module is opened the first time."""
        ScriptedLoadableModuleWidget.setup(self)
        widget = slicer.util.loadUI(self.resourcePath("UI/CSRDDenoise.ui"))
        self.layout.addWidget(widget)
        self.ui = slicer.util.childWidgetVariables(widget)
        reach_by_keyboard(self.ui)
        widget.setMRMLScene(slicer.mrmlScene)
        # the scene enables every selector
        self.ui.supportSelector.setEnabled(self.ui.supportCheckBox.checked)
        self.logic = CSRDDenoiseLogic()
        self.panel = Panel(self.ui, self.logic)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(scene, scene.EndImportEvent, self.onSceneRead, priority=BEFORE_THE_SELECTORS)
        for event in (scene.EndImportEvent, scene.EndUndoEvent, scene.EndRedoEvent):
            self.addObserver(scene, event, self.onSceneChanged)
        for event in (scene.StartUndoEvent, scene.StartRedoEvent):
            self.addObserver(scene, event, self.onUndo)
        for event in (scene.EndUndoEvent, scene.EndRedoEvent):
            # before the panel looks
            self.addObserver(scene, event, self.onUndone, priority=BEFORE_THE_SELECTORS)
        self.addObserver(
            scene, scene.NodeAboutToBeRemovedEvent, self.onNodeAboutToBeRemoved, priority=BEFORE_THE_SELECTORS
        )
        slicer.app.connect("aboutToQuit()", self.cleanup)
        self.panel.setParameterNode(self.logic.getParameterNode())
        # a reload finds the module open; a widget made by a script has a parent that is no module widget
        if getattr(self.parent, "isEntered", False):
            self.enter()

    def cleanup(self):
        """Release what the panel holds; called when the module is reloaded, and when Slicer ends."""
        self.removeObservers()
        if self.panel is not None:
            slicer.app.disconnect("aboutToQuit()", self.cleanup)
            self.panel.release()
            self.panel = None

    def enter(self):
        """Show the panel's choices; called each time the module is opened."""
        self.panel.enter()

    def exit(self):
        """Leave the panel; called each time another module is opened, at Slicer's end even after the clean-up."""
        if self.panel is not None:
            self.panel.exit()

    def onSceneStartClose(self, caller: vtk.vtkObject, event: str) -> None:
        """Stop before the scene's nodes go."""
        self.panel.close()

    def onSceneEndClose(self, caller: vtk.vtkObject, event: str) -> None:
        """Start again with what the user chose last."""
        # other nodes get the same IDs
        self.bonds = Bonds()
        self.panel.startAgain(self.logic.getParameterNode())

    def onSceneRead(self, caller: vtk.vtkObject, event: str) -> None:
        """Note what is chosen, now that all nodes are there: the selectors begin anew next, and choose nothing."""
        self.chosen = self.panel.chosenNodes()

    def onSceneChanged(self, caller: vtk.vtkObject, event: str) -> None:
        """Show the choices of a scene that was read, or put back to what it was."""
        chosen, self.chosen = self.chosen, {}
        self.panel.setParameterNode(self.logic.getParameterNode(), chosen)

    def onUndo(self, caller: vtk.vtkObject, event: str) -> None:
        """Note which maps belong to which results."""
        self.bonds.note()

    def onUndone(self, caller: vtk.vtkObject, event: str) -> None:
        """Let what came back belong together again."""
        self.bonds.restore()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def onNodeAboutToBeRemoved(self, caller: vtk.vtkObject, event: str, node: vtk.vtkObject) -> None:
        """Deselect a node before the selectors, which would jump to its neighbour."""
        self.panel.forgetNode(node)

    def onReload(self):
        """Read the helper files and the library again too."""
        for name in list(sys.modules):
            if name.split(".")[0] in (LIBRARY, PARTS):
                del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)


class CSRDDenoiseTest(ScriptedLoadableModuleTest):
    """Self test: the bundled pair through the logic."""

    def setUp(self):
        slicer.mrmlScene.Clear()

    def runTest(self, **_options):
        self.setUp()
        self.test_denoise_sample()

    def test_denoise_sample(self):
        """The result lies on the PET's grid, changes it, and adds up; a cancelled run leaves the scene alone."""
        self.delayDisplay("Loading the sample")
        pet, mr = load_sample()[:2]
        logic = CSRDDenoiseLogic()
        try:
            self.delayDisplay("Denoising")
            result = logic.denoise(pet, mr, preset="fast")
            before, after, change = (
                slicer.util.arrayFromVolume(node) for node in (pet, result.denoisedVolume, result.differenceVolume)
            )
            self.assertEqual(before.shape, after.shape)
            self.assertGreater(abs(change).max(), 0)
            self.assertLess(abs(before + change - after).max(), 1e-4 * abs(before).max())
            self.assertIs(result.denoisedVolume.GetNodeReference("CSRDDenoise.PET"), pet)
            self.delayDisplay("Cancelling")
            nodes = slicer.mrmlScene.GetNumberOfNodes()
            job = logic.start(pet, mr, preset="quality")
            job.cancel()
            with self.assertRaises(Cancelled):
                job.wait()
            self.assertEqual(job.state, "cancelled")
            self.assertEqual(slicer.mrmlScene.GetNumberOfNodes(), nodes)
        finally:
            logic.close()
        self.delayDisplay("Test passed")


def reach_by_keyboard(ui: Any) -> None:
    """Let Tab reach the node selectors, and the letter of a label its selector or slider.

    The list of Slicer's selectors hands its focus on to the selector, which takes none, so that Tab passes both by; nor
    does a slider of CTK take any.
    """
    parts = ((slicer.qMRMLNodeComboBox, "QComboBox"), (ctk.ctkSliderWidget, "QAbstractSpinBox"))
    for (made_of, kind), widget in product(parts, list(vars(ui).values())):
        found = slicer.util.findChildren(widget) if type(widget) is made_of else []
        part = next((each for each in found if each.inherits(kind)), None)
        if part is not None:
            part.setFocusProxy(None)
            widget.focusPolicy = qt.Qt.StrongFocus
            widget.setFocusProxy(part)


def register_sample_data() -> None:
    """Add the bundled pair to the Sample Data module; nothing is downloaded."""
    from SampleData import SampleDataLogic

    # Slicer counts the addresses even where a function loads the data, and None has no length
    SampleDataLogic.registerCustomSampleDataSource(
        category=SAMPLE_CATEGORY,
        sampleName=SAMPLE,
        uris=[],
        fileNames=[],
        nodeNames=[],
        thumbnailFileName=str(Path(__file__).resolve().parent / "Resources" / "Icons" / "CSRDDenoise.png"),
        customDownloader=load_sample,
    )


def load_sample(_source: object = None) -> "list[slicer.vtkMRMLScalarVolumeNode]":
    """Load a copy of the bundled low-dose PET, MR and full-dose PET and show the first; return them in this order."""
    from CSRDDenoiseLib.resources import SAMPLE_DATA, resource_folder

    # a copy, so that saving the scene never writes into the extension
    folder = Path(str(slicer.app.temporaryPath)) / SAMPLE
    folder.mkdir(parents=True, exist_ok=True)
    nodes = {}
    # Slicer shows each volume that it loads: the low-dose PET comes last
    for name in reversed(list(SAMPLE_FILES)):
        shutil.copyfile(resource_folder() / SAMPLE_DATA / name, folder / name)
        nodes[name] = slicer.util.loadVolume(str(folder / name), {"name": SAMPLE_FILES[name]})
    return [nodes[name] for name in SAMPLE_FILES]
