"""The pool of simulated pairs on disk: it grows while training runs, and a phantom's number is its seed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Iterator, Literal, Optional, Sequence

import numpy as np
from scipy import ndimage

from ...prepare.reference_scheme import grid_positions, reference_mr, reference_range
from ...scan import FWHM_PER_SIGMA, find_head, head_positions, noise_level, normalise_mr, smooth
from ..simulation.anatomy import load_anatomy
from ..simulation.subject import SimulationSettings, Subject, dose_name, nameable_dose, simulate_subject
from .config import TrainingConfig
from .split import PARTS

_SEEDS_PER_PART = 1_000_000


@dataclass(frozen=True)
class Example:
    """One low dose of one phantom in normalised units on the model's grid, cropped to the head; (D, H, W) float32.

    Units are those of the scheme ``noise-level``; :func:`as_published` tells of the other one.

    Attributes:
        low_dose: divided by the head's scale.
        residual: (full dose - low dose) divided by the same scale and by ``unit``.
        mr: normalised MR.
        mask: the head.
        positions: (3, D, H, W), x, y, z.
        unit: the low dose's noise level, as ``scan.noise_level`` estimates it.
        constants: of the channels after the positions, the same in every voxel: the logarithm of the noise level.
    """

    low_dose: np.ndarray
    residual: np.ndarray
    mr: np.ndarray
    mask: np.ndarray
    positions: np.ndarray
    unit: float
    constants: tuple[float, ...]

    @property
    def full_dose(self) -> np.ndarray:
        """In the unit of the low dose."""
        return self.low_dose + self.unit * self.residual


class Pool:
    """Phantoms 0, 1, 2, ... in a folder, one file a phantom and dose.

    Args:
        folder: where they lie.
        anatomy_folder: where anatomies come from.
        subjects: anatomies of this pool, one split's.
        doses: dose fractions of every phantom, or how many it has within ``dose_range``.
        spacing: voxel side of the model's grid in mm.
        first_seed: seed of phantom 0.
        normalisation: scheme that examples are loaded in; files are the same for all.
        dose_range: where the doses of a phantom are drawn from, if they are not the same for all.
    """

    def __init__(
        self,
        folder: Path,
        anatomy_folder: Path,
        subjects: Sequence[str],
        doses: Sequence[float],
        spacing: float,
        first_seed: int,
        normalisation: str = "noise-level",
        dose_range: Optional[tuple[float, float]] = None,
    ):
        self.folder, self.anatomy_folder, self.subjects = folder, anatomy_folder, list(subjects)
        self.doses, self.spacing, self.first_seed = tuple(doses), spacing, first_seed
        self.renormalise, self.dose_range = RENORMALISERS[normalisation], dose_range

    def doses_of(self, phantom: int) -> tuple[float, ...]:
        """Dose fractions of a phantom: the same for all, or one from each part of the range in logarithms."""
        if self.dose_range is None:
            return self.doses
        parts, (low, high) = len(self.doses), np.log(self.dose_range)
        drawn = np.arange(parts) + np.random.default_rng((self.first_seed, phantom, 1)).random(parts)
        return tuple(nameable_dose(float(np.exp(low + (high - low) * share / parts))) for share in drawn)

    def path(self, phantom: int, dose: float) -> Path:
        """The file of one example."""
        return self.folder / f"{phantom:05d}_{dose_name(dose)}.npz"

    def available(self) -> int:
        """How many phantoms are there without a gap: 0 .. available - 1."""
        count = 0
        while all(self.path(count, dose).is_file() for dose in self.doses_of(count)):
            count += 1
        return count

    def simulate(self, phantom: int, device: str = "cpu") -> None:
        """Simulate one phantom and write its examples, unless they are there."""
        doses = self.doses_of(phantom)
        if all(self.path(phantom, dose).is_file() for dose in doses):
            return
        seed = self.first_seed + phantom
        # every pass over the subjects has its own order
        order = np.random.default_rng((self.first_seed, phantom // len(self.subjects))).permutation(len(self.subjects))
        anatomy = load_anatomy(self.anatomy_folder, self.subjects[order[phantom % len(self.subjects)]])
        subject = simulate_subject(anatomy, SimulationSettings(doses=doses), seed, device)
        for dose in doses:
            _save(make_example(subject, dose, self.spacing), self.path(phantom, dose))

    def load(self, phantom: int, dose: float) -> Example:
        """Read one example."""
        with np.load(self.path(phantom, dose)) as data:
            arrays = {name: data[name].astype(np.float32) for name in ("low_dose", "residual", "mr")}
            mask = np.unpackbits(data["mask"], count=arrays["mr"].size).reshape(arrays["mr"].shape).astype(bool)
        return self.renormalise(_example(arrays["low_dose"], arrays["residual"], arrays["mr"], mask, self.spacing))

    def examples(self, phantoms: int) -> Iterator[tuple[int, float, Example]]:
        """Every example of the first ``phantoms`` phantoms."""
        for phantom in range(phantoms):
            for dose in self.doses_of(phantom):
                yield phantom, dose, self.load(phantom, dose)


def pool_of(config: TrainingConfig, part: str, subjects: Sequence[str] = ()) -> Pool:
    """The pool of a run's ``train`` or ``validation`` phantoms; only to simulate does it need the part's subjects."""
    training = part == "train"
    return Pool(
        config.data_folder / ("pool" if training else f"pool-{part}"),
        config.anatomy,
        subjects,
        config.doses if training else (*config.doses, *config.unseen_doses),
        config.model_spacing,
        _SEEDS_PER_PART * (len(PARTS) * config.seed + PARTS.index(part) + 1),
        config.normalisation,
        config.dose_range if training else None,
    )


def make_example(subject: Subject, dose: float, spacing: float) -> Example:
    """Bring one low dose of a subject to the model's grid and units, as the pipeline does with a user's volumes.

    Raises:
        ValueError: there is no head in the low-dose PET.
    """
    low = to_spacing(subject.low_doses[dose], subject.spacing, spacing)
    full = to_spacing(subject.full_dose, subject.spacing, spacing)
    mr = to_spacing(subject.t1, subject.spacing, spacing, order=1)
    head = find_head(low, (spacing,) * 3)
    if head is None:
        raise ValueError(f"No head was found in the phantom of seed {subject.facts['seed']} at dose {dose:g}.")
    volumes = (low / head.scale, (full - low) / head.scale, normalise_mr(mr, head.mask), head.mask)
    low, residual, mr, mask = (np.ascontiguousarray(volume[head.box]) for volume in volumes)
    return _example(low, residual, mr, mask, spacing)


def as_published(example: Example) -> Example:
    """The same example as the published model's normalisation makes it, which takes no noise level."""
    lowest, extent = reference_range(example.low_dose)
    low = (example.low_dose - lowest) / extent
    residual = (example.unit / extent) * example.residual
    positions = np.stack(grid_positions(example.mask.shape))
    return Example(low, residual, reference_mr(example.mr), example.mask, positions, unit=1.0, constants=())


