"""The facts of a report: from the typed record of a run, or from the message that the Slicer module keeps of one."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Iterable, Mapping, Optional

import SimpleITK as sitk

from ..checks.volumes import INPUT_NAMES
from ..errors import InputError
from ..findings import Finding, find
from ..io import record as runs
from ..io.volume import Suv
from ..sentences import PYTHON, SLICER, notes, sentences
from .run import InputFacts, RunFacts
from .wording import settings_words


def facts_of(record: runs.Record, edge: str = PYTHON) -> RunFacts:
    """Return the facts of a record; warnings are worded for an edge of :mod:`CSRDDenoiseLib.sentences`."""
    inputs = tuple(_input(name, each) for name, each in record.inputs.items() if each is not None)
    return RunFacts(
        pet_name=_pet_name(inputs),
        unit=record.unit,
        created=_readable_time(record.created),
        model=record.model.name,
        weights_sha256=record.model.weights_sha256,
        settings=settings_words(record.settings.as_dict()),
        device=f"{record.resolved.device}, {record.resolved.precision}",
        seconds=record.seconds.get("total", 0.0),
        versions=runs.versions(),
        inputs=inputs,
        findings=record.findings,
        warnings=sentences(record.findings, edge),
        notes=notes(record.findings, edge),
        motion=_motion(record.findings),
        record=json.dumps(record.as_dict(), indent=2),
    )


def facts_of_message(message: Mapping[str, Any]) -> RunFacts:
    """Return the facts of a run that is over from its record as the Slicer module keeps it, with the volumes' names.

    Raises:
        InputError: the message is no such record, or is of a version before findings were kept.
    """
    try:
        inputs = tuple(_named_input(name, each) for name, each in message["inputs"].items() if each is not None)
        findings = tuple(Finding.from_dict(each) for each in message["findings"])
        return RunFacts(
            pet_name=_pet_name(inputs),
            unit=str(message["units"]),
            created=_readable_time(str(message["created"])),
            model=str(message["model"]["name"]),
            weights_sha256=str(message["model"]["weights_sha256"]),
            settings=settings_words(message["settings"]),
            device=f"{message['device']}, {message['precision']}",
            seconds=float(message["seconds"]["total"]),
            versions=dict(message["versions"]),
            inputs=inputs,
            findings=findings,
            warnings=sentences(findings, SLICER),
            notes=notes(findings, SLICER),
            motion=_motion(findings),
            record=json.dumps(message, indent=2),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"The record of the run is damaged or of an older version ({error!r}); denoise the PET again."
        ) from error


def _input(name: str, facts: runs.InputFacts) -> InputFacts:
    image, title = asdict(facts.image), INPUT_NAMES[name]
    known = Path(facts.file.path).name if facts.file else title
    digest = facts.file.sha256 if facts.file else ""
    return InputFacts(title, known, unit=image.pop("units"), sha256=digest, suv=facts.suv, **image)


def _named_input(name: str, facts: Mapping[str, Any]) -> InputFacts:
    title = INPUT_NAMES[name]
    return InputFacts(
        title=title,
        name=str(facts.get("volume") or Path(str(facts.get("path") or title)).name),
        size=tuple(facts["size"]),
        spacing_mm=tuple(facts["spacing_mm"]),
        origin_mm=tuple(facts["origin_mm"]),
        direction=tuple(facts["direction"]),
        pixel_type=str(facts["pixel_type"]),
        unit=str(facts["units"]),
        minimum=float(facts["minimum"]),
        maximum=float(facts["maximum"]),
        sha256=str(facts.get("sha256") or ""),
        suv=_suv(facts),
    )


def _suv(facts: Mapping[str, Any]) -> Optional[Suv]:
    if "suv_source" not in facts:
        return None
    factor = facts.get("suv_factor")
    values = None if factor is None else tuple(map(float, factor if isinstance(factor, (list, tuple)) else [factor]))
    return Suv(values, str(facts["suv_source"]))


def _pet_name(inputs: Iterable[InputFacts]) -> str:
    return next((each.name for each in inputs if each.title == INPUT_NAMES["pet"]), INPUT_NAMES["pet"])


def _readable_time(created: str) -> str:
    return created.replace("T", " ").replace("+00:00", " UTC")


def _motion(findings: Iterable[Finding]) -> Optional[sitk.Euler3DTransform]:
    """The motion from points of the PET to points of the MR by which the run moved the MR, or None."""
    applied = find(findings, "registration.applied")
    if applied is None:
        return None
    fitted, motion = applied.values["transform"], sitk.Euler3DTransform()
    motion.SetCenter(fitted["centre"])
    motion.SetParameters(fitted["parameters"])
    return motion
