"""Devices and precisions that a network can run in on this machine."""

from __future__ import annotations

import platform
import re
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Optional

import torch

from .errors import InputError, reason_of

_CODE = re.compile(r"(sm|compute)_(\d+)")
_MODEL_NAME = re.compile(r"^model name[ \t]*:[ \t]*(.*\S)", re.MULTILINE)
_PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


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
        description, memory = processor_name(), None
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
    if name == "cuda":
        name = next((each for each in here if each.startswith(name)), name)
    if name not in here:
        raise InputError(f"Device '{name}' is not there; this machine has {', '.join(here)}.{_without_code()}")
    return torch.device(name)


def choose_precision(device: torch.device, wanted: str = "auto") -> torch.dtype:
    """Return the dtype of the network's arithmetic on a device; everything around the network stays float32.

    Args:
        device: where the network runs.
        wanted: ``float32``, ``bfloat16``, ``float16``, or ``auto``: bfloat16 where it is faster, else
            float32. bfloat16 without hardware support is emulated, hundreds of times slower than float32.

    Raises:
        InputError: float16 on a processor, or a precision that this version of torch cannot use on the device.
    """
    if wanted == "auto":
        return torch.bfloat16 if has_fast_bfloat16(device) else torch.float32
    if wanted == "float16" and device.type == "cpu":
        raise InputError(
            "The precision float16 needs a GPU, and this run is on the CPU; choose float32, bfloat16 or auto.",
            hint="precision",
        )
    try:
        arithmetic(device, _PRECISIONS[wanted])
    except RuntimeError as error:
        raise InputError(
            f"The precision {wanted} cannot be used on {device} with PyTorch {torch.__version__}: {reason_of(error)}; "
            "choose float32 or auto.",
            hint="precision",
        ) from error
    return _PRECISIONS[wanted]


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether the hardware computes faster in bfloat16 than in float32.

    CUDA does from capability 8.0 on, and so do processors with AMX, or with AVX-512 bf16 unless they are Intel's: there
    a bfloat16 dot product without AMX has no more throughput than float32's, and the network takes 1.7 times as long.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != "cpu":
        return False
    return _has("_is_amx_tile_supported") or (_has("_is_avx512_bf16_supported") and "Intel" not in _processor())


def _has(question: str) -> bool:
    """Result of a query of ``torch.cpu``; False if this version of torch does not have it."""
    answer = getattr(torch.cpu, question, None)
    return bool(answer and answer())


def processor_name() -> str:
    """The processor's name, as ``AMD EPYC 9654``; its architecture where the system states no name."""
    named = _MODEL_NAME.search(_processor())
    return named.group(1) if named else platform.processor() or platform.machine()


def _processor() -> str:
    """Text with the maker of the processor; Linux has it in no other place."""
    try:
        return Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        return platform.processor()


def arithmetic(device: torch.device, precision: torch.dtype) -> AbstractContextManager:
    """Return the context in which networks on a device compute in a precision."""
    if precision == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, dtype=precision)


def lacks_operation(error: BaseException) -> bool:
    """Whether an exception of torch means that a device has no such operation; backends have several words for it."""
    words = ("not supported on", "not implemented for", "not currently implemented for", "could not run 'aten::")
    return isinstance(error, NotImplementedError) or any(word in str(error).lower() for word in words)


def precision_name(precision: torch.dtype) -> str:
    """Return ``float32`` for ``torch.float32``, and so on."""
    return str(precision).split(".")[-1]


def _device_names() -> list[str]:
    cuda = [f"cuda:{index}" for index in _cuda_indices() if _has_code(index)]
    return [*cuda, *(["mps"] if torch.backends.mps.is_available() else []), "cpu"]


def _cuda_indices() -> range:
    return range(torch.cuda.device_count() if torch.cuda.is_available() else 0)


def _has_code(index: int) -> bool:
    """Whether this build of torch has code for a CUDA device, which may be older or newer than what it was built for.

    Machine code (sm_86) runs on devices of the same major capability and this minor one or a later one, intermediate
    code (compute_90) on this capability and all later ones (CUDA C++ Programming Guide, section 5.9).
    """
    built = [_CODE.match(name) for name in torch.cuda.get_arch_list()]
    if torch.version.cuda is None or not any(built):
        return True
    major, minor = torch.cuda.get_device_capability(index)
    here, codes = 10 * major + minor, [(found[1], int(found[2])) for found in built if found]
    return any(code <= here and (kind == "compute" or code // 10 == major) for kind, code in codes)


def _without_code() -> str:
    """Name the CUDA devices that this build of torch has no code for, in a sentence; empty where there are none."""
    left_out = [index for index in _cuda_indices() if not _has_code(index)]
    named = ", ".join(
        "{} (compute capability {}.{})".format(
            torch.cuda.get_device_properties(index).name, *torch.cuda.get_device_capability(index)
        )
        for index in left_out
    )
    return f" PyTorch {torch.__version__} has no code for {named}; install a build that has." if named else ""
