"""How long a run will take and how much memory it will need, from a calibration kept per device and model."""

import json
from dataclasses import asdict
from typing import Optional

import numpy as np
import qt
import slicer
from slicer.i18n import tr as _

from CSRDDenoiseLib.infer.cost import Calibration, seconds_and_bytes
from CSRDDenoiseLib.settings import DenoiseSettings

HEAD_LEVEL = 0.1
COARSE_VOXELS = 64
SETTINGS_GROUP = "CSRDDenoise/Calibration"


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


def field_voxels(pet: slicer.vtkMRMLScalarVolumeNode, voxel_spacing_mm: float) -> int:
    """Return how many of the model's voxels the whole PET has."""
    sides = zip(pet.GetImageData().GetDimensions(), pet.GetSpacing())
    return int(np.prod([max(count * step / voxel_spacing_mm, 1.0) for count, step in sides]))


def estimate_sentence(calibration: Calibration, pet: slicer.vtkMRMLScalarVolumeNode, settings: DenoiseSettings) -> str:
    """Return the estimate as the panel shows it."""
    head, field = (count(pet, calibration.voxel_spacing_mm) for count in (head_voxels, field_voxels))
    seconds, memory = seconds_and_bytes(calibration, head, field, settings)
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
