"""From the pool to batches: every step's patches follow from the seed and the step's number alone.

What is drawn for a patch is a few numbers (:class:`Patch`); its voxels are made on the device of the training, all
patches of a batch at once.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Iterable, Optional, Sequence

import numpy as np
import torch
from torch import Tensor

from ...prepare.scheme import Terms, assemble
from .augment import Contrast, change_contrast, draw_contrast, draw_lesions, lesion_factor, lesion_sigma, no_lesions
from .config import TrainingConfig
from .phantom import FIRST_LOW, FIRST_MAP, MASK, MR
from .pool import Example, Pool, at_noise

_RECENT = 2000
_WEIGHT_LIMITS = (0.3, 3.0)
_SHARE_OF_MEMORY = 0.4
_PLAIN = Contrast(1.0, 1.0, 0.0, False)


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


@dataclass(frozen=True)
class Patch:
    """What is drawn for one patch.

    Attributes:
        example: where it is cut from.
        key: of the phantom among those that are kept.
        start: its first voxel along z, y, x; outside of the volume there is nothing.
        noise_scale: of the low dose's noise.
        terms: of the low dose with that noise.
        lesions: rows of :func:`.augment.draw_lesions`.
        contrast: of the MR.
        seen: whether the MR is seen.
        mirrored: whether left and right change places.
    """

    example: Example
    key: tuple[bool, int]
    start: tuple[int, ...]
    noise_scale: float
    terms: Terms
    lesions: np.ndarray
    contrast: Contrast
    seen: bool
    mirrored: bool

    @property
    def rows(self) -> tuple[int, ...]:
        """Which of the phantom's volumes it shows: target, low dose, head, MR, tissue maps."""
        maps = range(FIRST_MAP, FIRST_LOW) if self.example.scheme.maps else ()
        return (self.example.target_row, FIRST_LOW + self.example.number, MASK, MR, *maps)

    def lines(self, side: int) -> np.ndarray:
        """Positions along z, y, x, (3, side); they mean the same as at run time, mirrored or not."""
        start, width = list(self.start), self.example.phantom.volumes.shape[3]
        if self.mirrored:
            # a head's mirror image is a head
            start[2] = width - start[2] - side
        return np.stack([_line(line, first, side) for line, first in zip(self.terms.lines, start)])

    def numbers(self, spacing: float) -> dict[str, float]:
        """What the voxels follow from beside the volumes, by name."""
        example, terms, contrast = self.example, self.terms, self.contrast
        (pet_offset, pet_extent), (mr_offset, mr_extent, mr_limit) = terms.pet, terms.mr
        weight = np.clip(terms.unit / example.noise_at(self.noise_scale), *_WEIGHT_LIMITS) ** 2
        return {
            "gain": example.gain,
            "noise_scale": self.noise_scale,
            "known_share": example.known_share(self.noise_scale),
            "unit": terms.unit,
            "weight": float(weight) if example.target == "noise-free" else 1.0,
            "pet_offset": pet_offset,
            "pet_extent": pet_extent,
            "mr_offset": mr_offset,
            "mr_extent": max(mr_extent, 1e-9),
            "mr_limit": mr_limit if mr_extent > 0 else 0.0,
            "sigma": lesion_sigma(example.phantom.blur_mm, spacing),
            "gamma": contrast.gamma,
            "mr_gain": contrast.gain,
            "mr_sigma": contrast.sigma,
            "inverted": float(contrast.inverted),
            "seen": float(self.seen),
            "mirrored": float(self.mirrored),
        }


