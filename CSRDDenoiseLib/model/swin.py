"""A U-Net on a Swin transformer, a comparison model: MONAI's SwinUNETR (Hatamizadeh et al. 2022) with a noise level."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .network import start_at_zero

MULTIPLE = 32


class SwinUNet3d(nn.Module):
    """MONAI's SwinUNETR, with the noise level as one more channel: (N, in_channels, D, H, W), (N,) -> (N, 1, D, H, W).

    Its normalisation is over the whole input, so that a patch and a head are not quite one task.

    Args:
        in_channels: channels of the input, the noisy residual included.
        width: channels of the finest level, a multiple of 12.
        window: side of a window of the attention, in tokens of 2 x 2 x 2 voxels.

    Attributes:
        in_channels: as above.
        multiple: sides of the input must be multiples of this many voxels, and one of them at least twice it.

    Raises:
        ImportError: the package einops, which MONAI needs for it, is not installed.
    """

    def __init__(self, in_channels: int = 7, width: int = 12, window: int = 4):
        super().__init__()
        from monai.networks.nets import SwinUNETR

        self.in_channels, self.multiple = in_channels, MULTIPLE
        # MONAI reads numbers out of a tensor on the way, which one without memory has not
        with torch.device("cpu"):
            self.network = SwinUNETR(in_channels + 1, 1, feature_size=width, window_size=window)
        start_at_zero(self.network.out)

    def forward(self, channels: Tensor, c_noise: Tensor) -> Tensor:
        """Return F, (N, 1, D, H, W), for channels (N, C, D, H, W) and noise condition c_noise (N,)."""
        level = c_noise.to(channels.dtype)[:, None, None, None, None].expand(-1, 1, *channels.shape[2:])
        return self.network(torch.cat([channels, level], dim=1))
