"""One voxel of 1e4 or 1e5 times the brain, through the bundled model: the far brain stays, and a warning names it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from CSRDDenoiseLib.checks.voxels import check_broken
from CSRDDenoiseLib.denoise import denoise
from CSRDDenoiseLib.prepare.align import to_model_grid
from CSRDDenoiseLib.settings import settings_from_preset

DATA = Path(__file__).parents[1] / "CSRDDenoise" / "Resources" / "SampleData"
PLACE = (20, 20, 20)
FAR_MM = 20.0
BRAIN = 6700.0
FLOAT32 = settings_from_preset("fast", device="cpu", precision="float32")


@pytest.fixture(scope="module")
def crop() -> tuple[sitk.Image, sitk.Image]:
    pet, mr = (sitk.ReadImage(str(DATA / f"{name}.nii.gz"), sitk.sitkFloat32) for name in ("low_dose_1_10", "mr"))
    middle = tuple(slice(n // 2 - 20, n // 2 + 20) for n in pet.GetSize())
    return pet[middle], mr[middle]


@pytest.fixture(scope="module")
def without(crop) -> np.ndarray:
    return sitk.GetArrayFromImage(denoise(*crop, FLOAT32, "brain").denoised)


def with_broken(pet: sitk.Image, value: float) -> sitk.Image:
    values = sitk.GetArrayFromImage(pet)
    values[PLACE] = value
    image = sitk.GetImageFromArray(values)
    image.CopyInformation(pet)
    return image


@pytest.mark.slow
@pytest.mark.parametrize("times_brain", [1e4, 1e5])
def test_a_broken_voxel_does_not_move_the_far_brain(crop, without, times_brain):
    pet, mr = crop
    result = denoise(with_broken(pet, times_brain * BRAIN), mr, FLOAT32, "brain")
    denoised = sitk.GetArrayFromImage(result.denoised)
    distance = 2.0 * np.sqrt(sum((axis - at) ** 2 for axis, at in zip(np.indices(without.shape), PLACE)))
    far = (distance > FAR_MM) & (without > 0.4 * BRAIN)
    assert far.sum() > 10000
    assert denoised[far].mean() == pytest.approx(without[far].mean(), rel=1e-4)
    assert np.sqrt(np.mean((denoised[far] - without[far]) ** 2)) < 1e-2 * BRAIN
    (finding,) = (each for each in result.findings if each.code == "voxels.broken")
    assert finding.is_warning and finding.values["count"] == 1 and finding.values["largest_at"] == [21, 21, 21]


def test_broken_voxels_are_limited_on_the_models_grid_also_where_they_are_interpolated(crop):
    pet, _ = crop
    coarse = sitk.Resample(pet, [27, 27, 27], sitk.Transform(), sitk.sitkLinear, pet.GetOrigin(), (3.0,) * 3)
    plain = to_model_grid(coarse, None, 2.0).pet
    for value in (1e5 * BRAIN, -1e5 * BRAIN):
        values = sitk.GetArrayFromImage(coarse)
        values[3, 3, 3] = value
        image = sitk.GetImageFromArray(values)
        image.CopyInformation(coarse)
        assert abs(to_model_grid(image, None, 2.0).pet - plain)[15:, 15:, 15:].max() < 1e-3 * BRAIN
        assert abs(to_model_grid(image, None, 2.0).pet).max() < 200 * BRAIN
    assert to_model_grid(coarse, None, 2.0).pet.max() == plain.max()


def test_no_activity_is_called_broken(crop):
    values = sitk.GetArrayFromImage(crop[0])
    assert check_broken(values) == ()
    values[5:7, 5:7, 5:7] = 40 * BRAIN
    assert check_broken(values) == (), "a bladder or an injection site is no broken voxel"
    assert check_broken(np.zeros_like(values)) == ()
