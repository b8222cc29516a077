"""Write: all volumes and the record of a run, or none of them, each complete or not there at all."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from ..errors import InputError

# MetaImage and NRRD only in the forms that keep header and voxels in one file: two files cannot be renamed as one
SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha")


def output_suffix(path: Path) -> str:
    """Return the image suffix of a path.

    Raises:
        InputError: images cannot be written under that name.
    """
    for suffix in SUFFIXES:
        if path.name.lower().endswith(suffix) and len(path.name) > len(suffix):
            return suffix
    raise InputError(f"'{path}' does not end in an image format that is written: {', '.join(SUFFIXES)}.")


def sidecar_path(path: Path) -> Path:
    """Return where the JSON record of an image lies: ``denoised.nii.gz`` -> ``denoised.json``."""
    for suffix in SUFFIXES:
        if path.name.lower().endswith(suffix):
            return path.with_name(path.name[: -len(suffix)] + ".json")
    return path.with_suffix(".json")


def write_outputs(images: dict[Path, sitk.Image], record: Path, provenance: dict[str, Any]) -> None:
    """Write images and the JSON record under temporary names, then rename them all.

    Raises:
        InputError: one of them cannot be written; then none is.
    """
    pending = {path: path.with_name(f".{os.getpid()}.partial.{path.name}") for path in (*images, record)}
    try:
        for path, image in images.items():
            _write_image(image, pending[path])
        pending[record].write_text(json.dumps(provenance, indent=2) + "\n", encoding="utf-8")
        for path, temporary in pending.items():
            os.replace(temporary, path)
    except (OSError, RuntimeError) as error:
        places = ", ".join(sorted({str(path.parent) for path in pending}))
        reason = str(error).strip().splitlines()[-1]
        raise InputError(f"The results cannot be written to {places}: {reason} Nothing was written.") from error
    finally:
        for temporary in pending.values():
            with suppress(OSError):
                temporary.unlink()


def _write_image(image: sitk.Image, path: Path) -> None:
    sitk.WriteImage(image, str(path), True)
    # ITK does not always notice a full disk
    written = sitk.ReadImage(str(path))
    if not np.array_equal(sitk.GetArrayViewFromImage(written), sitk.GetArrayViewFromImage(image)):
        raise OSError("what was written reads back differently (is the disk full?).")
