"""Helpers of the Slicer tests: the stand-in, volumes in its scene, and the module as Slicer loads it."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, Optional

import numpy as np
import pytest
import SimpleITK as sitk

pytest.importorskip("slicer_core", reason="slicer-core has no wheel for this Python")
pytest.importorskip("PySide6", reason="PySide6 is not installed")

import slicer_standin
from conftest import head_array

from CSRDDenoiseLib.resources import SAMPLE_DATA, resource_folder

# temporary folders of runs are counted: those of tests that run at the same time lie elsewhere
tempfile.tempdir = tempfile.mkdtemp(prefix="slicer-tests-")
atexit.register(shutil.rmtree, tempfile.tempdir, ignore_errors=True)

ROOT = Path(__file__).resolve().parent.parent
MODULE_FILE = ROOT / "CSRDDenoise" / "CSRDDenoise.py"
RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
SLICER = slicer_standin.install()
ENTRY = slicer_standin.load_module(MODULE_FILE)


def ijk_to_ras(directions=None, spacing=(2.0, 2.0, 2.0), origin=(12.0, -7.0, 31.0)) -> np.ndarray:
    """Return a 4 x 4 matrix from columns of directions, spacing and origin."""
    matrix = np.eye(4)
    matrix[:3, :3] = (np.eye(3) if directions is None else np.asarray(directions)) * np.asarray(spacing)
    matrix[:3, 3] = origin
    return matrix


def oblique(degrees: float = 25.0) -> np.ndarray:
    """Return the directions of a volume turned about two axes."""
    a, b = np.deg2rad(degrees), np.deg2rad(degrees / 2)
    about_z = [[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]]
    about_x = [[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]]
    return np.array(about_z) @ np.array(about_x)


def add_volume(name: str, array: np.ndarray, matrix: np.ndarray | None = None):
    """Add a volume with a display to the scene."""
    node = SLICER.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    SLICER.util.updateVolumeFromArray(node, array)
    place(node, ijk_to_ras() if matrix is None else matrix)
    node.CreateDefaultDisplayNodes()
    return node


def place(node, matrix: np.ndarray) -> None:
    """Set a volume's IJK to RAS matrix."""
    node.SetIJKToRASMatrix(SLICER.util.vtkMatrixFromArray(matrix))


def matrix_of(node) -> np.ndarray:
    """Return a volume's IJK to RAS matrix."""
    import vtk

    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return SLICER.util.arrayFromVTKMatrix(matrix)


def add_transform(matrix: np.ndarray, name: str = "Move"):
    """Add a linear transform to the scene."""
    node = SLICER.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", name)
    node.SetMatrixTransformToParent(SLICER.util.vtkMatrixFromArray(matrix))
    return node


def add_head(name: str = "PET low dose", shape=(24, 28, 26), matrix: np.ndarray | None = None, seed: int = 0):
    """Add a noisy head to the scene."""
    return add_volume(name, head_array(shape, seed), matrix)


def add_example(name: str):
    """Add a volume of the bundled example to the scene, on 4 mm voxels."""
    image = sitk.BinShrink(sitk.ReadImage(str(resource_folder() / SAMPLE_DATA / f"{name}.nii.gz")), [2] * 3)
    to_lps = ijk_to_ras(np.reshape(image.GetDirection(), (3, 3)), image.GetSpacing(), image.GetOrigin())
    return add_volume(name, sitk.GetArrayFromImage(image), RAS_FROM_LPS @ to_lps)


def identities(scene) -> set[str]:
    """Return the IDs of all nodes of a scene."""
    return {scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes())}


def wait_until(condition, seconds: float = 300.0) -> bool:
    """Let Slicer's events go on until a condition holds; False if it does not in time."""
    import time

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        SLICER.app.processEvents()
        if condition():
            return True
        time.sleep(0.01)
    return False


def sentences_of(table) -> list[str]:
    """Return what stands in the last column of a table of the panel."""
    return [table.item(row, table.columnCount - 1).text() for row in range(table.rowCount)]


def click(button) -> None:
    """Press a button with the mouse."""
    from PySide6 import QtCore, QtTest

    QtTest.QTest.mouseClick(button._qt, QtCore.Qt.LeftButton)


