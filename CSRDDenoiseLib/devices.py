"""Where a network can run, and in which precision: only what the processor at hand really does well."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass
from typing import Any, Optional

import torch

from .errors import InputError


@dataclass(frozen=True)
class Device:
    """One device of this machine.

    Attributes:
        name: what ``choose_device`` takes.
        description: the processor's own name.
        memory_bytes: memory of its own, None where it shares the machine's.
        precision: of the network's arithmetic there.
    """

    name: str
    description: str
    memory_bytes: Optional[int]
    precision: str

    def as_dict(self) -> dict[str, Any]:
        """Return the device as plain JSON types."""
        return asdict(self)


def list_devices() -> list[Device]:
    """Return the devices of this machine, the one ``auto`` takes first."""
    found = []
    for name in _device_names():
        device = torch.device(name)
        description, memory = platform.processor() or platform.machine(), None
        if device.type == "cuda":
            properties = torch.cuda.get_device_properties(device)
            description, memory = properties.name, properties.total_memory
        found.append(Device(name, description, memory, precision_name(choose_precision(device))))
    return found


def choose_device(name: str = "auto") -> torch.device:
    """Return the device of this name; ``auto`` is CUDA, else Apple's MPS, else the CPU.

    Raises:
        InputError: the name is not a device, or this machine has none such.
    """
    here = _device_names()
    if name == "auto":
        return torch.device(here[0])
    if name not in here and not (name == "cuda" and "cuda:0" in here):
        raise InputError(f"Device '{name}' is not there; this machine has {', '.join(here)}.")
    return torch.device("cuda:0" if name == "cuda" else name)


def choose_precision(device: torch.device) -> torch.dtype:
    """Return the dtype of the network's arithmetic on a device; everything around the network stays float32.

    bfloat16 without hardware support is emulated, hundreds of times slower than float32, so the processor is asked.
    """
    if device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0):
        return torch.bfloat16
    if device.type == "cpu" and _cpu_has_bfloat16():
        return torch.bfloat16
    return torch.float32


def precision_name(precision: torch.dtype) -> str:
    """Return ``float32`` for ``torch.float32``, and so on."""
    return str(precision).split(".")[-1]


def _device_names() -> list[str]:
    cuda = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    return [*cuda, *(["mps"] if torch.backends.mps.is_available() else []), "cpu"]


def _cpu_has_bfloat16() -> bool:
    # absent before torch 2.3, where float32 is then used
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(supported and supported())
