"""Shared fixtures: tiny models with the weights they are born with, and a small head."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from CSRDDenoiseLib.research.training.config import TrainingConfig

SPACING = (2.0, 2.0, 2.0)
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
"""Of a process that finds the package in this checkout."""
ONE_THREAD = {**ENVIRONMENT, "OMP_NUM_THREADS": "1"}


def head_array(shape: tuple[int, int, int] = (24, 28, 26), seed: int = 0) -> np.ndarray:
    """A noisy ellipsoid with a cold middle and a hot spot off the centre, float32 (D, H, W), in air."""
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    head = (x**2 + y**2 + z**2 < 0.55).astype(np.float32)
    head[x**2 + y**2 + z**2 < 0.1] = 0.4
    head[(x - 0.3) ** 2 + (y - 0.2) ** 2 + (z + 0.3) ** 2 < 0.02] = 2.0
    noise = np.random.default_rng(seed).normal(1, 0.2, shape)
    return (5000 * head * noise.clip(0)).astype(np.float32)


def as_image(
    array: np.ndarray,
    spacing: tuple[float, float, float] = SPACING,
    origin: tuple[float, float, float] = (-20.0, 10.0, 5.0),
    direction: tuple[float, ...] = (1, 0, 0, 0, 1, 0, 0, 0, 1),
) -> sitk.Image:
    """An array (D, H, W) with a place in space."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    image.SetDirection([float(value) for value in direction])
    return image


def rotation(degrees: float, axis: tuple[float, float, float] = (1.0, 2.0, 3.0)) -> tuple[float, ...]:
    """Direction cosines of an oblique volume."""
    turn = sitk.VersorTransform(axis, np.deg2rad(degrees))
    return turn.GetMatrix()


def ball_labels(spacing: float = 5.0, shrink: float = 1.0) -> np.ndarray:
    """A label map of nested balls, as FreeSurfer's: white matter, cortex, CSF, and what is around the brain."""
    shape = [round(side / spacing) for side in (130, 150, 120)]
    axes = np.meshgrid(*[np.arange(n) - (n - 1) / 2 for n in shape], indexing="ij")
    r = spacing * shrink * np.sqrt(sum(axis**2 for axis in axes))
    return np.select([r < 25, r < 40, r < 45, r < 55], [2, 3, 24, 511], 0).astype(np.int16)


def write_anatomies(folder: Path, heads: int, spacing: float = 5.0) -> Path:
    """Write label maps of nested balls, each smaller than the one before it."""
    nibabel = pytest.importorskip("nibabel")
    (folder / "synthseg").mkdir(parents=True)
    for number in range(heads):
        image = nibabel.Nifti1Image(ball_labels(spacing, 1 + 0.03 * number), np.diag([spacing] * 3 + [1.0]))
        nibabel.save(image, folder / "synthseg" / f"ball{number}.nii.gz")
    return folder


def free_port() -> int:
    """A port that nothing listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def pet() -> sitk.Image:
    """A head at 2 mm, about 5000 Bq/mL."""
    return as_image(head_array())


@pytest.fixture
def mr() -> sitk.Image:
    """The same head as an MR would show it, on a finer grid of its own."""
    return as_image(1000 - head_array((40, 44, 36), seed=1) / 10, (1.3, 1.2, 1.2), (-19.0, 11.0, 5.0))


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny network with random weights, whose residual is small but not zero."""
    from tiny_model import save_tiny_model

    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny", sigma_data=0.1, sigma_max=2.0)


@pytest.fixture(scope="session")
def zero_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that finds nothing to change: it is born with an output of zero, and c_skip is as good as zero."""
    from tiny_model import TINY, tiny_metadata

    from CSRDDenoiseLib.model.bundle import build_network, save_model

    folder = tmp_path_factory.mktemp("models") / "zero"
    save_model(folder, build_network(TINY), tiny_metadata(name="zero", sigma_data=1e-4, sigma_max=2.0))
    return folder


@pytest.fixture(scope="session")
def anatomy_folder(tmp_path_factory):
    """Five anatomies of 5 mm voxels."""
    return write_anatomies(tmp_path_factory.mktemp("anatomy"), 5)


@pytest.fixture(scope="session")
def simulated_before():
    """Subjects, by all that their simulation follows from."""
    return {}


@pytest.fixture
def simulate_once(simulated_before, monkeypatch):
    """Trainings share subjects that are simulated alike; test_simulation.py shows that they follow from the seed."""
    from CSRDDenoiseLib.research.training import pool

    simulate = pool.simulate_subject

    def remembered(anatomy, settings, seed, device="cpu"):
        t1 = b"" if anatomy.t1 is None else anatomy.t1.tobytes()
        key = (anatomy.name, anatomy.labels.tobytes(), t1, anatomy.spacing, repr(settings), seed, str(device))
        if key not in simulated_before:
            simulated_before[key] = simulate(anatomy, settings, seed, device)
        return simulated_before[key]

    monkeypatch.setattr(pool, "simulate_subject", remembered)


@pytest.fixture
def training_config(anatomy_folder, tmp_path, simulate_once):
    return TrainingConfig(
        name="tiny",
        anatomy=anatomy_folder,
        output=tmp_path / "run",
        architecture={"type": "ResidualUNet3d", "widths": [8, 8], "blocks": [1, 1], "embedding": 16},
        doses=(1 / 4, 1 / 8),
        unseen_doses=(),
        subjects=(0.6, 0.2, 0.2),
        pool_size=2,
        pool_start=2,
        validation_phantoms=1,
        simulators=0,
        model_spacing=5.0,
        patch=16,
        steps=6,
    )


@pytest.fixture
def banded(training_config):
    """The recipe of the bundled model, small: one phantom of a family for training."""
    architecture = {**training_config.architecture, "in_channels": 12, "tissue_sizes": [3]}
    recipe = {"normalisation": "noise-bands", "target": "noise-free", "noise_scale": 2.0, "lesions": 24}
    return replace(training_config, architecture=architecture, doses=(1 / 4,), pool_size=1, pool_start=1, **recipe)
