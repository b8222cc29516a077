"""Normalise, by the name a model gives: what the network sees, and the factor that leads back to the PET's unit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Callable, Optional, Sequence

import numpy as np

from ..errors import InputError, ModelError
from ..scan import Head, find_head, head_positions, noise_level, normalise_mr
from .reference_scheme import grid_positions, reference_mr, reference_range


@dataclass(frozen=True)
class Condition:
    """The network's view of one subject.

    Attributes:
        channels: float32 (D, H, W) each: MR (zero where there is none), low-dose PET, position x, y, z, and what else
            the scheme adds: the logarithm of the noise level. What is constant along an axis is a view that takes no
            memory.
        head: where the head is; ``head.scale`` is about the mean of the brain in the PET's unit.
        scale: a residual of the network times this is a residual in the PET's unit.
    """

    channels: tuple[np.ndarray, ...]
    head: Head
    scale: float

    def cropped(self) -> Condition:
        """Return the part inside the head's bounding box."""
        box = self.head.box
        whole = tuple(slice(0, part.stop - part.start) for part in box)
        head = Head(self.head.mask[box], whole, self.head.scale)
        return Condition(tuple(_part(channel, box) for channel in self.channels), head, self.scale)

    def without_channels(self) -> Condition:
        """Return head and scale alone, when the network has seen its channels."""
        return replace(self, channels=())


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
    low_dose = np.asarray(pet / head.scale, np.float32)
    level = noise_level(low_dose, head.mask, spacing)
    mr = _constant(0.0, pet.shape) if mr is None else normalise_mr(mr, head.mask)
    positions = head_positions(pet.shape, head.box)
    return Condition((mr, low_dose, *positions, _constant(np.log(level), pet.shape)), head, head.scale * level)


def _reference(pet: np.ndarray, mr: Optional[np.ndarray], head: Head, spacing: Sequence[float]) -> Condition:
    low, extent = reference_range(pet)
    low_dose = np.asarray((pet - low) / extent, np.float32)
    mr = _constant(0.0, pet.shape) if mr is None else reference_mr(mr)
    return Condition((mr, low_dose, *grid_positions(pet.shape)), head, extent)


def _constant(value: float, shape: Sequence[int]) -> np.ndarray:
    return np.broadcast_to(np.float32(value), shape)


def _part(channel: np.ndarray, box: Sequence[slice]) -> np.ndarray:
    """A copy, so that the rest can be freed, unless it is a view that takes no memory."""
    part = channel[tuple(box)]
    return part if 0 in channel.strides else part.copy()


NORMALISERS: dict[str, Normaliser] = {"noise-level": _noise_level, "reference": _reference}
