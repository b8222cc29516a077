"""Restore: the residual lands where it belongs, in the right unit, and nothing else is touched."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from conftest import as_image, head_array, rotation
from tiny_model import save_tiny_model

from CSRDDenoiseLib.checks.mean import mean_change
from CSRDDenoiseLib.denoise import denoise
from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.findings import find
from CSRDDenoiseLib.io.grid import Grid
from CSRDDenoiseLib.prepare.align import to_model_grid
from CSRDDenoiseLib.report.summary import head_and_mean
from CSRDDenoiseLib.restore.canvas import Canvas, keep_above, masked_zeros
from CSRDDenoiseLib.restore.keeping import Keeping, default_keep_mm, keep_coarse
from CSRDDenoiseLib.scan import Scan, largest_activity, near_broken, smooth
from CSRDDenoiseLib.settings import DenoiseSettings, settings_from_fields

CENTRE = np.array([3.0, -2.0, 4.0])
WIDTH_MM = 6.0


def restore(pet: sitk.Image, residual: np.ndarray, grid: Grid) -> tuple[sitk.Image, sitk.Image]:
    """The result and the difference when nothing of the measurement is kept."""
    result = Canvas(pet, grid).result(residual, Keeping(np.inf, 0.0, grid.array_spacing))
    return result.denoised, result.difference


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
    for spacing in ((2.0, 2.0, 2.0), (1.5, 1.5, 1.6)):
        pet = as_image(head_array((31, 36, 34)) + np.float32(1), spacing)
        grid = to_model_grid(pet, None, 2.0).grid.crop((slice(5, 12), slice(6, 14), slice(4, 15)))
        std = np.random.default_rng(0).exponential(10, grid.size[::-1]).astype(np.float32)
        # steps that a spline would pass below zero
        std[::2] = 0
        restored = sitk.GetArrayFromImage(Canvas(pet, grid).spread(std))
        inside = np.zeros(restored.shape, bool)
        inside[Grid.of(pet).box_around(grid)] = True
        assert restored.min() == 0 and restored.max() > 0 and not restored[~inside].any()
        assert restored.sum() * np.prod(spacing) == pytest.approx(std.sum() * 8, rel=0.1)


@pytest.mark.parametrize("times_brain", [1e4, 1e5])
def test_a_broken_voxel_moves_neither_the_brain_mean_nor_what_is_around_it(times_brain):
    array = head_array((40, 44, 42))
    broken = array.copy()
    broken[20, 22, 30] = times_brain * 5000
    whole, hit = (Scan.of_array(each, (2.0,) * 3) for each in (array, broken))
    assert hit.brain_mean == pytest.approx(whole.brain_mean, rel=1e-2)
    residual = np.random.default_rng(0).normal(0, 0.05, array.shape).astype(np.float32)
    keeping = Keeping(
        8.0, 0.0, hit.spacing, mask=hit.head.mask, near=near_broken(broken, hit.spacing, largest_activity(broken))
    )
    plain = keeping(residual)
    residual[20, 22, 30] = -times_brain
    assert abs(mean_change(residual * hit.brain_mean, hit)) < 0.01
    kept = keeping(residual)
    others = np.ones(array.shape, bool)
    others[20, 22, 30] = False
    np.testing.assert_allclose(kept[others], plain[others], atol=0.05)
    assert kept[20, 22, 30] == pytest.approx(-times_brain, rel=1e-3)


@pytest.mark.parametrize("change", [0.001, -0.005, 0.05, -0.3])
def test_the_change_of_the_brain_mean_is_measured_and_not_kept(change):
    scan = Scan.of_array(head_array((40, 44, 42)), (2.0,) * 3)
    residual = np.where(scan.head.mask, change * scan.smoothed[scan.brain].mean() * scan.brain_mean, 0)
    assert mean_change(residual.astype(np.float32), scan) == pytest.approx(change, rel=1e-4)
    left = mean_change(keep_coarse(residual.astype(np.float32), scan.spacing, 8.0), scan)
    assert abs(left) < 0.1 * abs(change)


def test_a_pet_without_negative_values_stays_so_and_masked_zeros_stay_zero():
    array = np.pad(head_array(), 8)
    pet = as_image(np.where(array > 0, array, 0).astype(np.float32))
    grid = Grid.of(pet)
    denoised, difference = (sitk.GetArrayFromImage(i) for i in restore(pet, np.full(array.shape, -50.0), grid))
    assert denoised.min() == 0 and (denoised[array == 0] == 0).all() and (difference[array == 0] == 0).all()
    added, _ = restore(pet, np.full(array.shape, 50.0, np.float32), grid)
    masked = Canvas(pet, grid).zeros
    assert (sitk.GetArrayFromImage(added)[masked] == 0).all()
    assert masked.mean() > 0.3 and not masked[array > 0].any()


def test_masked_zeros_have_no_uncertainty_and_no_unsupported_structure():
    array = np.pad(head_array(), 8)
    pet = as_image(np.where(array > 0, array, 0).astype(np.float32))
    canvas = Canvas(pet, Grid.of(pet))
    spread = sitk.GetArrayFromImage(canvas.spread(np.full(array.shape, 50.0, np.float32)))
    labels = sitk.GetArrayFromImage(canvas.labels(np.ones(array.shape, np.uint8)))
    assert (spread[canvas.zeros] == 0).all() and (labels[canvas.zeros] == 0).all() and canvas.zeros.mean() > 0.3
    assert spread[array > 0] == pytest.approx(50) and (labels[array > 0] == 1).all()


@pytest.mark.parametrize("level, wide", [(0.17, 1.0), (0.43, 1.0), (0.28, 2.0)])
def test_zeros_that_noise_leaves_are_not_masked(level, wide):
    """In a PET whose negative values were cut off, they join to one piece that reaches into the head."""
    array = np.pad(head_array(), 12)
    noise = smooth(np.random.default_rng(2).normal(0, 1, array.shape), (2.0, 2.0, 2.0), 2.355 * 2.0 * wide)
    noisy = np.maximum(array + level * array[array > 0].mean() * noise / noise.std(), 0)
    masked = masked_zeros(noisy, (2.0, 2.0, 2.0))
    assert (noisy == 0).mean() > 0.2 and not masked[array > 0].any() and masked[array == 0].mean() < 0.2


def test_all_zeros_around_a_ragged_mask_are_masked():
    array = np.pad(head_array(), 12)
    array[20:24, 20:21] = 0
    array[np.random.default_rng(2).random(array.shape) < 0.01] = 0
    masked = masked_zeros(array, (2.0, 2.0, 2.0))
    assert masked[np.pad(head_array(), 12) == 0].all() and masked[array == 0].mean() > 0.99


def test_an_empty_plane_is_masked():
    array = np.random.default_rng(2).random((20, 20, 20)) + 1
    array[7] = 0
    masked = masked_zeros(array, (2.0, 2.0, 2.0))
    assert masked[7].all() and masked.sum() == 400


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


@pytest.mark.parametrize("radius_mm", [4, 5, 7])
@pytest.mark.parametrize("width_mm", [4.0, 8.0, 16.0])
def test_what_is_given_back_never_passes_the_input(radius_mm, width_mm):
    grid = np.meshgrid(*[np.arange(48)] * 3, indexing="ij")
    sphere = (sum((g - 24) ** 2 for g in grid) <= (radius_mm / 2) ** 2).astype(np.float32)
    kept = keep_coarse(-0.3 * sphere, (2.0,) * 3, width_mm)
    assert -0.3 < kept[24, 24, 24] < 0, "between the estimate, which lacks the sphere, and the input"


def test_keeping_is_linear_and_its_ends_are_the_input_and_the_estimate():
    residual = np.random.default_rng(4).standard_normal((12, 12, 12)).astype(np.float32)
    spacing = (2.0, 2.0, 2.0)
    np.testing.assert_array_equal(keep_coarse(residual, spacing, float("inf")), residual)
    np.testing.assert_array_equal(keep_coarse(residual, spacing, 0.0), 0)
    twice = keep_coarse(2 * residual, spacing, 6.0)
    np.testing.assert_allclose(twice, 2 * keep_coarse(residual, spacing, 6.0), atol=1e-5)


def test_what_is_kept_of_a_known_dose_is_its_share_at_every_frequency():
    residual = np.random.default_rng(5).standard_normal((20, 20, 20)).astype(np.float32)
    spacing = (2.0, 2.0, 2.0)
    bare = Keeping(float("inf"), 0.1, spacing)
    np.testing.assert_allclose(bare(residual), 0.9 * residual, rtol=1e-6)
    both = Keeping(6.0, 0.1, spacing)
    np.testing.assert_allclose(both(residual), 0.9 * keep_coarse(residual, spacing, 6.0), rtol=1e-5, atol=1e-7)
    assert bare.finding.code == "keep.nothing" and bare.finding.values["above_mm"] is None
    assert both.finding.values == {"above_mm": 6.0, "dose": 0.1, "chosen": False}


def test_the_default_width_follows_the_noise_within_its_range():
    rule = {"weights": [3.0, 0.5, 0.0, -0.2], "range_mm": [3.0, 12.0]}
    widths = [default_keep_mm(rule, (np.log(unit), 0.0, -1.0)) for unit in (0.001, 0.05, 0.1, 10.0)]
    assert widths[0] == 3.0 and widths[-1] == 12.0
    assert widths[2] / widths[1] == pytest.approx(2**0.5)
    assert default_keep_mm({}, ()) == 8.0


def test_the_result_for_any_width_follows_from_the_bare_estimate(pet, mr, tmp_path):
    folder = save_tiny_model(tmp_path / "tiny")
    settings = DenoiseSettings(sampler="mean", steps=1, samples=1, device="cpu", precision="float32")
    runs = {width: denoise(pet, mr, replace(settings, keep_above_mm=width), folder) for width in (0.0, 8.0, np.inf)}
    before, bare = (sitk.GetArrayFromImage(image) for image in (pet, runs[8.0].bare))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(runs[0.0].denoised), before)
    np.testing.assert_allclose(sitk.GetArrayFromImage(runs[np.inf].denoised), bare, rtol=1e-6)
    ours = sitk.GetArrayFromImage(keep_above(pet, runs[8.0].bare, 8.0, head_and_mean(pet)[1]))
    theirs = sitk.GetArrayFromImage(runs[8.0].denoised)
    assert np.std(ours - theirs) < 0.15 * np.std(theirs - before) and np.std(theirs - before) > 0
    assert np.std(bare - theirs) > 0.1 * np.std(bare - before)
    codes = {width: find(run.findings, "keep").code for width, run in runs.items()}
    assert codes == {0.0: "keep.everything", 8.0: "keep.coarse", np.inf: "keep.nothing"}
    assert runs[np.inf].provenance["settings"]["keep_above_mm"] == "inf"
    assert settings_from_fields(runs[np.inf].provenance["settings"]).keep_above_mm == np.inf


def test_a_known_dose_leaves_its_share_of_the_noise_of_a_noise_free_model_alone(pet, mr, tmp_path):
    settings = DenoiseSettings(sampler="mean", steps=1, samples=1, device="cpu", precision="float32", keep_above_mm=9.0)
    changes = {}
    for target in ("noise-free", "full-dose"):
        folder = save_tiny_model(tmp_path / target, target=target)
        for dose in (None, 0.25):
            result = denoise(pet, mr, replace(settings, dose=dose), folder)
            changes[target, dose] = sitk.GetArrayFromImage(result.difference)
    whole = changes["noise-free", None]
    wrong = abs(changes["noise-free", 0.25] - 0.75 * whole) > 1e-3 * abs(whole).max()
    assert wrong.mean() < 1e-3, "where the result would be negative, it is zero"
    np.testing.assert_array_equal(changes["full-dose", 0.25], changes["full-dose", None])


@pytest.mark.slow
def test_the_uncertainty_is_that_of_the_estimate_and_the_distance_of_the_result_from_it(pet, mr, tmp_path):
    folder = save_tiny_model(tmp_path / "tiny")
    settings = DenoiseSettings(steps=2, samples=2, device="cpu", precision="float32", keep_above_mm=np.inf)
    for estimate in ("mean", "samples"):
        chosen = replace(settings, estimate=estimate)
        found = {width: denoise(pet, mr, replace(chosen, keep_above_mm=width), folder) for width in (np.inf, 6.0, 0.0)}
        images, spreads = (
            {width: sitk.GetArrayFromImage(getattr(result, name)) for width, result in found.items()}
            for name in ("denoised", "uncertainty")
        )
        inside = spreads[np.inf] > 0
        assert inside.any()
        for width in (6.0, 0.0):
            expected = np.hypot(spreads[np.inf], images[width] - images[np.inf])[inside]
            # where the estimate would be negative, the image is zero
            assert np.median(abs(spreads[width][inside] / expected - 1)) < 1e-3


@pytest.mark.parametrize("values", [{"keep_above_mm": -1.0}, {"dose": 1.5}, {"dose": 0.0}, {"keep_above_mm": "much"}])
def test_impossible_choices_are_refused(values):
    with pytest.raises(InputError):
        DenoiseSettings(**values)
