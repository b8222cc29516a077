"""Restore: the residual lands where it belongs, in the right unit, and nothing else is touched."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from conftest import as_image, head_array, rotation

from CSRDDenoiseLib.io.grid import Grid
from CSRDDenoiseLib.prepare.align import to_model_grid
from CSRDDenoiseLib.restore import (
    MEAN_LIMIT,
    hold_mean,
    hold_structure,
    keep_coarse,
    masked_zeros,
    restore,
    restore_uncertainty,
)
from CSRDDenoiseLib.scan import Scan, smooth

CENTRE = np.array([3.0, -2.0, 4.0])
WIDTH_MM = 6.0


def blob(grid: Grid) -> np.ndarray:
    """A Gaussian at a known physical place, sampled on a grid."""
    z, y, x = np.meshgrid(*(np.arange(n) for n in grid.size[::-1]), indexing="ij")
    axes = np.array(grid.direction).reshape(3, 3) * np.array(grid.spacing)
    points = np.tensordot(axes, np.stack([x, y, z]), 1) + np.array(grid.origin)[:, None, None, None]
    return np.exp(-((points - CENTRE[:, None, None, None]) ** 2).sum(0) / (2 * WIDTH_MM**2)).astype(np.float32)


@pytest.mark.parametrize("direction", [rotation(0), rotation(25), (0, -1, 0, 0, 0, 1, -1, 0, 0)])
@pytest.mark.parametrize("spacing", [(2.0, 2.0, 2.0), (1.2, 1.4, 1.3), (3.0, 2.6, 2.2)])
def test_known_residual_lands_at_its_place(direction, spacing):
    size = tuple(round(56 / step) for step in spacing)
    centre = np.array(direction).reshape(3, 3) @ (np.array(size) * spacing / 2)
    pet = as_image(np.ones(size[::-1], np.float32), spacing, tuple(CENTRE - centre), direction)
    grid = to_model_grid(pet, None, 2.0).grid
    _, difference = restore(pet, blob(grid), grid)
    assert Grid.of(difference) == Grid.of(pet)
    np.testing.assert_allclose(sitk.GetArrayFromImage(difference), blob(Grid.of(pet)), atol=0.02)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_outside_the_box_the_pet_is_returned_bit_for_bit(dtype):
    values = np.random.default_rng(0).normal(1e4, 3e3, (30, 30, 30)).astype(dtype)
    pet = as_image(values, (1.5, 1.5, 1.5), direction=rotation(10))
    grid = to_model_grid(pet, None, 2.0).grid.crop((slice(5, 12), slice(6, 14), slice(4, 15)))
    denoised, difference = restore(pet, np.full(grid.size[::-1], 100.0, np.float32), grid)
    inside = np.zeros(values.shape, bool)
    inside[Grid.of(pet).box_around(grid)] = True
    after = sitk.GetArrayFromImage(denoised)
    assert after.dtype == dtype
    assert after[~inside].tobytes() == values[~inside].tobytes()
    np.testing.assert_allclose(after[inside] - values[inside], 100, rtol=1e-3)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(difference), after - values)


def test_uncertainty_is_never_negative_and_zero_outside():
    pet = as_image(head_array())
    grid = to_model_grid(pet, None, 2.0).grid.crop((slice(5, 12), slice(6, 14), slice(4, 15)))
    std = np.random.default_rng(0).exponential(10, grid.size[::-1]).astype(np.float32)
    restored = sitk.GetArrayFromImage(restore_uncertainty(pet, std, grid))
    assert restored.min() == 0
    assert restored.sum() == pytest.approx(std.sum(), rel=1e-5)


@pytest.mark.parametrize("change", [0.001, 0.009, -0.005, 0.05, -0.3])
def test_mean_brain_activity_is_held(change):
    scan = Scan.of_array(head_array(), (2.0,) * 3)
    brain, smoothed = scan.brain, scan.smoothed
    residual = np.where(scan.head.mask, change * smoothed[brain].mean(), 0).astype(np.float32)
    held, wanted = hold_mean(residual, scan)
    assert wanted == pytest.approx(change, rel=1e-4)
    after = float(held[brain].mean() / smoothed[brain].mean())
    assert after == pytest.approx(np.clip(change, -MEAN_LIMIT, MEAN_LIMIT), abs=1e-5)
    if abs(change) < MEAN_LIMIT:
        assert held is residual


@pytest.mark.parametrize("times_brain", [1e4, 1e5])
def test_a_broken_voxel_moves_neither_the_brain_mean_nor_the_mean_that_is_held(times_brain):
    array = head_array((40, 44, 42))
    broken = array.copy()
    broken[20, 22, 30] = times_brain * 5000
    whole, hit = (Scan.of_array(each, (2.0,) * 3) for each in (array, broken))
    assert hit.brain_mean == pytest.approx(whole.brain_mean, rel=1e-2)
    residual = np.random.default_rng(0).normal(0, 0.05, array.shape).astype(np.float32)
    residual[20, 22, 30] = -times_brain
    held, _ = hold_mean(residual, hit)
    far = np.abs(np.indices(array.shape)[2] - 30) > 12
    np.testing.assert_allclose(held[far], residual[far], atol=5e-3)


@pytest.mark.parametrize("radius_mm", [4, 5, 7])
def test_what_is_given_back_never_passes_the_input(radius_mm):
    grid = np.meshgrid(*[np.arange(48)] * 3, indexing="ij")
    sphere = (sum((g - 24) ** 2 for g in grid) <= (radius_mm / 2) ** 2).astype(np.float32)
    noise = smooth(np.random.default_rng(0).standard_normal(sphere.shape).astype(np.float32), (2.0,) * 3, 5.0)
    noise *= 0.02 / noise.std()
    held = hold_structure(noise - 0.3 * sphere, np.ones(sphere.shape, bool), (2.0,) * 3)
    assert -0.3 <= held[24, 24, 24] - noise[24, 24, 24] < 0.01


def test_a_pet_without_negative_values_stays_so_and_masked_zeros_stay_zero():
    array = np.pad(head_array(), 8)
    pet = as_image(np.where(array > 0, array, 0).astype(np.float32))
    grid = Grid.of(pet)
    denoised, difference = (sitk.GetArrayFromImage(i) for i in restore(pet, np.full(array.shape, -50.0), grid))
    assert denoised.min() == 0 and (denoised[array == 0] == 0).all() and (difference[array == 0] == 0).all()
    added, _ = restore(pet, np.full(array.shape, 50.0, np.float32), grid)
    assert (sitk.GetArrayFromImage(added)[masked_zeros(pet)] == 0).all()
    assert masked_zeros(pet).mean() > 0.3 and not masked_zeros(pet)[array > 0].any()


def test_a_lesion_is_given_back_and_noise_is_not():
    rng = np.random.default_rng(0)
    grid = np.meshgrid(*[np.arange(48)] * 3, indexing="ij")
    lesion = (sum((g - 24) ** 2 for g in grid) < 4**2).astype(np.float32)
    mask, spacing = np.ones(lesion.shape, bool), (2.0,) * 3
    noise = smooth(rng.standard_normal(lesion.shape).astype(np.float32), spacing, 5.0)
    noise *= 0.1 / noise.std()
    taken = noise - 0.3 * lesion
    held = hold_structure(taken, mask, spacing)
    inside, outside = lesion > 0, smooth(lesion, spacing, 20.0) < 0.01
    assert -0.17 < held[inside].mean() - noise[inside].mean() < 0
    assert np.sqrt(np.mean((held - noise)[outside] ** 2)) < 0.15 * noise[outside].std()
    np.testing.assert_allclose(hold_structure(1000 * taken, mask, spacing), 1000 * held, rtol=1e-4, atol=1e-3)


def test_the_result_keeps_the_measurement_at_coarse_scales():
    random = np.random.default_rng(3)
    residual = random.standard_normal((40, 44, 48)).astype(np.float32) + 0.5
    kept = keep_coarse(residual, (2.0, 2.0, 2.0), 8.0)
    # what is left of the residual after 16 mm, inside, is what a Gaussian of 8 mm leaves of its complement
    inside = (slice(12, -12),) * 3
    assert abs(smooth(kept, (2.0, 2.0, 2.0), 24.0)[inside]).max() < 0.1 * abs(residual).mean()
    wave = np.cos(np.arange(48) * 2 * np.pi / 2.0 / 2)[None, None] * np.ones((40, 44, 1))
    fine = keep_coarse(wave.astype(np.float32), (2.0, 2.0, 2.0), 8.0)
    np.testing.assert_allclose(fine[inside], wave[inside], atol=0.05)


def test_keeping_is_linear_and_its_ends_are_the_input_and_the_estimate():
    residual = np.random.default_rng(4).standard_normal((12, 12, 12)).astype(np.float32)
    spacing = (2.0, 2.0, 2.0)
    np.testing.assert_array_equal(keep_coarse(residual, spacing, float("inf")), residual)
    np.testing.assert_array_equal(keep_coarse(residual, spacing, 0.0), 0)
    twice = keep_coarse(2 * residual, spacing, 6.0)
    np.testing.assert_allclose(twice, 2 * keep_coarse(residual, spacing, 6.0), atol=1e-5)
