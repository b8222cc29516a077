"""How fast a device runs a model: what an estimate of time and memory needs, measured."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable

import torch

from ..devices import arithmetic, choose_device, choose_precision
from ..scan import measure_normalising
from .cost import BYTES_PER_FIELD_VOXEL
from .memory import STATE_VOLUMES, memory_budget, resident_bytes

if TYPE_CHECKING:
    from ..model.bundle import Model

TIMED_SIDE = 48
# finding the head is about half of what a run does before and after sampling, files included
SHARE_OF_NORMALISING = 0.5


@dataclass(frozen=True)
class NetworkTime:
    """Seconds of a network for a voxel, in the precision that a run chooses.

    Attributes:
        preparing: of what does not depend on the noise level, once for all evaluations.
        evaluating: of one evaluation.
    """

    preparing: float
    evaluating: float


def time_of_network(model: Model, side: int) -> NetworkTime:
    """Time a model's own network on a cube of so many voxels a side, after a first evaluation that warms up."""
    # a regression on tissue maps has no weights, and runs where its input lies
    weights = next(model.denoiser.parameters(), None)
    device = torch.device("cpu") if weights is None else weights.device
    side = max(side // model.denoiser.model.multiple, 1) * model.denoiser.model.multiple
    channels = (1, model.denoiser.model.in_channels - 1)
    noisy, condition = (torch.zeros(1, count, side, side, side, device=device) for count in channels)
    sigma = torch.full((1,), model.metadata.sigma_data, device=device)
    with torch.inference_mode(), arithmetic(device, choose_precision(device, "auto")):
        prepared = model.denoiser.prepare(condition)
        preparing = _seconds(lambda: model.denoiser.prepare(condition))
        evaluating = _seconds(lambda: model.denoiser.denoise(noisy, sigma, prepared))
    return NetworkTime(preparing / side**3, evaluating / side**3)


def time_of_draws(model: Model, side: int) -> NetworkTime:
    """As :func:`time_of_network`, of the network of the draws; where both are one, it is prepared already."""
    if model.deviation is None:
        return NetworkTime(0.0, time_of_network(model, side).evaluating)
    return time_of_network(model.of_deviation(), side)


def _seconds(compute: Callable[[], torch.Tensor]) -> float:
    """Wall time of the second of two calls; the sum waits for a device to end."""
    for _ in range(2):
        began = time.perf_counter()
        float(compute().sum())
        seconds = time.perf_counter() - began
    return seconds


def device_speed(model: Model, device: str, name: str, side: int = TIMED_SIDE) -> dict[str, Any]:
    """Time one evaluation; return the fields of :class:`~CSRDDenoiseLib.infer.cost.DeviceSpeed`, device and model.

    Args:
        model: on the device.
        device: its name, as in the settings.
        name: how the caller names the model.
        side: of the cube that is timed, voxels.
    """
    mean, draws = time_of_network(model, side), time_of_draws(model, side)
    estimating = model.metadata.passes * (mean.preparing + mean.evaluating)
    return {
        "device": device,
        "model": name,
        "voxel_spacing_mm": model.metadata.voxel_spacing_mm,
        "voxels_per_second": 1 / estimating,
        "draw_voxels_per_second": 1 / draws.evaluating,
        "preparing_seconds_per_voxel": draws.preparing,
        "seconds_per_field_voxel": measure_normalising(side) / SHARE_OF_NORMALISING,
        "bytes_per_voxel": model.metadata.bytes_per_voxel,
        "bytes_per_state_voxel": 4 * STATE_VOLUMES,
        "bytes_per_field_voxel": BYTES_PER_FIELD_VOXEL,
        "bytes_resident": resident_bytes(),
        "bytes_for_evaluation": memory_budget(choose_device(device), 0),
    }
