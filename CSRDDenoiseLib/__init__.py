"""CSRDDenoise: PET/MR denoising by volumetric conditional score-based residual diffusion, without Slicer.

The whole job in one call::

    from CSRDDenoiseLib.denoise import denoise            # SimpleITK images in, SimpleITK images out
    result = denoise(pet, mr)

    from CSRDDenoiseLib import FileRequest, denoise_files  # files in, files and a JSON record out
    denoise_files(FileRequest(pet="low.nii.gz", mr="t1.nii.gz", output="denoised.nii.gz"))

Importing this package loads nothing heavy: each name below is fetched when it is first used (PEP 562).
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.2.0"

_EXPORTS = {
    "DenoiseResult": "denoise",
    "FileRequest": "denoise",
    "denoise_dynamic": "dynamic.denoise",
    "denoise_files": "denoise",
    "DenoiseSettings": "settings",
    "PRESETS": "settings",
    "settings_from_preset": "settings",
    "Progress": "progress",
    "Reporter": "progress",
    "CSRDError": "errors",
    "InputError": "errors",
    "ModelError": "errors",
    "OutOfMemoryError": "errors",
    "Cancelled": "errors",
    "read_volume": "io.read",
    "list_models": "model.bundle",
    "load_model": "model.bundle",
    "save_model": "model.bundle",
    "ModelMetadata": "model.bundle",
    "resource_folder": "resources",
}
__all__ = ["__version__", *_EXPORTS]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    value = getattr(importlib.import_module(f".{_EXPORTS[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_EXPORTS})
