"""Noise bands: white and smooth noise are distinguished, and the unit is that of the recipe's fit."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from CSRDDenoiseLib.model.metadata import CHANNELS
from CSRDDenoiseLib.prepare.bands import NoiseBands, noise_bands
from CSRDDenoiseLib.prepare.scheme import make_condition
from CSRDDenoiseLib.scan import Scan, noise_level

SPACING = (2.0, 2.0, 2.0)


def noisy_ball(sigma_voxels: float, std: float, side: int = 56) -> tuple[np.ndarray, np.ndarray]:
    axes = np.stack(np.meshgrid(*[np.arange(side) - side / 2] * 3, indexing="ij"))
    head = np.sqrt((axes**2).sum(0)) < side / 2 - 4
    noise = np.random.default_rng(0).standard_normal(head.shape)
    noise = ndimage.gaussian_filter(noise, sigma_voxels) if sigma_voxels else noise
    return (head * (1 + std * noise / noise.std())).astype(np.float32), head


def test_bands_of_white_noise_are_those_of_their_filters():
    pet, head = noisy_ball(0.0, 0.1)
    head = ndimage.binary_erosion(head, iterations=6)
    bands = noise_bands(pet, head, SPACING)
    # variance left by a mean over 27, by one over six neighbours, and of the mean of 27 minus its own such mean
    box = np.ones(3) / 3
    twice = np.convolve(box, box)
    once_twice = float(np.sum(box * twice[1:-1]))
    mid = (box @ box) ** 3 - 2 * once_twice**3 + float(twice @ twice) ** 3
    expected = 0.1 * np.sqrt([26 / 27, 7 / 6, mid])
    assert (bands.level, bands.fine, bands.mid) == pytest.approx(tuple(expected), rel=0.05)
    assert bands.level == noise_level(pet, head, SPACING)


def test_smooth_noise_of_the_same_finest_band_has_a_larger_unit():
    white, smooth = (noise_bands(*noisy_ball(sigma, std), SPACING) for sigma, std in ((0.0, 0.05), (1.0, 0.1)))
    assert smooth.fine / smooth.level < 0.7 < 1 < white.fine / white.level
    assert smooth.mid / smooth.level > 2 * white.mid / white.level
    assert smooth.unit / smooth.level > 1.3 * white.unit / white.level


def test_the_unit_is_the_fit_of_the_recipe():
    level, fine, mid = np.log([0.08, 0.05, 0.04])
    features = [1, level, fine, mid, level**2, (fine - level) ** 2, (mid - level) ** 2]
    fit = np.array([-2.51140, 2.03463, 2.67185, -3.50679, 0.06289, 8.37647, -1.21332])
    bands = NoiseBands(0.08, 0.05, 0.04)
    assert bands.unit == pytest.approx(float(np.exp(fit @ features)), rel=1e-6)
    assert bands.constants == pytest.approx((np.log(bands.unit), fine - level, mid - level))


@pytest.mark.parametrize("with_mr", [True, False])
def test_a_condition_holds_its_channels_in_order(with_mr):
    pet, head = noisy_ball(0.0, 0.1)
    mr = np.where(head, 0.3 + 0.4 * (np.arange(56) > 28), 0).astype(np.float32) if with_mr else None
    condition = make_condition("noise-bands", Scan.of_array(5000 * pet, SPACING), mr)
    channels = dict(zip(CHANNELS["noise-bands"], condition.channels))
    assert len(condition.channels) == len(CHANNELS["noise-bands"])
    bands = noise_bands(channels["low_dose"], condition.head.mask, SPACING)
    assert condition.scale == pytest.approx(condition.head.brain_mean * bands.unit)
    assert channels["log_unit"][0, 0, 0] == pytest.approx(np.log(bands.unit))
    assert (channels["log_fine"][3, 0, 0], channels["log_mid"][0, 5, 0]) == pytest.approx(bands.ratios)
    tissue = np.stack([channels[f"tissue_{number}"] for number in range(3)])
    np.testing.assert_allclose(tissue.sum(0), 1, atol=1e-5)
    assert bool((tissue[0] == 1).all()) != with_mr
    assert bool(channels["mr"].any()) == with_mr
    np.testing.assert_array_equal(np.sign(np.diff(channels["position_x"][0, 0])), 1)
