"""The record of a run: what was done to which data, enough to repeat it."""

from __future__ import annotations

import platform
import sys
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Any, Iterable, Iterator, Mapping, Optional, Sequence, Union

import SimpleITK as sitk

from .. import __version__
from ..digests import digest_of_files
from ..findings import Finding
from ..installed import version_of
from ..progress import Reporter
from ..sentences import sentences
from ..settings import DenoiseSettings
from .names import located
from .volume import Suv, units_of

RECORD_FORMAT = 1
_PACKAGES = ("torch", "monai", "numpy", "scipy", "SimpleITK", "safetensors")
_OF_INPUT = ("unit", "voxels", "blank_slices", "slices", "cut", "filtering", "back_projection", "attenuation", "mr")


class Stages:
    """Reports and times the stages of a run.

    Attributes:
        report: receives every step.
        seconds: stage name -> wall time so far, in the order they ran.
    """

    def __init__(self, report: Reporter):
        self.report = report
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str, message: str = "") -> Iterator[None]:
        """Time the body as stage ``name`` and report its beginning and its end."""
        self.report(name, 0, 1, message)
        began = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - began, 3)
        self.report(name, 1, 1)

    def summary(self) -> dict[str, float]:
        """Return the seconds of each stage so far, and their total."""
        return {**self.seconds, "total": round(sum(self.seconds.values()), 3)}


@dataclass(frozen=True)
class ImageFacts:
    """Geometry, unit and range of an image; mm, L-P-S."""

    size: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    origin_mm: tuple[float, ...]
    direction: tuple[float, ...]
    pixel_type: str
    units: str
    minimum: float
    maximum: float


@dataclass(frozen=True)
class FileFacts:
    """A file that was read, or the files of a DICOM series one after another."""

    path: str
    files: int
    sha256: str


@dataclass(frozen=True)
class InputFacts:
    """One input of a run.

    Attributes:
        image: geometry, unit and range.
        file: where it was read from, or None.
        suv: how a PET becomes body-weight SUV, or why it cannot; None where no header was read.
    """

    image: ImageFacts
    file: Optional[FileFacts] = None
    suv: Optional[Suv] = None

    def as_dict(self) -> dict[str, Any]:
        """Return the facts as plain JSON types."""
        suv = {} if self.suv is None else {"suv_factor": self.suv.factor, "suv_source": self.suv.source}
        return _plain({**({} if self.file is None else asdict(self.file)), **asdict(self.image), **suv})


@dataclass(frozen=True)
class ModelFacts:
    """Which model was used."""

    name: str
    folder: str
    weights_sha256: str
    normalisation: str
    voxel_spacing_mm: float
    boost: Optional[Mapping[str, Any]] = None


@dataclass(frozen=True)
class Resolved:
    """What the settings left open, as it was in the run: with it the run can be repeated.

    Attributes:
        device: where the network ran.
        precision: of its arithmetic.
        patch_size: (D, H, W) that the network saw at once.
        in_one_piece: whether that was the whole volume.
        evaluations: of the network over the whole volume.
        boost: weight of the second of those for the estimate, 0 where there was none.
    """

    device: str
    precision: str
    patch_size: tuple[int, ...]
    in_one_piece: bool
    evaluations: int
    boost: float = 0.0


