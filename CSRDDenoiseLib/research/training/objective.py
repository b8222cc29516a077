"""The loss: denoising score matching of the residual, with the weights of Karras et al. 2022 (eq. 8)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .patches import Batch


def denoising_loss(denoiser: nn.Module, batch: Batch, sigma_data: float) -> Tensor:
    """Weighted mean of lambda(sigma) |D(r + sigma n; sigma) - r|^2, lambda = (sigma^2 + sd^2) / (sigma sd)^2.

    Args:
        denoiser: called as ``denoiser(noisy, sigma, condition)``.
        batch: patches of one step.
        sigma_data: sd above.
    """
    sigma, shown = (values.reshape(-1, 1, 1, 1, 1) for values in (batch.sigma, batch.shown))
    scale = (sigma**2 + sigma_data**2) / (sigma * sigma_data) ** 2
    noisy = shown * (batch.residual + sigma * batch.noise)
    error = denoiser(noisy, batch.sigma, batch.condition) - batch.residual
    return (scale * batch.weight * error**2).mean()


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    """Exponential moving average of the weights; early on the decay is shorter, so that the start is forgotten."""
    decay = min(decay, (1 + step) / (10 + step))
    for target, source in zip(average.parameters(), network.parameters()):
        target.lerp_(source, 1 - decay)


def learning_rate_factor(step: int, steps: int, warmup: int, decay_share: float) -> float:
    """Linear warm-up, a plateau, and a linear fall to zero over the last ``decay_share`` of the run."""
    rise = min((step + 1) / max(warmup, 1), 1.0)
    fall = min((steps - step) / max(decay_share * steps, 1), 1.0)
    return rise * max(fall, 0.0)
