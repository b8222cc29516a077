"""Samplers of the residual: short pure functions over a denoiser D(x; sigma) and a list of noise levels.

The state ``x`` of noise level sigma is residual + sigma * unit noise; ``sigmas[0] * noise`` is where a run starts.
Every sampler solves the probability-flow ODE dx/dsigma = (x - D(x; sigma)) / sigma of Karras et al. 2022 from
``sigmas[0]`` to ``sigmas[-1]``, in the dtype of ``x``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Callable, Optional, Sequence

import torch
from torch import Tensor

Denoiser = Callable[[Tensor, float], Tensor]
"""D(x; sigma): what is left of ``x`` when its noise of standard deviation sigma is taken out; same shape as ``x``."""


@dataclass(frozen=True)
class Churn:
    """How much fresh noise algorithm 2 of Karras et al. 2022 adds before each step.

    Attributes:
        amount: S_churn; 0 adds none and makes the sampler deterministic.
        noise: returns unit normal noise of the state's shape; needed when ``amount`` is positive.
    """

    amount: float
    noise: Callable[[], Tensor]


def sample_heun(denoiser: Denoiser, x: Tensor, sigmas: Sequence[float], churn: Optional[Churn] = None) -> Tensor:
    """Heun's second-order method: algorithm 1 of Karras et al. 2022, or algorithm 2 where ``churn`` is given.

    Evaluates the denoiser twice a step, once in a last step to sigma = 0.
    """
    levels = _as_floats(sigmas)
    for sigma, sigma_next in zip(levels, levels[1:]):
        if churn is not None:
            x, sigma = _add_noise(x, sigma, churn, len(levels) - 1)
        slope = (x - denoiser(x, sigma)) / sigma
        euler = x + (sigma_next - sigma) * slope
        if sigma_next > 0:
            slope = (slope + (euler - denoiser(euler, sigma_next)) / sigma_next) / 2
            euler = x + (sigma_next - sigma) * slope
        x = euler
    return x


def sample_dpmpp_2m(denoiser: Denoiser, x: Tensor, sigmas: Sequence[float]) -> Tensor:
    """DPM-Solver++(2M) of Lu et al. 2022 (algorithm 2): second order, one evaluation a step.

    The linear part is solved exactly in lambda = -log sigma; D is extrapolated from this step and the one before.
    """
    levels = _as_floats(sigmas)
    before, width_before = None, 0.0
    for sigma, sigma_next in zip(levels, levels[1:]):
        denoised = denoiser(x, sigma)
        if sigma_next == 0:
            x = denoised
        else:
            width = math.log(sigma / sigma_next)
            towards = denoised
            if before is not None:
                towards = denoised + (denoised - before) * (width / (2 * width_before))
            x = torch.lerp(towards, x, sigma_next / sigma)
            before, width_before = denoised, width
    return x


def posterior_mean(denoiser: Denoiser, x: Tensor, sigma_max: float) -> Tensor:
    """One evaluation at sigma_max, where the noise hides the residual and so D is E[residual | condition]."""
    return denoiser(x, float(sigma_max))


def _add_noise(x: Tensor, sigma: float, churn: Churn, steps: int) -> tuple[Tensor, float]:
    """Raise the noise level of ``x`` by the factor of algorithm 2, at most sqrt(2)."""
    if churn.amount == 0:
        return x, sigma
    raised = sigma * (1 + min(churn.amount / steps, math.sqrt(2) - 1))
    noise = churn.noise().to(x)
    return x + noise * math.sqrt(raised**2 - sigma**2), raised


def _as_floats(sigmas: Sequence[float]) -> list[float]:
    return [float(sigma) for sigma in sigmas]
