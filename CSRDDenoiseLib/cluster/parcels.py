"""Files as bytes, to go with a task where there is no common file system, and checksums of inputs."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Mapping, Sequence

from ..checks.volumes import INPUT_NAMES
from ..errors import InputError, PlaceError
from ..io.dicom_files import INDEX, dicom_files
from ..io.read import check_readable, is_dicom_path
from ..io.sidecar import read_sidecar, sidecars_of, stem_of
from ..io.text_header import data_files
from ..io.write import all_or_nothing, sidecar_path

_DETACHED = (".hdr", ".img", ".hdr.gz", ".img.gz", ".mhd", ".raw", ".zraw", ".raw.gz", ".nhdr")
_BLOCK = 1 << 20
HEADERS = "headers"
"""Folder of a parcel, in the order of the request."""


@dataclass(frozen=True)
class Parcel:
    """Files with their content.

    Attributes:
        files: path relative to the folder that they are unpacked into, with ``/`` -> content.
        paths: name of an input or output -> its file or folder among them.
    """

    files: Mapping[str, bytes]
    paths: Mapping[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(map(len, self.files.values()))


def files_of(path: Path, what: str) -> tuple[Path, ...]:
    """Return every file that an input is read from: of a DICOM series, or a volume with detached data and sidecars.

    Raises:
        InputError: it is missing, cannot be read, or holds several series.
    """
    check_readable(path, what)
    if is_dicom_path(path):
        return tuple(Path(name) for name in dicom_files(path, what))
    stem, folder = stem_of(path), path.parent
    detached = [folder / f"{stem}{suffix}" for suffix in _DETACHED] if path.name.lower().endswith(_DETACHED) else []
    beside = [each for each in (*detached, *data_files(path), *sidecars_of(path)) if each.is_file() and each != path]
    return (path, *sorted(set(beside)))


def digest_of(path: Path, what: str) -> str:
    """Return the SHA-256 of all that an input is read from: names and contents."""
    root = path if path.is_dir() else path.parent
    digest = hashlib.sha256()
    for file in files_of(path, what):
        digest.update(f"{_below(file, root)}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
    return digest.hexdigest()


def digests_of(inputs: Mapping[str, Path], headers: Sequence[Path] = ()) -> dict[str, str]:
    """Return the checksum of each input, and that of the headers together.

    Raises:
        InputError: as :func:`files_of`, or a file cannot be read.
    """
    found = {name: digest_of(path, INPUT_NAMES.get(name, name)) for name, path in inputs.items()}
    if headers:
        digest = hashlib.sha256()
        for path in headers:
            digest.update(hashlib.sha256(_content(path, "header file")).digest())
        found[HEADERS] = digest.hexdigest()
    return found


def pack_inputs(inputs: Mapping[str, Path], headers: Sequence[Path] = ()) -> Parcel:
    """Return the files of named inputs, each in a folder of its name, and those whose headers are read.

    Raises:
        InputError: as :func:`files_of`, or a file cannot be read.
    """
    files, paths = {}, {}
    for name, path in inputs.items():
        what = INPUT_NAMES.get(name, name)
        # an index of DICOM files stays here, and its series goes as a folder
        is_folder = path.is_dir() or path.name.upper() == INDEX
        root = path if path.is_dir() else path.parent
        for file in files_of(path, what):
            if is_folder or root in file.parents:
                files[f"{name}/{_below(file, root)}"] = _content(file, what)
        if not is_folder and any(each.is_file() for each in sidecars_of(path)[:-1]):
            # the parcel has no folders above, so what a sidecar inherits from them goes into it
            entries, _ = read_sidecar(path, what)
            files[f"{name}/{sidecar_path(path).name}"] = json.dumps(entries).encode()
        paths[name] = name if is_folder else f"{name}/{path.name}"
    for index, path in enumerate(headers):
        files[f"{HEADERS}/{index:06d}"] = _content(path, "header file")
    return Parcel(files, paths)


def pack_folder(folder: Path) -> Parcel:
    """Return every file below a folder."""
    found = sorted(each for each in folder.rglob("*") if each.is_file())
    return Parcel({file.relative_to(folder).as_posix(): file.read_bytes() for file in found})


def unpack(parcel: Parcel, folder: Path) -> dict[str, Path]:
    """Write the files of a parcel below a folder; return name -> path.

    Raises:
        PlaceError: a name leads out of the folder.
    """
    for name, content in parcel.files.items():
        target = folder / _inside(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return {name: folder / _inside(path) for name, path in parcel.paths.items()}


def deliver(parcel: Parcel, targets: Mapping[str, Path], overwrite: bool = True) -> None:
    """Write what came back, all of it or nothing.

    Args:
        parcel: files whose first two folders or names are a key of ``targets``.
        targets: ``name/file`` -> where that file or folder goes; what the parcel has beside them is not written.
        overwrite: replace what is there by then.

    Raises:
        InputError: it cannot be written, or is not to be replaced.
    """
    present = {"/".join(PurePosixPath(name).parts[:2]) for name in parcel.files}
    wanted = {path: name for name, path in targets.items() if name in present}
    # in this order a full folder of temporary files is named too
    with all_or_nothing(wanted, overwrite) as temporary, tempfile.TemporaryDirectory(prefix="csrd-denoise-") as folder:
        unpack(parcel, Path(folder))
        for path, name in wanted.items():
            found = Path(folder, name)
            copy = shutil.copytree if found.is_dir() else shutil.copyfile
            copy(found, temporary[path])


def _below(file: Path, root: Path) -> str:
    try:
        return file.relative_to(root).as_posix()
    except ValueError:
        return file.name


def _inside(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name or not path.parts:
        raise PlaceError(f"The parcel has a file '{name[:80]}' outside of its folder; nothing was written.")
    return path


def _content(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"The {what} '{path}' cannot be read: {error.strerror}.") from error
