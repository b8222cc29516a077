"""Our default score network: a 3D residual U-Net after space-to-depth, cheap per voxel and shift-invariant."""

from __future__ import annotations

from typing import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .details import details_reach, pet_details, tissue_reach, tissue_regression

BLOCK = 2
MR, LOW_DOSE, LOG_NOISE_LEVEL, TISSUE = 0, 1, 5, slice(8, 11)


class ResidualUNet3d(nn.Module):
    """A 3D U-Net whose finest level works on 2 x 2 x 2 voxels as channels (space-to-depth).

    Four choices shape it:

    * space-to-depth at the entry and its inverse at the exit (as FFDNet does in 2D, Zhang et al. 2018),
      so that every convolution runs on an eighth of the voxels with wide, efficient channels;
    * normalisation is over the channels of each voxel (as in ConvNeXt), never over space, and there is no attention:
      what the network computes for a voxel depends on its surroundings only, not on where a patch was cut, and a
      whole volume and its overlapping patches agree;
    * skips are added, not concatenated;
    * the noise of a low-dose PET is small beside its signal, so the network is also shown the PET's details, its
      difference from local means and from MR-guided filters, in units of the noise (see :mod:`details`).

    Args:
        in_channels: channels of the input, the noisy residual included.
        widths: channels of each level, finest first; each level halves the resolution.
        blocks: residual blocks of each level, on the way down and again on the way up.
        embedding: channels of the noise-level embedding.
        detail_sizes: sides in voxels (odd) of the local means that details are differences from.
        guide_sizes: sides in voxels (odd) of the windows of the MR-guided filters that details are differences from.
        detail_gain: amplification of the details, which come in units of the noise level.
        tissue_sizes: sides in voxels (odd) of the boxes of the tissue regressions that details are differences from;
            the class maps are channels 8 to 10 of the condition.

    Attributes:
        in_channels: as above.
        multiple: sides of the input must be multiples of this many voxels.
        reach: :meth:`prepare` looks at most this many voxels away.
    """

    def __init__(
        self,
        in_channels: int = 7,
        widths: Sequence[int] = (48, 80, 96),
        blocks: Sequence[int] = (2, 2, 2),
        embedding: int = 128,
        detail_sizes: Sequence[int] = (3, 7),
        guide_sizes: Sequence[int] = (5, 11),
        detail_gain: float = 1.0,
        tissue_sizes: Sequence[int] = (),
    ):
        super().__init__()
        self.in_channels = in_channels
        self.multiple = BLOCK * 2 ** (len(widths) - 1)
        self.detail_sizes, self.guide_sizes, self.detail_gain = tuple(detail_sizes), tuple(guide_sizes), detail_gain
        self.tissue_sizes = tuple(tissue_sizes)
        reach = max(details_reach(detail_sizes, guide_sizes), *(tissue_reach(size) for size in tissue_sizes), 0)
        self.reach = reach + 2 * BLOCK - 1
        self.embedding = NoiseEmbedding(embedding)
        details = len(detail_sizes) + len(guide_sizes) + 1 + len(tissue_sizes)
        self.entry = nn.Conv3d((in_channels + details) * BLOCK**3, widths[0], 3, padding=1)
        self.down = nn.ModuleList(self._blocks(width, n, embedding) for width, n in zip(widths, blocks))
        self.shrink = nn.ModuleList(nn.Conv3d(a, b, 2, stride=2) for a, b in zip(widths, widths[1:]))
        self.grow = nn.ModuleList(nn.Conv3d(b, a * 8, 1) for a, b in zip(widths, widths[1:]))
        self.up = nn.ModuleList(self._blocks(width, n, embedding) for width, n in zip(widths[:-1], blocks))
        self.exit = nn.Conv3d(widths[0], BLOCK**3, 3, padding=1)
        start_at_zero(self.exit)

    def forward(self, channels: Tensor, c_noise: Tensor) -> Tensor:
        """Return F, (N, 1, D, H, W), for channels (N, C, D, H, W) and noise condition c_noise (N,)."""
        return self.evaluate(channels[:, :1], self.prepare(channels[:, 1:]), c_noise)

    def prepare(self, condition: Tensor) -> Tensor:
        """Return what the condition (N, C - 1, D, H, W) adds behind the entry: (N, widths[0], D/2, H/2, W/2).

        It is the same at every noise level, so a sampler computes it once.
        """
        return self.prepare_detailed(self.with_details(condition))

    def prepare_detailed(self, detailed: Tensor) -> Tensor:
        """Return what :meth:`prepare` does, for a condition from :meth:`with_details`."""
        return self._enter(detailed, slice(1, None))

    def evaluate(self, noisy: Tensor, prepared: Tensor, c_noise: Tensor) -> Tensor:
        """Return F, (N, 1, D, H, W), for the scaled noisy residual (N, 1, D, H, W) and a prepared condition."""
        embedding = self.embedding(c_noise)
        x = prepared + self._enter(noisy, slice(0, 1))
        skips = []
        for level, level_blocks in enumerate(self.down):
            x = self.shrink[level - 1](x) if level else x
            x = level_blocks(x, embedding)
            skips.append(x)
        for level in reversed(range(len(self.up))):
            x = skips[level] + _channels_last(depth_to_space(self.grow[level](x)))
            x = self.up[level](x, embedding)
        return depth_to_space(self.exit(x))

    def with_details(self, condition: Tensor) -> Tensor:
        """Return the condition (N, C - 1, D, H, W) and the PET's details behind it, the same for all weights."""
        mr, low_dose, log_noise = (condition[:, index : index + 1] for index in (MR, LOW_DOSE, LOG_NOISE_LEVEL))
        details = pet_details(low_dose, mr, self.detail_sizes, self.guide_sizes)
        maps = condition[:, TISSUE]
        details += [low_dose - tissue_regression(low_dose, maps, size) for size in self.tissue_sizes]
        gain = self.detail_gain * torch.exp(-log_noise)
        return torch.cat([condition, *(gain * detail for detail in details)], dim=1)

    def _blocks(self, width: int, count: int, embedding: int) -> Level:
        return Level(self._block(width, embedding) for _ in range(count))

    def _block(self, width: int, embedding: int) -> nn.Module:
        return ResidualBlock(width, embedding)

    def _enter(self, channels: Tensor, part: slice) -> Tensor:
        """The entry of ``part`` of the input channels; its bias is added with the condition.

        A convolution after space-to-depth is one of the voxels themselves, with taps twice as dense and a stride of 2;
        that form needs no rearrangement and is several times faster where there are few channels.
        """
        # the name is taken over, so that what was rearranged can be freed
        channels = _channels_last(channels)
        taps = _channels_last(depth_to_space(self.entry.weight)[:, part])
        bias = self.entry.bias if part.start else None
        return F.conv3d(channels, taps, bias, stride=BLOCK, padding=BLOCK)


