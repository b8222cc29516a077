"""Requests to the worker, one class a command: its fields are what a message holds beside ``command`` and ``id``."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Mapping, Optional

from ..cluster.places import Place
from ..limits import Between, check_limits
from ..run.request import FileRequest
from ..settings import DenoiseSettings, check_keep


@dataclass(frozen=True)
class DenoiseMessage(FileRequest):
    """Denoise files, and replace outputs that exist.

    Attributes:
        model: name of a bundled model, or a folder; None takes the default one.
        settings: fields of :class:`~CSRDDenoiseLib.settings.DenoiseSettings`.
        on: the place that does the work, None for the worker itself.
    """

    overwrite: bool = True
    model: Optional[str] = None
    settings: DenoiseSettings = field(default_factory=DenoiseSettings)
    on: Optional[Place] = None


@dataclass(frozen=True)
class InspectMessage:
    """Inspect a volume.

    Attributes:
        path: the volume, or a copy of it.
        what: "PET" or "MR".
        headers: as in :class:`FileRequest`.
        name: of the volume for the user.
    """

    path: Path
    what: str = "PET"
    headers: tuple[Path, ...] = ()
    name: str = ""


@dataclass(frozen=True)
class ReportMessage:
    """Write the quality report of a run that is over, one HTML page, to ``output``.

    Attributes:
        provenance: record of the run.
    """

    pet: Path
    denoised: Path
    output: Path
    mr: Optional[Path] = None
    uncertainty: Optional[Path] = None
    labels: Optional[Path] = None
    provenance: Optional[Mapping[str, Any]] = None


@dataclass(frozen=True)
class KeepMessage:
    """Recompute a result for another ``keep_above_mm`` (mm), without the model.

    Attributes:
        run: names a PET and its estimate: the ``id`` of a run of this worker, or what the caller sent them as before.
        pet, bare: the PET and the model's bare estimate, where the worker does not know them by ``run``.
        exact: make all that a run makes, volumes and findings; else, faster, the part of the PET that changes.
        limited: the run had a region.
        output, difference, uncertainty, support: where the volumes go; the last two with ``exact`` alone.
    """

    output: Path
    difference: Path
    run: str = ""
    pet: Optional[Path] = None
    bare: Optional[Path] = None
    uncertainty: Optional[Path] = None
    support: Optional[Path] = None
    exact: bool = True
    limited: bool = False
    keep_above_mm: Annotated[float, Between(0, math.inf)] = 0.0

    def __post_init__(self) -> None:
        check_limits(self, "The request")
        check_keep(self.keep_above_mm, "The request")


@dataclass(frozen=True)
class CompareMessage:
    """Measure a PET and its denoised volume against the full dose of the same scan."""

    pet: Path
    denoised: Path
    full: Path
    labels: Optional[Path] = None


@dataclass(frozen=True)
class EstimateMessage:
    """Time one evaluation of a model (None: the default one) on a device, here or on a worker of a place."""

    device: str = "auto"
    model: Optional[str] = None
    on: Optional[Place] = None


@dataclass(frozen=True)
class ReachMessage:
    """Ask who works at a place, which has to answer within ``seconds``."""

    on: Place
    seconds: Annotated[float, Between(0.1, 600)] = 5.0

    def __post_init__(self) -> None:
        check_limits(self, "The request")


@dataclass(frozen=True)
class InfoMessage:
    """Ask for devices and versions."""