@dataclass(frozen=True)
class Record:
    """Everything that is kept of a run.

    Attributes:
        inputs: by name; None for an MR that was not given.
        model: which.
        settings: as they were asked for.
        resolved: what they left open.
        unit: of the PET.
        brain_mean: in that unit.
        residual_scale: a residual of the network times this is a residual in the PET's unit.
        mean_change: relative change of the brain mean by the model's bare estimate.
        findings: of all checks.
        seconds: stage -> wall time.
        outputs: name -> path.
        output_unit: "same" as the PET's, or "suv".
        created: when the run ended, UTC.
        place: which other machine worked, or None.
    """

    inputs: Mapping[str, Optional[InputFacts]]
    model: ModelFacts
    settings: DenoiseSettings
    resolved: Resolved
    unit: str
    brain_mean: float
    residual_scale: float
    mean_change: float
    findings: tuple[Finding, ...]
    seconds: Mapping[str, float]
    outputs: Mapping[str, str] = field(default_factory=dict)
    output_unit: str = "same"
    created: str = field(default_factory=lambda: datetime.now(timezone.utc).isoformat(timespec="seconds"))
    place: Optional[str] = None

    def as_dict(self) -> dict[str, Any]:
        """Return the record as plain JSON types."""
        resolved = self.resolved
        return _plain(
            {
                "format": RECORD_FORMAT,
                "created": self.created,
                **({"place": self.place} if self.place else {}),
                "inputs": {name: None if each is None else each.as_dict() for name, each in self.inputs.items()},
                **({"outputs": self.outputs, "output_unit": self.output_unit} if self.outputs else {}),
                "units": self.unit,
                **entries_of(self.findings),
                "model": asdict(self.model),
                "settings": self.settings.as_dict(),
                "resolved": asdict(resolved),
                "seed": self.settings.seed,
                "evaluations": resolved.evaluations,
                "patch_size": None if resolved.in_one_piece else resolved.patch_size,
                "device": resolved.device,
                "precision": resolved.precision,
                "scale_factor": self.brain_mean,
                "residual_scale": self.residual_scale,
                "mean_change_of_model": self.mean_change,
                "seconds": self.seconds,
                "peak_memory_bytes": peak_memory_bytes(),
                "versions": versions(),
            }
        )


def entries_of(findings: Sequence[Finding]) -> dict[str, Any]:
    """Return a record's entries about findings, as plain JSON types: findings, warnings as sentences, values."""
    entries = {"findings": [finding.as_dict() for finding in findings], "warnings": sentences(findings)}
    return _plain({**entries, "quality": quality_of(findings)})


def quality_of(findings: Iterable[Finding]) -> dict[str, Any]:
    """Group the values of findings by what they are about, as records had them before findings were typed."""
    areas: dict[str, Any] = {}
    for finding in findings:
        values, name = dict(finding.values), finding.check
        if name in _OF_INPUT:
            # two checks look at the voxels
            areas.setdefault("input", {}).setdefault(name, {}).update(values)
        elif name == "head":
            areas.setdefault("input", {})["head_ml"] = values["head_ml"]
        elif name == "dose":
            areas.setdefault("noise", {})["dose"] = values
        elif name == "output":
            areas.setdefault("output", {})["judged"] = False
        elif name in ("lost_structure", "leftover_noise"):
            output = areas.setdefault("output", {"judged": True})
            output[name] = values["share"]
            if "level" in values:
                output["leftover_level"] = values["level"]
        elif name == "unsupported":
            areas.setdefault("output", {})[name] = values
        elif name in ("noise", "alignment", "registration", "uncertainty", "keep"):
            areas.setdefault(name, {}).update(values)
    return areas


def describe_image(image: sitk.Image) -> ImageFacts:
    """Return geometry, unit and range of an image."""
    extremes = sitk.MinimumMaximumImageFilter()
    extremes.Execute(image)
    return ImageFacts(
        image.GetSize(),
        image.GetSpacing(),
        image.GetOrigin(),
        image.GetDirection(),
        image.GetPixelIDTypeAsString(),
        units_of(image),
        extremes.GetMinimum(),
        extremes.GetMaximum(),
    )


def describe_file(path: Union[str, Path], files: Sequence[Path]) -> FileFacts:
    """Return the path of an input and the SHA-256 of the files it was read from, one after another.

    Args:
        path: of the input; text is kept as it is, because it may be a path of another machine.
        files: that it was read from.
    """
    return FileFacts(path if isinstance(path, str) else str(located(path)), len(files), digest_of_files(*files))


_version = cache(version_of)
"""Versions are looked up once, because that reads and parses a file."""


def versions() -> dict[str, str]:
    """Return the versions of this package, of Python and of the packages that compute, as far as installed."""
    found = {"csrd-denoise": __version__, "python": platform.python_version(), "platform": platform.platform()}
    return {**found, **{name: version for name in _PACKAGES if (version := _version(name)) is not None}}


def peak_memory_bytes() -> Optional[int]:
    """Return the largest resident memory of this process so far, or None where the system does not report it."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _plain(value: Any) -> Any:
    """The same with lists for tuples, as it comes back from JSON."""
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return value
