"""Estimate of the time and memory of a run before it starts (no heavy library)."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from ..settings import DenoiseSettings
from .memory import choose_patch, interval_of

BYTES_PER_FIELD_VOXEL = 110.0
"""At its peak, normalising holds this much for every voxel of the field of view (measured, see docs/performance.md)."""

LOADED_BYTES = 20 << 20
"""What the libraries that the first run loads, and the gaps that tensors leave, add to the process (measured)."""

_INPUT_BYTES = 8
_MULTIPLE = 8
"""Of voxels, in a side of a patch of the bundled networks."""

_DIVISORS = ("voxel_spacing_mm", "voxels_per_second", "draw_voxels_per_second", "bytes_per_voxel")
_LEAST, _MOST = dict.fromkeys(_DIVISORS, 1e-3), 1e18
"""No device is as slow, or as large; with these limits every estimate is a number that can be shown."""


@dataclass(frozen=True)
class DeviceSpeed:
    """What one device does with one model; the worker's answer to ``estimate``.

    Attributes:
        voxel_spacing_mm: edge of the model's voxels.
        voxels_per_second: speed of the posterior mean: its evaluations of the network, and what they prepare.
        draw_voxels_per_second: speed of one evaluation for a draw, which may be another network's.
        seconds_per_field_voxel: of the stages before and after sampling, per voxel of the field of view.
        bytes_per_voxel: memory of one evaluation.
        bytes_per_state_voxel: memory of everything else that sampling holds.
        bytes_per_field_voxel: memory of normalising, per voxel of the field of view.
        bytes_resident: memory of the process before a run.
        bytes_for_evaluation: memory that one evaluation may take; larger volumes are cut into patches.
        preparing_seconds_per_voxel: of what another network prepares once for all draws.
    """

    voxel_spacing_mm: float
    voxels_per_second: float
    draw_voxels_per_second: float
    seconds_per_field_voxel: float
    bytes_per_voxel: float
    bytes_per_state_voxel: float
    bytes_per_field_voxel: float
    bytes_resident: float
    bytes_for_evaluation: float
    preparing_seconds_per_voxel: float = 0.0


def speed_from(message: dict[str, Any]) -> DeviceSpeed:
    """Return the speed in a worker's answer.

    Raises:
        KeyError, OverflowError, TypeError, ValueError: it holds none, such as an entry of a damaged file of settings.
    """
    speed = DeviceSpeed(**{name: float(message[name]) for name in DeviceSpeed.__dataclass_fields__})
    odd = {name: value for name, value in asdict(speed).items() if not _LEAST.get(name, 0.0) <= value <= _MOST}
    if odd:
        raise ValueError(f"no speed of a device: {odd}")
    return speed


def seconds_and_bytes(
    speed: DeviceSpeed, head_voxels: float, field_voxels: float, settings: DenoiseSettings
) -> tuple[float, float]:
    """Return the time and the memory of a run.

    Args:
        speed: of device and model.
        head_voxels: the model's voxels in the box around the head, which is what is sampled.
        field_voxels: the model's voxels in the PET's whole field of view.
        settings: of the run.
    """
    most = speed.bytes_for_evaluation / speed.bytes_per_voxel
    patch = min(math.prod(settings.patch_sides) if settings.patch_sides else head_voxels, most, head_voxels)
    seconds_per_voxel = 1 / speed.voxels_per_second + (settings.evaluations - 1) / speed.draw_voxels_per_second
    sampling = head_voxels * _repeated(head_voxels, most, settings) * seconds_per_voxel
    preparing = head_voxels * speed.preparing_seconds_per_voxel if settings.evaluations > 1 else 0.0
    seconds = sampling + preparing + speed.seconds_per_field_voxel * field_voxels
    sampling_bytes = speed.bytes_per_state_voxel * head_voxels + speed.bytes_per_voxel * patch
    normalising_bytes = speed.bytes_per_field_voxel * field_voxels
    most_bytes = max(sampling_bytes + _INPUT_BYTES * field_voxels, normalising_bytes)
    return seconds, speed.bytes_resident + LOADED_BYTES + most_bytes


def _repeated(head_voxels: float, most_voxels: float, settings: DenoiseSettings) -> float:
    """How often patches evaluate a voxel, as in a cube of so many voxels; a volume that fits is evaluated once."""
    side = max(math.ceil(head_voxels ** (1 / 3) / _MULTIPLE), 1) * _MULTIPLE
    shape = (side, side, side)
    patch = settings.patch_sides or choose_patch(
        shape, most_voxels * side**3 / head_voxels, _MULTIPLE, settings.overlap
    )
    return math.prod(_repeated_along(side, min(length, side), settings.overlap) for length in patch)


def _repeated_along(side: int, length: int, overlap: float) -> float:
    windows = math.ceil((side - length) / interval_of(length, overlap, _MULTIPLE)) + 1
    return windows * length / side
