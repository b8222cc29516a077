"""Fixtures of the Slicer tests, a pytest plugin: the scene, models, and a logic."""

from __future__ import annotations

import pytest
from slicer_helpers import ENTRY, SLICER
from tiny_model import save_tiny_model


@pytest.fixture
def scene():
    """Slicer's scene, empty."""
    SLICER.mrmlScene.Clear(0)
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
