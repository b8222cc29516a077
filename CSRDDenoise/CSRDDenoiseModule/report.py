"""The quality report of a result in the scene: what the worker needs to draw it."""

import json
import re
from pathlib import Path
from typing import Any, Optional

import slicer

from CSRDDenoiseLib.errors import InputError

from .job import RunFiles
from .results import MR_REFERENCE, PET_REFERENCE, RESULT_REFERENCE
from .volumes import write_volume

PROVENANCE = "CSRDDenoise.Provenance"


def has_record(denoised: Optional[slicer.vtkMRMLScalarVolumeNode]) -> bool:
    """Return whether a volume is a result of this module whose PET is still in the scene."""
    if denoised is None:
        return False
    return bool(denoised.GetAttribute(PROVENANCE)) and denoised.GetNodeReference(PET_REFERENCE) is not None


def report_path(denoised: slicer.vtkMRMLScalarVolumeNode) -> Path:
    """Return where the report of a result goes when nobody chose a place: Slicer's temporary folder."""
    return Path(str(slicer.app.temporaryPath)) / f"{re.sub(r'[^0-9A-Za-z._-]+', '_', denoised.GetName())}.html"


def report_request(
    files: RunFiles,
    denoised: slicer.vtkMRMLScalarVolumeNode,
    uncertainty: Optional[slicer.vtkMRMLScalarVolumeNode],
    labels: Optional[slicer.vtkMRMLScalarVolumeNode],
    path: Path,
) -> "dict[str, Any]":
    """Write the volumes of a report for the worker and return the request.

    Raises:
        InputError: the volume is no result of this module, or its PET is gone.
    """
    if not has_record(denoised):
        raise InputError(
            f"The volume '{denoised.GetName()}' has no record of a run, or its PET is gone; denoise the PET again."
        )
    volumes = {
        "pet": denoised.GetNodeReference(PET_REFERENCE),
        "mr": denoised.GetNodeReference(MR_REFERENCE),
        "denoised": denoised,
        "uncertainty": uncertainty if _belongs(uncertainty, denoised) else None,
        "labels": labels,
    }
    request: dict[str, Any] = {"command": "report", "output": str(path)}
    for name, node in volumes.items():
        if node is not None:
            write_volume(node, files.path(name))
            request[name] = str(files.path(name))
    return {**request, "provenance": json.loads(denoised.GetAttribute(PROVENANCE))}


def _belongs(node: Optional[slicer.vtkMRMLScalarVolumeNode], denoised: slicer.vtkMRMLScalarVolumeNode) -> bool:
    return node is not None and node.GetNodeReference(RESULT_REFERENCE) is denoised
