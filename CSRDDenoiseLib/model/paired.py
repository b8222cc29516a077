"""Two residual U-Nets under one denoiser: one for the posterior mean, one for the draws."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .network import ResidualUNet3d


class PairedUNet3d(nn.Module):
    """A network for large noise levels, where D is the posterior mean, and another for the levels below.

    The image that a user looks at is the posterior mean, one evaluation. A network that also learns every other noise
    level gives up some of it; so the mean has a network of its own, and the draws, which give the uncertainty, another
    (as the experts of eDiff-I, Balaji et al. 2022, share the noise levels).

    Args:
        switch: c_noise from which on the first network is used.
        arguments: of both :class:`.network.ResidualUNet3d`.

    Attributes:
        in_channels, multiple, reach: as of each network.
    """

    def __init__(self, switch: float = 0.4, **arguments: Any):
        super().__init__()
        self.switch = switch
        self.mean, self.draws = ResidualUNet3d(**arguments), ResidualUNet3d(**arguments)
        self.in_channels, self.multiple, self.reach = self.mean.in_channels, self.mean.multiple, self.mean.reach

    def forward(self, channels: Tensor, c_noise: Tensor) -> Tensor:
        """Return F, (N, 1, D, H, W), for channels (N, C, D, H, W) and noise condition c_noise (N,)."""
        return self.evaluate(channels[:, :1], self.prepare(channels[:, 1:]), c_noise)

    def used_from(self, c_noise: float) -> nn.Module:
        """Return the network that suffices for noise conditions of ``c_noise`` and more: for large ones the first."""
        return self.mean if c_noise >= self.switch else self

    def prepare(self, condition: Tensor) -> Tensor:
        """Return what the condition (N, C - 1, D, H, W) adds behind the entry of each: (N, 2 widths[0], D/2, ...)."""
        detailed = self.mean.with_details(condition)
        return torch.cat([network.prepare_detailed(detailed) for network in (self.mean, self.draws)], dim=1)

    def evaluate(self, noisy: Tensor, prepared: Tensor, c_noise: Tensor) -> Tensor:
        """Return F, (N, 1, D, H, W), for the scaled noisy residual and a prepared condition, all at one side."""
        first, second = prepared.chunk(2, dim=1)
        if bool((c_noise >= self.switch).all()):
            return self.mean.evaluate(noisy, first, c_noise)
        return self.draws.evaluate(noisy, second, c_noise)
