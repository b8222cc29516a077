"""The need of memory, and the patches that fit."""

from __future__ import annotations

import math
import os
import subprocess
import sys

import pytest
import torch

from CSRDDenoiseLib.errors import is_out_of_memory
from CSRDDenoiseLib.infer import memory
from CSRDDenoiseLib.infer.memory import (
    GIB,
    choose_patch,
    memory_budget,
    smaller_patch,
)

MEASURE = """
from pathlib import Path
import torch
from CSRDDenoiseLib.model.ddpmpp import DDPMpp3d
from CSRDDenoiseLib.infer.memory import resident_bytes
from CSRDDenoiseLib.model.activations import activation_bytes_per_voxel
from CSRDDenoiseLib.model.edm import Preconditioned
from CSRDDenoiseLib.model.network import ResidualUNet3d
network = {network}
denoiser = Preconditioned(network, 0.5).eval().to(memory_format=torch.channels_last_3d)
side = 80
noisy, condition = (torch.zeros(1, channels, side, side, side) for channels in (1, network.in_channels - 1))
with torch.inference_mode():
    denoiser(noisy, torch.ones(1), condition)
    before = resident_bytes()
    Path("/proc/self/clear_refs").write_text("5")
    denoiser(noisy, torch.ones(1), condition)
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print((int(peak.split()[1]) * 1024 - before) / side**3, activation_bytes_per_voxel(network))
"""


@pytest.mark.timing
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a moment is read from /proc")
@pytest.mark.parametrize(
    "network", ["ResidualUNet3d()", "DDPMpp3d(model_channels=8, channel_mult=(1, 1, 1, 1), num_blocks=1)"]
)
def test_the_estimate_is_within_a_quarter_of_the_measured_peak(network):
    # memory goes back to the system at once, as that of large tensors always does
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    command = [sys.executable, "-c", MEASURE.replace("{network}", network)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    measured, estimated = (float(value) for value in printed.split())
    assert estimated == pytest.approx(measured, rel=0.25)


@pytest.mark.parametrize("shape", [(160, 160, 120), (400, 400, 304), (48, 400, 400), (64, 64, 64)])
@pytest.mark.parametrize("most", [1e5, 1e6, 5e6, 1e9])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.9])
def test_patches_fit_and_are_multiples(shape, most, overlap):
    patch = choose_patch(shape, most, 8, overlap)
    assert math.prod(patch) <= max(most, 32**3)
    assert all(side % 8 == 0 and side <= size for side, size in zip(patch, shape))
    assert (patch == shape) == (math.prod(shape) <= most)


def test_patches_shrink_to_an_end():
    shape = patch = (160, 160, 120)
    seen = []
    while patch is not None:
        seen.append(math.prod(patch))
        patch = smaller_patch(patch, shape, 8, 0.25)
    assert seen == sorted(seen, reverse=True)
    assert seen[-1] == 32**3
    assert len(seen) < 12


def test_the_budget_keeps_the_process_below_its_limit(monkeypatch):
    monkeypatch.setattr(memory, "resident_bytes", lambda: GIB)
    monkeypatch.setattr(memory, "free_bytes", lambda: 100 * GIB)
    voxels = 160 * 160 * 120
    assert memory_budget(torch.device("cpu"), voxels) == 5 * GIB - 4 * memory.STATE_VOLUMES * voxels
    monkeypatch.setattr(memory, "free_bytes", lambda: 2 * GIB)
    assert memory_budget(torch.device("cpu"), voxels) < 1.6 * GIB
    assert memory_budget(torch.device("cpu"), 10**9) > 0


V2 = ("memory.max", "memory.current", "inactive_file")
V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
GROUPS = [  # lines of the process, folder -> (limit, use, droppable cache), free
    ("0::/", V2, {"": (4, 1, 0)}, 3),
    ("0::/", V2, {"": (4, 3, 2)}, 3),
    ("0::/slurm/job/step", V2, {"slurm/job": (4, 1, 0), "slurm/job/step": ("max", 1, 0)}, 3),
    ("5:cpu,cpuacct:/x\n4:memory:/slurm/job\n0::/", V1, {"memory/slurm/job": (2, 1, 0), "memory": (8, 1, 0)}, 1),
    ("4:memory:/docker/0123", V1, {"memory": (4, 2, 1)}, 3),
    ("0::/", V2, {"": ("max", 1, 0)}, None),
    ("0::/", V2, {}, None),
]


@pytest.mark.parametrize(("lines", "names", "groups", "free"), GROUPS)
def test_limits_of_containers_and_jobs_are_kept(tmp_path, monkeypatch, lines, names, groups, free):
    (tmp_path / "own").write_text(lines)
    for folder, (most, now, cache) in groups.items():
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        contents = {names[0]: most if most == "max" else most * GIB, names[1]: now * GIB}
        for name, content in {**contents, "memory.stat": f"anon 1\n{names[2]} {cache * GIB}"}.items():
            (tmp_path / folder / name).write_text(f"{content}\n")
    monkeypatch.setattr(memory, "OWN_GROUPS", tmp_path / "own")
    monkeypatch.setattr(memory, "ALL_GROUPS", tmp_path)
    monkeypatch.setattr(memory, "_free_of_machine", lambda: 100 * GIB)
    assert memory.free_bytes() == (100 if free is None else free) * GIB


def test_what_the_system_says_is_plausible():
    torch.ones(1 << 20)
    assert memory.resident_bytes() > 10 << 20 and memory.free_bytes() > 10 << 20


@pytest.mark.parametrize(
    "error, expected",
    [
        (MemoryError(), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"), True),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("shape mismatch"), False),
    ],
)
def test_running_out_of_memory_is_recognised(error, expected):
    assert is_out_of_memory(error) is expected


def test_a_real_allocation_that_fails_is_recognised():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
