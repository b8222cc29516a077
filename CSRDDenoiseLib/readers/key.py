"""The key of a study: case and method of each random name. It stays with the organiser of the study."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Mapping

from ..atomic import write_json
from ..errors import InputError
from .study import FORMAT, read_json


@dataclass(frozen=True)
class TrialKey:
    """What a trial shows; ``methods`` are those of its images, in their order."""

    case: str
    methods: tuple[str, ...]
    training: bool = False
    repeat: bool = False


@dataclass(frozen=True)
class Key:
    """The key of a study.

    Attributes:
        study: id of the study.
        study_sha256: checksum of its ``study.json``.
        seed: of the plan and of the random names.
        methods: in the order of the table.
        trials: trial id -> what it shows.
        images: file name -> [case, method].
        truth: case -> whether there is a lesion; empty if the table does not state it.
        origin: table, its checksum and the versions of the programs, to be read by people.
    """

    study: str
    study_sha256: str
    seed: int
    methods: tuple[str, ...]
    trials: Mapping[str, TrialKey]
    images: Mapping[str, tuple[str, str]]
    truth: Mapping[str, bool]
    origin: Mapping[str, Any]


def key_path_of(study: Path) -> Path:
    """Return the default path of a study's key: beside its folder."""
    return study.with_name(f"{study.name}-key.json")


def write_key(key: Key, path: Path) -> None:
    """Write a key, complete or not at all."""
    write_json(path, {"format": FORMAT, **asdict(key)}, indent=1)


def read_key(path: Path) -> Key:
    """Read a key.

    Raises:
        InputError: missing, damaged, or written by a newer version.
    """
    content = read_json(path, "key")
    try:
        trials = {
            name: TrialKey(each["case"], tuple(each["methods"]), bool(each["training"]), bool(each["repeat"]))
            for name, each in content["trials"].items()
        }
        return Key(
            content["study"],
            content["study_sha256"],
            int(content["seed"]),
            tuple(content["methods"]),
            trials,
            {name: (case, method) for name, (case, method) in content["images"].items()},
            {case: bool(lesion) for case, lesion in content["truth"].items()},
            content["origin"],
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"The key '{path}' is damaged ({error!r}).") from error
