"""A small diffusion transformer in three dimensions, a comparison model after st-DTPM.

Tokens of 2 x 2 x 2 voxels, attention inside windows that are shifted by half their side in every second block (Liu et
al. 2021), and the noise level by adaptive layer norm that starts as the identity (adaLN-Zero, Peebles and Xie 2023).
Attention in windows costs the same per voxel whatever the volume, and sees in a whole head what it saw in training.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .network import BLOCK, NoiseEmbedding, depth_to_space, space_to_depth

_MLP_RATIO = 4


class DiffusionTransformer3d(nn.Module):
    """A stack of transformer blocks on 3D tokens: (N, in_channels, D, H, W) and c_noise (N,) -> (N, 1, D, H, W).

    Args:
        in_channels: channels of the input, the noisy residual included.
        width: channels of a token, a multiple of ``heads``.
        blocks: transformer blocks; every second one has its windows shifted.
        heads: of the attention.
        window: side of a window in tokens, even.
        embedding: channels of the noise-level embedding.

    Attributes:
        in_channels: as above.
        multiple: sides of the input must be multiples of this many voxels.
    """

    def __init__(
        self,
        in_channels: int = 7,
        width: int = 128,
        blocks: int = 6,
        heads: int = 4,
        window: int = 4,
        embedding: int = 128,
    ):
        super().__init__()
        self.in_channels, self.multiple = in_channels, BLOCK * window
        self.embedding = NoiseEmbedding(embedding)
        self.entry = nn.Linear(in_channels * BLOCK**3, width)
        shifts = [index % 2 * window // 2 for index in range(blocks)]
        self.blocks = nn.ModuleList(TransformerBlock(width, heads, window, shift, embedding) for shift in shifts)
        self.norm = nn.LayerNorm(width)
        self.exit = _zero(nn.Linear(width, BLOCK**3))

    def forward(self, channels: Tensor, c_noise: Tensor) -> Tensor:
        """Return F, (N, 1, D, H, W), for channels (N, C, D, H, W) and noise condition c_noise (N,)."""
        embedding = self.embedding(c_noise)
        tokens = self.entry(space_to_depth(channels).movedim(1, -1))
        for block in self.blocks:
            tokens = block(tokens, embedding)
        return depth_to_space(self.exit(self.norm(tokens)).movedim(-1, 1))


class TransformerBlock(nn.Module):
    """Window attention, then an MLP on each token; the noise embedding shifts, scales and gates both."""

    def __init__(self, width: int, heads: int, window: int, shift: int, embedding: int):
        super().__init__()
        self.heads, self.window, self.shift = heads, window, shift
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulation = _zero(nn.Linear(embedding, 6 * width))
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, _MLP_RATIO * width), nn.GELU(), nn.Linear(_MLP_RATIO * width, width))
        # how much a token attends to another by where the two are in the window
        self.bias = nn.Parameter(torch.zeros(heads, window**3, window**3))

    def forward(self, tokens: Tensor, embedding: Tensor) -> Tensor:
        """Tokens (N, D, H, W, width), embedding (N, E) -> (N, D, H, W, width)."""
        modulation = self.modulation(embedding)[:, None, None, None].chunk(6, dim=-1)
        shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = modulation
        tokens = tokens + gate * self._attend(torch.addcmul(shift, self.norm(tokens), 1 + scale))
        return tokens + mlp_gate * self.mlp(torch.addcmul(mlp_shift, self.norm(tokens), 1 + mlp_scale))

    def _attend(self, tokens: Tensor) -> Tensor:
        # windows that begin before the volume are filled up with zeros, as convolutions are
        before, after = self.shift, (self.window - self.shift) % self.window
        padded = F.pad(self.qkv(tokens), (0, 0, *(before, after) * 3))
        windows = to_windows(padded, self.window)
        query, key, value = windows.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=self.bias.to(query.dtype))
        mixed = from_windows(mixed.transpose(1, 2).flatten(-2), self.window, padded.shape[:-1])
        d, h, w = tokens.shape[1:4]
        return self.proj(mixed[:, before : before + d, before : before + h, before : before + w])


def to_windows(tokens: Tensor, side: int) -> Tensor:
    """(N, D, H, W, C) -> (N windows, side^3, C); D, H and W are multiples of ``side``."""
    n, d, h, w, c = tokens.shape
    parts = tokens.reshape(n, d // side, side, h // side, side, w // side, side, c)
    return parts.permute(0, 1, 3, 5, 2, 4, 6, 7).reshape(-1, side**3, c)


def from_windows(windows: Tensor, side: int, shape: torch.Size) -> Tensor:
    """The inverse of :func:`to_windows` for tokens of ``shape`` (N, D, H, W): -> (N, D, H, W, C)."""
    n, d, h, w = shape
    parts = windows.reshape(n, d // side, h // side, w // side, side, side, side, -1)
    return parts.permute(0, 1, 4, 2, 5, 3, 6, 7).reshape(n, d, h, w, -1)


def _zero(layer: nn.Linear) -> nn.Linear:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
