"""Write: all volumes and the record of a run, or none of them, each complete or not there at all."""

from __future__ import annotations

import glob
import json
import os
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Iterable, Iterator

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


@contextmanager
def all_or_nothing(paths: Iterable[Path]) -> Iterator[dict[Path, Path]]:
    """Give each path a temporary one to write to; rename all when the body succeeds, remove all when it does not.

    A folder that is missing is made, if its parent is there, and does not stay without a result in it. What a killed
    run left of the same files is removed.

    Raises:
        InputError: something could not be written; then nothing is.
    """
    temporary = {path: path.with_name(f".{os.getpid()}.partial.{path.name}") for path in paths}
    missing = {path.parent for path in temporary if not path.parent.exists()}
    try:
        for folder in missing:
            folder.mkdir()
        for path in temporary:
            _remove_leftovers(path)
        yield temporary
        for path, written in temporary.items():
            os.replace(written, path)
    except (OSError, RuntimeError) as error:
        places = ", ".join(sorted({str(path.parent) for path in temporary}))
        reason = str(error).strip().splitlines()[-1].rstrip(".")
        raise InputError(f"The results cannot be written to {places}: {reason}. Nothing was written.") from error
    finally:
        for written in temporary.values():
            with suppress(OSError):
                written.unlink()
        for folder in missing:
            # refused, and rightly so, when there is a result in it
            with suppress(OSError):
                folder.rmdir()


def _remove_leftovers(path: Path) -> None:
    """Remove the temporary files of runs that were killed while they wrote ``path``."""
    for left in path.parent.glob(f".*.partial.{glob.escape(path.name)}"):
        number = left.name.split(".")[1]
        if number.isdigit() and not _is_running(int(number)):
            with suppress(OSError):
                left.unlink()


def _is_running(number: int) -> bool:
    """Whether a process of that number exists; Windows has no harmless way to ask, so there it is taken to."""
    if sys.platform == "win32":
        return True
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def write_image(image: sitk.Image, path: Path) -> None:
    """Write a compressed image and read it back, because ITK does not always notice a full disk."""
    sitk.WriteImage(image, str(path), True)
    written = sitk.ReadImage(str(path))
    if not np.array_equal(sitk.GetArrayViewFromImage(written), sitk.GetArrayViewFromImage(image)):
        raise OSError("what was written reads back differently, as from a full disk")


def write_record(provenance: dict[str, Any], path: Path) -> None:
    """Write the JSON record of a run."""
    path.write_text(json.dumps(provenance, indent=2) + "\n", encoding="utf-8")
