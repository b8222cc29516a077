"""The tissue regression as a model without weights: one evaluation, the same at every noise level."""

from __future__ import annotations

from torch import Tensor, nn

from .details import tissue_reach, tissue_regression

LOW_DOSE, TISSUE = 1, slice(2, None)


class TissueRegression(nn.Module):
    """Gives the PET's regression on tissue classes less the PET (see :func:`.details.tissue_regression`).

    It has no weights and no noise levels: every draw is the same. The condition is MR, PET, tissue maps.

    Args:
        size: side in voxels (odd) of the box that is applied twice.
        in_channels: channels of the input, the noisy residual included.

    Attributes:
        in_channels: as above.
        multiple: sides of the input may have any number of voxels.
        reach: :meth:`prepare` looks at most this many voxels away.
    """

    def __init__(self, size: int = 3, in_channels: int = 6):
        super().__init__()
        self.size, self.in_channels = size, in_channels
        self.multiple, self.reach = 1, tissue_reach(size)

    def forward(self, channels: Tensor, c_noise: Tensor) -> Tensor:
        """Return the difference, (N, 1, D, H, W), whatever the noisy residual and its noise level."""
        return self.evaluate(channels[:, :1], self.prepare(channels[:, 1:]), c_noise)

    def prepare(self, condition: Tensor) -> Tensor:
        """Return the difference, (N, 1, D, H, W), of a condition (N, C - 1, D, H, W)."""
        pet = condition[:, LOW_DOSE : LOW_DOSE + 1].float()
        return tissue_regression(pet, condition[:, TISSUE], self.size) - pet

    def evaluate(self, noisy: Tensor, prepared: Tensor, c_noise: Tensor) -> Tensor:
        """Return what was prepared."""
        return prepared.expand_as(noisy)