def as_stored(example: Example) -> Example:
    """The example as it is."""
    return example


RENORMALISERS: dict[str, Callable[[Example], Example]] = {"noise-level": as_stored, "reference": as_published}
"""Scheme of ``prepare.scheme`` -> from examples as they are stored to that scheme."""


def residual_rms(example: Example) -> float:
    """Root mean square of the residual inside the head."""
    return float(np.sqrt(np.mean(example.residual[example.mask] ** 2)))


def to_spacing(volume: np.ndarray, old: float, new: float, order: Literal[1, 3] = 3) -> np.ndarray:
    """Resample a (D, H, W) volume to isotropic voxels of ``new`` mm, smoothed first where they are coarser."""
    if abs(old - new) < 1e-3:
        return volume
    if new > old:
        # the variance that the wider voxel adds, as prepare.align does
        volume = smooth(volume, (old,) * 3, FWHM_PER_SIGMA * ((new**2 - old**2) / 12) ** 0.5)
    shape = [max(round(n * old / new), 1) for n in volume.shape]
    axes = [
        ((np.arange(m) - (m - 1) / 2) * new / old + (n - 1) / 2).astype(np.float32) for m, n in zip(shape, volume.shape)
    ]
    points = np.stack(np.meshgrid(*axes, indexing="ij"))
    return ndimage.map_coordinates(volume, points, order=order, mode="nearest")


def _example(low: np.ndarray, residual: np.ndarray, mr: np.ndarray, mask: np.ndarray, spacing: float) -> Example:
    level = noise_level(low, mask, (spacing,) * 3)
    positions = np.stack(head_positions(mask.shape, tuple(slice(0, n) for n in mask.shape)))
    return Example(low, residual / level, mr, mask, positions, level, (float(np.log(level)),))


def _save(example: Example, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    arrays = {"low_dose": example.low_dose, "residual": example.full_dose - example.low_dose, "mr": example.mr}
    arrays = {name: array.astype(np.float16) for name, array in arrays.items()}
    with partial.open("wb") as file:
        np.savez(file, **arrays, mask=np.packbits(example.mask))
    partial.replace(path)
