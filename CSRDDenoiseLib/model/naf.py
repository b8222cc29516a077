"""A U-Net of activation-free blocks, a comparison model after NAFNet (Chen et al. 2022)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .network import ResidualUNet3d, start_at_zero


class NafUNet3d(ResidualUNet3d):
    """As :class:`ResidualUNet3d`, of which it has entry, details, levels and exit, with :class:`NafBlock` inside."""

    def _block(self, width: int, embedding: int) -> nn.Module:
        return NafBlock(width, embedding)


class NafBlock(nn.Module):
    """Two branches that are added: a convolution of each channel, and a mixture of channels; products, no activations.

    NAFNet's attention over channels is left out: it averages over the whole of its input, so that a patch and a head
    would be two tasks.

    Args:
        width: channels.
        embedding: channels of the noise embedding, which shifts and scales both branches.
    """

    def __init__(self, width: int, embedding: int):
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.film = nn.Linear(embedding, 4 * width)
        self.widen = nn.Conv3d(width, 2 * width, 1)
        self.spread = nn.Conv3d(2 * width, 2 * width, 3, padding=1, groups=2 * width)
        self.narrow = nn.Conv3d(width, width, 1)
        self.mix = nn.Conv3d(width, 2 * width, 1)
        self.mixed = nn.Conv3d(width, width, 1)
        start_at_zero(self.narrow)
        start_at_zero(self.mixed)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """x (N, width, D, H, W), embedding (N, E) -> the same shape as x."""
        film = self.film(embedding)[:, None, None, None].chunk(4, dim=-1)
        x = x + self.narrow(_gate(self.spread(self.widen(self._normed(x, 0, *film[:2])))))
        return x + self.mixed(_gate(self.mix(self._normed(x, 1, *film[2:]))))

    def _normed(self, x: Tensor, branch: int, scale: Tensor, shift: Tensor) -> Tensor:
        return torch.addcmul(shift, self.norms[branch](x.movedim(1, -1)), 1 + scale).movedim(-1, 1)


def _gate(x: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=1)
    return first * second
