"""A synthetic head of any size, for timing only, not for measuring quality."""

from __future__ import annotations

from typing import Sequence

import numpy as np
import SimpleITK as sitk

from ...io.grid import cubic_image

# sides of the head as shares of the field of view; with its margin the head's box is about 0.4 of the volume
_SIDES = (0.66, 0.74, 0.62)
_BRIGHTNESS = 5000.0
_NOISE = 0.15


def synthetic_head(size: Sequence[int], spacing_mm: float, seed: int = 0) -> tuple[sitk.Image, sitk.Image]:
    """Return a noisy PET and an MR of an ellipsoid with a grey and a white matter, the head's share always the same.

    Args:
        size: voxels along x, y, z.
        spacing_mm: edge of the cubic voxels.
        seed: of the noise.
    """
    axes = [np.linspace(-1, 1, count, dtype=np.float32) / side for count, side in zip(size, _SIDES)]
    x, y, z = axes[0], axes[1][:, None], axes[2][:, None, None]
    radius = np.sqrt(x**2 + y**2 + z**2)
    folds = np.sin(30 * x) * np.sin(27 * y) * np.sin(24 * z) > 0
    inside, grey = radius < 1, (radius > 0.75) | folds
    random = np.random.default_rng(seed)
    pet = inside * np.where(grey, np.float32(_BRIGHTNESS), np.float32(_BRIGHTNESS / 4))
    pet *= 1 + _NOISE * random.standard_normal(pet.shape, dtype=np.float32)
    mr = inside * np.where(grey, np.float32(600), np.float32(900))
    return cubic_image(pet.clip(0), spacing_mm), cubic_image(mr, spacing_mm)