class ResidualBlock(nn.Module):
    """x + conv(SiLU(conv(norm(x) (1 + scale) + shift))), scale and shift from the noise embedding (FiLM).

    Args:
        width: channels.
        embedding: channels of the noise embedding.
        convolution: ``nn.Conv3d``, or a replacement where x is not a volume.
    """

    def __init__(self, width: int, embedding: int, convolution: Callable[..., nn.Module] = nn.Conv3d):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.film = nn.Linear(embedding, 2 * width)
        self.first = convolution(width, width, 3, padding=1)
        self.second = convolution(width, width, 3, padding=1)
        start_at_zero(self.second)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """x (N, width, ...), embedding (N, E) -> (N, width, ...)."""
        film = self.film(embedding)
        scale, shift = film.reshape(len(film), *[1] * (x.ndim - 2), -1).chunk(2, dim=-1)
        # channels-last in memory: the permuted view is contiguous, so the norm is one fused pass
        h = torch.addcmul(shift, self.norm(x.movedim(1, -1)), 1 + scale)
        h = F.silu(self.first(h.movedim(-1, 1)))
        return x + self.second(h)


class Level(nn.ModuleList):
    """Residual blocks, one after the other."""

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """x (N, width, ...), embedding (N, E) -> (N, width, ...)."""
        for block in self:
            x = block(x, embedding)
        return x


class NoiseEmbedding(nn.Module):
    """Fixed Fourier features of c_noise through a two-layer perceptron."""

    frequencies: Tensor

    def __init__(self, width: int, frequencies: int = 16):
        super().__init__()
        self.register_buffer("frequencies", torch.logspace(-1, 1.2, frequencies), persistent=False)
        self.layers = nn.Sequential(nn.Linear(2 * frequencies, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())

    def forward(self, c_noise: Tensor) -> Tensor:
        """c_noise (N,) -> (N, width)."""
        angle = c_noise.to(torch.float32)[:, None] * self.frequencies
        return self.layers(torch.cat([angle.sin(), angle.cos()], dim=1))


def start_at_zero(layer: nn.Module) -> None:
    """Set weights and bias to zero: a layer that ends a branch then adds nothing before the training."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


def space_to_depth(x: Tensor) -> Tensor:
    """(N, C, D, H, W) -> (N, 8 C, D/2, H/2, W/2): each 2 x 2 x 2 neighbourhood becomes channels."""
    n, c, d, h, w = x.shape
    x = x.reshape(n, c, d // BLOCK, BLOCK, h // BLOCK, BLOCK, w // BLOCK, BLOCK)
    return x.permute(0, 3, 5, 7, 1, 2, 4, 6).reshape(n, BLOCK**3 * c, d // BLOCK, h // BLOCK, w // BLOCK)


def depth_to_space(x: Tensor) -> Tensor:
    """The inverse of :func:`space_to_depth`: (N, 8 C, D, H, W) -> (N, C, 2D, 2H, 2W)."""
    n, c, d, h, w = x.shape
    x = x.reshape(n, BLOCK, BLOCK, BLOCK, c // BLOCK**3, d, h, w)
    return x.permute(0, 4, 5, 1, 6, 2, 7, 3).reshape(n, c // BLOCK**3, d * BLOCK, h * BLOCK, w * BLOCK)


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last_3d)
