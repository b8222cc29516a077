"""Pairs of a low and a full dose whose noise-free image is known: a ball with a core, white noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import ndimage

from CSRDDenoiseLib.research.training.measured import MeasuredPair, MeasuredPool

NOISE = 0.05
"""Standard deviation of the full dose's noise, relative to the ball."""


def ball(side: int = 36, spacing: float = 5.0, seed: int = 0) -> np.ndarray:
    """A head-like activity (D, H, W): a ball of 75 mm radius, brighter inside, with a texture of its own."""
    axes = np.stack(np.meshgrid(*[(np.arange(side) - (side - 1) / 2) * spacing] * 3, indexing="ij"))
    radius = np.sqrt((axes**2).sum(0))
    texture = ndimage.gaussian_filter(np.random.default_rng((seed, 9)).standard_normal(radius.shape), 2.0)
    inside = np.where(radius < 45, 1.4, 0.9) * (1 + 0.6 * texture)
    return ndimage.gaussian_filter(np.where(radius < 75, inside, 0.0), 0.6).astype(np.float32)


def noisy_pair(dose: float = 0.25, seed: int = 0, noise: float = NOISE, spacing: float = 5.0, scale: float = 1.0):
    """A noise-free image and its pair: the noise of the low dose is in part that of the full dose, as counts have it.

    Returns:
        The clean image (D, H, W), and the pair.
    """
    rng, clean = np.random.default_rng(seed), ball(spacing=spacing, seed=seed)
    own, rest = (rng.standard_normal(clean.shape).astype(np.float32) * noise / f**0.5 for f in (dose, 1 - dose))
    low = clean + own
    full = clean + dose * own + (1 - dose) * rest
    return scale * clean, MeasuredPair(scale * low, scale * full, scale * clean, dose, spacing)


def fill_pool(folder: Path, count: int, dose: float = 0.25) -> None:
    """Write ``count`` pairs, numbers 0, 1, ..., into a folder."""
    for number in range(count):
        MeasuredPool.add(folder, number, noisy_pair(dose, seed=number)[1])
