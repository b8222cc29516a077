"""How much memory one evaluation of a network needs, measured."""

from __future__ import annotations

import copy
import weakref
from typing import Any, Optional

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from .edm import Preconditioned, in_memory_format

_MEASURED_CUBES = (3, 4)
# measured: what the C library holds beyond the living tensors
_ALLOCATOR_OVERHEAD = 1.15


def activation_bytes_per_voxel(network: nn.Module) -> float:
    """Return the peak of living float32 tensors during one evaluation of a denoiser, in bytes per voxel of its input.

    A saved model carries this number in its metadata. It is not a table of constants: the network is run once on a
    small cube while every tensor it makes is followed from birth to death. The largest sum of living tensors is
    proportional to the number of voxels.
    """
    denoiser = Preconditioned(copy.deepcopy(network).cpu().float(), sigma_data=1.0).eval()
    in_memory_format(denoiser)
    # of two cubes, because what does not grow with the volume, as rearranged weights, does not count
    small, large = (count * denoiser.model.multiple for count in _MEASURED_CUBES)
    peaks = zip(_peaks_of_evaluation(denoiser, small), _peaks_of_evaluation(denoiser, large))
    return _ALLOCATOR_OVERHEAD * max(after - before for before, after in peaks) / (large**3 - small**3)


def _peaks_of_evaluation(denoiser: Preconditioned, side: int) -> tuple[int, int]:
    """Return the bytes alive at most while a condition is prepared, and while the denoiser is evaluated."""
    channels = (1, denoiser.model.in_channels - 1)
    noisy, condition = (torch.zeros(1, count, side, side, side) for count in channels)
    with torch.no_grad():
        with _LivingTensors() as preparing:
            prepared = denoiser.prepare(condition)
        with _LivingTensors() as evaluating:
            denoiser.denoise(noisy, torch.ones(1), prepared)
    return preparing.peak, evaluating.peak


class _LivingTensors(TorchFunctionMode):
    """Follows the storages of all tensors made while it is active; ``peak`` is the most bytes alive at once."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = self._now = 0
        self._owners: dict[int, int] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Optional[dict] = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(tensor, torch.Tensor):
                self._follow(tensor)
        return result

    def _follow(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key not in self._owners:
            self._owners[key] = 0
            self._now += size
            self.peak = max(self.peak, self._now)
        self._owners[key] += 1
        weakref.finalize(tensor, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._owners[key] -= 1
        if self._owners[key] == 0:
            del self._owners[key]
            self._now -= size
