"""The loss: denoising score matching of the residual, with the weights of Karras et al. 2022 (eq. 8)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

import torch
from torch import Tensor, nn

from ...model.deviation import known_of
from ...model.edm import loss_weight
from ...scan import FWHM_PER_SIGMA
from .augment import blur
from .config import SUB_REGIONS
from .patches import Batch


@dataclass(frozen=True)
class Coarse:
    """The part of the error that the result takes from the measurement, which counts less.

    Attributes:
        fwhm: of the Gaussian that what is coarse passes, in voxels; 0 for nothing.
        weight: share of the coarse error that counts.
    """

    fwhm: float = 0.0
    weight: float = 1.0


def denoising_loss(
    denoiser: nn.Module, batch: Batch, sigma_data: float, coarse: Coarse = Coarse(), quantities: float = 0.0
) -> Tensor:
    """Weighted mean of lambda(sigma) |D(r + sigma n; sigma) - r|^2, lambda = (sigma^2 + sd^2) / (sigma sd)^2.

    Args:
        denoiser: called as ``denoiser(noisy, sigma, condition)``.
        batch: patches of one step.
        sigma_data: sd above.
        coarse: what counts less of the error of patches that see no noisy residual, from which the estimate comes.
        quantities: weight of :func:`quantity_loss` of those patches; it needs a scheme with constants.
    """
    sigma, shown = (values.reshape(-1, 1, 1, 1, 1) for values in (batch.sigma, batch.shown))
    scale = loss_weight(sigma, sigma_data)
    noisy = shown * (batch.residual + sigma * batch.noise)
    estimate = denoiser(noisy, batch.sigma, batch.condition)
    error = estimate - batch.residual
    if coarse.fwhm > 0:
        error = error - (1 - shown) * (1 - coarse.weight) * _low_pass(error * (batch.weight > 0), coarse.fwhm)
    loss = (scale * batch.weight * error**2).mean()
    if quantities > 0:
        known = known_of(batch.condition, 1)
        low = known.low_dose / known.constants[0].exp()
        inside = (1 - shown) * scale.sqrt() * (batch.weight > 0)
        loss = loss + quantities * quantity_loss(inside * (low + estimate), inside * (low + batch.residual))
    return loss


def quantity_loss(estimate: Tensor, truth: Tensor) -> Tensor:
    """Mean squared difference of the means, and of the maxima, of sub-regions, cubes of :data:`SUB_REGIONS`.

    After the quantification-consistent modulation of LeqMod (Xia et al. 2025, PMC12910708), with squares, so that the
    estimate stays a mean; their lesion-perceived modulation is what ``lesions`` and ``lesion_weight`` do.

    Args:
        estimate: cubes (N, 1, P, P, P), P at least the largest side of a sub-region.
        truth: as ``estimate``.
    """
    terms = [
        (pool(estimate.float(), side) - pool(truth.float(), side)).square().mean()
        for side in SUB_REGIONS
        for pool in (nn.functional.avg_pool3d, nn.functional.max_pool3d)
    ]
    return torch.stack(terms).sum() / len(SUB_REGIONS)


def _low_pass(error: Tensor, fwhm: float) -> Tensor:
    """Gaussian of cubes (N, 1, P, P, P), normalised at their faces, FWHM in voxels."""
    with torch.autocast(error.device.type, enabled=False):
        sigma = torch.full((len(error),), fwhm / FWHM_PER_SIGMA, device=error.device)
        return blur(error[:, 0].float(), sigma)[:, None]


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    """Exponential moving average of the weights; early on the decay is shorter, so that the start is forgotten."""
    decay = min(decay, (1 + step) / (10 + step))
    torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - decay)


@torch.no_grad()
def pull_towards(network: nn.Module, start: Sequence[Tensor], share: float) -> None:
    """Move the parameters of a network towards ``start``, in their order, by a share of the distance; none, no move."""
    for parameter, origin in zip(network.parameters(), start):
        parameter.lerp_(origin, share)


def learning_rate_factor(step: int, steps: int, warmup: int, decay_share: float) -> float:
    """Linear warm-up, a plateau, and a linear fall to zero over the last ``decay_share`` of the run."""
    rise = min((step + 1) / max(warmup, 1), 1.0)
    fall = min((steps - step) / max(decay_share * steps, 1), 1.0)
    return rise * max(fall, 0.0)
