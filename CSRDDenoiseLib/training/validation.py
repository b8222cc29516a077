"""How good the model is so far: PSNR by dose on whole heads of subjects it never sees in training."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from ..evaluation.metrics import psnr
from .pool import Example, Pool


@torch.no_grad()
def validate(denoiser: nn.Module, pool: Pool, phantoms: int, sigma_max: float, device: str) -> dict[str, float]:
    """Mean PSNR in dB of the posterior mean, by dose, and of the low-dose PET itself; peak is the full dose's maximum.

    Args:
        denoiser: the averaged model in evaluation mode.
        pool: of validation subjects.
        phantoms: how many of its phantoms to use.
        sigma_max: noise level at which D is the posterior mean.
        device: where the model lies.
    """
    scores: dict[str, list[float]] = {}
    for _, dose, example in pool.examples(phantoms):
        residual = example.noise_level * estimate_residual(denoiser, example, sigma_max, device)
        for name, image in (("input", example.low_dose), ("mean", example.low_dose + residual)):
            scores.setdefault(f"{name} 1/{round(1 / dose)}", []).append(psnr(image, example.full_dose, example.mask))
    return {name: round(float(np.mean(values)), 3) for name, values in sorted(scores.items())}


@torch.no_grad()
def estimate_residual(denoiser: nn.Module, example: Example, sigma_max: float, device: str) -> np.ndarray:
    """Posterior mean of the residual over a whole head, D at sigma_max: (D, H, W), in units of the noise level."""
    shape = example.mask.shape
    multiple = denoiser.model.multiple
    padding = [amount for n in reversed(shape) for amount in (0, -n % multiple)]
    noise = np.full((1, *shape), np.log(example.noise_level), np.float32)
    condition = np.concatenate([example.mr[None], example.low_dose[None], example.positions, noise])[None]
    condition = torch.nn.functional.pad(torch.from_numpy(condition), padding).to(device)
    sigma = torch.full((1,), sigma_max, device=device)
    mean = denoiser(torch.zeros_like(condition[:, :1]), sigma, condition)[0, 0].cpu().numpy()
    return mean[tuple(slice(0, n) for n in shape)]
