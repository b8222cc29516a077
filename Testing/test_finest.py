"""Noise finer than the model's grid is removed, and what stands out of it is kept."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from tiny_model import save_tiny_model

from CSRDDenoiseLib.denoise import denoise, denoise_files
from CSRDDenoiseLib.io.grid import Grid, cubic_image, resample
from CSRDDenoiseLib.restore.canvas import Canvas
from CSRDDenoiseLib.restore.finest import noise_of
from CSRDDenoiseLib.restore.keeping import Keeping
from CSRDDenoiseLib.run.recombine import Afterwards
from CSRDDenoiseLib.run.request import FileRequest
from CSRDDenoiseLib.scan import Scan, smooth
from CSRDDenoiseLib.settings import DenoiseSettings

SIDE, MODEL_MM, LEVEL = 96, 2.0, 5000.0
POINT = (48, 40, 56)
BRAIN = np.s_[30:66, 30:66, 30:66]


def head(noise: float, point: float = 0.0) -> np.ndarray:
    """A ball of 1 mm voxels at 3 mm resolution with white noise, and a hot point, (96, 96, 96)."""
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, SIDE),) * 3, indexing="ij")
    image = (x**2 + y**2 + z**2 < 0.6).astype(np.float32)
    image[POINT] += point
    image = smooth(image, (1.0,) * 3, 3.0)
    return (LEVEL * (image + noise * image * np.random.default_rng(1).standard_normal(image.shape))).astype(np.float32)


def canvas_of(pet: np.ndarray) -> tuple[Canvas, Scan]:
    image = cubic_image(pet, 1.0)
    grid = Grid((SIDE // 2,) * 3, (MODEL_MM,) * 3, (0.5,) * 3, Grid.of(image).direction)
    scan = Scan(sitk.GetArrayFromImage(resample(image, grid, sitk.sitkLinear)), grid)
    return Canvas.of_scan(image, scan), scan


def without_change(pet: np.ndarray, width: float = 8.0, share: float = 0.0) -> np.ndarray:
    """The result of a model that changes nothing on its grid."""
    canvas, scan = canvas_of(pet)
    keeping = Keeping(width, share, scan.spacing, scan.pet, scan.brain_mean)
    return sitk.GetArrayFromImage(canvas.result(np.zeros_like(scan.pet), keeping).denoised)


def fine(image: np.ndarray) -> float:
    return float(np.std((image - smooth(image, (1.0,) * 3, 3.0))[BRAIN]) / LEVEL)


@pytest.mark.parametrize("noise", [0.1, 1.0])
def test_noise_of_single_voxels_is_removed_and_means_are_kept(noise):
    pet, truth = head(noise), head(0.0)
    found = without_change(pet)
    assert fine(found) < 0.35 * fine(pet)
    assert np.mean((found - truth)[BRAIN] ** 2) < 0.3 * np.mean((pet - truth)[BRAIN] ** 2)
    assert found[BRAIN].mean() == pytest.approx(pet[BRAIN].mean(), rel=2e-3)
    assert found.sum(dtype=np.float64) == pytest.approx(pet.sum(dtype=np.float64), rel=1e-3)


def test_a_pet_without_noise_is_not_changed():
    pet = head(0.0, point=200.0)
    np.testing.assert_array_equal(without_change(pet), pet)


def test_a_point_that_stands_out_keeps_its_height():
    clean, pet = head(0.0, point=200.0), head(0.02, point=200.0)
    found = without_change(pet)
    assert found[POINT] == pytest.approx(clean[POINT], rel=0.03)
    assert fine(found) < fine(pet)


def test_a_width_of_zero_returns_the_pet_and_a_narrow_one_some_of_its_noise():
    pet = head(0.3)
    np.testing.assert_array_equal(without_change(pet, width=0.0), pet)
    left = [fine(without_change(pet, width)) for width in (1.0, 2.5, 8.0)]
    assert fine(pet) > left[0] > left[1] > left[2]


def test_of_a_known_dose_its_share_stays():
    pet = head(0.3)
    whole, part = (without_change(pet, share=share) - pet for share in (0.0, 0.25))
    np.testing.assert_allclose(part, 0.75 * whole, rtol=1e-3, atol=1.0)


@pytest.mark.parametrize("width", [0.0, 1.0, 2.0, 8.0])
@pytest.mark.parametrize("share", [0.0, 0.25])
def test_noise_that_a_narrow_width_keeps_is_in_the_uncertainty(width, share):
    """Of a perfect estimate, whose own error is none."""
    truth, pet = head(0.0), head(0.3)
    (canvas, scan), (_, clean) = canvas_of(pet), canvas_of(truth)
    keeping = Keeping(width, share, scan.spacing, scan.pet, scan.brain_mean)
    restored = canvas.result(clean.pet - scan.pet, keeping)
    spread = canvas.spread(keeping.modelled * np.abs(restored.left_out), keeping)
    # the full dose to expect has the share of the PET's noise
    error = sitk.GetArrayFromImage(restored.denoised) - (share * pet + (1 - share) * truth)
    rms = [float(np.sqrt(np.mean(each[BRAIN] ** 2))) for each in (error, sitk.GetArrayFromImage(spread))]
    assert rms[1] == pytest.approx(rms[0], rel=0.1, abs=1e-3 * LEVEL)


@pytest.mark.parametrize("width", [0.0, 8.0])
def test_a_run_and_its_other_widths_have_it_in_the_uncertainty(tmp_path, width):
    model = str(save_tiny_model(tmp_path / "tiny"))
    settings = DenoiseSettings(steps=2, samples=1, device="cpu", precision="float32", keep_above_mm=width)
    afterwards, pet = Afterwards(), cubic_image(head(0.3), 1.0)
    sitk.WriteImage(pet, str(tmp_path / "pet.nrrd"))
    request = FileRequest(tmp_path / "pet.nrrd", tmp_path / "out.nrrd")
    made = denoise_files(request, settings, model, afterwards=afterwards).uncertainty
    again = afterwards.at(8.0 - width).uncertainty
    fine_of = [fine(sitk.GetArrayFromImage(each)) for each in (made, again)]
    assert max(fine_of) > 3 * min(fine_of) and (fine_of[0] > fine_of[1]) == (width == 0)


def test_a_broken_voxel_stays():
    pet = head(0.1)
    pet[40, 40, 40] = 1e9
    found = without_change(pet)
    assert found[40, 40, 40] == pytest.approx(1e9, rel=1e-6)


def test_outside_of_the_head_the_pet_stays_bit_for_bit():
    pet = head(0.1) + np.float32(0.02 * LEVEL) * np.random.default_rng(4).random((SIDE,) * 3, np.float32)
    corner = np.s_[:8, :8, :8]
    found = without_change(pet)
    np.testing.assert_array_equal(found[corner], pet[corner])
    assert fine(found) < 0.5 * fine(pet)


def test_what_the_model_sees_is_none_of_it():
    pet = head(0.3)[::2, ::2, ::2].copy()
    image = cubic_image(pet, MODEL_MM)
    assert Canvas.of_scan(image, Scan(pet, Grid.of(image))).finest is None


@pytest.mark.parametrize("unit", [1e-30, 1e30])
def test_the_unit_does_not_matter(unit):
    pet = head(0.3)
    scaled = without_change(pet * np.float32(unit))
    np.testing.assert_allclose(scaled / np.float32(unit), without_change(pet), rtol=1e-3, atol=2.0)


def test_detail_stronger_than_noise_loses_no_more_than_the_noise():
    rng = np.random.default_rng(0)
    noise = 0.01 * rng.standard_normal((40, 40, 40)).astype(np.float32)
    detail = np.zeros_like(noise)
    detail[20, 20, 20] = 2.0
    core = np.ones(noise.shape, bool)
    removed = noise_of(noise + detail, np.ones_like(noise), core, (1.0,) * 3)
    assert removed[20, 20, 20] < 0.3 * 2.0
    away = np.s_[:8, :8, :8]
    np.testing.assert_allclose(removed[away], noise[away], rtol=1e-6)


def test_a_run_removes_it_and_states_what_is_left(tmp_path):
    model = str(save_tiny_model(tmp_path / "tiny"))
    settings = DenoiseSettings(sampler="mean", steps=1, samples=1, device="cpu", precision="float32", keep_above_mm=8.0)
    pet = head(0.3)
    result = denoise(cubic_image(pet, 1.0), None, settings, model)
    finding = next(each for each in result.findings if each.check == "fine_band")
    assert finding.code == "fine_band.treated" and finding.values["left"] < 0.5
