"""The paper's network: the DDPM++ U-Net of Song et al. 2021, in three dimensions.

Written from the papers: Song et al., "Score-based generative modeling through SDEs" (2021, appendix H), and Karras et
al., "Elucidating the design space of diffusion-based generative models" (2022, appendix F), which fixes the variant
used here: positional noise embedding, additive (not adaptive) embedding, BigGAN-style resampling inside the residual
blocks, skips and residual sums scaled by sqrt(1/2), attention at chosen levels only. The NCSN++ variant of the same
appendix (Fourier embedding, residual encoder) and an entry that mixes the channels of each voxel first (for the
position) are choices. Parameter names are those of the published weights, so that these load as they are.

Group norm and attention look at a whole window: evaluated in patches, this network agrees with its whole-volume
evaluation only approximately.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Callable, Iterator, Optional, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_NORM_EPS = 1e-6
_RESIDUAL_SCALE = math.sqrt(0.5)


class DDPMpp3d(nn.Module):
    """3D DDPM++ U-Net: (N, in_channels, D, H, W) and a noise level (N,) -> (N, out_channels, D, H, W).

    Args:
        in_channels: noisy residual, MR, low-dose PET, position x, y, z.
        out_channels: channels of the result.
        model_channels: width of the first level.
        channel_mult: width of each level as a multiple of ``model_channels``; each level halves the resolution.
        num_blocks: residual blocks of a level in the encoder; the decoder has one more.
        channel_mult_emb: width of the noise embedding as a multiple of ``model_channels``.
        channel_mult_noise: width of the sinusoidal embedding as a multiple of ``model_channels``.
        attn_resolutions: level names (see ``img_resolution``) whose blocks attend; the bottleneck always does, once.
        dropout: probability, in training only.
        img_resolution: names the first level's parameters ("256x256_..."); the network takes any size.
        resample_filter: separable low-pass filter before going down, normalised here.
        embedding_type: of the noise level, ``positional`` (DDPM++) or ``fourier`` (NCSN++).
        encoder_type: ``standard`` (DDPM++), or ``residual`` (NCSN++): every level also sees the input, filtered down.
        implicit_mlp: three convolutions of one voxel before the first of three, as for implicit coordinates.

    Attributes:
        multiple: every spatial size must be a multiple of this.
    """

    def __init__(
        self,
        in_channels: int = 6,
        out_channels: int = 1,
        model_channels: int = 32,
        channel_mult: Sequence[int] = (1, 2, 2, 2),
        num_blocks: int = 4,
        channel_mult_emb: int = 4,
        channel_mult_noise: int = 1,
        attn_resolutions: Sequence[int] = (),
        dropout: float = 0.0,
        img_resolution: int = 256,
        resample_filter: Sequence[float] = (1, 1, 1),
        embedding_type: str = "positional",
        encoder_type: str = "standard",
        implicit_mlp: bool = False,
    ):
        super().__init__()
        self.in_channels = in_channels
        self.multiple = 2 ** (len(channel_mult) - 1)
        self.noise_channels = model_channels * channel_mult_noise
        noise_map = FourierEmbedding if embedding_type == "fourier" else PositionalEmbedding
        self.map_noise: nn.Module = noise_map(self.noise_channels)
        embedding = model_channels * channel_mult_emb
        self.map_layer0 = nn.Linear(self.noise_channels, embedding)
        self.map_layer1 = nn.Linear(embedding, embedding)
        plan = _Plan(
            tuple(_levels(img_resolution, [model_channels * factor for factor in channel_mult], attn_resolutions)),
            num_blocks,
            partial(ResidualBlock, embedding=embedding, dropout=dropout, resample_filter=resample_filter),
        )
        entry = _entry(in_channels, model_channels, implicit_mlp)
        filtered = partial(FilteredDown, taps=resample_filter) if encoder_type == "residual" else None
        self.enc, widths = _encoder(plan, entry, (in_channels, model_channels), filtered)
        last = nn.Conv3d(plan.levels[0].width, out_channels, 3, padding=1)
        self.dec = _decoder(plan, last, widths)
        self.apply(_initialise)
        _shrink(last)

    def forward(self, x: Tensor, noise_level: Tensor) -> Tensor:
        """Evaluate the raw network F; ``noise_level`` is c_noise of the preconditioning, shape (N,)."""
        embedding = self.map_noise(noise_level).to(self.map_layer0.weight.dtype)
        embedding = F.silu(self.map_layer1(F.silu(self.map_layer0(embedding))))
        skips: list[Tensor] = []
        shown = x
        for layer in self.enc.values():
            if isinstance(layer, FilteredDown):
                x = skips[-1] = shown = (x + layer(shown)) * _RESIDUAL_SCALE
                continue
            x = layer(x, embedding) if isinstance(layer, ResidualBlock) else layer(x)
            skips.append(x)
        *blocks, norm, head = self.dec.values()
        for layer in blocks:
            if x.shape[1] != layer.in_channels:
                x = torch.cat([x, skips.pop()], dim=1)
            x = layer(x, embedding)
        return head(F.silu(norm(x)))


class ResidualBlock(nn.Module):
    """Norm, SiLU, convolution, twice, with the noise embedding added between; resamples and attends on demand."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        embedding: int,
        dropout: float,
        resample_filter: Sequence[float],
        attention: bool = False,
        resample: str = "",
    ):
        super().__init__()
        self.in_channels = in_channels
        self.dropout = dropout
        self.norm0 = _group_norm(in_channels)
        self.conv0 = _conv(in_channels, out_channels, 3, resample, resample_filter)
        self.affine = nn.Linear(embedding, out_channels)
        self.norm1 = _group_norm(out_channels)
        self.conv1 = nn.Conv3d(out_channels, out_channels, 3, padding=1)
        changes = bool(resample) or in_channels != out_channels
        self.skip = _conv(in_channels, out_channels, 1, resample, resample_filter) if changes else None
        self.norm2 = _group_norm(out_channels) if attention else None
        if attention:
            self.qkv = nn.Conv3d(out_channels, 3 * out_channels, 1)
            self.proj = nn.Conv3d(out_channels, out_channels, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """x (N, in_channels, D, H, W), embedding (N, E) -> (N, out_channels, D', H', W')."""
        hidden = self.conv0(F.silu(self.norm0(x)))
        hidden = hidden + self.affine(embedding)[:, :, None, None, None]
        hidden = F.dropout(F.silu(self.norm1(hidden)), self.dropout, self.training)
        hidden = self.conv1(hidden)
        hidden = (hidden + (x if self.skip is None else self.skip(x))) * _RESIDUAL_SCALE
        return hidden if self.norm2 is None else (hidden + self._attend(self.norm2(hidden))) * _RESIDUAL_SCALE

    def _attend(self, x: Tensor) -> Tensor:
        batch, channels = x.shape[:2]
        # published weights interleave query, key and value channel by channel
        split = self.qkv(x).reshape(batch, 1, channels, 3, -1).permute(3, 0, 1, 4, 2)
        # contiguous, or torch would take the path that stores all pairs of voxels
        query, key, value = split.contiguous()
        mixed = F.scaled_dot_product_attention(query, key, value)
        return self.proj(mixed.transpose(2, 3).reshape(x.shape))


class ResamplingConv3d(nn.Conv3d):
    """A convolution at half (``down``) or twice (``up``) the resolution: low-pass and drop, or trilinear interpolation.

    The filter is kept for ``up`` too, unused, because the published weights hold it.
    """

    resample_filter: Tensor

    def __init__(self, in_channels: int, out_channels: int, kernel: int, resample: str, taps: Sequence[float]):
        super().__init__(in_channels, out_channels, kernel, padding=kernel // 2)
        self.resample = resample
        self.register_buffer("resample_filter", _filter(taps))

    def forward(self, x: Tensor) -> Tensor:
        """x (N, C, D, H, W) -> (N, out_channels, D/2, H/2, W/2) or (N, out_channels, 2D, 2H, 2W)."""
        if self.resample == "up":
            return super().forward(F.interpolate(x, scale_factor=2, mode="trilinear", align_corners=False))
        taps = self.resample_filter.to(x.dtype).expand(x.shape[1], -1, -1, -1, -1)
        padding = (taps.shape[-1] - 1) // 2
        return super().forward(F.conv3d(x, taps, stride=2, padding=padding, groups=x.shape[1]))


class FilteredDown(nn.Conv3d):
    """A convolution of 3^3 voxels and a low-pass filter at every second voxel: what the residual encoder adds."""

    resample_filter: Tensor

    def __init__(self, in_channels: int, out_channels: int, taps: Sequence[float]):
        super().__init__(in_channels, out_channels, 3)
        self.register_buffer("resample_filter", _filter(taps))

    def forward(self, x: Tensor) -> Tensor:
        """x (N, C, D, H, W) -> (N, out_channels, D/2, H/2, W/2)."""
        taps = self.resample_filter.to(x.dtype).expand(self.out_channels, -1, -1, -1, -1)
        # the bias comes after the filter, whose sum need not be 1 in published weights
        x = F.conv3d(x, self.weight, padding=1 + (taps.shape[-1] - 1) // 2)
        return F.conv3d(x, taps, self.bias, stride=2, groups=self.out_channels)


class PositionalEmbedding(nn.Module):
    """The embedding of DDPM++: :func:`sinusoidal_embedding`."""

    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels

    def forward(self, noise_level: Tensor) -> Tensor:
        """(N,) -> (N, channels)."""
        return sinusoidal_embedding(noise_level, self.channels)


class FourierEmbedding(nn.Module):
    """The embedding of NCSN++: sines, then cosines, of random frequencies that belong to the weights."""

    freqs: Tensor

    def __init__(self, channels: int, scale: float = 16.0):
        super().__init__()
        self.register_buffer("freqs", torch.randn(channels // 2) * scale)

    def forward(self, noise_level: Tensor) -> Tensor:
        """(N,) -> (N, channels)."""
        angles = noise_level.float()[:, None] * (2 * math.pi * self.freqs.float())[None]
        return torch.cat([angles.sin(), angles.cos()], dim=1)


@dataclass(frozen=True)
class _Level:
    """A resolution: the beginning of its parameters' names, its width, and whether its blocks attend."""

    name: str
    width: int
    attends: bool


@dataclass(frozen=True)
class _Plan:
    """What encoder and decoder are built of: the levels, the encoder's blocks in each, and what makes a block."""

    levels: tuple[_Level, ...]
    blocks: int
    block: Callable[..., ResidualBlock]


def _levels(resolution: int, widths: Sequence[int], attending: Sequence[int]) -> Iterator[_Level]:
    for number, width in enumerate(widths):
        side = resolution >> number
        yield _Level(f"{side}x{side}", width, side in attending)


def _encoder(
    plan: _Plan, entry: nn.Module, channels: tuple[int, int], filtered: Optional[Callable[..., FilteredDown]]
) -> tuple[nn.ModuleDict, list[int]]:
    """Return the encoder and the widths of its skips; ``channels`` of the input and behind the entry."""
    shown, width = channels
    layers, skips = nn.ModuleDict({f"{plan.levels[0].name}_conv": entry}), [width]
    for level in plan.levels:
        if level is not plan.levels[0]:
            width = skips[-1]
            layers[f"{level.name}_down"] = plan.block(width, width, resample="down")
            skips.append(width)
            if filtered is not None:
                layers[f"{level.name}_aux_residual"] = filtered(shown, width)
                shown = width
        for index in range(plan.blocks):
            layers[f"{level.name}_block{index}"] = plan.block(skips[-1], level.width, attention=level.attends)
            skips.append(level.width)
    return layers, skips


def _decoder(plan: _Plan, last: nn.Conv3d, skips: Sequence[int]) -> nn.ModuleDict:
    """Return the decoder up to its last layer; it takes the skips of :func:`_encoder` from the last to the first."""
    layers, left, width = nn.ModuleDict(), list(skips), skips[-1]
    for level in reversed(plan.levels):
        if level is plan.levels[-1]:
            layers[f"{level.name}_in0"] = plan.block(width, width, attention=True)
            layers[f"{level.name}_in1"] = plan.block(width, width)
        else:
            layers[f"{level.name}_up"] = plan.block(width, width, resample="up")
        for index in range(plan.blocks + 1):
            attention = level.attends and index == plan.blocks
            layers[f"{level.name}_block{index}"] = plan.block(width + left.pop(), level.width, attention=attention)
            width = level.width
    layers[f"{plan.levels[0].name}_aux_norm"] = _group_norm(width)
    layers[f"{plan.levels[0].name}_aux_conv"] = last
    return layers


def sinusoidal_embedding(noise_level: Tensor, channels: int) -> Tensor:
    """Embed (N,) noise levels as (N, channels): sines, then cosines, of frequencies from 1 down to 1e-4."""
    count = channels // 2
    steps = torch.arange(count, dtype=torch.float32, device=noise_level.device) / max(count - 1, 1)
    angles = noise_level.float()[:, None] * (1e-4**steps)[None]
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def _group_norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(min(32, channels // 4), channels, eps=_NORM_EPS)


def _conv(in_channels: int, out_channels: int, kernel: int, resample: str, taps: Sequence[float]) -> nn.Conv3d:
    if resample:
        return ResamplingConv3d(in_channels, out_channels, kernel, resample, taps)
    return nn.Conv3d(in_channels, out_channels, kernel, padding=kernel // 2)


def _filter(taps: Sequence[float]) -> Tensor:
    line = torch.tensor(taps, dtype=torch.float32)
    cube = torch.einsum("i,j,k->ijk", line, line, line)
    return (cube / cube.sum())[None, None]


def _entry(in_channels: int, width: int, implicit_mlp: bool) -> nn.Module:
    if not implicit_mlp:
        return nn.Conv3d(in_channels, width, 3, padding=1)
    points = [part for count in (in_channels, width, width) for part in (nn.Conv3d(count, width, 1), nn.SiLU())]
    return nn.Sequential(*points, nn.Conv3d(width, width, 3, padding=1))


def _initialise(module: nn.Module) -> None:
    """Xavier-uniform weights, zero biases; what ends a residual branch starts near zero."""
    if isinstance(module, (nn.Conv3d, nn.Linear)):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    if isinstance(module, ResidualBlock):
        _shrink(module.conv1)
        if module.norm2 is not None:
            _shrink(module.proj)


def _shrink(layer: nn.Conv3d) -> None:
    with torch.no_grad():
        layer.weight.mul_(1e-5)
