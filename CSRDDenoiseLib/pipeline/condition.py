"""Normalise, by the name a model gives: what the network sees, and the factor that leads back to the PET's unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Optional, Sequence

import numpy as np

from ..errors import InputError, ModelError
from .normalise import Head, find_head, head_positions, noise_level, normalise_mr
from .reference_normalise import grid_positions, reference_mr, reference_range


@dataclass(frozen=True)
class Condition:
    """The network's view of one subject.

    Attributes:
        channels: float32 (C, D, H, W): MR (zero where there is none), low-dose PET, position x, y, z, and what else the
            scheme adds: the logarithm of the noise level.
        head: where the head is; ``head.scale`` is about the mean of the brain in the PET's unit.
        scale: a residual of the network times this is a residual in the PET's unit.
    """

    channels: np.ndarray
    head: Head
    scale: float

    def cropped(self) -> Condition:
        """Return the part inside the head's bounding box."""
        box = self.head.box
        whole = tuple(slice(0, part.stop - part.start) for part in box)
        head = Head(self.head.mask[box], whole, self.head.scale)
        return Condition(np.ascontiguousarray(self.channels[(slice(None), *box)]), head, self.scale)


Normaliser = Callable[[np.ndarray, Optional[np.ndarray], Head, Sequence[float]], Condition]


def make_condition(scheme: str, pet: np.ndarray, mr: Optional[np.ndarray], spacing: Sequence[float]) -> Condition:
    """Normalise PET and MR (D, H, W) on the model's grid as the scheme named in a model's metadata says.

    Raises:
        InputError: the PET shows no head.
        ModelError: the scheme is not known.
    """
    if scheme not in NORMALISERS:
        raise ModelError(f"The model asks for the normalisation '{scheme}'; known are {', '.join(NORMALISERS)}.")
    head = find_head(pet, spacing)
    if head is None:
        raise InputError("No head was found in the PET: nothing in it stands out from the background.")
    return NORMALISERS[scheme](pet, mr, head, spacing)


def _noise_level(pet: np.ndarray, mr: Optional[np.ndarray], head: Head, spacing: Sequence[float]) -> Condition:
    channels = np.zeros((6, *pet.shape), np.float32)
    if mr is not None:
        channels[0] = normalise_mr(mr, head.mask)
    channels[1] = pet / head.scale
    channels[2:5] = head_positions(pet.shape, head.box)
    level = noise_level(channels[1], head.mask, spacing)
    channels[5] = np.log(level)
    return Condition(channels, head, head.scale * level)


def _reference(pet: np.ndarray, mr: Optional[np.ndarray], head: Head, spacing: Sequence[float]) -> Condition:
    low, extent = reference_range(pet)
    channels = np.zeros((5, *pet.shape), np.float32)
    if mr is not None:
        channels[0] = reference_mr(mr)
    channels[1] = (pet - low) / extent
    channels[2:] = grid_positions(pet.shape)
    return Condition(channels, head, extent)


NORMALISERS: dict[str, Normaliser] = {"noise-level": _noise_level, "reference": _reference}
