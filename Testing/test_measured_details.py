"""The strength of details: what an estimate lacks of them is brought back, and what only it shows is taken away."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import head_array

from CSRDDenoiseLib.restore.keeping import Keeping, find_details, keep_coarse, kept_image
from CSRDDenoiseLib.scan import Scan, largest_activity, near_broken, smooth

SPACING = (2.0, 2.0, 2.0)
WIDTH_MM = 10.0
INSIDE = np.s_[21:27, 21:27, 21:27]


def blob(height: float) -> np.ndarray:
    """A lesion of 6 mm FWHM, relative to the brain mean, (48, 48, 48)."""
    point = np.zeros((48, 48, 48), np.float32)
    point[24, 24, 24] = 1
    shape = smooth(point, SPACING, 6.0)
    return height * shape / shape.max()


def kept(estimate: np.ndarray, pet: np.ndarray, width: float = WIDTH_MM) -> np.ndarray:
    return kept_image(estimate, pet, SPACING, width)


def only_coarse(estimate: np.ndarray, pet: np.ndarray, width: float = WIDTH_MM) -> np.ndarray:
    return pet + keep_coarse(estimate - pet, SPACING, width)


@pytest.mark.parametrize("share", [0.3, 0.6])
def test_a_lesion_that_the_estimate_shows_too_weakly_is_brought_back(share):
    pet = 1 + blob(1.0)
    found = kept(1 + blob(share), pet)
    lacking = 2 - found.max()
    assert lacking < 0.6 * (2 - only_coarse(1 + blob(share), pet).max())
    assert lacking > -0.01 and found.min() > 0.99


def test_a_detail_that_the_measurement_does_not_show_is_taken_away():
    estimate, pet = 1 + blob(0.5), np.ones((48, 48, 48), np.float32)
    left = kept(estimate, pet).max() - 1
    assert 0 <= left < 0.4 * (only_coarse(estimate, pet).max() - 1)


def test_noise_that_the_estimate_does_not_show_is_not_brought_back():
    rng = np.random.default_rng(3)
    noise = smooth(rng.standard_normal((48, 48, 48)), SPACING, 4.0)
    noise *= 0.3 / noise.std()
    estimate = 1 + blob(0.5)
    away = np.ones(noise.shape, bool)
    away[12:36, 12:36, 12:36] = False
    pet = 1 + blob(1.0) + noise
    difference = kept(estimate, pet) - only_coarse(estimate, pet)
    assert difference[away].std() < 0.02 * noise.std()
    assert difference[INSIDE].max() > 0.1


def test_the_narrower_the_width_the_more_is_brought_back_and_the_ends_are_estimate_and_pet():
    estimate, pet = 1 + blob(0.15), 1 + blob(0.3)
    residual = estimate - pet
    details = find_details(estimate, residual, SPACING)
    back = [details.missing(width).max() for width in (4.0, 8.0, 16.0, 64.0)]
    assert back == sorted(back, reverse=True) and back[0] > 3 * back[-1]
    np.testing.assert_allclose(kept(estimate, pet, np.inf), estimate, rtol=1e-6)
    np.testing.assert_array_equal(kept(estimate, pet, 0.0), pet)


@pytest.mark.parametrize("width", [0.0, 6.0, np.inf])
def test_a_run_keeps_what_the_measurements_of_the_documentation_keep(width):
    estimate, pet = 1 + blob(0.3), 1 + blob(1.0)
    residual = Keeping(width, 0.0, SPACING, 5 * pet, 5.0)(5 * (estimate - pet))
    np.testing.assert_allclose(pet + residual / 5, kept(estimate, pet, width), atol=1e-5)


@pytest.mark.parametrize("unit", [1e-30, 1.0, 3e4, 1e30])
def test_the_unit_does_not_matter(unit):
    relative = Scan.of_array(head_array((40, 44, 42)), SPACING).relative
    residual = np.float32(-0.4) * (relative - smooth(relative, SPACING, 6.0))
    plain = Keeping(WIDTH_MM, 0.0, SPACING, relative, 1.0)(residual)
    in_unit = Keeping(WIDTH_MM, 0.0, SPACING, relative * np.float32(unit), unit)(residual * np.float32(unit))
    np.testing.assert_allclose(in_unit / np.float32(unit), plain, rtol=1e-3, atol=1e-5)
    assert np.abs(plain - keep_coarse(residual, SPACING, WIDTH_MM)).max() > 1e-3


def test_a_broken_voxel_does_not_change_the_strength_of_details_elsewhere():
    array = head_array((40, 44, 42))
    broken = array.copy()
    broken[20, 22, 30] = 1e8
    results = []
    for pet in (array, broken):
        scan = Scan.of_array(pet, SPACING)
        estimate = smooth(array, SPACING, 6.0)
        near = near_broken(broken, SPACING, largest_activity(broken))
        keeping = Keeping(
            WIDTH_MM, 0.0, SPACING, scan.pet, scan.brain_mean, mask=scan.head.mask, near=near
        )  # fmt: skip
        results.append((scan.pet + keeping(estimate - scan.pet)) / scan.brain_mean)
    others = np.ones(array.shape, bool)
    others[20, 22, 30] = False
    np.testing.assert_allclose(results[1][others], results[0][others], atol=0.025)
