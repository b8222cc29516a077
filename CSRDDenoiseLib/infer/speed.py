"""How fast a device runs a model: what an estimate of time and memory needs, measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..devices import choose_device
from ..scan import measure_normalising
from .cost import BYTES_PER_FIELD_VOXEL
from .memory import STATE_VOLUMES, measure_draw_speed, measure_speed, memory_budget, resident_bytes

if TYPE_CHECKING:
    from ..model.bundle import Model

TIMED_SIDE = 48
# finding the head is about half of what a run does before and after sampling, files included
SHARE_OF_NORMALISING = 0.5


def device_speed(model: Model, device: str, name: str, side: int = TIMED_SIDE) -> dict[str, Any]:
    """Time one evaluation; return the fields of :class:`~CSRDDenoiseLib.infer.cost.DeviceSpeed`, device and model.

    Args:
        model: on the device.
        device: its name, as in the settings.
        name: how the caller names the model.
        side: of the cube that is timed, voxels.
    """
    return {
        "device": device,
        "model": name,
        "voxel_spacing_mm": model.metadata.voxel_spacing_mm,
        "voxels_per_second": measure_speed(model, side),
        "draw_voxels_per_second": measure_draw_speed(model, side),
        "seconds_per_field_voxel": measure_normalising(side) / SHARE_OF_NORMALISING,
        "bytes_per_voxel": model.metadata.bytes_per_voxel,
        "bytes_per_state_voxel": 4 * STATE_VOLUMES,
        "bytes_per_field_voxel": BYTES_PER_FIELD_VOXEL,
        "bytes_resident": resident_bytes(),
        "bytes_for_evaluation": memory_budget(choose_device(device), 0),
    }
