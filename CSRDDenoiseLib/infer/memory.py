"""How much memory there is, and the patches that fit."""

from __future__ import annotations

import ctypes
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Iterator, Optional

from ..errors import InputError

if TYPE_CHECKING:
    import torch

GIB = 1 << 30
PROCESS_LIMIT = 6 * GIB
"""A run on the CPU plans to stay below this, however much memory is free."""

SHARE_OF_FREE = 0.8
STATE_VOLUMES = 14
"""Float32 volumes a run holds beside the network's own: padded condition, state, blending, solver, statistics."""

_LEAST_BUDGET = 256 << 20
_SMALLEST_PATCH = 4
"""Multiples a side. The bundled model's error with patches of one multiple is a quarter larger than in one piece, with
patches of four it is 2 % larger (example, preset ``fast``)."""

OWN_GROUPS, ALL_GROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
_FILES_OF_GROUP = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
"""Of control groups of version 2 and 1: limit, use, and the count of droppable cache in ``memory.stat``."""

Shape = tuple[int, int, int]


def check_patch(sides: Optional[Shape], multiple: int) -> None:
    """Refuse patches (D, H, W) that a network cannot take; None, for patches that are chosen by the memory, passes.

    Raises:
        InputError: a side is no multiple of ``multiple`` voxels.
    """
    for side in sides or ():
        if side % multiple:
            below = max(side // multiple, 1) * multiple
            raise InputError(
                f"The patch size is {side}, and this model needs a multiple of {multiple}; "
                f"use {below} or {below + multiple}."
            )


def check_patch_is_enough(sides: Optional[Shape], multiple: int) -> None:
    """Refuse patches of no side that this program would choose; None passes.

    One side of a volume may be shorter than that, so one side that is long enough will do.

    Raises:
        InputError: every side is below the smallest.
    """
    least = _SMALLEST_PATCH * multiple
    if sides is not None and max(sides) < least:
        raise InputError(
            f"The patch size is {max(sides)}, and this model needs patches of at least {least} voxels: smaller ones "
            "show too little of the head at once, and there are very many of them. Use "
            f"{least} or more, or leave the patch size out."
        )


def return_freed_memory() -> None:
    """Give memory that was freed back to the system, where the C library has a call for it (glibc's malloc_trim).

    Without it, runs one after another in one process fill the gaps that the ones before left behind ever worse.
    """
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return
    trim(0)


def memory_budget(device: torch.device, voxels: int) -> int:
    """Return how many bytes one evaluation of the network may take in a run over a volume of this many voxels."""
    import torch

    state = 4 * STATE_VOLUMES * voxels
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
        free -= torch.cuda.memory_allocated(device)
        return max(int(SHARE_OF_FREE * free) - state, _LEAST_BUDGET)
    limit = PROCESS_LIMIT - resident_bytes()
    here = free_bytes()
    if here is not None:
        limit = min(limit, int(SHARE_OF_FREE * here))
    return max(limit - state, _LEAST_BUDGET)


def choose_patch(shape: Shape, most_voxels: float, multiple: int, overlap: float) -> Shape:
    """Return the patch of at most ``most_voxels`` that covers a volume in the fewest, evenly spread windows.

    Args:
        shape: (D, H, W) of the volume, multiples of ``multiple``.
        most_voxels: what fits memory.
        multiple: every side of the patch is a multiple of this.
        overlap: share of a side that neighbours have in common.

    Returns:
        The patch's (D, H, W): the volume itself when it fits, no less than four multiples a side when nothing does.
    """
    windows = [1, 1, 1]
    patch = shape
    while math.prod(patch) > most_voxels:
        longest = max(range(3), key=lambda axis: patch[axis])
        if patch[longest] <= _SMALLEST_PATCH * multiple:
            break
        windows[longest] += 1
        depth, height, width = (_side(size, count, multiple, overlap) for size, count in zip(shape, windows))
        patch = depth, height, width
    return patch


def interval_of(side: int, overlap: float, multiple: int) -> int:
    """Voxels between windows of this side: multiples of what the network needs, at least one, so that very
    small patches overlap by less than the share."""
    return max(int(side * (1 - overlap)) // multiple, 1) * multiple


def smaller_patch(patch: Shape, shape: Shape, multiple: int, overlap: float) -> Optional[Shape]:
    """Return a patch of about half the voxels, or None when it is as small as it gets."""
    smaller = choose_patch(shape, math.prod(patch) / 2, multiple, overlap)
    return smaller if math.prod(smaller) < math.prod(patch) else None


def free_bytes() -> Optional[int]:
    """Return the memory this process can still take without swapping, or None where the system does not report it."""
    free = [size for size in (_free_of_machine(), _free_of_container()) if size is not None]
    return min(free) if free else None


def resident_bytes() -> int:
    """Return the memory this process holds now, 0 where the system does not report it."""
    try:
        import psutil
    except ImportError:
        statm = Path("/proc/self/statm")
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if statm.exists() else 0
    return psutil.Process().memory_info().rss


def _side(size: int, windows: int, multiple: int, overlap: float) -> int:
    """Return the side, a multiple, of this many overlapping windows that together span ``size``."""
    side = size / (windows - (windows - 1) * overlap)
    return min(max(math.ceil(side / multiple), _SMALLEST_PATCH) * multiple, size)


def _free_of_machine() -> Optional[int]:
    try:
        import psutil
    except ImportError:
        return _free_of_linux()
    return psutil.virtual_memory().available


def _free_of_linux() -> Optional[int]:
    table = Path("/proc/meminfo")
    if not table.exists():
        return None
    for line in table.read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _free_of_container() -> Optional[int]:
    """Control groups limit containers and jobs of a cluster below what the machine has free."""
    free = [size for size in map(_free_of_group, _groups()) if size is not None]
    return min(free, default=None)


def _groups() -> Iterator[Path]:
    """Give the folders of this process's control groups, of both versions, and of the groups that they lie in.

    A container may see its own group as the root, and the name that it has outside.
    """
    try:
        lines = OWN_GROUPS.read_text().splitlines()
    except OSError:
        return
    for controllers, place in (line.split(":", 2)[1:] for line in lines if line.count(":") >= 2):
        if controllers and "memory" not in controllers.split(","):
            continue
        root = ALL_GROUPS / "memory" if controllers else ALL_GROUPS
        folder = root / place.strip("/")
        yield from (each for each in (folder, *folder.parents) if each == root or root in each.parents)


def _free_of_group(folder: Path) -> Optional[int]:
    """Return what a control group may still take, with the cache of files that it can drop; None without a limit."""
    for limit, used, cache in _FILES_OF_GROUP:
        try:
            most, now = ((folder / name).read_text().strip() for name in (limit, used))
            if most == "max":
                return None
            counts = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            return int(most) - int(now) + int(counts.get(cache, 0))
        except (OSError, ValueError):
            continue
    return None
