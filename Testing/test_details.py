"""The details of a PET that the network is shown, and the noise level that is their unit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from CSRDDenoiseLib.model.details import guided_filter, local_mean, pet_details
from CSRDDenoiseLib.scan import LEAST_NOISE_LEVEL, noise_level


def volume(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(1, 1, *shape, generator=torch.Generator().manual_seed(seed))


def test_local_mean_is_that_of_scipy_inside_and_of_what_is_there_at_the_border():
    x = volume(0, 14, 15, 16)
    inside = slice(2, -2)
    expected = ndimage.uniform_filter(x[0, 0].numpy(), 5)
    found = local_mean(x, 5)[0, 0].numpy()
    np.testing.assert_allclose(found[inside, inside, inside], expected[inside, inside, inside], atol=1e-5)
    assert float(found[0, 0, 0]) == pytest.approx(float(x[0, 0, :3, :3, :3].mean()), abs=1e-5)
    torch.testing.assert_close(local_mean(torch.ones_like(x), 5), torch.ones_like(x))


def test_a_window_longer_than_the_volume_is_cut():
    x = volume(0, 8, 8, 8)
    assert local_mean(x, 11).shape == x.shape


def test_the_guided_filter_keeps_an_edge_the_guide_shows_and_lowers_the_noise():
    step = torch.zeros(1, 1, 20, 20, 20)
    step[..., 10:] = 1
    noise = 0.2 * volume(1, 20, 20, 20)
    guided, plain = guided_filter(2 * step + noise, step, 5), local_mean(2 * step + noise, 5)
    edge = slice(8, 12)
    assert (guided - 2 * step)[..., edge].abs().mean() < 0.3 * (plain - 2 * step)[..., edge].abs().mean()
    assert (guided - 2 * step).std() < 0.5 * noise.std()


def test_without_mr_the_guided_filter_is_a_local_mean_twice():
    x = volume(2, 12, 12, 12)
    torch.testing.assert_close(guided_filter(x, torch.zeros_like(x), 5), local_mean(local_mean(x, 5), 5))


def test_details_are_linear_in_the_scale_of_the_pet():
    pet, mr = volume(3, 12, 12, 12), volume(4, 12, 12, 12).abs()
    once, thrice = pet_details(pet, mr, (3, 7), (5, 11)), pet_details(3 * pet, mr, (3, 7), (5, 11))
    assert len(once) == 5
    for a, b in zip(once, thrice):
        torch.testing.assert_close(3 * a, b, rtol=1e-4, atol=1e-4)


def test_noise_level_follows_the_noise_and_not_the_signal():
    rng = np.random.default_rng(0)
    grid = np.meshgrid(*[np.arange(48)] * 3, indexing="ij")
    ball = (sum((g - 24) ** 2 for g in grid) < 18**2).astype(np.float32)
    noise = rng.standard_normal(ball.shape).astype(np.float32)
    levels = [noise_level(ball + size * noise, ball > 0, (2.0,) * 3) for size in (0.05, 0.1, 0.2)]
    # a mean over 27 voxels takes 1 - 1/27 of white noise's variance away
    np.testing.assert_allclose(levels, np.array([0.05, 0.1, 0.2]) * (1 - 1 / 27) ** 0.5, rtol=0.08)
    assert noise_level(ball, ball > 0, (2.0,) * 3) == LEAST_NOISE_LEVEL
    assert noise_level(0 * ball, ball > 0, (2.0,) * 3) == LEAST_NOISE_LEVEL
