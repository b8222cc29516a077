"""How long a run will take and how much memory it will need, from a calibration kept per device and model."""

import json
from dataclasses import asdict, dataclass
from typing import Any, Optional

import numpy as np
import qt
import slicer
from slicer.i18n import tr as _

from CSRDDenoiseLib.settings import DenoiseSettings

HEAD_LEVEL = 0.1
COARSE_VOXELS = 64
SETTINGS_GROUP = "CSRDDenoise/Calibration"


@dataclass(frozen=True)
class Calibration:
    """What one device does with one model; the worker's answer to ``calibrate``.

    Attributes:
        voxel_spacing_mm: edge of the model's voxels.
        voxels_per_second: speed of one evaluation of the network.
        bytes_per_voxel: memory of one evaluation.
        bytes_per_state_voxel: memory of everything else that a run holds.
        bytes_resident: memory of the process before a run.
        bytes_for_evaluation: memory that one evaluation may take; larger volumes are cut into patches.
    """

    voxel_spacing_mm: float
    voxels_per_second: float
    bytes_per_voxel: float
    bytes_per_state_voxel: float
    bytes_resident: float
    bytes_for_evaluation: float


def calibration_from(message: "dict[str, Any]") -> Calibration:
    """Return the calibration in a worker's answer."""
    return Calibration(**{name: float(message[name]) for name in Calibration.__dataclass_fields__})


def keep_calibration(device: str, model: str, calibration: Calibration) -> None:
    """Keep a calibration in Slicer's settings."""
    qt.QSettings().setValue(_key(device, model), json.dumps(asdict(calibration)))


def kept_calibration(device: str, model: str) -> Optional[Calibration]:
    """Return the calibration kept for a device and a model, or None."""
    text = qt.QSettings().value(_key(device, model))
    if not text:
        return None
    try:
        return Calibration(**json.loads(text))
    except (TypeError, ValueError):
        return None


def head_voxels(pet: slicer.vtkMRMLScalarVolumeNode, voxel_spacing_mm: float) -> int:
    """Return how many of the model's voxels the box around the head has, from a coarse look at the PET."""
    array = slicer.util.arrayFromVolume(pet)
    strides = [max(1, size // COARSE_VOXELS) for size in array.shape]
    coarse = array[:: strides[0], :: strides[1], :: strides[2]]
    bright = coarse > HEAD_LEVEL * float(np.quantile(coarse, 0.99))
    steps = reversed(pet.GetSpacing())
    voxels = 1.0
    for axis, (stride, step) in enumerate(zip(strides, steps)):
        places = np.flatnonzero(bright.any(axis=tuple(other for other in range(3) if other != axis)))
        extent = (places[-1] - places[0] + 1 if places.size else coarse.shape[axis]) * stride * step
        voxels *= max(extent / voxel_spacing_mm, 1.0)
    return int(voxels)


def seconds_and_bytes(calibration: Calibration, voxels: int, settings: DenoiseSettings) -> "tuple[float, float]":
    """Return the time and the memory of a run over this many of the model's voxels."""
    most = calibration.bytes_for_evaluation / calibration.bytes_per_voxel
    patch = min(settings.patch_size**3 if settings.patch_size else voxels, most, voxels)
    # patches overlap along each axis; a volume that fits is evaluated once
    repeated = 1.0 if patch >= voxels else (1.0 - settings.overlap) ** -3
    seconds = voxels * repeated * settings.evaluations / calibration.voxels_per_second
    memory = (
        calibration.bytes_resident + calibration.bytes_per_state_voxel * voxels + calibration.bytes_per_voxel * patch
    )
    return seconds, memory


def estimate_sentence(calibration: Calibration, pet: slicer.vtkMRMLScalarVolumeNode, settings: DenoiseSettings) -> str:
    """Return the estimate as the panel shows it."""
    voxels = head_voxels(pet, calibration.voxel_spacing_mm)
    seconds, memory = seconds_and_bytes(calibration, voxels, settings)
    return _("About {time} and {memory:.1f} GiB of memory").format(time=duration(seconds), memory=memory / 2**30)


def duration(seconds: float) -> str:
    """Return a time as people say it: ``8 s``, ``3 min 20 s``, ``1 h 5 min``."""
    whole = max(1, round(seconds))
    if whole < 60:
        return _("{seconds} s").format(seconds=whole)
    if whole < 3600:
        return _("{minutes} min {seconds} s").format(minutes=whole // 60, seconds=whole % 60)
    return _("{hours} h {minutes} min").format(hours=whole // 3600, minutes=whole % 3600 // 60)


def _key(device: str, model: str) -> str:
    # a slash in a folder's path would open a further group
    return f"{SETTINGS_GROUP}/{device}/{model.replace('/', '|')}"
