"""Samplers against denoisers whose exact solutions are known."""

from __future__ import annotations

import math

import pytest
import torch

from CSRDDenoiseLib.infer.samplers import Churn, posterior_mean, sample_dpmpp_2m, sample_heun
from CSRDDenoiseLib.model.edm import Preconditioned, karras_sigmas, loss_weight

MEAN, SPREAD = 0.3, 0.5


def gaussian_denoiser(x: torch.Tensor, sigma: float) -> torch.Tensor:
    """D for data ~ N(MEAN, SPREAD^2)."""
    return MEAN + (x - MEAN) * SPREAD**2 / (SPREAD**2 + sigma**2)


def exact_solution(x: torch.Tensor, sigma: float, sigma_end: float) -> torch.Tensor:
    return MEAN + (x - MEAN) * math.sqrt((SPREAD**2 + sigma_end**2) / (SPREAD**2 + sigma**2))


def start(count: int = 64) -> torch.Tensor:
    noise = torch.randn(count, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    return 20.0 * noise


def test_karras_sigmas_fall_from_max_to_min_then_zero():
    sigmas = karras_sigmas(5, 0.01, 20.0)
    assert sigmas[0].item() == pytest.approx(20.0)
    assert sigmas[-2].item() == pytest.approx(0.01)
    assert sigmas[-1] == 0
    assert (sigmas.diff() < 0).all()
    assert karras_sigmas(1, 0.01, 20.0).tolist() == pytest.approx([20.0, 0.0])


def test_karras_sigmas_are_even_in_the_seventh_root():
    roots = karras_sigmas(4, 0.002, 80.0)[:-1] ** (1 / 7)
    assert roots.diff().tolist() == pytest.approx([float(roots[-1] - roots[0]) / 3] * 3)
    assert karras_sigmas(18, 0.002, 80.0)[1].item() == pytest.approx(57.586, abs=1e-3)


def test_scalings_are_those_of_unit_variance():
    sigma, spread = torch.tensor([0.02, 0.6, 50.0]), 0.3
    c_skip, c_out, c_in, c_noise = Preconditioned(torch.nn.Identity(), spread).scalings(sigma)
    ones = torch.ones(3)
    torch.testing.assert_close(c_in**2 * (spread**2 + sigma**2), ones)
    target = (1 - c_skip) ** 2 * spread**2 + c_skip**2 * sigma**2
    torch.testing.assert_close(target / c_out**2, ones)
    torch.testing.assert_close(loss_weight(sigma, spread) * c_out**2, ones)
    torch.testing.assert_close((4 * c_noise).exp(), sigma)


@pytest.mark.parametrize("sampler", [sample_heun, sample_dpmpp_2m])
def test_solves_the_ode_of_gaussian_data(sampler):
    x = start()
    result = sampler(gaussian_denoiser, x, karras_sigmas(64, 0.002, 20.0))
    torch.testing.assert_close(result, exact_solution(x, 20.0, 0.0), rtol=0, atol=3e-3)


@pytest.mark.parametrize("sampler", [sample_heun, sample_dpmpp_2m])
def test_is_of_second_order(sampler):
    x = start()

    def error(steps: int) -> float:
        sigmas = karras_sigmas(steps, 0.02, 20.0)[:-1]
        return float((sampler(gaussian_denoiser, x, sigmas) - exact_solution(x, 20.0, 0.02)).abs().max())

    order = math.log2(error(101) / error(201))
    assert 1.8 < order < 2.3


@pytest.mark.parametrize("sampler, evaluations", [(sample_heun, 9), (sample_dpmpp_2m, 5)])
def test_counts_of_evaluations_and_steps(sampler, evaluations):
    calls = []

    def denoiser(x: torch.Tensor, sigma: float) -> torch.Tensor:
        calls.append(sigma)
        return gaussian_denoiser(x, sigma)

    sampler(denoiser, start(), karras_sigmas(5, 0.02, 20.0))
    assert len(calls) == evaluations
    assert min(calls) >= 0.02 - 1e-12


def test_churn_keeps_the_distribution():
    generator = torch.Generator().manual_seed(3)
    x = 20.0 * torch.randn(20000, generator=generator, dtype=torch.float64)
    churn = Churn(amount=20.0, noise=lambda: torch.randn(x.shape, generator=generator, dtype=torch.float64))
    result = sample_heun(gaussian_denoiser, x, karras_sigmas(120, 0.002, 20.0), churn=churn)
    assert result.mean().item() == pytest.approx(MEAN, abs=0.02)
    assert result.std().item() == pytest.approx(SPREAD, rel=0.02)
    still = sample_heun(gaussian_denoiser, x, karras_sigmas(120, 0.002, 20.0))
    assert not torch.allclose(result, still)


@pytest.mark.parametrize("amount, factor", [(1.5, 1.3), (40.0, math.sqrt(2))])
def test_churn_raises_the_noise_level_by_its_share_of_a_step(amount, factor):
    calls, sigmas = [], karras_sigmas(5, 0.02, 20.0)

    def denoiser(x: torch.Tensor, sigma: float) -> torch.Tensor:
        calls.append((sigma, x.std().item()))
        return torch.zeros_like(x)

    generator = torch.Generator().manual_seed(4)
    x = 20.0 * torch.randn(20000, generator=generator, dtype=torch.float64)
    fresh = Churn(amount, lambda: torch.randn(x.shape, generator=generator, dtype=torch.float64))
    sample_heun(denoiser, x, sigmas, churn=fresh)
    assert [sigma for sigma, _ in calls[::2]] == pytest.approx([factor * sigma for sigma in sigmas[:-1].tolist()])
    assert calls[0][1] == pytest.approx(factor * 20.0, rel=0.02)


def test_churn_of_zero_changes_nothing():
    x, sigmas = start(), karras_sigmas(6, 0.02, 20.0)
    expected = sample_heun(gaussian_denoiser, x, sigmas)
    churn = Churn(0.0, lambda: torch.ones_like(x))
    assert torch.equal(sample_heun(gaussian_denoiser, x, sigmas, churn=churn), expected)


def test_posterior_mean_is_one_evaluation_at_sigma_max():
    levels = []

    def denoiser(x: torch.Tensor, sigma: float) -> torch.Tensor:
        levels.append(sigma)
        return gaussian_denoiser(x, sigma)

    generator = torch.Generator().manual_seed(7)
    clean = MEAN + SPREAD * torch.randn(200_000, generator=generator, dtype=torch.float64)
    noisy = clean + torch.randn(clean.shape, generator=generator, dtype=torch.float64)
    estimate = posterior_mean(denoiser, noisy, 1.0)
    assert levels == [1.0]
    # what an estimate of the mean leaves is as large as the posterior's spread, and not correlated with what was seen
    error = clean - estimate
    assert error.std().item() == pytest.approx(SPREAD / math.sqrt(1 + SPREAD**2), rel=0.01)
    assert abs(torch.corrcoef(torch.stack([error, noisy]))[0, 1].item()) < 0.01


@pytest.mark.parametrize("sampler", [sample_heun, sample_dpmpp_2m])
def test_leaves_its_input_alone_and_keeps_its_dtype(sampler):
    x = start().float()
    copy = x.clone()
    assert sampler(gaussian_denoiser, x, karras_sigmas(4, 0.02, 20.0)).dtype == torch.float32
    assert torch.equal(x, copy)
