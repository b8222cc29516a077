"""Tables of pairs made of the subject folders of :mod:`study_folder`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping, Optional, Sequence

import numpy as np
import SimpleITK as sitk
from scipy import ndimage
from study_folder import SCALE, write_study

BLUR_VOXELS, NOISE = 0.8, 0.1


def write_subject(root: Path, name: str, seed: int = 0) -> Path:
    """A subject folder with label maps of its regions and of its lesions beside, as smooth as a scanner sees it."""
    folder = write_study(root / name, seed)
    labels = sitk.ReadImage(str(folder / "labels.nii.gz"))
    activity = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "activity.nii.gz")))
    activity = ndimage.gaussian_filter(activity, BLUR_VOXELS)
    write(folder / "noise_free.nii.gz", activity, labels)
    rng, scale = np.random.default_rng(seed), NOISE * SCALE * np.sqrt(activity / SCALE)
    noise = rng.standard_normal((3, *activity.shape)) * scale
    write(folder / "full_dose.nii.gz", activity + noise[0], labels)
    for dose, extra in zip((4, 10), noise[1:]):
        # a part of the counts: what low and full dose have in common is the full dose's noise
        write(folder / f"low_dose_1_{dose}.nii.gz", activity + noise[0] + (dose - 1) ** 0.5 * extra, labels)
    values = sitk.GetArrayFromImage(labels).astype(np.int16)
    for file, chosen in (("regions", values < 1000), ("lesions", (values > 1000) & (values < 3000))):
        write(folder / f"{file}.nii.gz", np.where(chosen, values, 0), labels)
    return folder


def write(path: Path, values: np.ndarray, like: sitk.Image) -> Path:
    """Write an array on the grid of an image."""
    image = sitk.GetImageFromArray(np.asarray(values, np.float32))
    image.CopyInformation(like)
    sitk.WriteImage(image, str(path))
    return path


def row_of(name: str, dose: str = "1/4", **changes: Optional[str]) -> dict[str, str]:
    """The row of a subject folder that lies beside the table."""
    row: dict[str, Any] = {
        "subject": name,
        "low": f"{name}/low_dose_{dose.replace('/', '_')}.nii.gz",
        "full": f"{name}/full_dose.nii.gz",
        "mr": f"{name}/t1.nii.gz",
        "dose": dose,
        "labels": f"{name}/regions.nii.gz",
        "lesions": f"{name}/lesions.nii.gz",
    }
    return {key: value or "" for key, value in {**row, **changes}.items()}


def write_rows(path: Path, rows: Sequence[Mapping[str, str]]) -> Path:
    """Write a table of rows."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = [columns, *([row.get(name, "") for name in columns] for row in rows)]
    path.write_text("".join("\t".join(line) + "\n" for line in lines), encoding="utf-8")
    return path
