"""What is fine in a low-dose PET: its differences from local means and from MR-guided filters, and their size.

A network that is shown these learns how much of them is noise, instead of first learning to tell them from the signal.
"""

from __future__ import annotations

from typing import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

_REGULARISATION = 0.01
_GUIDE_BLUR = 3
_NOISE_WINDOW = 9


def pet_details(pet: Tensor, mr: Tensor, mean_sizes: Sequence[int], guide_sizes: Sequence[int]) -> list[Tensor]:
    """Differences of the PET from its local means and guided filters, and the local size of what is finest.

    Args:
        pet: (N, 1, D, H, W), normalised.
        mr: (N, 1, D, H, W), normalised; zero without MR, and the guided filters are local means then.
        mean_sizes: sides in voxels (odd) of the local means.
        guide_sizes: sides in voxels (odd) of the windows of the guided filters.

    Returns:
        One tensor (N, 1, D, H, W) for each size, and the root mean square of the first guided difference.
    """
    guide = local_mean(mr, _GUIDE_BLUR)
    guided = [pet - guided_filter(pet, guide, size) for size in guide_sizes]
    size_of_finest = local_mean(guided[0] ** 2, _NOISE_WINDOW).clamp(min=0).sqrt()
    return [*(pet - local_mean(pet, size) for size in mean_sizes), *guided, size_of_finest]


def details_reach(mean_sizes: Sequence[int], guide_sizes: Sequence[int]) -> int:
    """Return how many voxels away :func:`pet_details` looks at most."""
    guided = [_GUIDE_BLUR // 2 + 2 * (size // 2) for size in guide_sizes]
    return max(*guided, guided[0] + _NOISE_WINDOW // 2, *(size // 2 for size in mean_sizes))


def guided_filter(pet: Tensor, guide: Tensor, size: int) -> Tensor:
    """Filter the PET by its local linear regression on a guide (He, Sun and Tang, 2013, eqs. 5 to 8).

    Args:
        pet: (N, 1, D, H, W).
        guide: (N, 1, D, H, W), near 0 to 1.
        size: side in voxels (odd) of the windows.
    """
    # one after the other, which needs less memory at once than as channels of one tensor
    mean_guide, mean_pet = local_mean(guide, size), local_mean(pet, size)
    mean_square, mean_product = local_mean(guide * guide, size), local_mean(guide * pet, size)
    variance = (mean_square - mean_guide**2).clamp(min=0)
    slope = (mean_product - mean_guide * mean_pet) / (variance + _REGULARISATION)
    return local_mean(slope, size) * guide + local_mean(mean_pet - slope * mean_guide, size)


def local_mean(x: Tensor, size: int) -> Tensor:
    """Mean of (N, C, D, H, W) over cubes of ``size`` voxels (odd), of those inside the volume."""
    for axis, length in enumerate(x.shape[2:], start=2):
        # a window can be no longer than the volume
        side = min(size, length - 1 + length % 2)
        line = torch.ones([length if a == axis else 1 for a in range(5)], device=x.device)
        x = _window_sums(x, side, axis) / _window_sums(line, side, axis)
    return x


def _window_sums(x: Tensor, size: int, axis: int) -> Tensor:
    """Sums over windows of ``size`` (odd) along an axis, zeros beyond the volume.

    Sums of 1, 2, 4, ... neighbours come from one another, so a window of n costs 2 log2(n) passes instead of n.
    """
    sums, width = F.pad(x, [*[0, 0] * (x.ndim - 1 - axis), size // 2, size // 2]), 1
    total, done = torch.zeros_like(x), 0
    while True:
        if size & width:
            total = total + sums.narrow(axis, done, x.shape[axis])
            done += width
        if done == size:
            return total
        places = sums.shape[axis] - width
        sums = sums.narrow(axis, 0, places) + sums.narrow(axis, width, places)
        width *= 2
