"""Normalise, by the name a model gives: what the network sees, and the factor that leads back to the PET's unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Optional, Sequence

import numpy as np

from ..errors import InputError, ModelError
from .normalise import Head, find_head, head_positions, normalise_mr
from .reference_normalise import grid_positions, reference_mr, reference_range


@dataclass(frozen=True)
class Condition:
    """The network's view of one subject.

    Attributes:
        channels: float32 (5, D, H, W): MR, low-dose PET, position x, y, z; the MR is zero where there is none.
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


Normaliser = Callable[[np.ndarray, Optional[np.ndarray], Head], Condition]


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
    return NORMALISERS[scheme](pet, mr, head)


def _head_mean(pet: np.ndarray, mr: Optional[np.ndarray], head: Head) -> Condition:
    channels = np.zeros((5, *pet.shape), np.float32)
    if mr is not None:
        channels[0] = normalise_mr(mr, head.mask)
    channels[1] = pet / head.scale
    channels[2:] = head_positions(pet.shape, head.box)
    return Condition(channels, head, head.scale)


def _reference(pet: np.ndarray, mr: Optional[np.ndarray], head: Head) -> Condition:
    low, extent = reference_range(pet)
    channels = np.zeros((5, *pet.shape), np.float32)
    if mr is not None:
        channels[0] = reference_mr(mr)
    channels[1] = (pet - low) / extent
    channels[2:] = grid_positions(pet.shape)
    return Condition(channels, head, extent)


NORMALISERS: dict[str, Normaliser] = {"head-mean": _head_mean, "reference": _reference}
