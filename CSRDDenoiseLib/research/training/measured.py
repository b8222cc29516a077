"""Measured pairs of a low and a full dose as phantoms: trained on as simulated ones are, without a noise-free image.

Let f be the share of the full dose's counts that the low dose has. What is left of the full dose,

    rest = (full - f low) / (1 - f),

is the image of the counts that the low dose does not have. Its noise is independent of the low dose's, so

    E[full | low] = f low + (1 - f) E[clean | low]    and    E[rest | low] = E[clean | low]:

a network that is trained towards ``rest`` learns the noise-free estimate, as towards the noise-free image itself but
with more noise in its steps (Noise2Noise, Lehtinen et al. 2018). It is exact where the low dose is a part of the full
dose's counts and the reconstruction is linear; OSEM at few counts is not quite, above all in cold regions.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, Sequence

import numpy as np

from ...checks.noise import blur_fwhm_mm, texture
from ...errors import InputError
from ...prepare.tissue import tissue_maps
from ...scan import Head, Scan, find_head, normalise_mr
from .phantom import Phantom, save_phantom, scaled_bands
from .pool import Pool

LARGEST_DOSE = 0.9
_BLUR_LIMITS_MM = (3.0, 8.0)


@dataclass(frozen=True)
class MeasuredPair:
    """A low and a full dose of one scan on the model's grid, (D, H, W), in one unit.

    Attributes:
        low: the low dose.
        full: the full dose.
        mr: on the same grid, any unit, or None.
        dose: counts of ``low`` over those of ``full``, below 0.9.
        spacing: voxel side in mm.
    """

    low: np.ndarray
    full: np.ndarray
    mr: Optional[np.ndarray]
    dose: float
    spacing: float


def phantom_of_pair(pair: MeasuredPair) -> Phantom:
    """Bring a pair to the form of a simulated phantom.

    In place of the noise-free image it holds the full dose, its classes are all zero, and its facts have ``measured``.

    Raises:
        InputError: no head is found in one of the two, or the dose is too near the full dose.
    """
    if not 0 < pair.dose < LARGEST_DOSE:
        raise InputError(f"The dose of a pair is {pair.dose:.2f} of the full dose; it must be below {LARGEST_DOSE}.")
    cube = (pair.spacing,) * 3
    head, low_head = find_head(pair.full, cube), find_head(pair.low, cube)
    if head is None or low_head is None:
        raise InputError(f"No head was found in the {'full' if head is None else 'low'} dose.")
    mr = np.zeros(pair.full.shape, np.float32) if pair.mr is None else normalise_mr(pair.mr, head.mask)
    maps = tissue_maps(mr if pair.mr is not None else None, head.mask, cube)
    full, low = (np.asarray(pet / head.brain_mean, np.float32) for pet in (pair.full, pair.low))
    scale = low_head.brain_mean / head.brain_mean
    noise = float(np.sqrt(np.mean((low - full)[head.mask] ** 2) / (1 - pair.dose))) / scale
    rows = (full, full, mr, head.mask, np.zeros(full.shape, np.float32), *maps, low)
    facts = {
        "measured": True,
        "doses": [pair.dose],
        "scales": [scale],
        "noise": [noise],
        "bands": [scaled_bands(full / scale, low / scale, head.mask, cube)],
        "blur_mm": _blur_mm(full, head, cube),
    }
    return Phantom(np.stack([part[head.box].astype(np.float16) for part in rows]), (pair.dose,), facts)


class MeasuredPool(Pool):
    """Measured pairs in a folder, or some of them, in place of a pool of simulated phantoms.

    Args:
        folder: where :meth:`add` has put them.
        members: numbers of the pairs that belong to this pool.
        spacing: voxel side of the model's grid in mm.
        normalisation: scheme that examples are loaded in.
        target: what the residual leads to.
    """

    def __init__(self, folder: Path, members: Sequence[int], spacing: float, normalisation: str, target: str):
        self.members = tuple(members)
        names = [str(member) for member in self.members]
        super().__init__(folder, folder, names, (), spacing, 0, normalisation, None, target)

    @staticmethod
    def add(folder: Path, number: int, pair: MeasuredPair) -> None:
        """Write a pair as number ``number`` of a folder."""
        save_phantom(phantom_of_pair(pair), folder / f"{number:05d}.npy")

    def path(self, phantom: int) -> Path:
        """The file of one pair."""
        return self.folder / f"{self.members[phantom]:05d}.npy"

    def available(self) -> int:
        """How many pairs there are."""
        return len(self.members)

    def doses_of(self, phantom: int) -> tuple[float, ...]:
        """The one dose fraction of a pair."""
        facts: dict[str, Any] = json.loads(self.path(phantom).with_suffix(".json").read_text())
        return tuple(facts["doses"])

    def simulate(self, phantom: int, device: str = "cpu") -> None:
        """Do nothing: measured pairs are there."""


def _blur_mm(full: np.ndarray, head: Head, cube: Sequence[float]) -> float:
    """Width of lesions that are drawn into the pair: that of its noise, within what scanners have."""
    features = texture(Scan.of_array(full, cube, Head(head.mask, head.box, 1.0)))
    low, high = _BLUR_LIMITS_MM
    return low if features is None else float(np.clip(blur_fwhm_mm(features), low, high))
