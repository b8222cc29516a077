"""Run a record again: the same inputs, model and settings, with what was left open as it was resolved in the run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Mapping, Optional

from ..atomic import read_json
from ..checks.volumes import INPUT_NAMES
from ..configuration import structure
from ..errors import InputError
from ..infer.memory import Shape
from ..io.read import read
from ..io.record import describe_file
from ..io.study import open_study
from ..model.bundle import Model, load_model
from ..model.metadata import BoostMetadata
from ..settings import DenoiseSettings, settings_from_fields

_SHOWN = 12
_WHOLE = 1 << 16
"""Longer than the side of any volume, and a multiple of what any network needs."""
_DYNAMIC = "dynamic"


@dataclass(frozen=True)
class Replay:
    """The parts of a record that repeat its run.

    Attributes:
        inputs: name -> path.
        sha256: name -> checksum of the input's files.
        model: name and folder of the model.
        weights_sha256: checksum of its weights.
        boost: of its metadata.
        settings: with device, precision and, of a static PET, patch size as they were in the run.
        frames: the frames of a dynamic PET that were chosen, as text, or None.
    """

    inputs: Mapping[str, Path]
    sha256: Mapping[str, str]
    model: tuple[str, str]
    weights_sha256: str
    settings: DenoiseSettings
    boost: Optional[BoostMetadata] = None
    frames: Optional[str] = None


def read_replay(path: Path) -> Replay:
    """Read a record of a run on files.

    Raises:
        InputError: it cannot be read, is no record, or is one of a run without files.
    """
    try:
        record = read_json(path)
        inputs = {name: facts for name, facts in record["inputs"].items() if facts}
        resolved, model = record["resolved"], record["model"]
        boost = model.get("boost")
        settings = settings_from_fields(record["settings"])
        if record.get("kind") != _DYNAMIC:
            # the frames of a dynamic PET differ in the size of the head's box
            settings = replace(settings, patch_size=_patch(resolved))
        return Replay(
            {name: Path(facts["path"]) for name, facts in inputs.items()},
            {name: str(facts["sha256"]) for name, facts in inputs.items()},
            (str(model["name"]), str(model["folder"])),
            str(model["weights_sha256"]),
            replace(
                settings,
                device=str(resolved["device"]),
                precision=str(resolved["precision"]),
            ),
            boost and structure(boost, BoostMetadata, "'boost'"),
            record.get("frames_chosen"),
        )
    except OSError as error:
        raise InputError(f"The record '{path}' cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"'{path}' is not a record of a run on files that can be repeated: {_reason(error)}."
        ) from error


def check_inputs(replay: Replay) -> None:
    """Refuse inputs that are not those of the run.

    Raises:
        InputError: one is missing, or its checksum differs.
    """
    for name, path in replay.inputs.items():
        what = INPUT_NAMES.get(name, name)
        found = describe_file(path, _files(path, what)).sha256
        if found != replay.sha256[name]:
            raise InputError(
                f"The {what} '{path}' is not the one of the run: its SHA-256 starts with {found[:_SHOWN]}, that of the "
                f"record with {replay.sha256[name][:_SHOWN]}."
            )


def _files(path: Path, what: str) -> tuple[Path, ...]:
    """Return the files of an input in the order of its checksum."""
    study = open_study(path, what)
    return study.files if len(study.frames) > 1 else read(path, what).header.files


def load_same_model(replay: Replay) -> Model:
    """Load the model of the run from its folder, or the bundled one of its name.

    Raises:
        InputError: there is none, or its weights differ.
    """
    name, folder = replay.model
    model = load_model(folder if Path(folder).is_dir() else name, replay.settings.device)
    found = model.metadata.weights_sha256
    if found != replay.weights_sha256:
        raise InputError(
            f"The model '{name}' is not the one of the run: the SHA-256 of its weights starts with {found[:_SHOWN]}, "
            f"that of the record with {replay.weights_sha256[:_SHOWN]}."
        )
    if model.metadata.boost != replay.boost:
        raise InputError(
            f"The model '{name}' is not the one of the run: 'boost' in its metadata differs from that of the record."
        )
    return model


def _patch(resolved: Mapping[str, Any]) -> Shape:
    """Return the patches of the run; for a volume in one piece a patch that any volume is cut from."""
    depth, height, width = (_WHOLE,) * 3 if resolved.get("in_one_piece") else resolved["patch_size"]
    return depth, height, width


def _reason(error: Any) -> str:
    return f"it lacks {error}" if isinstance(error, KeyError) else " ".join(str(error).split())[:200].rstrip(".")
