"""One evaluation of the network against its plain version, its convolutions alone, and lower bounds of its time."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any, Callable, Optional, Sequence

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ...devices import arithmetic, choose_precision, precision_name
from ...model.bundle import Model
from .plain import plain_denoiser

_MATRIX = 1536
_COPIED_BYTES = 256 << 20
_REPEATS = 3


@dataclass(frozen=True)
class Convolution:
    """One call of a convolution: its tensors' shapes and the arguments that matter for speed."""

    input: tuple[int, ...]
    weight: tuple[int, ...]
    bias: bool
    stride: tuple[int, ...]
    padding: tuple[int, ...]

    @property
    def output_voxels(self) -> int:
        """Voxels of the result, over the batch."""
        sides = zip(self.input[2:], self.weight[2:], self.stride, self.padding)
        count = self.input[0]
        for side, taps, step, pad in sides:
            count *= (side + 2 * pad - taps) // step + 1
        return count

    @property
    def operations(self) -> int:
        """Multiplications and additions."""
        out, channels, *taps = self.weight
        return 2 * self.output_voxels * out * channels * math.prod(taps)

    @property
    def elements(self) -> int:
        """Numbers that are read and written at least once."""
        return math.prod(self.input) + math.prod(self.weight) + self.output_voxels * self.weight[0]


class _Convolutions(TorchFunctionMode):
    """Records every convolution while it is active."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Convolution] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Optional[dict] = None) -> Any:
        if func is torch.conv3d:
            self.found.append(_convolution(*args, **(kwargs or {})))
        return func(*args, **(kwargs or {}))


def probe_network(model: Model, side: int) -> dict[str, Any]:
    """Time the parts of one evaluation on a cube.

    Args:
        model: on its device.
        side: of the cube in voxels, a multiple of what the network needs.

    Returns:
        Seconds of one evaluation, of the condition's preparation, of the plain way and of the convolutions alone; the
        convolutions' operations and bytes; the device's peak of matrix products and of copying; the two floors.
    """
    device = next(model.denoiser.parameters()).device
    precision = choose_precision(device)
    with torch.inference_mode():
        times, convolutions = _time_parts(model, _inputs(model, side, device), precision)
        bounds = _bounds(convolutions, precision, device)
    return {
        "side": side,
        "precision": precision_name(precision),
        "threads": torch.get_num_threads(),
        **times,
        **bounds,
        "share_of_peak": bounds["floor_of_operations_seconds"] / times["evaluation_seconds"],
    }


def _inputs(model: Model, side: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Noisy residual, noise level and condition of one cube."""
    generator = torch.Generator().manual_seed(0)
    noisy, condition = (
        torch.randn((1, count, side, side, side), generator=generator).to(device)
        for count in (1, len(model.metadata.channels))
    )
    return noisy, torch.full((1,), model.metadata.sigma_data, device=device), condition


def _time_parts(
    model: Model, inputs: tuple[Tensor, Tensor, Tensor], precision: torch.dtype
) -> tuple[dict[str, float], list[Convolution]]:
    """Time one evaluation, its preparation, its plain version and its convolutions alone; return these as well."""
    noisy, sigma, condition = inputs
    device, denoiser, plain = noisy.device, model.denoiser, plain_denoiser(model)
    with arithmetic(device, precision):
        prepared = denoiser.prepare(condition)
        with _Convolutions() as convolutions:
            denoiser.denoise(noisy, sigma, prepared)
        evaluation = best_seconds(lambda: denoiser.denoise(noisy, sigma, prepared), device)
        preparation = best_seconds(lambda: denoiser.prepare(condition), device)
    plainly = best_seconds(lambda: plain(noisy, sigma, condition), device)
    alone = sum(_alone(convolution, device, precision) for convolution in convolutions.found)
    times = {
        "evaluation_seconds": evaluation,
        "preparation_seconds": preparation,
        "plain_seconds": plainly,
        "times_plain": plainly / evaluation,
        "lone_convolutions_seconds": alone,
        "share_of_lone_convolutions": alone / evaluation,
    }
    return times, convolutions.found


def _bounds(convolutions: Sequence[Convolution], precision: torch.dtype, device: torch.device) -> dict[str, float]:
    """What the convolutions need at least, by the device's fastest matrix product and its fastest copy."""
    operations = sum(convolution.operations for convolution in convolutions)
    size = torch.finfo(precision).bits // 8 * sum(convolution.elements for convolution in convolutions)
    peak, bandwidth = matrix_peak(device, precision), copy_bandwidth(device)
    return {
        "convolution_operations": operations,
        "convolution_bytes": size,
        "matrix_peak_per_second": peak,
        "copy_bytes_per_second": bandwidth,
        "floor_of_operations_seconds": operations / peak,
        "floor_of_bytes_seconds": size / bandwidth,
    }


def best_seconds(work: Callable[[], Any], device: torch.device, repeats: int = _REPEATS) -> float:
    """Return the shortest of several times, after one run that warms up.

    With one thread on the CPU it is the processor's time, which is the wall time of a machine with nothing else to do.
    """
    alone = device.type == "cpu" and torch.get_num_threads() == 1
    clock = time.process_time if alone else time.perf_counter
    times = []
    for _ in range(repeats + 1):
        began = clock()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(clock() - began)
    return min(times[1:])


def matrix_peak(device: torch.device, precision: torch.dtype) -> float:
    """Return the operations per second of a large matrix product, the upper bound of convolutions."""
    a, b = (torch.ones((_MATRIX, _MATRIX), device=device, dtype=precision) for _ in range(2))
    return 2 * _MATRIX**3 / best_seconds(lambda: a @ b, device, repeats=8)


def copy_bandwidth(device: torch.device) -> float:
    """Return the bytes per second, read and written, of copying an array larger than the caches."""
    source = torch.ones(_COPIED_BYTES // 4, device=device)
    target = torch.empty_like(source)
    return 2 * _COPIED_BYTES / best_seconds(lambda: target.copy_(source), device)


def _convolution(
    x: Tensor, weight: Tensor, bias: Optional[Tensor], stride: Any, padding: Any, *_: Any, **__: Any
) -> Convolution:
    stride, padding = ((value,) * 3 if isinstance(value, int) else tuple(value) for value in (stride, padding))
    return Convolution(tuple(x.shape), tuple(weight.shape), bias is not None, stride, padding)


def _alone(convolution: Convolution, device: torch.device, precision: torch.dtype) -> float:
    x, weight = (
        torch.ones(shape, device=device, dtype=precision).contiguous(memory_format=torch.channels_last_3d)
        for shape in (convolution.input, convolution.weight)
    )
    bias = torch.ones(convolution.weight[0], device=device, dtype=precision) if convolution.bias else None
    return best_seconds(lambda: torch.conv3d(x, weight, bias, convolution.stride, convolution.padding), device)
