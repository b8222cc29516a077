"""How many GPUs a cohort needs: an estimate from the cost model, for machines that were not measured.

The network's operations are counted; a GPU is taken to reach a share of its peak; what the processor does before and
after is timed here, in seconds of one core. A process has a GPU and works on one scan at a time, so both times add.
"""

from __future__ import annotations

import math
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Sequence

import torch

from ...infer.cost import DeviceSpeed, seconds_and_bytes
from ...infer.speed import SHARE_OF_NORMALISING
from ...io.read import read
from ...io.write import write_image
from ...model.bundle import Model
from ...scan import measure_normalising
from ...settings import PRESETS
from ..evaluation.markdown import Table
from .head import synthetic_head

GPUS = {"T4 (16-bit)": 65e12, "RTX 4090": 165e12, "A100": 312e12, "H100": 989e12}
"""Peak of dense matrix products in 16 bits, operations a second, as their makers state it."""
SHARES = (0.05, 0.2)
"""Of the peak that convolutions of few channels reach, from a pessimist's to an optimist's guess."""
FIELD_MM, HEAD_MM = (256.0, 256.0, 220.0), (190.0, 220.0, 200.0)
FILE_VOXELS = 256 * 256 * 220
"""Of the PET, on voxels of 1 mm."""
INPUTS, OUTPUTS = 2, 3
NIGHT_HOURS = 12.0
_SIDE = 48


@dataclass(frozen=True)
class Cost:
    """What a scan takes.

    Attributes:
        operations_per_voxel: of one evaluation of the network, for the posterior mean.
        draw_operations_per_voxel: of one evaluation for a draw.
        seconds_per_field_voxel: of one core, before and after sampling.
        seconds_per_file_voxel: to read a PET and an MR and to write and check the outputs, for each voxel of the PET.
    """

    operations_per_voxel: float
    draw_operations_per_voxel: float
    seconds_per_field_voxel: float
    seconds_per_file_voxel: float


def measure_cost(model: Model) -> Cost:
    """Count the operations of a model on the processor, and time the stages around it on this machine."""
    began = time.process_time()
    measure_normalising(2 * _SIDE)
    seconds = (time.process_time() - began) / (2 * _SIDE) ** 3 / SHARE_OF_NORMALISING
    draws = model if model.deviation is None else model.of_deviation()
    return Cost(_operations(model), _operations(draws), seconds, _measure_files())


def _operations(model: Model) -> float:
    from torch.utils.flop_counter import FlopCounterMode

    counts = (1, model.denoiser.model.in_channels - 1)
    noisy, condition = (torch.zeros(1, count, *(_SIDE,) * 3) for count in counts)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        model.denoiser(noisy, torch.full((1,), model.metadata.sigma_data), condition)
    return counter.get_total_flops() / _SIDE**3


def _measure_files() -> float:
    """Return the seconds that the files of a scan take, for each voxel, timed on a small one."""
    pet, _ = synthetic_head((2 * _SIDE,) * 3, 1.0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "pet.nii.gz")
        began = time.process_time()
        write_image(pet, path)
        written = time.process_time()
        read(path, "PET")
        ended = time.process_time()
    return (OUTPUTS * (written - began) + INPUTS * (ended - written)) / (2 * _SIDE) ** 3


def need_table(model: Model, cost: Cost, scans: int, presets: Sequence[str]) -> Table:
    """Return, for each preset and GPU, the seconds of a scan and the GPUs that do all of them in a night."""
    voxel = model.metadata.voxel_spacing_mm**3
    field, head = (math.prod(extent) / voxel for extent in (FIELD_MM, HEAD_MM))
    rows = []
    for preset in presets:
        for name, peak in GPUS.items():
            spans = [_seconds(cost, peak * share, field, head, preset) for share in reversed(SHARES)]
            counts = [math.ceil(scans * seconds / 3600 / NIGHT_HOURS) for seconds in spans]
            hours = [scans * seconds / 3600 for seconds in spans]
            rows.append((preset, name, _span(spans, "{:.0f}"), _span(hours, "{:.0f}"), _span(counts, "{:d}")))
    header = ("preset", "GPU", "seconds a scan", "GPU-hours", f"GPUs for a night of {NIGHT_HOURS:g} h")
    return Table(
        f"Estimate: {scans} scans of 256 x 256 x 220 voxels of 1 mm, model {model.metadata.name}", header, tuple(rows)
    )


def _seconds(cost: Cost, operations: float, field: float, head: float, preset: str) -> float:
    speed = DeviceSpeed(
        voxel_spacing_mm=0.0,
        voxels_per_second=operations / cost.operations_per_voxel,
        draw_voxels_per_second=operations / cost.draw_operations_per_voxel,
        seconds_per_field_voxel=cost.seconds_per_field_voxel,
        bytes_per_voxel=1.0,
        bytes_per_state_voxel=0.0,
        bytes_per_field_voxel=0.0,
        bytes_resident=0.0,
        bytes_for_evaluation=float("inf"),
    )
    return cost.seconds_per_file_voxel * FILE_VOXELS + seconds_and_bytes(speed, head, field, PRESETS[preset])[0]


def _span(values: Sequence[float], form: str) -> str:
    low, high = (form.format(value) for value in (values[0], values[-1]))
    return low if low == high else f"{low} to {high}"
