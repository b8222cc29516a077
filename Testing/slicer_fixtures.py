"""Fixtures of the Slicer tests, a pytest plugin: the scene, models, and a logic."""

from __future__ import annotations

import gc
from typing import Iterator

import pytest
from conftest import head_array
from slicer_helpers import ENTRY, SLICER, add_head, add_volume, ijk_to_ras
from tiny_model import save_tiny_model


@pytest.fixture(scope="session")
def _loaded() -> None:
    """What is loaded by now stays, so that a collection looks only at what tests make."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def _collected_here(_loaded) -> Iterator[None]:
    """Python's collector runs in this thread alone.

    In another one, of Dask for instance, it would end objects of Qt that this thread's event loop still looks at.
    """
    gc.disable()
    yield
    gc.collect()
    gc.enable()


@pytest.fixture
def scene(_collected_here):
    """Slicer's scene, empty."""
    import qt  # there once the helpers have put the stand-in in place

    qt.QSettings().clear()
    # a test clicks faster than people do
    SLICER.app.setDoubleClickInterval(0)
    SLICER.mrmlScene.Clear(0)
    # the views of the layout and their nodes are there before a test looks
    SLICER.app.processEvents()
    yield SLICER.mrmlScene
    SLICER.mrmlScene.Clear(0)


@pytest.fixture(scope="session")
def small_model(tmp_path_factory) -> str:
    """Folder of a tiny model that answers at once."""
    return str(save_tiny_model(tmp_path_factory.mktemp("small") / "tiny"))


@pytest.fixture(scope="session")
def coarse_model(tmp_path_factory) -> str:
    """Folder of a tiny model on 4 mm voxels, for whole heads."""
    return str(save_tiny_model(tmp_path_factory.mktemp("coarse") / "tiny", voxel_spacing_mm=4.0))


@pytest.fixture(scope="session")
def slow_model(tmp_path_factory) -> str:
    """Folder of a model that is slow enough to be interrupted."""
    wide = {"type": "ResidualUNet3d", "widths": [48, 64], "blocks": [3, 3], "embedding": 16}
    return str(save_tiny_model(tmp_path_factory.mktemp("slow") / "wide", architecture=wide))


@pytest.fixture(scope="module")
def logic():
    """A logic whose worker stays warm through a file of tests."""
    made = ENTRY.python.CSRDDenoiseLogic()
    yield made
    made.close()


@pytest.fixture
def without_worker(scene, monkeypatch):
    """The panel asks its worker process nothing, so that none is started: it takes half a second of each test."""
    worker = type(ENTRY.widgetRepresentation().self().logic.worker)
    monkeypatch.setattr(worker, "send", lambda self, message: None)


def _without_estimate(logic, patch) -> None:
    send = logic.worker.send
    patch.setattr(logic.worker, "send", lambda request: request["command"] != "estimate" and send(request))


@pytest.fixture
def without_estimate(scene, monkeypatch):
    """The worker process measures no speed, which takes seconds."""
    _without_estimate(ENTRY.widgetRepresentation().self().logic, monkeypatch)


@pytest.fixture(scope="module")
def one_worker():
    """The panel's idle worker process goes on to the next test of a file and measures no speed, which takes seconds."""
    logic = ENTRY.widgetRepresentation().self().logic
    with pytest.MonkeyPatch.context() as patch:
        _without_estimate(logic, patch)
        patch.setattr(logic.worker, "end", lambda: None)
        yield
    logic.close()


@pytest.fixture
def area(scene):
    """The module's widget, opened and shown."""
    made = ENTRY.widgetRepresentation()
    made._qt.resize(480, 940)
    made.show()
    made.enter()
    yield made
    made.exit()
    made.hide()
    ENTRY.widgetRepresentation().self().logic.close()


@pytest.fixture
def ui(area):
    """The widgets of the panel by their object names."""
    return area.self().ui


@pytest.fixture
def logic_of(area):
    """The logic behind the panel."""
    return area.self().logic


@pytest.fixture
def pair(scene):
    """A PET and an MR that overlaps it."""
    mr = 1000 - head_array((40, 44, 36)) / 10
    return add_head("PET low dose"), add_volume("T1", mr, ijk_to_ras(None, (1.3, 1.2, 1.2)))


@pytest.fixture
def undo(scene):
    """What a user of Slicer's undo switches on: the scene's, and that of its nodes."""
    scene.SetUndoOn()
    yield lambda *nodes: [node.SetUndoEnabled(True) for node in nodes]
    scene.ClearUndoStack()
    scene.ClearRedoStack()
    scene.SetUndoOff()
