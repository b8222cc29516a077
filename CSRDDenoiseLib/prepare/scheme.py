"""Normalise, by the name a model gives: what the network sees, and the factor that leads back to the PET's unit.

A scheme measures its terms, a few numbers, on the whole scan; the network's channels follow from them. Training, which
cuts patches first, and inference both use :attr:`Scheme.measure` and :func:`assemble`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Iterable, Mapping, Optional, Sequence, TypeVar

import numpy as np

from ..errors import ModelError
from ..scan import Head, Scan, head_lines, spread_positions, top_of_mr
from .bands import noise_bands
from .reference_scheme import grid_lines, reference_mr_range, reference_range
from .tissue import best_tissue_maps, tissue_maps

MR_LIMIT = 1.5
Array = TypeVar("Array")


@dataclass(frozen=True)
class Condition:
    """The network's view of one subject.

    Attributes:
        channels: float32 (D, H, W) each, in the order that ``bundle.CHANNELS`` names: MR (zero where there is none),
            low-dose PET, position, and what else the scheme adds. What is constant along an axis is a view that takes
            no memory.
        head: where the head is; ``head.brain_mean`` is the mean of the brain in the PET's unit.
        scale: a residual of the network times this is a residual in the PET's unit.
    """

    channels: tuple[np.ndarray, ...]
    head: Head
    scale: float

    def cropped(self) -> Condition:
        """Return the part inside the head's bounding box."""
        parts = tuple(part_of(channel, self.head.box) for channel in self.channels)
        return Condition(parts, self.head.cropped(), self.scale)


@dataclass(frozen=True)
class Terms:
    """What a scheme measures on a scan.

    Attributes:
        pet: offset and extent: the network's PET is (PET - offset) / extent.
        mr: offset, extent and limit: the network's MR is (MR - offset) / extent, clipped to 0 and the limit; zero
            where the extent is zero.
        unit: of the residual, in the PET's unit.
        constants: of the channels that are the same in every voxel.
        lines: positions along z, y and x, (D,), (H,), (W,).
    """

    pet: tuple[float, float]
    mr: tuple[float, float, float]
    unit: float
    constants: tuple[float, ...]
    lines: tuple[np.ndarray, ...]

    def network_pet(self, pet: np.ndarray) -> np.ndarray:
        """The PET as the network sees it, float32."""
        offset, extent = self.pet
        return np.asarray((pet - offset if offset else pet) / extent, np.float32)

    def network_mr(self, mr: np.ndarray) -> np.ndarray:
        """The MR as the network sees it, float32."""
        offset, extent, limit = self.mr
        if extent <= 0:
            return np.zeros(mr.shape, np.float32)
        return np.clip((mr - offset) / extent, 0.0, limit).astype(np.float32)


Maps = Callable[[np.ndarray, Optional[np.ndarray], np.ndarray, Sequence[float]], np.ndarray]
Measure = Callable[[Scan, Optional[np.ndarray]], Terms]


@dataclass(frozen=True)
class Scheme:
    """One way to normalise.

    Attributes:
        measure: (scan, MR on its grid or None) -> terms.
        positions: whether there are channels for the position.
        maps: what makes tissue maps, the last channels, of the PET and the MR as the network sees them, the head and
            the spacing.
    """

    measure: Measure
    positions: bool = True
    maps: Optional[Maps] = None


def scheme_of(name: str) -> Scheme:
    """Return a scheme by the name that a model's metadata gives.

    Raises:
        ModelError: the scheme is not known.
    """
    if name not in SCHEMES:
        raise ModelError(f"The model asks for the normalisation '{name}'; known are {', '.join(SCHEMES)}.")
    return SCHEMES[name]


def make_condition(scheme: str, scan: Scan, mr: Optional[np.ndarray]) -> Condition:
    """Normalise a PET on the model's grid, and the MR (D, H, W) on it, by the scheme named in a model's metadata.

    Raises:
        InputError: the PET shows no head.
        ModelError: the scheme is not known.
    """
    rules, head, pet = scheme_of(scheme), scan.head, scan.pet
    terms = rules.measure(scan, mr)
    network_mr = None if mr is None else terms.network_mr(mr)
    network_pet = terms.network_pet(pet)
    maps = () if rules.maps is None else tuple(rules.maps(network_pet, network_mr, head.mask, scan.spacing))
    positions = spread_positions(terms.lines) if rules.positions else ()
    mr_channel = constant(0.0, pet.shape) if network_mr is None else network_mr
    constants = (constant(value, pet.shape) for value in terms.constants)
    channels = assemble(mr_channel, network_pet, positions, constants, maps)
    return Condition(channels, head, terms.unit)


def assemble(
    mr: Array, pet: Array, positions: Iterable[Array], constants: Iterable[Array], maps: Iterable[Array] = ()
) -> tuple[Array, ...]:
    """The condition's channels in order, arrays or tensors; ``positions`` along x, y and z."""
    return (mr, pet, *positions, *constants, *maps)


def _noise_level(scan: Scan, mr: Optional[np.ndarray]) -> Terms:
    return _of_head(scan, mr, scan.noise_level, (float(np.log(scan.noise_level)),))


def _noise_bands(scan: Scan, mr: Optional[np.ndarray]) -> Terms:
    bands = noise_bands(scan.relative, scan.head.mask, scan.spacing, scan.smoothed)
    return _of_head(scan, mr, bands.unit, bands.constants)


def _tissue(scan: Scan, mr: Optional[np.ndarray]) -> Terms:
    return _of_head(scan, mr, 1.0, ())


def _fixed_maps(pet: np.ndarray, mr: Optional[np.ndarray], mask: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    return tissue_maps(mr, mask, spacing)


def _of_head(scan: Scan, mr: Optional[np.ndarray], level: float, constants: tuple[float, ...]) -> Terms:
    head = scan.head
    top = 0.0 if mr is None else top_of_mr(mr, head.mask)
    lines = head_lines(scan.pet.shape, head.box)
    return Terms((0.0, head.brain_mean), (0.0, top, MR_LIMIT), head.brain_mean * level, constants, lines)


def _reference(scan: Scan, mr: Optional[np.ndarray]) -> Terms:
    low, extent = reference_range(scan.pet)
    mr_low, mr_extent = (0.0, 0.0) if mr is None else reference_mr_range(mr)
    return Terms((low, extent), (mr_low, mr_extent, 1.0), extent, (), grid_lines(scan.pet.shape))


def constant(value: float, shape: Sequence[int]) -> np.ndarray:
    """A channel that is the same in every voxel: a view that takes no memory."""
    return np.broadcast_to(np.float32(value), shape)


def part_of(channel: np.ndarray, box: Sequence[slice]) -> np.ndarray:
    """Return the part of a channel (D, H, W) in a box: a copy, to free the rest, or a view that takes no memory."""
    part = channel[tuple(box)]
    return part if 0 in channel.strides else part.copy()


SCHEMES: Mapping[str, Scheme] = {
    "noise-bands": Scheme(_noise_bands, maps=_fixed_maps),
    "noise-level": Scheme(_noise_level),
    "reference": Scheme(_reference),
    "tissue": Scheme(_tissue, positions=False, maps=best_tissue_maps),
}
