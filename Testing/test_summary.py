"""The summary of a run: numbers that can be checked by hand on a volume made for it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk
from conftest import as_image, head_array, rotation

from CSRDDenoiseLib.report.summary import reference_region, summarise_change
from CSRDDenoiseLib.scan import smooth

SHAPE = (40, 44, 42)


@pytest.fixture
def noisy():
    """A PET whose only flat region is a hot cube of 30 mm, with noise of 10 % in it."""
    pet = head_array(SHAPE)
    pet[10:25, 12:27, 14:29] = 5000 * np.random.default_rng(1).normal(1, 0.1, (15, 15, 15))
    return pet


def test_numbers_are_those_of_the_change(noisy):
    change = np.zeros_like(noisy)
    change[noisy > 1000] = -50
    change[15, 15, 15] = 400
    summary = summarise_change(as_image(noisy + change), as_image(change))
    assert summary.max_change == pytest.approx(400, rel=1e-3)
    assert -50 < summary.mean_change < 0
    assert summary.total_change_percent == pytest.approx(100 * change.sum() / noisy.sum(), rel=1e-3)
    edges = np.array(summary.histogram_edges)
    assert edges[0] == -edges[-1] == -summary.window
    assert sum(summary.histogram_counts) > 0
    json.dumps(summary.as_dict(), allow_nan=False)


def test_noise_before_and_after_in_the_flattest_region(noisy):
    smooth = noisy.copy()
    cube = (slice(10, 25), slice(12, 27), slice(14, 29))
    smooth[cube] = 5000 + (noisy[cube] - 5000) / 4
    summary = summarise_change(as_image(smooth), as_image(smooth - noisy))
    assert summary.noise_before_percent == pytest.approx(10, rel=0.2)
    assert summary.noise_after_percent == pytest.approx(summary.noise_before_percent / 4, rel=0.2)


@pytest.mark.parametrize(("factor", "broken"), [(1e-30, 0.0), (1e24, 0.0), (1.0, 1e12)])
def test_the_flattest_region_is_the_same_in_any_unit_and_beside_a_broken_voxel(noisy, factor, broken):
    wanted = reference_region(as_image(noisy))
    noisy[5, 22, 21] = broken or noisy[5, 22, 21]
    assert reference_region(as_image((noisy * factor).astype(np.float32))) == wanted


def test_mean_change_of_a_result_without_bias_is_zero():
    """Where noise itself chose the voxels of the head, any good result would seem to lower it."""
    clean = smooth(head_array(SHAPE), (2.0,) * 3, 8.0)
    noise = np.random.default_rng(2).normal(0, 0.15, SHAPE).astype(np.float32) * clean.max()
    summary = summarise_change(as_image(clean), as_image(-noise))
    assert abs(summary.mean_change) < 0.005 * clean.max()


def test_reference_region_is_named_where_it_lies_whatever_the_axes(noisy):
    image = as_image(noisy, direction=rotation(30))
    summary = summarise_change(image, image * 0)
    region = reference_region(image)
    index = [(part.start + part.stop - 1) / 2 for part in reversed(region)]
    left, posterior, superior = image.TransformContinuousIndexToPhysicalPoint(index)
    assert summary.reference_centre_ras == pytest.approx((-left, -posterior, superior))


def test_reference_region_is_in_the_brain_whichever_axis_of_a_wide_field_is_the_height():
    shape, side = (40, 117, 117), 6.0
    z, y, x = ((np.indices(shape).T - (np.array(shape) - 1) / 2) * side).T
    brain = ((z - 20) / 55) ** 2 + (y / 70) ** 2 + (x / 55) ** 2 < 1
    neck = (z < -50) & (y**2 + x**2 < 90**2) & ~brain
    rough = smooth(np.random.default_rng(1).normal(size=shape), (side,) * 3, 12.0)
    pet = as_image(np.where(brain, 4000 + 10000 * rough, np.where(neck, 1400, 0)), (side,) * 3)
    for order in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        turned = sitk.PermuteAxes(pet, order)
        cube = reference_region(turned)
        centre = [(part.start + part.stop - 1) // 2 for part in reversed(cube)]
        found = pet.TransformPhysicalPointToIndex(turned.TransformIndexToPhysicalPoint(centre))
        assert brain[found[::-1]]


def test_volume_too_small_to_measure_noise_in():
    tiny = as_image(np.ones((6, 6, 6), np.float32))
    summary = summarise_change(tiny, tiny * 0)
    assert summary.noise_before_percent is None
    assert summary.mean_change == summary.max_change == 0


def test_volume_whose_smoothed_mean_crosses_zero_is_not_divided_by_it(noisy):
    """Negative values outside of the head, as in real scans, bring the smoothed mean next to zero somewhere."""
    pet = noisy - np.linspace(-50, 1500, noisy.shape[2], dtype=np.float32) * (noisy < 1000)
    with np.errstate(all="raise"):
        summary = summarise_change(as_image(pet), as_image(pet * 0))
    assert summary.noise_before_percent == pytest.approx(10, rel=0.2)


def test_total_next_to_zero_has_no_change_in_percent():
    pet = np.ones((12, 12, 12), np.float32)
    pet[6:] = -1
    summary = summarise_change(as_image(pet), as_image(np.ones_like(pet)))
    assert summary.total_change_percent is None
    json.dumps(summary.as_dict(), allow_nan=False)
