"""A model by the checksum of its files, the same on every machine."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Union

from ..errors import ModelError
from ..model.bundle import METADATA_FILE, WEIGHTS_FILE, find_model

FILES = (METADATA_FILE, WEIGHTS_FILE)


@dataclass(frozen=True)
class ModelKey:
    """A model by what is in its files.

    Attributes:
        name: of the model.
        folder: where the asking machine has it.
        digest: SHA-256 of metadata and weights.
    """

    name: str
    folder: str
    digest: str


def key_of_model(name_or_folder: Union[str, Path]) -> ModelKey:
    """Return the key of a bundled model or of a model folder.

    Raises:
        ModelError: there is no such model.
    """
    folder = find_model(name_or_folder)
    return ModelKey(folder.name, str(folder.resolve()), digest_of_model(folder))


def digest_of_model(folder: Path) -> str:
    """Return the SHA-256 of metadata and weights.

    Raises:
        ModelError: a file is missing or cannot be read.
    """
    digest = hashlib.sha256()
    for name in FILES:
        try:
            content = (folder / name).read_bytes()
        except OSError as error:
            raise ModelError(f"The model '{folder}' cannot be read: {name}: {error.strerror}.") from error
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def pack_model(key: ModelKey) -> dict[str, bytes]:
    """Return the files of a model."""
    return {name: (Path(key.folder) / name).read_bytes() for name in FILES}
