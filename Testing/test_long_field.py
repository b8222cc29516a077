"""A PET from head to trunk: the head is found, the rest is left alone, and the user is warned."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from conftest import as_image

from CSRDDenoiseLib.checks.volumes import check_pet
from CSRDDenoiseLib.denoise import denoise
from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.inspection import head_line, inspect_path
from CSRDDenoiseLib.scan import Scan, find_head
from CSRDDenoiseLib.settings import DenoiseSettings

SPACING_MM = 6.0


def body(trunk_mm: float) -> np.ndarray:
    """A head of 180 mm above a neck and a trunk that takes up less, (D, H, W), z to superior, noisy."""
    planes = int((250 + trunk_mm) / SPACING_MM)
    z = (planes - 1 - np.arange(planes)) * SPACING_MM  # from the vertex down
    y, x = (np.abs(np.arange(44) - 21.5) * SPACING_MM for _ in range(2))
    radius = np.hypot(y[:, None], x[None])
    activity = np.zeros((planes, 44, 44), np.float32)
    for plane, depth in enumerate(z):
        if depth < 180:
            activity[plane][radius < 80 * np.sqrt(max(1 - ((depth - 90) / 95) ** 2, 0))] = 5000
        elif depth < 250:
            activity[plane][radius < 50] = 1500
        else:
            activity[plane][radius < 120] = 1500
    noise = np.random.default_rng(0).normal(1, 0.1, activity.shape)
    return (activity * noise.clip(0)).astype(np.float32)


def test_head_of_a_body_is_its_upper_part():
    head, alone = (find_head(body(trunk), (SPACING_MM,) * 3) for trunk in (600.0, 30.0))
    assert head.body_mm == pytest.approx(850, abs=2 * SPACING_MM)
    assert alone.body_mm == 0
    assert head.brain_mean == pytest.approx(alone.brain_mean, rel=0.05)
    top = body(600.0).shape[0]
    assert head.box[0].start >= top - (250 + 12) / SPACING_MM - 2


def test_whole_field_takes_the_body():
    scan = Scan(body(600.0), Scan.of_array(body(600.0), (SPACING_MM,) * 3).grid, whole_field=True)
    assert scan.head.body_mm == 0
    assert scan.head.mask[:20].any()


@pytest.mark.slow
def test_trunk_is_left_alone_and_the_user_is_warned(model_folder):
    pet = as_image(body(360.0), (SPACING_MM,) * 3)
    settings = DenoiseSettings(sampler="mean", steps=1, samples=1, device="cpu", precision="float32")
    result = denoise(pet, None, settings, model_folder)
    change = sitk.GetArrayFromImage(result.difference)
    assert not change[: int(300 / SPACING_MM)].any()
    assert change[-int(180 / SPACING_MM) :].any()
    (found,) = (finding for finding in result.findings if finding.code == "field.long")
    assert found.values["body_mm"] == pytest.approx(610, abs=2 * SPACING_MM)


@pytest.mark.parametrize("spacing", [(400.0,) * 3, (40.0,) * 3, (4.0, 4.0, 31.0), (2.0, 2.0, 29.0)])
def test_a_voxel_size_in_another_unit_is_refused_before_anything_is_resampled(tmp_path, spacing):
    size = 110 if spacing[2] == 29 else 12
    pet = as_image(np.random.default_rng(0).random((size, 14, 13), np.float32) + 1, spacing)
    with pytest.raises(InputError, match=r"another unit"):
        check_pet(pet, False)
    sitk.WriteImage(pet, str(tmp_path / "pet.nii"))
    found = inspect_path(tmp_path / "pet.nii")
    assert found.head is None and "not sought" in head_line(found)


@pytest.mark.parametrize("spacing", [(4.0, 4.0, 15.0), (4.0, 4.0, 25.0)])
def test_long_fields_and_thick_slices_are_used(spacing):
    pet = as_image(np.random.default_rng(0).random((80, 14, 13), np.float32) + 1, spacing)
    assert check_pet(pet, False)[0] is not None
