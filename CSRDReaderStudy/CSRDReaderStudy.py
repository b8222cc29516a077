"""CSRDReaderStudy: read a blinded study in Slicer. What comes next is decided in CSRDDenoiseLib.readers."""

import sys
import tempfile
from pathlib import Path

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

LIBRARY, PARTS = "CSRDDenoiseLib", "CSRDReaderStudyModule"


def make_library_importable():
    """Put the folder of the library on the path: beside the module (installed, build tree) or one up (source)."""
    here = Path(__file__).resolve()
    root = next((str(root) for root in list(here.parents)[:2] if (root / LIBRARY / "__init__.py").is_file()), None)
    if root is None:
        raise ImportError(f"The package {LIBRARY} is missing beside {here}. Install the extension again.")
    if root not in sys.path:
        sys.path.insert(0, root)


make_library_importable()

from CSRDReaderStudyModule.panel import Panel  # noqa: E402 (needs the library on the path)

from CSRDDenoiseLib.readers.answers import answers_name, read_answers  # noqa: E402
from CSRDDenoiseLib.readers.study import (  # noqa: E402
    IMAGES,
    RATING,
    Reading,
    Scale,
    Study,
    Trial,
    read_study,
    write_checksums,
    write_study,
)

__all__ = ["CSRDReaderStudy", "CSRDReaderStudyTest", "CSRDReaderStudyWidget"]


class CSRDReaderStudy(ScriptedLoadableModule):
    """What Slicer's module list shows."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("Reader study (CSRD)")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Nuclear Medicine")]
        parent.dependencies = []
        parent.contributors = ["The CSRDDenoise developers"]
        parent.helpText = _(
            "Reads a blinded study that <code>csrd-denoise readers design</code> made: open its folder, choose who you "
            "are, and answer with the number keys. Every answer is saved at once."
        )
        parent.acknowledgementText = _("Licence: Apache-2.0.")


class CSRDReaderStudyWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The module's place in Slicer: makes the panel and notifies it when the module or the scene closes."""

    def __init__(self, parent=None):
        # first of all: without a parent the base class, which begins the mixin too, calls setup itself
        self.panel = None
        ScriptedLoadableModuleWidget.__init__(self, parent)

    def setup(self):
        """Make the panel; called when the module is opened the first time."""
        ScriptedLoadableModuleWidget.setup(self)
        widget = slicer.util.loadUI(self.resourcePath("UI/CSRDReaderStudy.ui"))
        self.layout.addWidget(widget)
        self.ui = slicer.util.childWidgetVariables(widget)
        widget.setMRMLScene(slicer.mrmlScene)
        self.panel = Panel(self.ui)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)

    def cleanup(self):
        """Release what the panel holds; called when the module is reloaded, and when Slicer ends."""
        self.removeObservers()
        if self.panel is not None:
            self.panel.close()
            self.panel = None

    def enter(self):
        """Nothing is to be done: whoever left goes on by hand."""

    def exit(self):
        """Pause: in another module the images would lose their disguise, and the time would run on."""
        if self.panel is not None:
            self.panel.pause()

    def onSceneStartClose(self, caller: vtk.vtkObject, event: str) -> None:
        """Pause before the images go."""
        self.panel.pause()

    def onReload(self):
        """Read the parts of the module again too."""
        for name in list(sys.modules):
            if name.split(".")[0] == PARTS or name.startswith(f"{LIBRARY}.readers"):
                del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)


class CSRDReaderStudyTest(ScriptedLoadableModuleTest):
    """Self test: a tiny study is read to its end."""

    def setUp(self):
        slicer.mrmlScene.Clear()

    def runTest(self, **_options):
        self.setUp()
        self.test_read_a_study()

    def test_read_a_study(self):
        """Two images are shown one after the other, and the answers file holds what was pressed."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            make_tiny_study(folder)
            widget = slicer.modules.csrdreaderstudy.widgetRepresentation().self()
            widget.panel.openStudy(folder)
            widget.panel.onBegin()
            for choice in (2, 1):
                self.delayDisplay("Reading")
                self.assertTrue(widget.panel.reading)
                widget.panel.choose(choice)
            study = read_study(folder)
            answers = read_answers(folder / answers_name("R1"), study).answers
            self.assertEqual([answer.values["noise"] for answer in answers], [2, 1])
            widget.panel.close()
        self.delayDisplay("Test passed")


def make_tiny_study(folder):
    """Write a study of two small images into a folder, for the self test."""
    import numpy as np
    import SimpleITK as sitk

    (folder / IMAGES).mkdir()
    for number in range(2):
        image = sitk.GetImageFromArray(np.full((4, 5, 6), 1.0 + number, np.float32))
        sitk.WriteImage(image, str(folder / IMAGES / f"{number}.nii"))
    trials = tuple(Trial(f"t{n}", (f"{n}.nii",), (0.0, 2.0), (2.0, 2.0, 2.0), 1, False) for n in range(2))
    scale = Scale("noise", "How disturbing is the noise?", ("very", "hardly"))
    write_study(Study("self-test", "Self test", RATING, (scale,), 0.0, (Reading("R1", trials),)), folder)
    write_checksums(folder)
