"""The bundled model gives the same residual in patches and in one piece, and in every precision."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from CSRDDenoiseLib.infer import tiling as volume
from CSRDDenoiseLib.infer.sampling import ResidualSamples, sample_residual
from CSRDDenoiseLib.io.read import read_volume
from CSRDDenoiseLib.model.bundle import DEFAULT_MODEL, Model, load_model
from CSRDDenoiseLib.prepare.align import to_model_grid
from CSRDDenoiseLib.prepare.scheme import Condition, make_condition
from CSRDDenoiseLib.progress import Reporter
from CSRDDenoiseLib.resources import resource_folder
from CSRDDenoiseLib.scan import Scan
from CSRDDenoiseLib.settings import DenoiseSettings

MEAN = DenoiseSettings(sampler="mean", device="cpu", precision="float32")
DRAW = DenoiseSettings(sampler="dpmpp", steps=4, samples=1, estimate="samples", device="cpu", precision="float32")


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model(DEFAULT_MODEL, "cpu")


@pytest.fixture(scope="module")
def example(model) -> Condition:
    folder = resource_folder() / "SampleData"
    pet, mr = (read_volume(folder / name) for name in ("low_dose_1_10.nii.gz", "mr.nii.gz"))
    aligned = to_model_grid(pet, mr, model.metadata.voxel_spacing_mm)
    return make_condition(model.metadata.normalisation, Scan(aligned.pet, aligned.grid), aligned.mr).cropped()


def part(
    example: Condition, sides: tuple[slice, slice, slice], settings: DenoiseSettings, model: Model
) -> ResidualSamples:
    channels = [channel[sides] for channel in example.channels]
    return sample_residual(model, channels, example.head.mask[sides], settings, Reporter(None, {"sample": 1}))


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


@pytest.mark.slow
def test_patches_agree_with_the_whole_and_leave_no_grid(model, example):
    sides = (slice(0, 72), slice(8, 96), slice(0, 72))
    whole = part(example, sides, MEAN, model)
    patches = part(example, sides, replace(MEAN, patch_size=64, overlap=0.5), model)
    assert (whole.patch_size, patches.patch_size) == (None, (64, 64, 64))
    difference = np.where(example.head.mask[sides], patches.mean - whole.mean, 0)
    residual = rms(whole.mean[example.head.mask[sides]])
    assert rms(difference) < 0.05 * residual
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        planes = np.sqrt(np.mean(difference**2, axis=others))
        assert planes.max() < 0.05 * residual, f"axis {axis}, plane {planes.argmax()}"


@pytest.mark.parametrize("settings", [MEAN, DRAW], ids=["mean", "draw"])
@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16])
def test_precisions_agree(model, example, monkeypatch, settings, precision):
    if precision == torch.float16 and not hasattr(torch.amp, "is_autocast_available"):
        pytest.skip("torch before 2.4 has no float16 on a processor")
    sides = (slice(30, 54), slice(40, 64), slice(30, 54))
    exact = part(example, sides, settings, model)
    monkeypatch.setattr(volume, "choose_precision", lambda _device, _wanted: precision)
    reduced = part(example, sides, settings, model)
    assert reduced.precision != exact.precision
    assert 0 < rms(reduced.mean - exact.mean) < 0.01 * rms(exact.mean)
