"""From the pool to batches: every step's patches follow from the seed and the step's number alone."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, fields, replace
from typing import Optional, Sequence

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from ...prepare.scheme import assemble
from ...prepare.tissue import no_tissue
from ...scan import FWHM_PER_SIGMA, spread_positions
from .config import TrainingConfig
from .phantom import FIRST_LOW, FIRST_MAP, MASK, MR
from .pool import Example, Pool

_RECENT = 2000
_LESION_RADIUS_MM = (3.0, 12.0)
_LESION_CHANGE = (-0.9, 1.8)
_WEIGHT_LIMITS = (0.3, 3.0)


@dataclass(frozen=True)
class Batch:
    """Patches of one step.

    Attributes:
        residual: (N, 1, P, P, P).
        condition: (N, C, P, P, P), the scheme's channels.
        weight: of each voxel's squared error, (N, 1, P, P, P): ``outside_weight`` outside the head.
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
    """Draws batches of patches from a pool, with lesions, other noise, other contrast of the MR, and mirrored.

    Args:
        pool: where examples come from.
        config: patch, batch, sigma distribution, MR dropout, lesions and seed.
        sigma_data: the model's.
        sigma_max: at which a share of the patches is trained, without sight of the noisy residual.
        rank: of this process among several.
        pairs: where ``config.share`` of the patches come from instead; None for none.
    """

    def __init__(
        self,
        pool: Pool,
        config: TrainingConfig,
        sigma_data: float,
        sigma_max: float,
        rank: int = 0,
        pairs: Optional[Pool] = None,
    ):
        self.pool, self.config, self.rank, self.pairs = pool, config, rank, pairs
        self.sigma_data, self.sigma_max = sigma_data, sigma_max
        self._recent: OrderedDict[tuple[bool, int, float], Example] = OrderedDict()

    def batch(self, step: int, phantoms: int) -> Batch:
        """The batch of a step, out of the first ``phantoms`` phantoms of the pool."""
        rng = np.random.default_rng((self.config.seed, step, self.rank))
        patches = [self._patch(rng, phantoms) for _ in range(self.config.batch)]
        residual, condition, weight = (torch.from_numpy(np.stack(parts)) for parts in zip(*patches))
        sigma, noise, shown = self._noise(rng, residual.shape)
        return Batch(residual, condition, weight, sigma, noise, shown)

    def renoised(self, batch: Batch, step: int) -> Batch:
        """The same patches with the noise of another step."""
        rng = np.random.default_rng((self.config.seed, step, self.rank, 1))
        sigma, noise, shown = self._noise(rng, batch.residual.shape)
        return replace(batch, sigma=sigma, noise=noise, shown=shown)

    def _noise(self, rng: np.random.Generator, shape: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Noise levels (N,), unit normal noise, and which patches show them (N,)."""
        shown = torch.from_numpy(rng.random(shape[0]) >= self.config.regression_share)
        sigma = torch.where(shown, self._sigmas(rng, shape[0]), self.sigma_max)
        noise = torch.from_numpy(rng.standard_normal(tuple(shape), np.float32))
        return sigma, noise, shown.float()

    def _sigmas(self, rng: np.random.Generator, count: int) -> Tensor:
        centre = np.log(self.config.sigma_centre * self.sigma_data)
        drawn = np.exp(rng.normal(centre, self.config.sigma_spread, count))
        return torch.from_numpy(np.minimum(drawn, self.sigma_max).astype(np.float32))

    def _patch(self, rng: np.random.Generator, phantoms: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        config, pool = self.config, self.pool
        if self.pairs is not None and rng.random() < config.share:
            pool, phantoms = self.pairs, self.pairs.available()
        phantom = int(rng.integers(phantoms))
        example = self._example(pool, phantom, float(rng.choice(pool.doses_of(phantom))))
        volumes, side = example.phantom.volumes, config.patch
        start = [int(rng.integers(-4, max(n - side, 0) + 5)) for n in volumes.shape[1:]]
        noise_scale = float(np.exp(rng.uniform(-1, 1) * np.log(config.noise_scale)))
        terms = example.terms_at(noise_scale)
        maps_rows = range(FIRST_MAP, FIRST_LOW) if example.scheme.maps else ()
        rows = [example.target_row, FIRST_LOW + example.number, MASK, MR, *maps_rows]
        target, low, weight, mr, *maps = _cut(volumes, rows, start, side)
        target, low = example.gain * target, example.gain * low
        weight = np.maximum(weight, config.outside_weight)
        target, low, share = example.at_noise(target, low, noise_scale)
        if config.lesions and rng.random() < config.lesion_share:
            factor, inside = draw_lesions(side, config.lesions, example.phantom.blur_mm, self.pool.spacing, rng)
            target, low = factor * target, factor * low
            weight = weight * np.where(inside, config.lesion_weight, 1.0)
        if self.pool.target == "noise-free":
            weight = weight * share * np.clip(terms.unit / example.noise_at(noise_scale), *_WEIGHT_LIMITS) ** 2
        if rng.random() < config.mr_dropout:
            mr, maps = np.zeros_like(mr), list(no_tissue(mr.shape)) if maps else []
        else:
            mr = _change_contrast(terms.network_mr(mr), rng)
        mirrored = rng.random() < 0.5
        if mirrored:
            # a head's mirror image is a head; the positions stay, so that they mean the same as at run time
            start[2] = volumes.shape[3] - start[2] - side
        positions = spread_positions([_line(line, first, side) for line, first in zip(terms.lines, start)])
        pet = terms.network_pet(low)
        residual, weight, mr, pet, *maps = (
            v[..., ::-1] if mirrored else v for v in ((target - low) / terms.unit, weight, mr, pet, *maps)
        )
        condition = assemble(mr, pet, positions, terms.constants, maps)
        stacked = [np.stack(channels).astype(np.float32) for channels in ([residual], condition, [weight])]
        return stacked[0], stacked[1], stacked[2]

    def _example(self, pool: Pool, phantom: int, dose: float) -> Example:
        key = (pool is self.pool, phantom, dose)
        if key not in self._recent:
            self._recent[key] = pool.load(phantom, dose)
            if len(self._recent) > _RECENT:
                self._recent.popitem(last=False)
        return self._recent[key]


def draw_lesions(
    side: int, most: int, blur_mm: float, spacing: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw 1 to ``most`` lesions of 3 to 12 mm radius in a cube, -90 to +180 % of the activity that is there.

    Args:
        side: of the cube in voxels.
        most: lesions.
        blur_mm: FWHM of the images.
        spacing: voxel side in mm.
        rng: source of the draw.

    Returns:
        A factor for the PET (side, side, side), float32, and where the lesions are, boolean.
    """
    change, inside = np.zeros((side,) * 3, np.float32), np.zeros((side,) * 3, bool)
    for _ in range(int(rng.integers(1, most + 1))):
        axes = rng.uniform(*_LESION_RADIUS_MM) / spacing * rng.uniform(0.75, 1.3, 3)
        centre, amount = rng.uniform(0, side, 3), np.float32(rng.uniform(*_LESION_CHANGE))
        box = tuple(slice(max(int(c - a) - 1, 0), max(int(c + a) + 2, 1)) for c, a in zip(centre, axes))
        z, y, x = ((np.arange(side)[part] - c) / a for part, c, a in zip(box, centre, axes))
        distance = np.sqrt(z[:, None, None] ** 2 + y[:, None] ** 2 + x**2)
        # the share of a voxel at the surface that is inside
        share = np.clip(0.5 + (1 - distance) * axes.mean(), 0, 1).astype(np.float32)
        change[box] += share * (amount - change[box])
        inside[box] |= share > 0.5
    sigma = blur_mm / FWHM_PER_SIGMA / spacing
    return 1 + (ndimage.gaussian_filter(change, sigma) if sigma > 0 else change), inside


def _line(line: np.ndarray, first: int, side: int) -> np.ndarray:
    """Positions of ``side`` voxels from ``first``; they go on beyond the volume as straight as inside."""
    slope = (line[-1] - line[0]) / max(line.size - 1, 1)
    return line[0] + slope * np.arange(first, first + side, dtype=np.float32)


def _cut(volumes: np.ndarray, rows: list[int], start: list[int], side: int) -> np.ndarray:
    """A cube of ``side`` voxels from ``start`` of each row of (C, D, H, W), zero where it leaves the volume."""
    cubes = np.zeros((len(rows), *(side,) * 3), np.float32)
    spans = [(max(s, 0), min(s + side, n)) for s, n in zip(start, volumes.shape[1:])]
    target = tuple(slice(low - s, high - s) for (low, high), s in zip(spans, start))
    source = tuple(slice(*span) for span in spans)
    for cube, row in zip(cubes, rows):
        cube[target] = volumes[row][source]
    return cubes


def _change_contrast(mr: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Gamma, gain and sharpness of the MR, each at random; now and then the contrast is inverted."""
    mr = np.clip(mr, 0, 1.5) ** rng.uniform(0.8, 1.25) * rng.uniform(0.85, 1.15)
    if rng.random() < 0.25:
        mr = ndimage.gaussian_filter(mr, (rng.uniform(0.2, 0.8),) * 3)
    if rng.random() < 0.1:
        mr = np.where(mr > 0.05, np.clip(1.1 - mr, 0, None), mr)
    return mr.astype(np.float32)
