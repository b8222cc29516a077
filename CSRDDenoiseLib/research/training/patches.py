"""From the pool to batches: every step's patches follow from the seed and the step's number alone."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, fields
from functools import partial

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from .config import TrainingConfig
from .pool import Example, Pool


@dataclass(frozen=True)
class Batch:
    """Patches of one step.

    Attributes:
        residual: (N, 1, P, P, P).
        condition: (N, C, P, P, P), C = 6 in the scheme ``noise-level``.
        weight: of each voxel's squared error, (N, 1, P, P, P): zero outside the head.
        sigma: (N,).
        noise: unit normal, as ``residual``.
        shown: 1 where the network sees residual + sigma noise, 0 where it sees nothing of them, (N,).
    """

    residual: Tensor
    condition: Tensor
    weight: Tensor
    sigma: Tensor
    noise: Tensor
    shown: Tensor

    def to(self, device: str) -> Batch:
        """The same batch on another device."""
        return Batch(*(getattr(self, item.name).to(device) for item in fields(self)))


class PatchSource:
    """Draws batches of patches from a pool, with augmentation of the MR's contrast and of left and right.

    Args:
        pool: where examples come from.
        config: patch, batch, sigma distribution, MR dropout and seed.
        sigma_data: the model's.
        sigma_max: at which a share of the patches is trained, without sight of the noisy residual.
        rank: of this process among several.
    """

    def __init__(self, pool: Pool, config: TrainingConfig, sigma_data: float, sigma_max: float, rank: int = 0):
        self.pool, self.config, self.rank = pool, config, rank
        self.sigma_data, self.sigma_max = sigma_data, sigma_max
        self._recent: OrderedDict[tuple[int, float], Example] = OrderedDict()

    def batch(self, step: int, phantoms: int) -> Batch:
        """The batch of a step, out of the first ``phantoms`` phantoms of the pool."""
        rng = np.random.default_rng((self.config.seed, step, self.rank))
        patches = [self._patch(rng, phantoms) for _ in range(self.config.batch)]
        residual, condition, weight = (torch.from_numpy(np.stack(parts)) for parts in zip(*patches))
        shown = torch.from_numpy(rng.random(len(patches)) >= self.config.prior_share)
        sigma = torch.where(shown, self._sigmas(rng, len(patches)), self.sigma_max)
        noise = torch.from_numpy(rng.standard_normal(residual.shape, np.float32))
        return Batch(residual, condition, weight, sigma, noise, shown.float())

    def _sigmas(self, rng: np.random.Generator, count: int) -> Tensor:
        centre = np.log(self.config.sigma_centre * self.sigma_data)
        drawn = np.exp(rng.normal(centre, self.config.sigma_spread, count))
        return torch.from_numpy(np.minimum(drawn, self.sigma_max).astype(np.float32))

    def _patch(self, rng: np.random.Generator, phantoms: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        phantom = int(rng.integers(phantoms))
        example = self._example(phantom, float(rng.choice(self.pool.doses_of(phantom))))
        side = self.config.patch
        start = [int(rng.integers(-4, max(n - side, 0) + 5)) for n in example.mask.shape]
        cut = partial(_cut, start=start, side=side)
        low, residual, mr = (cut(v)[None] for v in (example.low_dose, example.residual, example.mr))
        weight = cut(example.mask)[None]
        mr = np.zeros_like(mr) if rng.random() < self.config.mr_dropout else _change_contrast(mr, rng)
        volumes = [residual, weight, mr, low]
        if rng.random() < 0.5:
            # a head's mirror image is a head; the positions stay, so that they mean the same as at run time
            start[2] = example.mask.shape[2] - start[2] - side
            volumes = [np.ascontiguousarray(v[..., ::-1]) for v in volumes]
        residual, weight, mr, low = volumes
        constants = [np.full_like(low, value) for value in example.constants]
        return residual, np.concatenate([mr, low, _positions(example.positions, start, side), *constants]), weight

    def _example(self, phantom: int, dose: float) -> Example:
        key = (phantom, dose)
        if key not in self._recent:
            self._recent[key] = self.pool.load(phantom, dose)
            if len(self._recent) > 200:
                self._recent.popitem(last=False)
        return self._recent[key]


def _positions(positions: np.ndarray, start: list[int], side: int) -> np.ndarray:
    """Position channels of a cube; they go on beyond the volume as straight as inside."""
    lines = (positions[2, :, 0, 0], positions[1, 0, :, 0], positions[0, 0, 0, :])
    slopes = [(line[-1] - line[0]) / max(line.size - 1, 1) for line in lines]
    axes = [line[0] + slope * np.arange(s, s + side, dtype=np.float32) for line, slope, s in zip(lines, slopes, start)]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    return np.stack([x, y, z])


def _cut(volume: np.ndarray, start: list[int], side: int) -> np.ndarray:
    """A cube of ``side`` voxels from ``start``, zero where it leaves the volume."""
    cube = np.zeros((side,) * 3, np.float32)
    spans = [(max(s, 0), min(s + side, n)) for s, n in zip(start, volume.shape)]
    target = tuple(slice(low - s, high - s) for (low, high), s in zip(spans, start))
    cube[target] = volume[tuple(slice(low, high) for low, high in spans)]
    return cube


def _change_contrast(mr: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Gamma, gain and sharpness of the MR, each at random; now and then the contrast is inverted."""
    mr = np.clip(mr, 0, 1.5) ** rng.uniform(0.8, 1.25) * rng.uniform(0.85, 1.15)
    if rng.random() < 0.25:
        mr = ndimage.gaussian_filter(mr, (0, *(rng.uniform(0.2, 0.8),) * 3))
    if rng.random() < 0.1:
        mr = np.where(mr > 0.05, np.clip(1.1 - mr, 0, None), mr)
    return mr.astype(np.float32)
