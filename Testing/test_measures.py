"""Metrics against values that can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from CSRDDenoiseLib import measures

SHAPE = (12, 14, 16)
SPACING = (2.0, 2.0, 2.0)


@pytest.fixture
def reference() -> np.ndarray:
    return np.random.default_rng(0).uniform(1, 3, SHAPE).astype(np.float32)


@pytest.fixture
def mask() -> np.ndarray:
    inside = np.zeros(SHAPE, bool)
    inside[2:-2, 2:-2, 2:-2] = True
    return inside


def ball(radius_mm: float) -> np.ndarray:
    grid = np.stack(np.indices(SHAPE)) * 2.0
    centre = np.array([12.0, 14.0, 16.0]).reshape(3, 1, 1, 1)
    return np.linalg.norm(grid - centre, axis=0) <= radius_mm


def test_psnr_of_a_constant_offset(reference, mask):
    expected = 20 * np.log10(reference[mask].max() / 0.5)
    assert measures.psnr(reference + 0.5, reference, mask) == pytest.approx(expected, abs=1e-4)


def test_equal_images_are_perfect(reference, mask):
    assert measures.psnr(reference, reference, mask) == float("inf")
    assert measures.ssim(reference, reference, mask) == pytest.approx(1)
    assert measures.nrmse(reference, reference, mask) == 0
    assert measures.bias(reference, reference, mask) == 0


def test_relative_errors_of_a_scaled_image(reference, mask):
    scaled = 1.1 * reference.astype(np.float64)
    assert measures.nrmse(scaled, reference, mask) == pytest.approx(0.1)
    assert measures.mae(scaled, reference, mask) == pytest.approx(0.1)
    assert measures.bias(scaled, reference, mask) == pytest.approx(0.1)


@pytest.mark.parametrize("metric", [measures.psnr, measures.ssim, measures.nrmse, measures.mae, measures.bias])
def test_units_and_what_lies_outside_the_mask_do_not_matter(metric, reference, mask):
    noisy = reference + np.random.default_rng(1).normal(0, 0.2, SHAPE).astype(np.float32)
    there = metric(noisy, reference, mask)
    assert metric(noisy * 5e4, reference * 5e4, mask) == pytest.approx(there, rel=1e-4)
    if metric is not measures.ssim:  # whose windows look a few voxels beyond the mask
        noisy[~mask] = 1e3
        assert metric(noisy, reference, mask) == pytest.approx(there)


def test_ssim_falls_with_noise(reference, mask):
    noise = np.random.default_rng(1).normal(0, 1, SHAPE)
    little, much = (measures.ssim(reference + a * noise, reference, mask) for a in (0.1, 0.5))
    assert much < little < 1


def test_ceiling_is_reached_by_the_best_possible_estimate():
    """Counts thinned to a share f: n truth + the kept share of the noise is the best linear guess of the full dose."""
    generator = np.random.default_rng(0)
    truth, dose = np.full((40, 40, 40), 100.0), 0.25
    low = generator.poisson(truth * dose)
    full = low + generator.poisson(truth * (1 - dose))
    best = low + (1 - dose) * truth
    everywhere = np.ones(truth.shape, bool)
    ceiling = measures.ceiling_psnr(truth, full, everywhere, dose)
    assert measures.psnr(best, full, everywhere) == pytest.approx(ceiling, abs=0.1)


def test_coefficient_of_variation_of_known_noise():
    image = np.random.default_rng(0).normal(10, 1, (30, 30, 30))
    assert measures.coefficient_of_variation(image, np.ones(image.shape, bool)) == pytest.approx(0.1, rel=0.02)


def test_shell_keeps_its_distance_and_stays_where_it_is_allowed():
    region = ball(4)
    allowed = np.ones(SHAPE, bool)
    allowed[:6] = False
    around = measures.shell(region, SPACING, allowed, gap_mm=2, thickness_mm=4)
    assert around.any() and not (around & region).any() and not around[:6].any()
    assert not (around & ndimage.binary_dilation(region)).any()


@pytest.mark.parametrize("uptake", [3.0, 0.4])
def test_contrast_recovery_of_a_lesion_that_was_half_removed(uptake):
    region = ball(4)
    full = np.where(region, uptake, 1.0)
    halved = np.where(region, 1 + (uptake - 1) / 2, 1.0)
    lesions = [(region, measures.shell(region, SPACING, np.ones(SHAPE, bool)))]
    assert measures.contrast(full, *lesions[0]) == pytest.approx(uptake - 1)
    assert measures.contrast_recovery(halved, full, lesions) == pytest.approx(0.5)
    assert measures.contrast_recovery(full, full, []) is None


def test_coverage_of_a_well_calibrated_uncertainty(mask):
    generator = np.random.default_rng(0)
    std = generator.uniform(0.5, 2, (40, 40, 40))
    truth = generator.normal(0, std)
    everywhere = np.ones(std.shape, bool)
    assert measures.coverage(np.zeros_like(std), std, truth, everywhere, 1) == pytest.approx(0.683, abs=0.01)
    assert measures.coverage(np.zeros_like(std), std, truth, everywhere, 2) == pytest.approx(0.954, abs=0.01)
