"""A table of small scans on the disk, for cohorts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from conftest import as_image, head_array


def write_cohort(folder: Path, count: int, shape: tuple[int, int, int] = (24, 28, 26)) -> Path:
    """Write scans that differ in their noise, and their table; return the table."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = ["subject\tlow\tmr\tseed"]
    for number in range(count):
        sitk.WriteImage(as_image(head_array(shape, seed=number)), str(folder / f"pet{number:02d}.nii.gz"))
        rows.append(f"{number:02d}\tpet{number:02d}.nii.gz\tmr.nii.gz\t{number}")
    sitk.WriteImage(as_image(1000 - head_array(shape, seed=99) / 10), str(folder / "mr.nii.gz"))
    table = folder / "scans.tsv"
    table.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return table


def write_huge(path: Path, side: int = 420) -> None:
    """Write a scan of some ten kilobytes on the disk and gigabytes in memory: a ball in much air, 2 mm voxels."""
    values = np.zeros((side,) * 3, np.uint8)
    axis = np.arange(-40, 41)
    middle = slice(side // 2 - 40, side // 2 + 41)
    ball = axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2 < 40**2
    values[middle, middle, middle] = ball * (100 + np.arange(81, dtype=np.uint8) % 7)
    # its middle is that of the small heads
    origin = tuple(start + size - side for start, size in zip((-20.0, 10.0, 5.0), (26, 28, 24)))
    sitk.WriteImage(as_image(values, origin=origin), str(path), True)
