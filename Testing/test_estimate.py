"""What a run is said to take before it starts, against what it takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from tiny_model import model_of, tiny_metadata, tiny_network

from CSRDDenoiseLib.infer import speed
from CSRDDenoiseLib.infer.cost import LOADED_BYTES, DeviceSpeed, seconds_and_bytes
from CSRDDenoiseLib.infer.speed import time_of_draws, time_of_network
from CSRDDenoiseLib.model.bundle import build_network, save_model
from CSRDDenoiseLib.settings import settings_from_preset

SPEED = DeviceSpeed(2.0, 1e6, 1e6, 1e-6, 100.0, 50.0, 110.0, 1e8, 5e8)
MEASURE = """
import json
import numpy as np
from CSRDDenoiseLib.research.benchmark.case import run_case
from CSRDDenoiseLib.research.benchmark.head import synthetic_head
from CSRDDenoiseLib.infer.cost import seconds_and_bytes, speed_from
from CSRDDenoiseLib.scan import find_head
from CSRDDenoiseLib.settings import settings_from_preset
from CSRDDenoiseLib.worker.engine import Engine
import SimpleITK as sitk
speed = speed_from(Engine().estimate({"device": "cpu", "model": FOLDER}, print))
run = run_case({"model": FOLDER, "device": "cpu", "preset": PRESET, "size": [SIDE] * 3})
pet = sitk.GetArrayFromImage(synthetic_head([SIDE] * 3, 2.0)[0])
box = np.prod([part.stop - part.start for part in find_head(pet, (2.0,) * 3).box])
estimated = seconds_and_bytes(speed, float(box), float(pet.size), settings_from_preset(PRESET))[1]
print(json.dumps([run["peak_bytes"]["total"], estimated]))
"""


@pytest.mark.timing
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a run is read from /proc")
@pytest.mark.parametrize("preset, side", [("fast", 112), ("balanced", 64)])
def test_the_estimated_memory_is_within_a_quarter_of_the_measured_peak(preset, side, tmp_path):
    architecture = {"type": "ResidualUNet3d"}
    save_model(tmp_path, build_network(architecture), tiny_metadata(architecture=architecture, mean_from="zero"))
    program = MEASURE.replace("PRESET", repr(preset)).replace("SIDE", str(side)).replace("FOLDER", repr(str(tmp_path)))
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, env=os.environ)
    measured, estimated = json.loads(done.stdout.splitlines()[-1])
    assert estimated == pytest.approx(measured, rel=0.25)


def test_time_counts_the_stages_around_sampling_too():
    fast = settings_from_preset("fast")
    assert seconds_and_bytes(SPEED, 1e6, 3e6, fast)[0] == pytest.approx(1 + 3)
    balanced = settings_from_preset("balanced")
    evaluations = balanced.evaluations
    assert seconds_and_bytes(SPEED, 1e6, 3e6, balanced)[0] == pytest.approx(evaluations + 3)


def test_memory_is_that_of_the_hungriest_stage():
    fast = settings_from_preset("fast")
    assert seconds_and_bytes(SPEED, 1e6, 1e6, fast)[1] == pytest.approx(1e8 + LOADED_BYTES + 150e6 + 8e6)
    assert seconds_and_bytes(SPEED, 1e6, 9e6, fast)[1] == pytest.approx(1e8 + LOADED_BYTES + 990e6)


def test_patches_bound_the_memory_and_cost_time():
    whole, patched = (
        seconds_and_bytes(SPEED, 1e6, 1e6, replace(settings_from_preset("fast"), patch_size=side, overlap=0.5))
        for side in (None, 64)
    )
    assert patched[1] < whole[1]
    # three windows of 64 voxels along each side of 104
    assert patched[0] == pytest.approx(whole[0] - 1 + (3 * 64 / 104) ** 3)


def test_a_volume_cut_once_takes_little_longer_than_in_one_piece():
    fast = settings_from_preset("fast")
    whole, cut = (
        seconds_and_bytes(replace(SPEED, bytes_for_evaluation=size), 96**3, 96**3, fast)[0] for size in (1e9, 60e6)
    )
    assert 1.05 < cut / whole < 1.3


def test_networks_are_timed_in_the_precision_of_a_run_and_prepared_once(monkeypatch):
    model = model_of(tiny_network())
    calls: list[tuple[str, bool]] = []

    def noted(name, compute):
        def call(*arguments):
            calls.append((name, torch.is_autocast_enabled("cpu")))
            return compute(*arguments)

        return call

    monkeypatch.setattr(speed, "choose_precision", lambda _device, _wanted: torch.bfloat16)
    for name in ("prepare", "denoise"):
        monkeypatch.setattr(model.denoiser, name, noted(name, getattr(model.denoiser, name)))
    found = time_of_network(model, 16)
    assert found.preparing > 0 and found.evaluating > 0
    assert calls == [("prepare", True)] * 3 + [("denoise", True)] * 2
    assert time_of_draws(model, 16).preparing == 0, "it is prepared for the posterior mean already"


@pytest.mark.timing
@pytest.mark.slow
def test_time_of_a_small_run_stands_for_what_a_run_takes_besides_the_network(tmp_path):
    """As a ratio on the bundled sample: reading, preparing, restoring, checking and writing are counted."""
    import SimpleITK as sitk

    from CSRDDenoiseLib.denoise import FileRequest, denoise_files
    from CSRDDenoiseLib.infer.cost import speed_from
    from CSRDDenoiseLib.infer.extent import field_voxels
    from CSRDDenoiseLib.model.bundle import load_model
    from CSRDDenoiseLib.resources import SAMPLE_DATA, resource_folder
    from CSRDDenoiseLib.worker.estimate import run_speed

    folder, model = resource_folder() / SAMPLE_DATA, load_model("tissue", "cpu")
    files = FileRequest(
        folder / "low_dose_1_10.nii.gz", tmp_path / "out.nrrd", folder / "mr.nii.gz", tmp_path / "difference.nrrd"
    )
    pet = sitk.ReadImage(str(files.pet))
    settings = settings_from_preset("fast", device="cpu")
    measured = denoise_files(files, settings, model).record.seconds
    speed = speed_from(run_speed(model, "cpu", "tissue"))
    voxels = field_voxels(pet.GetSize()[::-1], pet.GetSpacing()[::-1], speed.voxel_spacing_mm)
    ratio = speed.seconds_per_field_voxel * voxels / (measured["total"] - measured["sample"])
    assert 1 / 3 < ratio < 3