class PatchSource:
    """Draws batches of patches from a pool, with lesions, other noise, other contrast of the MR, and mirrored.

    Args:
        pool: where examples come from.
        config: patch, batch, sigma distribution, MR dropout, lesions and seed.
        sigma_data: the model's.
        sigma_max: at which a share of the patches is trained, without sight of the noisy residual.
        rank: of this process among several.
        pairs: where ``config.share`` of the patches come from instead; None for none.
        device: where the patches are made; a GPU keeps the phantoms in its memory.
    """

    def __init__(
        self,
        pool: Pool,
        config: TrainingConfig,
        sigma_data: float,
        sigma_max: float,
        rank: int = 0,
        pairs: Optional[Pool] = None,
        device: str = "cpu",
    ):
        self.pool, self.config, self.rank, self.pairs, self.device = pool, config, rank, pairs, torch.device(device)
        self.sigma_data, self.sigma_max = sigma_data, sigma_max
        self._recent: OrderedDict[tuple[bool, int, float], Example] = OrderedDict()
        self._volumes = Volumes(self.device)

    def batch(self, step: int, phantoms: int) -> Batch:
        """The batch of a step, out of the first ``phantoms`` phantoms of the pool."""
        rng = np.random.default_rng((self.config.seed, step, self.rank))
        patches = [self._draw(rng, phantoms) for _ in range(self.config.batch)]
        residual, condition, weight = self._voxels(patches)
        return Batch(residual, condition, weight, *self._noise(rng, residual.shape))

    def renoised(self, batch: Batch, step: int) -> Batch:
        """The same patches with the noise of another step."""
        rng = np.random.default_rng((self.config.seed, step, self.rank, 1))
        sigma, noise, shown = self._noise(rng, batch.residual.shape)
        return replace(batch, sigma=sigma, noise=noise, shown=shown)

    def _noise(self, rng: np.random.Generator, shape: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Noise levels (N,), unit normal noise, and which patches show them (N,)."""
        shown = torch.from_numpy(rng.random(shape[0]) >= self.config.regression_share)
        sigma = torch.where(shown, self._sigmas(rng, shape[0]), self.sigma_max)
        generator = torch.Generator(self.device).manual_seed(int(rng.integers(2**62)))
        noise = torch.randn(tuple(shape), generator=generator, device=self.device)
        return sigma.to(self.device), noise, shown.float().to(self.device)

    def _sigmas(self, rng: np.random.Generator, count: int) -> Tensor:
        centre = np.log(self.config.sigma_centre * self.sigma_data)
        drawn = np.exp(rng.normal(centre, self.config.sigma_spread, count))
        return torch.from_numpy(np.minimum(drawn, self.sigma_max).astype(np.float32))

    def _draw(self, rng: np.random.Generator, phantoms: int) -> Patch:
        config, pool = self.config, self.pool
        if self.pairs is not None and rng.random() < config.share:
            pool, phantoms = self.pairs, self.pairs.available()
        phantom = int(rng.integers(phantoms))
        example = self._example(pool, phantom, float(rng.choice(pool.doses_of(phantom))))
        shape = example.phantom.volumes.shape[1:]
        start = tuple(int(rng.integers(-4, max(n - config.patch, 0) + 5)) for n in shape)
        noise_scale = float(np.exp(rng.uniform(-1, 1) * np.log(config.noise_scale)))
        lesions = no_lesions(config.lesions)
        if config.lesions and rng.random() < config.lesion_share:
            lesions = draw_lesions(config.patch, config.lesions, self.pool.spacing, rng)
        seen = bool(rng.random() >= config.mr_dropout)
        contrast = draw_contrast(rng) if seen else _PLAIN
        mirrored = bool(rng.random() < 0.5)
        terms = example.terms_at(noise_scale)
        return Patch(
            example, (pool is self.pool, phantom), start, noise_scale, terms, lesions, contrast, seen, mirrored
        )

    def _voxels(self, patches: Sequence[Patch]) -> tuple[Tensor, Tensor, Tensor]:
        """Residual (N, 1, P, P, P), condition (N, C, P, P, P) and weight (N, 1, P, P, P)."""
        config, side = self.config, self.config.patch
        cubes = torch.empty((len(patches), len(patches[0].rows), *(side,) * 3), dtype=torch.float16, device=self.device)
        for cube, patch in zip(cubes, patches):
            _cut(self._volumes.of(patch), self._volumes.index(patch.rows), patch.start, cube)
        cubes = cubes.float()
        about = self._numbers(patches)
        target, low, head, mr, *maps = (cubes[:, row : row + 1] for row in range(cubes.shape[1]))
        target, low = about["gain"] * target, about["gain"] * low
        weight = head.clamp(min=config.outside_weight)
        target, low, share = at_noise(target, low, about["noise_scale"], about["known_share"])
        if config.lesions:
            lesions = torch.from_numpy(np.stack([patch.lesions for patch in patches])).to(self.device)
            factor, inside = lesion_factor(lesions, side, about["sigma"].flatten())
            target, low = factor * target, factor * low
            weight = weight * (1 + (config.lesion_weight - 1) * inside)
        weight = weight * share * about["weight"]
        mr = ((mr - about["mr_offset"]) / about["mr_extent"]).clamp(min=0).minimum(about["mr_limit"])
        contrast = (about[name].flatten() for name in ("gamma", "mr_gain", "mr_sigma", "inverted"))
        mr = about["seen"] * change_contrast(mr, *contrast)
        # without an MR there is one tissue, the first
        maps = [torch.where(about["seen"] > 0, each, float(number == 0)) for number, each in enumerate(maps)]
        pet = (low - about["pet_offset"]) / about["pet_extent"]
        residual, weight, mr, pet, *maps = (
            torch.where(about["mirrored"] > 0, each.flip(-1), each)
            for each in ((target - low) / about["unit"], weight, mr, pet, *maps)
        )
        condition = assemble(mr, pet, self._positions(patches), self._constants(patches), maps)
        whole = residual.shape
        return residual, torch.cat([each.expand(whole) for each in condition], dim=1), weight

    def _numbers(self, patches: Sequence[Patch]) -> dict[str, Tensor]:
        """:meth:`Patch.numbers` of all patches, (N, 1, 1, 1, 1) each, brought to the device at once."""
        rows = [patch.numbers(self.pool.spacing) for patch in patches]
        table = torch.tensor([list(row.values()) for row in rows], dtype=torch.float32).to(self.device)
        return {name: table[:, column].reshape(-1, 1, 1, 1, 1) for column, name in enumerate(rows[0])}

    def _positions(self, patches: Sequence[Patch]) -> tuple[Tensor, ...]:
        """Positions along x, y and z."""
        side = self.config.patch
        lines = torch.from_numpy(np.stack([patch.lines(side) for patch in patches])).to(self.device)
        z, y, x = lines.unbind(1)
        return x.reshape(-1, 1, 1, 1, side), y.reshape(-1, 1, 1, side, 1), z.reshape(-1, 1, side, 1, 1)

    def _constants(self, patches: Sequence[Patch]) -> Iterable[Tensor]:
        table = torch.tensor([patch.terms.constants for patch in patches], dtype=torch.float32).to(self.device)
        return [column.reshape(-1, 1, 1, 1, 1) for column in table.unbind(1)]

    def _example(self, pool: Pool, phantom: int, dose: float) -> Example:
        key = (pool is self.pool, phantom, dose)
        if key not in self._recent:
            self._recent[key] = pool.load(phantom, dose)
            if len(self._recent) > _RECENT:
                self._recent.popitem(last=False)
        return self._recent[key]


class Volumes:
    """The volumes of phantoms on a device: mapped from their files on a CPU, in the memory of a GPU.

    Args:
        device: where they are wanted.
    """

    def __init__(self, device: torch.device):
        self._device = device
        self._kept: OrderedDict[tuple[bool, int], Tensor] = OrderedDict()
        self._most = _memory_for(device)
        self._indices: dict[tuple[int, ...], Tensor] = {}

    def of(self, patch: Patch) -> Tensor:
        """Volumes (C, D, H, W) of a patch's phantom, float16; on a GPU the oldest are dropped if memory is short."""
        if self._device.type == "cpu":
            return torch.from_numpy(patch.example.phantom.volumes)
        if patch.key not in self._kept:
            self._kept[patch.key] = torch.from_numpy(np.array(patch.example.phantom.volumes)).to(self._device)
            while sum(each.nbytes for each in self._kept.values()) > self._most and len(self._kept) > 1:
                self._kept.popitem(last=False)
        return self._kept[patch.key]

    def index(self, rows: tuple[int, ...]) -> Tensor:
        """Numbers of rows on the device; they are few, and each way there costs time."""
        if rows not in self._indices:
            self._indices[rows] = torch.tensor(rows, device=self._device)
        return self._indices[rows]


def _memory_for(device: torch.device) -> float:
    """Bytes that phantoms may take on a device."""
    if device.type != "cuda":
        return float("inf")
    return _SHARE_OF_MEMORY * torch.cuda.get_device_properties(device).total_memory


def _line(line: np.ndarray, first: int, side: int) -> np.ndarray:
    """Positions of ``side`` voxels from ``first``; beyond the volume they continue linearly."""
    slope = (line[-1] - line[0]) / max(line.size - 1, 1)
    return (line[0] + slope * np.arange(first, first + side)).astype(np.float32)


def _cut(volumes: Tensor, rows: Tensor, start: Sequence[int], cube: Tensor) -> None:
    """Copy the cube from ``start`` of rows of (C, D, H, W) to ``cube`` (R, P, P, P).

    Beyond the volume its outermost voxels are repeated, as :class:`CSRDDenoiseLib.infer.padding.Padding` does.
    """
    side = cube.shape[-1]
    spans = [(max(s, 0), min(s + side, n)) for s, n in zip(start, volumes.shape[1:])]
    part = volumes[(slice(None), *(slice(*span) for span in spans))].index_select(0, rows)
    for axis, (first, (low, high)) in enumerate(zip(start, spans), start=1):
        if (low, high) != (first, first + side):
            near = np.clip(np.arange(first, first + side), low, high - 1) - low
            part = part.index_select(axis, torch.from_numpy(near).to(part.device))
    cube.copy_(part)
