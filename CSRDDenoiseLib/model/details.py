"""What is fine in a low-dose PET: its differences from local means and from MR-guided filters, and their size.

With these as input a network learns how much of them is noise, instead of first separating them from the signal.
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


def tissue_regression(pet: Tensor, maps: Tensor, size: int, ridge: float = 1e-3) -> Tensor:
    """Fit the PET by soft tissue classes in windows: the guided filter of He, Sun and Tang with a guide for each class.

    Around every voxel the PET is a mixture of the class maps, by least squares without an intercept; the coefficients
    are averaged over the windows that a voxel lies in. A window is a box of ``size`` voxels applied twice.

    Args:
        pet: (N, 1, D, H, W), brain mean about 1.
        maps: (N, K, D, H, W), which sum to about 1 in every voxel.
        size: side in voxels (odd) of the box.
        ridge: added to the diagonal of the normal equations.

    Returns:
        (N, 1, D, H, W) float32; with one map of ones the local mean, a second time averaged.
    """
    with torch.autocast(pet.device.type, enabled=False):
        windows = [_twice_boxed(length, size, pet) for length in pet.shape[2:]]
        count = maps.shape[1]
        each = [maps[:, i : i + 1].float() for i in range(count)]
        normal = {(i, j): _windowed(each[i] * each[j], windows) for i in range(count) for j in range(i, count)}
        for i in range(count):
            normal[i, i] = normal[i, i] + ridge
        mixture = _solve(normal, [_windowed(pet.float() * one, windows) for one in each])
        return sum((_windowed(share, windows) * one for share, one in zip(mixture, each)), torch.zeros_like(pet))


def tissue_reach(size: int) -> int:
    """Return how many voxels away :func:`tissue_regression` looks."""
    return 4 * (size // 2)


def _solve(normal: dict[tuple[int, int], Tensor], right: list[Tensor]) -> list[Tensor]:
    """Solve small symmetric positive definite systems, one a voxel, by elimination; ``normal`` holds i <= j."""
    count = len(right)
    for i in range(count):
        for j in range(i + 1, count):
            factor = normal[i, j] / normal[i, i]
            for k in range(j, count):
                normal[j, k] = normal[j, k] - factor * normal[i, k]
            right[j] = right[j] - factor * right[i]
    for i in reversed(range(count)):
        for j in range(i + 1, count):
            right[i] = right[i] - normal[i, j] * right[j]
        right[i] = right[i] / normal[i, i]
    return right


def _twice_boxed(length: int, size: int, like: Tensor) -> Tensor:
    """A mean over ``size`` neighbours of those inside, twice, along an axis: (length, length).

    One matrix product an axis is faster than sums of neighbours for the many channels of a regression.
    """
    offset = torch.arange(length, device=like.device)
    near = ((offset[:, None] - offset).abs() <= size // 2).float()
    once = near / near.sum(1, keepdim=True)
    return once @ once


def _windowed(x: Tensor, windows: Sequence[Tensor]) -> Tensor:
    along_z, along_y, along_x = windows
    x = torch.matmul(along_y, x @ along_x.T)
    return torch.matmul(along_z, x.flatten(-2)).reshape(x.shape)


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
