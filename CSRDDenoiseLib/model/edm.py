"""The denoiser D(x; sigma): Karras et al. 2022, "Elucidating the Design Space of Diffusion-Based Generative Models"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

ModuleType = TypeVar("ModuleType", bound=nn.Module)


@dataclass(frozen=True)
class Schedule:
    """The noise levels of a sampler, normalised units.

    Attributes:
        sigma_min: the smallest but zero.
        sigma_max: the largest.
        rho: spacing between them (Karras et al. 2022, eq. 5).
    """

    sigma_min: float
    sigma_max: float
    rho: float = 7.0

    def sigmas(self, steps: int) -> Tensor:
        """Return :func:`karras_sigmas`, (steps + 1,)."""
        return karras_sigmas(steps, self.sigma_min, self.sigma_max, self.rho)


class Preconditioned(nn.Module):
    """Wraps a raw network F into D(x; sigma) = c_skip x + c_out F(c_in x, condition; c_noise) (eq. 7, Table 1).

    Args:
        network: called as ``network(channels, c_noise)`` with channels (N, 1 + C, D, H, W): the scaled noisy residual
            first, the condition after it, and c_noise (N,).
        sigma_data: standard deviation of the residuals the network was trained on, in normalised units.
    """

    model: Any  # a module with ``multiple`` and ``in_channels``, perhaps ``prepare`` and ``evaluate``

    def __init__(self, network: nn.Module, sigma_data: float):
        super().__init__()
        self.model = network
        self.sigma_data = float(sigma_data)

    def forward(self, noisy: Tensor, sigma: Tensor, condition: Tensor) -> Tensor:
        """Estimate the clean residual.

        Args:
            noisy: residual plus noise of standard deviation sigma, (N, 1, D, H, W).
            sigma: (N,), positive.
            condition: (N, C, D, H, W): MR, low-dose PET, position x, y, z, and the other channels of the model.

        Returns:
            D(noisy; sigma), (N, 1, D, H, W), in float32.
        """
        return self.denoise(noisy, sigma, self.prepare(condition))

    def prepare(self, condition: Tensor) -> Tensor:
        """Return what :meth:`denoise` takes for a condition: the part of an evaluation that does not depend on sigma.

        A network that can has ``prepare(condition)`` and ``evaluate(noisy, prepared, c_noise)``, in which voxels keep
        their order and may be coarser; for any other network this is the condition itself.
        """
        return self.model.prepare(condition) if hasattr(self.model, "prepare") else condition

    def denoise(self, noisy: Tensor, sigma: Tensor, prepared: Tensor) -> Tensor:
        """Estimate the clean residual as :meth:`forward` does, for a condition from :meth:`prepare`."""
        sigma = sigma.to(torch.float32).reshape(-1, 1, 1, 1, 1)
        c_skip, c_out, c_in, c_noise = self.scalings(sigma)
        raw = self._evaluate(c_in * noisy, prepared, c_noise)
        return c_skip * noisy + c_out * raw.to(torch.float32)

    def scalings(self, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return c_skip, c_out, c_in in the shape of ``sigma``, and c_noise (N,) (Table 1, column "Ours")."""
        total = (sigma**2 + self.sigma_data**2).sqrt()
        c_in, c_noise = 1 / total, sigma.flatten().log() / 4
        return self.sigma_data**2 / total**2, sigma * self.sigma_data / total, c_in, c_noise

    def _evaluate(self, noisy: Tensor, prepared: Tensor, c_noise: Tensor) -> Tensor:
        if hasattr(self.model, "evaluate"):
            return self.model.evaluate(noisy, prepared, c_noise)
        return self.model(torch.cat([noisy, prepared], dim=1), c_noise)


def in_memory_format(module: ModuleType, memory_format: torch.memory_format = torch.channels_last_3d) -> ModuleType:
    """Lay the weights of 3D convolutions out, by default with the channels last, which runs fastest."""
    return module.to(memory_format=memory_format)  # type: ignore[call-overload]


def loss_weight(sigma: Tensor, sigma_data: float) -> Tensor:
    """Return lambda(sigma) = 1 / c_out^2 = (sigma^2 + sd^2) / (sigma sd)^2 (Karras et al. 2022, Table 1)."""
    return (sigma**2 + sigma_data**2) / (sigma * sigma_data) ** 2


def karras_sigmas(steps: int, sigma_min: float, sigma_max: float, rho: float = 7.0) -> Tensor:
    """Return the noise levels of Karras et al. 2022, eq. 5: (steps + 1,), float64, sigma_max to sigma_min, then 0."""
    ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
    low, high = sigma_min ** (1 / rho), sigma_max ** (1 / rho)
    return torch.cat([(high + ramp * (low - high)) ** rho, torch.zeros(1, dtype=torch.float64)])
