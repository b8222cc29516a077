"""Names of files: that of a link, and one for ITK, which cannot take a path that is not UTF-8."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

from ..errors import InputError


def located(path: Path) -> Path:
    """Return the absolute path of a file beside its sidecar: a link, such as one of git-annex, is not followed."""
    return path.parent.resolve() / path.name if path.is_symlink() else path.resolve()


@contextmanager
def itk_path(path: Path) -> Iterator[str]:
    """Give a file's path as text that ITK can open.

    ITK ends the process on bytes that are no UTF-8, so such a file is reached through a link in a temporary folder. A
    folder's name may be any; a file's own name may be any if the file holds header and voxels.

    Raises:
        InputError: the file's own name is no UTF-8 where its header names other files.
    """
    try:
        os.fspath(path).encode("utf-8")
    except UnicodeEncodeError:
        with tempfile.TemporaryDirectory() as folder:
            yield _linked(path, Path(folder))
    else:
        yield os.fspath(path)


def _linked(path: Path, folder: Path) -> str:
    link = folder / "folder"
    link.symlink_to(path.absolute().parent, target_is_directory=True)
    try:
        path.name.encode("utf-8")
    except UnicodeEncodeError as error:
        if path.suffix.lower() in (".mhd", ".nhdr") or not path.exists():
            raise InputError(f"The name of '{path}' is not UTF-8; rename it.") from error
        link = folder / f"volume{path.suffix}"
        link.symlink_to(path.absolute())
        return os.fspath(link)
    return os.fspath(link / path.name)
