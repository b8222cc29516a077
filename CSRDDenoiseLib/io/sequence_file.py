"""A sequence of 3D Slicer as 4D NIfTI with a BIDS sidecar, written in steps, frame by frame.

For programs that must not wait, such as Slicer; :mod:`.frame_file` writes everything else of several frames.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterable, Iterator, Sequence

import numpy as np

from ..errors import InputError
from .nrrd import AXIS_TOLERANCE, BYTES_A_STEP

if TYPE_CHECKING:
    from nibabel import Nifti1Header

_SECONDS = {"s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0, "ms": 1e-3, "min": 60.0}
_SUFFIX = ".nii"


def sequence_path(folder: Path, name: str) -> Path:
    """Return where a volume of several frames lies, beside its sidecar."""
    return folder / f"{name}{_SUFFIX}"


def sequence_entries(values: Sequence[str], index_unit: str, unit: str) -> dict[str, Any]:
    """Return the entries of a sequence's sidecar.

    Args:
        values: the index of each frame, as the sequence has it.
        index_unit: of the index; where it is a time, the frames begin then.
        unit: of the voxels, or empty.
    """
    entries: dict[str, Any] = {"Units": unit} if unit else {}
    factor = _SECONDS.get(index_unit.strip().lower())
    try:
        starts = [float(value) * (factor or 0.0) for value in values]
    except ValueError:
        return entries
    return {**entries, "FrameTimesStart": starts} if factor else entries


def sequence_steps(path: Path, frames: Iterable[tuple[np.ndarray, np.ndarray]], count: int) -> Iterator[None]:
    """Write frames to a NIfTI file, some milliseconds a step.

    Args:
        path: where to, ending in .nii.
        frames: voxels (D, H, W) and the affine (4, 4), index (x, y, z) -> mm, L-P-S, of each frame.
        count: how many there are.

    Raises:
        InputError: in a step, frames differ in size, type or place, or the axes are not perpendicular.
    """
    first = None
    with path.open("wb") as stream:
        for number, (values, affine) in enumerate(frames, start=1):
            if first is None:
                first = values, affine
                _header(values, affine, count).write_to(stream)
            elif values.shape != first[0].shape or values.dtype != first[0].dtype or not np.allclose(affine, first[1]):
                raise InputError(
                    f"Frame {number} of the sequence {_difference((values, affine), first)}. Resample the frames to "
                    "one grid and type first."
                )
            slices = max(1, BYTES_A_STEP // max(1, values[0].nbytes))
            for begin in range(0, len(values), slices):
                stream.write(np.ascontiguousarray(values[begin : begin + slices]).data)
                yield


def _difference(frame: tuple[np.ndarray, np.ndarray], first: tuple[np.ndarray, np.ndarray]) -> str:
    from .grid import disagreement_mm

    (values, affine), (before, place) = frame, first
    if values.shape != before.shape:
        sizes = [" x ".join(map(str, reversed(each.shape))) for each in (values, before)]
        return f"has {sizes[0]} voxels, the first {sizes[1]}"
    if values.dtype != before.dtype:
        return f"holds {values.dtype}, the first {before.dtype}"
    sides = [np.linalg.norm(each[:3, :3], axis=0) for each in (affine, place)]
    if not np.allclose(*sides):
        sizes = [" x ".join(f"{side:.6g}" for side in each) for each in sides]
        return f"has voxels of {sizes[0]} mm, the first of {sizes[1]} mm"
    return f"lies up to {disagreement_mm(values.shape[::-1], affine, place):.3g} mm from the first"


def _header(values: np.ndarray, affine: np.ndarray, count: int) -> Nifti1Header:
    # Slicer opens the module without the libraries that take long to load
    import nibabel

    from .grid import RAS_FROM_LPS

    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    if np.abs(axes.T @ axes - np.eye(3)).max() > AXIS_TOLERANCE:
        raise InputError("The axes are not perpendicular. Resample the frames to a rectangular grid first.")
    image = nibabel.Nifti1Image(np.zeros((1, 1, 1), values.dtype), RAS_FROM_LPS @ affine, dtype=values.dtype)
    header = image.header
    for set_form in (header.set_sform, header.set_qform):
        set_form(RAS_FROM_LPS @ affine, 1)
    header.set_xyzt_units("mm", "sec")
    header.set_data_shape((*reversed(values.shape), count))
    return header
