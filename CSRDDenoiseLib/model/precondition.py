"""The denoiser D(x; sigma): Karras et al. 2022, "Elucidating the Design Space of Diffusion-Based Generative Models"."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Preconditioned(nn.Module):
    """Wraps a raw network F into D(x; sigma) = c_skip x + c_out F(c_in x, condition; c_noise) (eq. 7, Table 1).

    Args:
        network: called as ``network(channels, c_noise)`` with channels (N, 1 + C, D, H, W): the scaled noisy residual
            first, the condition after it, and c_noise (N,).
        sigma_data: standard deviation of the residuals the network was trained on, in normalised units.
    """

    def __init__(self, network: nn.Module, sigma_data: float):
        super().__init__()
        self.model = network
        self.sigma_data = float(sigma_data)

    def forward(self, noisy: Tensor, sigma: Tensor, condition: Tensor) -> Tensor:
        """Estimate the clean residual.

        Args:
            noisy: residual plus noise of standard deviation sigma, (N, 1, D, H, W).
            sigma: (N,), positive.
            condition: (N, C, D, H, W): MR, low-dose PET, position x, y, z.

        Returns:
            D(noisy; sigma), (N, 1, D, H, W), in float32.
        """
        sigma = sigma.to(torch.float32).reshape(-1, 1, 1, 1, 1)
        total = (sigma**2 + self.sigma_data**2).sqrt()
        c_in, c_noise = 1 / total, sigma.flatten().log() / 4
        c_skip, c_out = self.sigma_data**2 / total**2, sigma * self.sigma_data / total
        raw = self.model(torch.cat([c_in * noisy, condition], dim=1), c_noise)
        return c_skip * noisy + c_out * raw.to(torch.float32)