def tick(box) -> None:
    """Press a check box with the mouse: the box and its text take the click, not the empty space beside them."""
    from PySide6 import QtCore, QtTest

    QtTest.QTest.mouseClick(box._qt, QtCore.Qt.LeftButton, pos=QtCore.QPoint(8, box._qt.height() // 2))


def pick(combo, value: str) -> None:
    """Choose an entry of a list by the value behind it."""
    combo.setCurrentIndex(combo.findData(value))


def choose(ui, logic, pair, model, **settings) -> None:
    """Select both volumes by hand, and a model and settings by script."""
    ui.petSelector.setCurrentNode(pair[0])
    ui.mrSelector.setCurrentNode(pair[1])
    parameters = logic.getParameterNode()
    parameters.model = model
    for name, value in {"device": "cpu", "steps": 2, "samples": 2, **settings}.items():
        setattr(parameters.settings, name, value)


def run_to_end(ui) -> None:
    """Press Apply and wait for the end of the run."""
    click(ui.applyButton)
    assert wait_until(lambda: ui.applyButton.text == "Apply")


def pixels(view: str) -> np.ndarray:
    """Return what a slice view draws, (rows from the bottom, columns, RGBA), uint8."""
    from vtk.util.numpy_support import vtk_to_numpy

    logic = SLICER.app.layoutManager().sliceWidget(view).sliceLogic()
    connection = logic.GetImageDataConnection()
    connection.GetProducer().Update()
    image = connection.GetProducer().GetOutputDataObject(connection.GetIndex())
    width, height, _ = image.GetDimensions()
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, -1)


def add_result(pet, array: np.ndarray, name: str = "PET low dose"):
    """Add a denoised volume and its difference as a run leaves them, without a run."""
    import json

    from CSRDDenoiseLib.report.summary import summarise_change

    before = SLICER.util.arrayFromVolume(pet)
    denoised, difference = (
        add_volume(f"{name} {end}", values) for end, values in (("denoised", array), ("difference", array - before))
    )
    images = (sitk.GetImageFromArray(SLICER.util.arrayFromVolume(node)) for node in (denoised, difference))
    summary = summarise_change(*images).as_dict()
    for node in (denoised, difference):
        node.CopyOrientation(pet)
        node.SetNodeReferenceID("CSRDDenoise.PET", pet.GetID())
    difference.SetNodeReferenceID("CSRDDenoise.Denoised", denoised.GetID())
    contents = {"Provenance": {"settings": {}}, "Summary": summary, "Findings": []}
    for key, content in contents.items():
        denoised.SetAttribute(f"CSRDDenoise.{key}", json.dumps(content))
    return denoised, difference


def layout_manager():
    """Slicer's layout manager."""
    return SLICER.app.layoutManager()


def background(view: str) -> str:
    """The identifier of the volume in the background of a slice view."""
    return layout_manager().sliceWidget(view).sliceLogic().GetSliceCompositeNode().GetBackgroundVolumeID()


@contextmanager
def raises_named(name: str, match: Optional[str] = None) -> Iterator[None]:
    """As ``pytest.raises``, for a class by its name: a test of reloading in the same process makes the classes anew."""
    with pytest.raises(Exception, match=match) as raised:
        yield
    assert type(raised.value).__name__ == name


def double_click(button) -> None:
    """Press a button twice, as Qt hears of a double click."""
    from PySide6 import QtCore, QtGui, QtWidgets

    event, widget = QtCore.QEvent.Type, button._qt
    place = QtCore.QPointF(widget.rect().center())
    for kind in (event.MouseButtonPress, event.MouseButtonRelease, event.MouseButtonDblClick, event.MouseButtonRelease):
        held = QtCore.Qt.NoButton if kind == event.MouseButtonRelease else QtCore.Qt.LeftButton
        where = (place, widget.mapToGlobal(place), QtCore.Qt.LeftButton, held, QtCore.Qt.NoModifier)
        QtWidgets.QApplication.sendEvent(widget, QtGui.QMouseEvent(kind, *where))
