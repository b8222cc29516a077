"""What a training takes of the machine it runs on: file descriptors, time, several processes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from phantom_pool import SPACING, write_phantom

from CSRDDenoiseLib.research.training.config import TrainingConfig
from CSRDDenoiseLib.research.training.patches import PatchSource
from CSRDDenoiseLib.research.training.pool import Pool


@pytest.fixture
def few_descriptors():
    """Room for at most 32 more open files."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/dev/fd")) + 32, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def pool_of_copies(folder: Path, count: int) -> Pool:
    """A pool whose phantoms are alike."""
    pool = Pool(folder, None, (), (1 / 4, 1 / 10), SPACING, 0)
    write_phantom(pool)
    for phantom, suffix in ((phantom, suffix) for phantom in range(1, count) for suffix in (".npy", ".json")):
        shutil.copy(pool.path(0).with_suffix(suffix), pool.path(phantom).with_suffix(suffix))
    return pool


def test_a_pool_of_more_examples_than_a_process_may_open_files_is_trained_on(tmp_path, few_descriptors):
    pool = pool_of_copies(tmp_path, 40)
    config = TrainingConfig(name="x", output=tmp_path, anatomy=tmp_path, patch=8, batch=80, model_spacing=SPACING)
    source = PatchSource(pool, config, 0.1, 4.0)
    source.batch(0, 40)
    kept = list(source._recent.values())
    assert len(kept) > 32, "more than could be open at once"
    stored = np.load(pool.path(0))
    assert all(np.array_equal(example.phantom.volumes, stored) for example in kept)
