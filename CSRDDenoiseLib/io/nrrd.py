"""Write an array to a NRRD file in steps, its values exact, so that the caller can do other things between them.

For programs that must not wait, such as Slicer; everything else is written by :mod:`.write`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Callable, Iterator, Mapping, Optional, Sequence

import numpy as np

from ..errors import InputError

AXIS_TOLERANCE = 1e-4
BYTES_A_STEP = 8 << 20
UNITS_KEY, SUV_TYPE_KEY = "0054|1001", "0054|1006"
_TYPES = {"i": "int{}", "u": "uint{}", "f4": "float", "f8": "double"}


def box_of(to_world: np.ndarray, size: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Return a box as the mask (2, 2, 2) of :mod:`CSRDDenoiseLib.prepare.region`, and its affine (4, 4).

    Args:
        to_world: (4, 4), from the box's own axes, their origin in its centre, to mm, L-P-S.
        size: its sides in its own axes.
    """
    half = np.diag([*(np.array(size, float) / 2), 1.0])
    half[:3, 3] = -np.array(size, float) / 4
    return np.ones((2, 2, 2), np.uint8), to_world @ half


def nrrd_header(values: np.ndarray, affine: np.ndarray, keys: Optional[Mapping[str, str]] = None) -> str:
    """Return the header of a NRRD file.

    Args:
        values: (D, H, W), integers or floating point.
        affine: (4, 4), index (x, y, z) -> mm, L-P-S.
        keys: further entries, such as :data:`UNITS_KEY`.

    Raises:
        InputError: the axes are not perpendicular, which the format could hold and no reader here takes.
    """
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    if np.abs(axes.T @ axes - np.eye(3)).max() > AXIS_TOLERANCE:
        raise InputError("The axes are not perpendicular. Resample the volume to a rectangular grid first.")
    kind = _TYPES.get(values.dtype.kind) or _TYPES[f"{values.dtype.kind}{values.dtype.itemsize}"]
    fields = {
        "type": kind.format(8 * values.dtype.itemsize),
        "dimension": "3",
        "space": "left-posterior-superior",
        "sizes": " ".join(str(size) for size in reversed(values.shape)),
        "space directions": " ".join(_point(affine[:3, axis]) for axis in range(3)),
        "kinds": "domain domain domain",
        "endian": "little" if np.little_endian else "big",
        "encoding": "raw",
        "space origin": _point(affine[:3, 3]),
    }
    lines = ["NRRD0004", *(f"{name}: {value}" for name, value in fields.items())]
    return "\n".join([*lines, *(f"{key}:={value}" for key, value in (keys or {}).items())]) + "\n\n"


def write_steps(path: Path, header: str, values: np.ndarray, check: Callable[[], None]) -> Iterator[None]:
    """Write a NRRD file, some milliseconds a step; ``check`` is called before each and may raise."""
    slices = max(1, BYTES_A_STEP // max(1, values[0].nbytes))
    with path.open("wb") as stream:
        stream.write(header.encode("ascii", "replace"))
        for first in range(0, values.shape[0], slices):
            check()
            stream.write(np.ascontiguousarray(values[first : first + slices]).data)
            yield


def _point(values: np.ndarray) -> str:
    return "(" + ",".join(repr(float(value)) for value in values) + ")"
