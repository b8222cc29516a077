"""Write: all volumes and the record of a run, or none of them, each complete or not there at all.

A path that is a symbolic link is written through: the file that it points to is replaced, and the link stays.
"""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import os
import shutil
import tempfile
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator, Mapping, Optional

import numpy as np
import SimpleITK as sitk

from ..atomic import is_left_over, process_mark, read_json
from ..errors import InputError
from .dicom_write import is_own_series
from .grid import Grid
from .names import itk_path
from .nifti import SINGLE_FILE_NIFTI
from .nifti_write import write_nifti
from .sidecar import stem_of
from .volume import ReadVolume, with_unit

# MetaImage and NRRD only in the forms that keep header and voxels in one file: two files cannot be renamed as one
SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha")
RECORD_ENDING = "_provenance.json"
LONGEST_NAME = 255
"""Bytes of a file name on the file systems in use (NAME_MAX)."""
_IMAGE_IO = {".nrrd": "NrrdImageIO", ".mha": "MetaImageIO"}
_SAME_PLACE, _FLOAT32 = 1e-3, 1e-6


def output_suffix(path: Path) -> str:
    """Return the image suffix of a path, in lower case.

    Raises:
        InputError: images cannot be written under that name.
    """
    suffix = _image_suffix(path)
    if suffix and len(path.name) > len(suffix):
        return suffix
    raise InputError(f"'{path}' does not end in an image format that is written: {', '.join(SUFFIXES)}.")


def sidecar_path(path: Path) -> Path:
    """Return where BIDS keeps the metadata of an image: ``pet.nii.gz`` -> ``pet.json``; it is part of an input."""
    return path.parent / f"{stem_of(path)}.json"


def record_path(path: Path) -> Path:
    """Return where the record of a run lies beside its image: ``denoised.nii.gz`` -> ``denoised_provenance.json``."""
    return path.parent / f"{stem_of(path)}{RECORD_ENDING}"


def read_record(path: Path) -> dict[str, Any]:
    """Return the record of an image that a run wrote; runs of version 0.1 kept it under ``NAME.json``.

    Raises:
        InputError: there is none, or it is damaged.
    """
    for place in (record_path(path), sidecar_path(path)):
        try:
            record = read_json(place)
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            raise InputError(f"The record '{place}' cannot be read: {error}.") from error
        if isinstance(record, dict) and "format" in record and "inputs" in record:
            return record
    raise InputError(f"The image '{path}' has no record beside it ('{record_path(path).name}').")


def check_output_path(path: Path, name: str, is_folder: bool = False) -> None:
    """Refuse a path that no file can be written to: too long, in no folder, a folder itself, or not permitted.

    Args:
        path: where a file is to go.
        name: how messages call it.
        is_folder: whether it is to be a folder.

    Raises:
        InputError: it cannot be written.
    """
    length = len(os.fsencode(path.name))
    if length > LONGEST_NAME:
        raise InputError(
            f"The {name} '{path.name[:40]}...' has a name of {length} bytes; {LONGEST_NAME} are possible. Give a "
            "shorter one."
        )
    try:
        if path.is_dir() and not is_folder:
            raise InputError(f"The {name} '{path}' is a folder; give a file name.")
        os.stat(path)
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        if getattr(error, "errno", None) not in (errno.ENOTDIR, errno.ENOENT):
            raise InputError(f"The {name} '{path}' cannot be written: {reason}.") from error


def check_output_folder(folder: Path) -> None:
    """Refuse a folder that files cannot be written to.

    Raises:
        InputError: it is a file, missing, or not permitted.
    """
    try:
        if folder.exists() and not folder.is_dir():
            raise InputError(f"The output folder '{folder}' is a file; give a folder.")
        if not folder.exists():
            raise InputError(f"The output folder '{folder}' does not exist; create it first.")
        # asking for permission bits is not enough: read-only file systems, ACLs and root differ
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"The output folder '{folder}' cannot be written to: {error.strerror}.") from error


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, where it is missing.

    Raises:
        InputError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"The output folder '{folder}' cannot be made: {error.strerror}. Allow writing there, or choose another."
        ) from error


@contextmanager
def all_or_nothing(paths: Iterable[Path], overwrite: bool = True) -> Iterator[dict[Path, Path]]:
    """Give each path a temporary one to write to; rename all when the body succeeds, remove all when it does not.

    A folder that is missing is made, if its parent is there, and does not stay without a result in it. What a killed
    run left of the same files is removed.

    Args:
        paths: where the files or folders go.
        overwrite: replace what is there by then, as a file that another run wrote in the meantime.

    Raises:
        InputError: something could not be written, or is not to be replaced; then nothing is.
    """
    targets = {path: path.resolve() if path.is_symlink() else path for path in paths}
    temporary = {path: target.with_name(_temporary_name(target)) for path, target in targets.items()}
    missing = {target.parent for target in targets.values() if not target.parent.exists()}
    try:
        for folder in missing:
            folder.mkdir()
        for target in targets.values():
            _remove_leftovers(target)
        yield temporary
        appeared = [] if overwrite else [path for path, target in targets.items() if _holds_something(target)]
        if appeared:
            raise InputError(
                f"'{appeared[0]}' was written by another program while this run worked, so nothing of this run was "
                "written. Choose another name, or have it replaced.",
                hint="overwrite",
            )
        _put_in_place({written: targets[path] for path, written in temporary.items()})
    except (OSError, RuntimeError) as error:
        places = ", ".join(sorted({str(target.parent) for target in targets.values()}))
        reason = str(error).strip().splitlines()[-1].rstrip(".")
        raise InputError(f"The results cannot be written to {places}: {reason}. Nothing was written.") from error
    finally:
        _clear_away(temporary.values(), missing)


