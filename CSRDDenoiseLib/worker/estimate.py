"""How long a run takes besides the network: a small run from file to file, timed."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..denoise import denoise_files
from ..errors import CSRDError
from ..infer.speed import device_speed
from ..io.grid import Grid
from ..model.bundle import Model
from ..run.request import FileRequest
from ..settings import DenoiseSettings

SMALL_SIDE, LARGE_SIDE = 24, 64
"""Voxels of the model's grid. From the difference of two sizes follows what grows with the volume."""
LEAST_SHARE = 0.3
"""Of the larger run, if other programs slowed the smaller one down."""


def run_speed(model: Model, device: str, name: str) -> dict[str, object]:
    """Return the fields of :class:`~CSRDDenoiseLib.infer.cost.DeviceSpeed`, device and model, of this computer.

    As :func:`CSRDDenoiseLib.infer.speed.device_speed`, with the time of reading, preparing, restoring, checking and
    writing as a small run took it; where the model refuses that run, as that function estimates it.
    """
    speed = device_speed(model, device, name)
    try:
        # the first run of a process loads libraries too
        _timed_run(model, device, SMALL_SIDE)
        return {**speed, "seconds_per_field_voxel": seconds_besides_sampling(model, device)}
    except CSRDError:
        return speed


def seconds_besides_sampling(model: Model, device: str) -> float:
    """Time runs on two noisy balls, without their network; return seconds per voxel of the field of view.

    Raises:
        CSRDError: the model does not take the balls.
    """
    small, large = (_timed_run(model, device, side) for side in (SMALL_SIDE, LARGE_SIDE))
    return max(large - small, LEAST_SHARE * large) / (LARGE_SIDE**3 - SMALL_SIDE**3)


def _timed_run(model: Model, device: str, side: int) -> float:
    """Return the seconds of a run on a noisy ball in a cube, from files to files, without the network."""
    spacing = (model.metadata.voxel_spacing_mm,) * 3
    grid = Grid((side,) * 3, spacing, (0.0,) * 3, (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))
    line = np.linspace(-1, 1, side, dtype=np.float32) ** 2
    ball = (line[:, None, None] + line[:, None] + line < 0.8).astype(np.float32)
    noise = np.random.default_rng(0).normal(1, 0.2, ball.shape).astype(np.float32)
    with tempfile.TemporaryDirectory(prefix="CSRDDenoise-") as folder:
        paths = {kind: Path(folder) / f"{kind}.nrrd" for kind in ("pet", "mr", "output", "difference")}
        for kind, values in (("pet", 1000 * ball * noise.clip(0)), ("mr", 500 + 100 * ball)):
            sitk.WriteImage(grid.image(values), str(paths[kind]))
        request = FileRequest(paths["pet"], paths["output"], mr=paths["mr"], difference=paths["difference"])
        settings = DenoiseSettings(sampler="mean", steps=1, samples=1, device=device)
        record = denoise_files(request, settings, model).record
    return record.seconds["total"] - record.seconds["sample"]
