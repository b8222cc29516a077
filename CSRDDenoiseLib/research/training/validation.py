"""How good the model is so far: PSNR by dose on whole heads of subjects it never sees in training."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from ...model.edm import Preconditioned
from ..metrics import psnr
from .pool import Example, Pool


@torch.no_grad()
def validate(denoiser: Preconditioned, pool: Pool, phantoms: int, sigma_max: float, mean_from: str) -> dict[str, float]:
    """Mean PSNR in dB of the posterior mean, by dose, and of the low-dose PET itself; peak is the full dose's maximum.

    Args:
        denoiser: the averaged model in evaluation mode.
        pool: of validation subjects.
        phantoms: how many of its phantoms to use.
        sigma_max: noise level at which D is the posterior mean.
        mean_from: what the network is shown there, ``zero`` or ``noise`` (fixed by the phantom's number).
    """
    scores: dict[str, list[float]] = {}
    for phantom, dose, example in pool.examples(phantoms):
        noise = torch.randn(example.mask.shape, generator=torch.Generator().manual_seed(phantom))
        start = sigma_max * noise if mean_from == "noise" else torch.zeros_like(noise)
        residual = example.unit * estimate_residual(denoiser, example, start, sigma_max)
        for name, image in (("input", example.low_dose), ("mean", example.low_dose + residual)):
            scores.setdefault(f"{name} 1/{round(1 / dose)}", []).append(psnr(image, example.full_dose, example.mask))
    return {name: round(float(np.mean(values)), 3) for name, values in sorted(scores.items())}


@torch.no_grad()
def estimate_residual(denoiser: Preconditioned, example: Example, start: torch.Tensor, sigma_max: float) -> np.ndarray:
    """Posterior mean of the residual over a whole head, D at sigma_max of ``start``: (D, H, W), in ``example.unit``."""
    shape, device = example.mask.shape, next(denoiser.parameters()).device
    padding = [amount for n in reversed(shape) for amount in (0, -n % denoiser.model.multiple)]
    constants = [np.full((1, *shape), value, np.float32) for value in example.constants]
    channels = np.concatenate([example.mr[None], example.low_dose[None], example.positions, *constants])
    noisy, condition = (
        nn.functional.pad(x[None], padding).to(device) for x in (start[None], torch.from_numpy(channels))
    )
    sigma = torch.full((1,), sigma_max, device=device)
    mean = denoiser(noisy, sigma, condition)[0, 0].cpu().numpy()
    return mean[tuple(slice(0, n) for n in shape)]
