"""A 2.5D multi-view average, a comparison model after MADM.

Three 2D networks process the axial, coronal and sagittal slices of a volume, each slice with its neighbours as
channels, and their estimates are averaged at every noise level. The whole takes and returns volumes, so it is trained,
sampled and measured by the same code as the other networks. The three are trained together, on the error of their
average.
"""

from __future__ import annotations

from typing import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .network import NoiseEmbedding, ResidualBlock, start_at_zero

# order of the axes of (N, C, D, H, W) that puts the slices of a view in the place of D; each is its own inverse
_VIEWS = ((0, 1, 2, 3, 4), (0, 1, 3, 2, 4), (0, 1, 4, 3, 2))


class MultiViewUNet2d(nn.Module):
    """The mean of three 2D U-Nets: (N, in_channels, D, H, W) and c_noise (N,) -> (N, 1, D, H, W).

    Args:
        in_channels: channels of the input, the noisy residual included.
        widths: channels of each level, finest first; each level halves the resolution in the slice.
        neighbours: slices on either side that a slice is shown with.
        embedding: channels of the noise-level embedding.

    Attributes:
        in_channels: as above.
        multiple: sides of the input must be multiples of this many voxels.
    """

    def __init__(
        self, in_channels: int = 7, widths: Sequence[int] = (24, 48, 96), neighbours: int = 1, embedding: int = 128
    ):
        super().__init__()
        self.in_channels, self.multiple = in_channels, 2 ** (len(widths) - 1)
        self.neighbours = neighbours
        self.embedding = NoiseEmbedding(embedding)
        channels = in_channels * (2 * neighbours + 1)
        self.views = nn.ModuleList(SliceUNet2d(channels, widths, embedding) for _ in _VIEWS)

    def forward(self, channels: Tensor, c_noise: Tensor) -> Tensor:
        """Return F, (N, 1, D, H, W), for channels (N, C, D, H, W) and noise condition c_noise (N,)."""
        embedding = self.embedding(c_noise)
        estimates = [self._look(view, channels, axes, embedding) for view, axes in zip(self.views, _VIEWS)]
        return torch.stack(estimates).mean(dim=0)

    def _look(self, view: nn.Module, channels: Tensor, axes: Sequence[int], embedding: Tensor) -> Tensor:
        turned = channels.permute(*axes)
        count = turned.shape[2]
        slices = with_neighbours(turned, self.neighbours).contiguous(memory_format=torch.channels_last)
        estimate = view(slices, embedding.repeat_interleave(count, dim=0))
        return estimate.unflatten(0, (-1, count)).transpose(1, 2).permute(*axes)


class SliceUNet2d(nn.Module):
    """A 2D U-Net of residual blocks: (N, channels, H, W) and an embedding (N, E) -> (N, 1, H, W)."""

    def __init__(self, channels: int, widths: Sequence[int], embedding: int):
        super().__init__()
        self.entry = SliceConv(channels, widths[0], 3, padding=1)
        self.levels = Level2d(widths, embedding)
        self.exit = SliceConv(widths[0], 1, 3, padding=1)
        start_at_zero(self.exit)

    def forward(self, slices: Tensor, embedding: Tensor) -> Tensor:
        """Slices (N, channels, H, W), embedding (N, E) -> (N, 1, H, W)."""
        return self.exit(self.levels(self.entry(slices), embedding))


class Level2d(nn.Module):
    """One level of a U-Net with all coarser ones inside: (N, widths[0], H, W) -> (N, widths[0], H, W)."""

    def __init__(self, widths: Sequence[int], embedding: int):
        super().__init__()
        self.before, self.after = (ResidualBlock(widths[0], embedding, SliceConv) for _ in range(2))
        self.inside = Level2d(widths[1:], embedding) if len(widths) > 1 else None
        if self.inside is not None:
            self.shrink = SliceConv(widths[0], widths[1], 2, stride=2)
            self.grow = nn.Sequential(SliceConv(widths[1], 4 * widths[0], 1), nn.PixelShuffle(2))

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """x (N, widths[0], H, W), embedding (N, E) -> the same shape as x."""
        x = self.before(x, embedding)
        if self.inside is not None:
            x = x + self.grow(self.inside(self.shrink(x), embedding))
        return self.after(x, embedding)


class SliceConv(nn.Conv3d):
    """A 2D convolution whose weight has one more axis, of length 1: models are laid out in memory as volumes are."""

    def __init__(self, in_channels: int, out_channels: int, side: int, stride: int = 1, padding: int = 0):
        super().__init__(in_channels, out_channels, (1, side, side), (1, stride, stride), (0, padding, padding))

    def forward(self, slices: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, H', W')."""
        return F.conv2d(slices, self.weight.squeeze(2), self.bias, self.stride[1:], self.padding[1:])


def with_neighbours(volume: Tensor, count: int) -> Tensor:
    """Slices with ``count`` neighbours on either side, zero beyond: (N, C, S, H, W) -> (N S, (2 count + 1) C, H, W)."""
    slices = volume.shape[2]
    padded = F.pad(volume, (0, 0, 0, 0, count, count))
    stacked = torch.cat([padded[:, :, offset : offset + slices] for offset in range(2 * count + 1)], dim=1)
    return stacked.transpose(1, 2).flatten(0, 1)
