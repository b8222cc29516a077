"""A pool of one phantom whose truth is known, without a simulation: a ball of white matter in grey matter."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from CSRDDenoiseLib.prepare.tissue import tissue_maps
from CSRDDenoiseLib.research.simulation.anatomy import GREY, WHITE
from CSRDDenoiseLib.research.training.phantom import Phantom, save_phantom
from CSRDDenoiseLib.research.training.pool import Pool
from CSRDDenoiseLib.scan import smooth

SIDE, SPACING = 44, 2.0


def write_phantom(pool: Pool, phantom: int = 0) -> None:
    """Write a phantom of radius 40 mm at every dose of the pool, its noise smoothed by 4 mm."""
    line = (np.arange(SIDE) - (SIDE - 1) / 2) * SPACING
    radius = np.sqrt(line[:, None, None] ** 2 + line[:, None] ** 2 + line**2)
    mask = radius < 42
    classes = np.select([radius < 24, radius < 40], [WHITE, GREY], 0).astype(np.float32)
    cube = (SPACING,) * 3
    clean = smooth(np.select([classes == WHITE, classes == GREY], [0.5, 1.3], 0.0).astype(np.float32), cube, 5.0)
    mr = smooth(np.select([classes == WHITE, classes == GREY], [0.9, 0.6], 0.0).astype(np.float32), cube, 2.0)
    rng = np.random.default_rng(phantom)

    def scan(dose: float) -> np.ndarray:
        return clean + 0.03 * dose**-0.5 * mask * smooth(rng.standard_normal(mask.shape), cube, 4.0) * 4

    doses = pool.doses_of(phantom)
    rows = (clean, scan(1.0), mr, mask, classes, *tissue_maps(mr, mask, cube), *(scan(dose) for dose in doses))
    facts = {
        "family": "balls",
        "tracer": "fdg",
        "scales": [1.0] * len(doses),
        "noise": [0.1] * len(doses),
        "bands": [[[0.05, 0.03, 0.03]] * 5] * len(doses),
        "blur_mm": 5.0,
        "doses": list(doses),
    }
    volumes = np.stack([np.asarray(row, np.float16) for row in rows])
    save_phantom(Phantom(volumes, doses, facts), pool.path(phantom))


def training_file(folder: Path) -> Path:
    """A training configuration whose pool for the test lies in ``folder``."""
    path = folder / "train.yaml"
    path.write_text(
        "name: tiny\nanatomy: anatomy\noutput: run\ndata: data\nnormalisation: noise-bands\ntarget: noise-free\n"
        "scanners: families\ndoses: [1/4, 1/10]\nunseen_doses: [1/20]\n",
        encoding="utf-8",
    )
    return path