def _clear_away(written: Iterable[Path], made: Iterable[Path]) -> None:
    """Remove what was not renamed, and folders that were made and hold no result."""
    for path in written:
        remove(path)
    for folder in made:
        # refused, and rightly so, when there is a result in it
        with suppress(OSError):
            folder.rmdir()


def _holds_something(place: Path) -> bool:
    return place.is_file() or (place.is_dir() and any(place.iterdir()))


def _put_in_place(targets: Mapping[Path, Path]) -> None:
    """Rename temporary files to their targets; after a failure each target is again what it was.

    A file may not be replaceable though its folder can be written to: open in another program (Windows), or of another
    user in a folder with a sticky bit. File systems without hard links keep what was replaced until then.
    """
    former: dict[Path, Path] = {}
    undo: list[Callable[[], None]] = []
    try:
        for written, target in targets.items():
            if written.is_dir() and target.is_dir():
                if not is_own_series(target):
                    raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), str(target))
                # Windows renames onto no folder
                former[target] = target.with_name(_short_name(target.name, "former"))
                undo.append(partial(_restore, former[target], target))
                os.replace(target, former[target])
            elif target.exists() and len(targets) > 1:
                former[target] = target.with_name(_short_name(target.name, "former"))
                with suppress(OSError):
                    os.link(target, former[target])
            # first, because an interrupt may come right after the rename
            undo.append(partial(_restore, former.get(target), target) if target.exists() else partial(remove, target))
            os.replace(written, target)
    except BaseException:
        for step in reversed(undo):
            step()
        raise
    finally:
        for aside in former.values():
            remove(aside)


def _restore(former: Optional[Path], target: Path) -> None:
    if former is not None and former.exists() and not (target.exists() and former.samefile(target)):
        os.replace(former, target)


def _temporary_name(target: Path) -> str:
    """Return a name in the same folder that is short enough, and whose suffix the writers know in this case."""
    suffix = _image_suffix(target) or target.suffix
    base = target.name[: len(target.name) - len(suffix)]
    name = f".{process_mark()}.partial.{base}{suffix}"
    if len(os.fsencode(name)) <= LONGEST_NAME:
        return name
    return _short_name(base, "partial") + suffix


def _short_name(name: str, kind: str) -> str:
    return f".{process_mark()}.{kind}.{hashlib.sha256(os.fsencode(name)).hexdigest()[:16]}"


def _image_suffix(path: Path) -> str:
    return next((suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix)), "")


def _remove_leftovers(target: Path) -> None:
    """Remove the temporary files of runs that were killed while they wrote ``target``."""
    for name in (_temporary_name(target), _short_name(target.name, "former")):
        ending = name.split(".", 2)[2]
        for left in target.parent.glob(f".*.{glob.escape(ending)}"):
            if is_left_over(left, left.name.split(".")[1]):
                remove(left)


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
        return
    with suppress(OSError):
        path.unlink()


def write_image(image: sitk.Image, path: Path, like: Optional[ReadVolume] = None, describes: bool = True) -> None:
    """Write a compressed image and read it back, because the libraries do not always notice a full disk.

    Args:
        image: scalar 3D.
        path: where to; its suffix decides the format.
        like: the input on the same grid; a NIfTI keeps its forms, codes, units and texts, NRRD and MetaImage its unit.
        describes: whether the image has the input's meaning, so that its description and intent hold.

    Raises:
        OSError, RuntimeError: it could not be written.
    """
    if path.name.lower().endswith(SINGLE_FILE_NIFTI):
        written = write_nifti(image, path, like, describes)
    else:
        written = _written_by_itk(image, path, like)
    values, found = sitk.GetArrayViewFromImage(image), sitk.GetArrayViewFromImage(written)
    if values.shape != found.shape or not np.array_equal(found, values, equal_nan=True):
        raise OSError("what was written reads back differently, as from a full disk")
    corners = _read_back(Grid.of(image), path).corners()
    ends = np.abs(Grid.of(written).corners() - corners).max()
    if ends > max(_SAME_PLACE, _FLOAT32 * np.abs(corners).max()):
        raise OSError(f"what was written reads back {ends:.3g} mm from its place")


def _read_back(grid: Grid, path: Path) -> Grid:
    """Where a file with this grid is read: of a NIfTI, axes that rounding has made oblique become perpendicular."""
    is_nifti = path.name.lower().endswith(SINGLE_FILE_NIFTI)
    return Grid.from_affine(grid.size, grid.affine) if is_nifti else grid


def _written_by_itk(image: sitk.Image, path: Path, like: Optional[ReadVolume]) -> sitk.Image:
    named = with_unit(sitk.Image(image), like.unit) if like else image
    with itk_path(path) as place:
        writer = sitk.ImageFileWriter()
        writer.SetImageIO(_IMAGE_IO[output_suffix(path)])
        writer.SetUseCompression(True)
        writer.SetFileName(place)
        writer.Execute(named)
        return sitk.ReadImage(place)


def write_record(provenance: dict[str, Any], path: Path) -> None:
    """Write the JSON record of a run."""
    path.write_text(json.dumps(provenance, indent=2) + "\n", encoding="utf-8")
