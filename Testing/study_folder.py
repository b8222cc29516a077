"""A tiny subject folder, laid out as ``csrd-denoise simulate`` does, without simulating anything."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from CSRDDenoiseLib.research.simulation.anatomy import CSF, GREY, SOFT, WHITE

SIDE, SPACING = 36, 4.0
DOSES = ("1_4", "1_10")
SCALE = 5000.0


def write_study(folder: Path, seed: int = 0, noise_free: bool = True) -> Path:
    """A round head of grey and white matter with one hot, one cold and one MR-only ball, and white noise as scans."""
    rng = np.random.default_rng(seed)
    tissue, labels = _tissue(), np.zeros((SIDE,) * 3, np.int16)
    labels[tissue == GREY], labels[tissue == WHITE] = 10, 20
    activity = np.choose(tissue, [0.0, 0.2, 0.0, 0.05, 1.0, 0.4, 0.5]) * SCALE
    t1 = np.choose(tissue, [0.0, 80.0, 0.0, 30.0, 100.0, 140.0, 120.0])
    for label, centre, factor in ((1001, (-5, 0, 0), 2.5), (2001, (5, 0, 0), 0.3)):
        activity[_ball(6.1, centre)] *= factor
        labels[_ball(6.1, centre)] = label
    t1[_ball(6.1, (0, 5, 0))] *= 0.5
    labels[_ball(6.1, (0, 5, 0))] = 3001
    # thinning: what a low dose and the full dose have in common is the low dose's share of the counts
    noise = {dose: rng.normal(0, 0.05 * SCALE, activity.shape) * (activity > 0) for dose in ("full", *DOSES)}
    volumes = {"t1": t1, "activity": activity, "full_dose": activity + noise["full"]}
    for dose in DOSES:
        fraction = 1 / int(dose.split("_")[1])
        extra = np.sqrt(1 / fraction - 1) * noise[dose]
        volumes[f"low_dose_{dose}"] = activity + noise["full"] + extra
    if noise_free:
        volumes["noise_free"] = activity
    folder.mkdir(parents=True)
    for name, volume in {**volumes, "labels": labels, "tissue": tissue}.items():
        image = sitk.GetImageFromArray(volume.astype(np.float32))
        image.SetSpacing((SPACING,) * 3)
        sitk.WriteImage(image, str(folder / f"{name}.nii.gz"))
    (folder / "subject.json").write_text(json.dumps({"tracer": "fdg", "scanner": {"spacing": SPACING + seed}}))
    return folder


def _ball(radius_voxels: float, centre: tuple[float, float, float] = (0, 0, 0)) -> np.ndarray:
    middle = (SIDE - 1) / 2 + np.array(centre).reshape(3, 1, 1, 1)
    return np.linalg.norm(np.indices((SIDE,) * 3) - middle, axis=0) < radius_voxels / 2


def _tissue() -> np.ndarray:
    tissue = np.zeros((SIDE,) * 3, np.int64)
    for diameter, value in ((28, SOFT), (25, CSF), (24, GREY), (20, WHITE)):
        tissue[_ball(diameter)] = value
    return tissue
