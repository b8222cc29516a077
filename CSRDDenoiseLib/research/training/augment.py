"""What makes patches differ from scan to scan: lesions, and another contrast of the MR; pure functions on tensors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...scan import FWHM_PER_SIGMA

_RADIUS_MM = (3.0, 12.0)
_CHANGE = (-0.9, 1.8)
_LEAST_SIGMA = 0.05
_ABSENT = (0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0)
_BRIGHTEST, _AIR, _INVERSE = 1.5, 0.05, 1.1


def draw_lesions(side: int, most: int, spacing: float, rng: np.random.Generator) -> np.ndarray:
    """Draw 1 to ``most`` lesions in a cube: 3 to 12 mm radius, small ones as often as large, -90 to +180 %.

    Args:
        side: of the cube in voxels.
        most: lesions; the rows of others are unused.
        spacing: voxel side in mm.
        rng: source of the draw.

    Returns:
        (most, 7) float32: centre and half axes in voxels along z, y, x, and the relative change of the activity.
    """
    rows = np.tile(np.array(_ABSENT, np.float32), (most, 1))
    count = int(rng.integers(1, most + 1))
    low, high = np.log(_RADIUS_MM)
    radius = np.exp(rng.uniform(low, high, (count, 1))) / spacing
    rows[:count, :3] = rng.uniform(0, side, (count, 3))
    rows[:count, 3:6] = radius * rng.uniform(0.75, 1.3, (count, 3))
    rows[:count, 6] = rng.uniform(*_CHANGE, count)
    return rows


def no_lesions(most: int) -> np.ndarray:
    """Rows of :func:`draw_lesions` that change nothing."""
    return np.tile(np.array(_ABSENT, np.float32), (most, 1))


def lesion_factor(lesions: Tensor, side: int, sigma: Tensor) -> tuple[Tensor, Tensor]:
    """What lesions make of the activity in cubes.

    Args:
        lesions: (N, L, 7), rows of :func:`draw_lesions`; where two meet, the later one counts.
        side: of the cubes in voxels.
        sigma: (N,), standard deviation of the images' resolution in voxels.

    Returns:
        A factor for the PET and, as 0 or 1, where the lesions are; both (N, 1, side, side, side).
    """
    axis = torch.arange(side, device=lesions.device, dtype=torch.float32)
    change = torch.zeros((len(lesions), side, side, side), device=lesions.device)
    inside = torch.zeros_like(change)
    lines = ((axis - lesions[..., :3, None]) / lesions[..., 3:6, None]) ** 2
    # the share of a voxel at the surface that is inside is 0.5 + size - size * distance
    sizes = lesions[..., 3:6].mean(-1)
    tops = torch.where(lesions[..., 6] != 0, 0.5 + sizes, -1.0)
    columns = (each.reshape(*each.shape, 1, 1, 1).unbind(1) for each in (tops, sizes, lesions[..., 6]))
    for line, top, size, amount in zip(lines.unbind(1), *columns):
        z, y, x = line.unbind(1)
        distance = (z[:, :, None, None] + y[:, None, :, None]).add(x[:, None, None, :]).sqrt_()
        share = torch.addcmul(top, size, distance, value=-1).clamp_(0, 1)
        change = torch.lerp(change, amount, share)
        inside = torch.maximum(inside, share)
    return 1 + blur(change, sigma)[:, None], (inside > 0.5).float()[:, None]


def blur(volumes: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian of (N, D, D, D) with the standard deviations sigma (N,) in voxels, normalised at the faces."""
    axis = torch.arange(volumes.shape[-1], device=volumes.device, dtype=torch.float32)
    distance = (axis[:, None] - axis) / sigma.clamp(min=_LEAST_SIGMA).reshape(-1, 1, 1)
    kernel = torch.exp(-0.5 * distance**2)
    kernel = kernel / kernel.sum(-1, keepdim=True)
    across = kernel[:, None] @ volumes @ kernel[:, None].mT
    return (kernel @ across.flatten(2)).reshape(volumes.shape)


@dataclass(frozen=True)
class Contrast:
    """Another contrast of an MR.

    Attributes:
        gamma: exponent.
        gain: factor after it.
        sigma: of a blur in voxels; 0 for none.
        inverted: whether dark is bright.
    """

    gamma: float
    gain: float
    sigma: float
    inverted: bool


def draw_contrast(rng: np.random.Generator) -> Contrast:
    """Draw gamma and gain of every MR, a blur of a quarter, and the inverse contrast of a tenth of them."""
    gamma, gain = float(rng.uniform(0.8, 1.25)), float(rng.uniform(0.85, 1.15))
    sigma = float(rng.uniform(0.2, 0.8)) if rng.random() < 0.25 else 0.0
    return Contrast(gamma, gain, sigma, bool(rng.random() < 0.1))


def change_contrast(mr: Tensor, gamma: Tensor, gain: Tensor, sigma: Tensor, inverted: Tensor) -> Tensor:
    """Give MRs (N, 1, D, D, D) the contrasts whose attributes are given, (N,) each, as :class:`Contrast` has them."""
    gamma, gain, inverted = (values.reshape(-1, 1, 1, 1, 1) for values in (gamma, gain, inverted))
    mr = mr.clamp(0, _BRIGHTEST) ** gamma * gain
    mr = blur(mr[:, 0], sigma)[:, None]
    return torch.where((inverted > 0) & (mr > _AIR), (_INVERSE - mr).clamp(min=0), mr)


def lesion_sigma(blur_mm: float, spacing: float) -> float:
    """Standard deviation in voxels of images of a FWHM in mm."""
    return blur_mm / FWHM_PER_SIGMA / spacing
