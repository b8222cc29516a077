"""From the record of a run to the typed facts of its report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Iterable, Mapping, Optional

import SimpleITK as sitk

from ..findings import Finding, Severity
from ..request import INPUT_NAMES
from .run import InputFacts, RunFacts


def facts_from_record(record: Mapping[str, Any]) -> RunFacts:
    """Return the facts of a record; what it lacks stays empty."""
    inputs = tuple(_input(name, values) for name, values in record.get("inputs", {}).items() if values)
    model, quality = record.get("model", {}), record.get("quality", {})
    settings = {name: value for name, value in record.get("settings", {}).items() if value is not None}
    return RunFacts(
        pet_name=next((each.name for each in inputs if each.title == INPUT_NAMES["pet"]), "PET"),
        unit=str(record.get("units") or ""),
        created=str(record.get("created", "")).replace("T", " ").replace("+00:00", " UTC"),
        model=str(model.get("name", "")),
        weights_sha256=str(model.get("weights_sha256", "")),
        settings=settings,
        device=f"{record.get('device', '')}, {record.get('precision', '')}",
        seconds=float(record.get("seconds", {}).get("total", 0)),
        versions=record.get("versions", {}),
        inputs=inputs,
        findings=tuple(_findings(quality)),
        warnings=tuple(record.get("warnings", ())),
        motion=_motion(quality.get("registration", {})),
        record=json.dumps(record, indent=2, default=str),
    )


def _input(name: str, values: Mapping[str, Any]) -> InputFacts:
    title = INPUT_NAMES[name]
    return InputFacts(
        title=title,
        name=str(values.get("volume") or Path(str(values.get("path") or title)).name),
        size=tuple(values["size"]),
        spacing_mm=tuple(values["spacing_mm"]),
        origin_mm=tuple(values["origin_mm"]),
        direction=tuple(values["direction"]),
        pixel_type=str(values["pixel_type"]),
        unit=str(values.get("units", "")),
        minimum=float(values["minimum"]),
        maximum=float(values["maximum"]),
        sha256=str(values.get("sha256") or ""),
    )


def _findings(quality: Mapping[str, Any]) -> Iterable[Finding]:
    for check, values in quality.items():
        if isinstance(values, Mapping):
            verdict = values.get("verdict")
            yield Finding(f"{check}.{verdict}" if verdict else check, Severity.INFO, values)


def _motion(registration: Mapping[str, Any]) -> Optional[sitk.Euler3DTransform]:
    if not registration.get("applied"):
        return None
    fitted, motion = registration["transform"], sitk.Euler3DTransform()
    motion.SetCenter(fitted["centre"])
    motion.SetParameters(fitted["parameters"])
    return motion
