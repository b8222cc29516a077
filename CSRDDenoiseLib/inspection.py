"""Inspection: geometry, frames, unit, SUV and head of a file, a folder or a series, without denoising anything.

One function, :func:`inspect_path`, for the command ``csrd-denoise inspect`` and for the line under a volume in Slicer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Iterator, Optional, Sequence

import numpy as np
import SimpleITK as sitk

from .checks.clipping import check_clipping
from .checks.head_size import check_field
from .checks.label_map import check_label_map
from .checks.masked import check_masked
from .checks.unit import check_suv
from .checks.volumes import is_too_large
from .errors import InputError
from .findings import Finding
from .io.dicom_files import list_series
from .io.grid import Grid
from .io.read import read_frames
from .io.suv import describe_suv, suv_of_unit, volume_suv
from .io.volume import UNKNOWN, Header, ReadVolume, Suv
from .model.bundle import list_models, read_metadata
from .prepare.align import MODEL_SPACING_MM, to_model_grid
from .prepare.frames import frame_weights, named_frames
from .restore.canvas import Canvas
from .scan import Scan, find_head, noise_level
from .sentences import CLI, sentence

NOT_PET = ("MR", "CT")


@dataclass(frozen=True)
class HeadFacts:
    """What the PET shows.

    Attributes:
        volume_ml: of the head.
        brain_mean: mean of the bright part of the smoothed PET, in the PET's unit.
        noise_level: relative to the brain mean, on voxels of 2 mm.
    """

    volume_ml: float
    brain_mean: float
    noise_level: float


@dataclass(frozen=True)
class Inspection:
    """What the reader found in a volume or a study.

    Attributes:
        first: the first time frame; its image is not kept (an empty one is in its place).
        grid: where the volume lies.
        path: what was inspected.
        series: the DICOM series in the folder.
        minimum: smallest finite value of all frames; infinite where there is none.
        maximum: largest finite value of all frames; minus infinity where there is none.
        suv_maximum: the same in SUV, or None where unknown.
        not_finite: voxels that are NaN or infinite.
        not_finite_frames: the frames (from 0) that have some.
        head: what was found in the mean of the frames, weighted by their durations where these are known, or None.
        models: bundled models and whether the voxel size suits them.
        findings: of all frames, each once, and of the PET's field of view and mask.
    """

    path: Path
    first: ReadVolume = field(repr=False)
    grid: Grid
    series: tuple[dict[str, Any], ...]
    minimum: float
    maximum: float
    suv_maximum: Optional[float]
    not_finite: int
    head: Optional[HeadFacts]
    models: tuple[dict[str, Any], ...]
    findings: tuple[Finding, ...]
    not_finite_frames: tuple[int, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the inspection as plain JSON types."""
        header, suv = self.first.header, volume_suv(self.first)
        return {
            "path": str(self.path),
            "format": header.format,
            "modality": header.modality,
            "series": list(self.series),
            "files": len(header.files),
            "size": list(self.grid.size),
            "spacing_mm": list(self.grid.spacing),
            "origin_mm": list(self.grid.origin),
            "direction": list(self.grid.direction),
            "axes": axis_codes(self.grid),
            "orientation": header.orientation,
            "frames": len(header.frames),
            "frame_start_s": [frame.start_s for frame in header.frames],
            "frame_duration_s": [frame.duration_s for frame in header.frames],
            "unit": self.first.unit,
            "decay_correction": header.decay_correction,
            "suv_factor": suv.factor,
            "suv_source": suv.source,
            "minimum": self.minimum,
            "maximum": self.maximum,
            "suv_maximum": self.suv_maximum,
            "not_finite": self.not_finite,
            "not_finite_frames": [index + 1 for index in self.not_finite_frames],
            "head": None if self.head is None else dict(vars(self.head)),
            "models": list(self.models),
            "findings": [{**finding.as_dict(), "sentence": sentence(finding, CLI)} for finding in self.findings],
        }


KEYS = (
    *("path", "format", "modality", "series", "files", "size", "spacing_mm", "origin_mm", "direction", "axes"),
    *("orientation", "frames", "frame_start_s", "frame_duration_s", "unit", "decay_correction", "suv_factor"),
    *("suv_source", "minimum", "maximum", "suv_maximum", "not_finite", "not_finite_frames", "head", "models"),
    "findings",
)
"""Of :meth:`Inspection.as_dict`; :func:`unreadable` has the same."""


def inspect_path(path: Path, what: str = "volume") -> Inspection:
    """Read a volume or a study frame by frame and return what the reader found.

    Args:
        path: file, folder or DICOMDIR.
        what: "PET" or "MR" to choose among several series by modality, and to check it.

    Raises:
        InputError: as :func:`CSRDDenoiseLib.io.read.read`.
    """
    series = tuple(list_series(path))
    pets = [each for each in series if each["modality"] == "PT"]
    if what == "volume" and (len(pets) == 1 or sum(each["files"] > 1 for each in pets) == 1):
        what = "PET"
    return _inspection(read_frames(path, what), path, series)


def inspect_image(
    image: sitk.Image, unit: str = UNKNOWN, modality: str = UNKNOWN, suv: Optional[Suv] = None, name: str = ""
) -> Inspection:
    """Return the facts about an image in memory, as the lines of :func:`text_lines` and its like show it.

    Args:
        image: scalar 3D.
        unit: of the values, in words ("Bq/mL").
        modality: the DICOM modality ("PT", "MR").
        suv: how it becomes SUV, for instance by :func:`CSRDDenoiseLib.io.dicom.unit_and_suv`; by the unit without.
        name: shown to the user.
    """
    header = Header("in memory", (), modality, suv=suv or suv_of_unit(unit))
    return _inspection(iter((ReadVolume(image, unit, (), header),)), Path(name), ())


def unreadable(path: Path, error: InputError) -> dict[str, Any]:
    """Return the keys of an inspection of what cannot be read: the series in it, why it cannot be read, and null."""
    try:
        series = list_series(path)
    except (InputError, OSError):
        series = []
    return {**dict.fromkeys(KEYS), "path": str(path), "series": series, "findings": [], "error": f"{error}"}


def _inspection(volumes: Iterator[ReadVolume], path: Path, series: tuple[dict[str, Any], ...]) -> Inspection:
    total = _Totals()
    for volume in volumes:
        total.add(volume)
    if total.first is None or total.mean is None:
        raise InputError(f"'{path}' has no frames.")
    grid = total.grid
    is_pet = total.first.header.modality not in NOT_PET and total.suits_head
    head, seen = head_facts(grid.image(total.mean)) if is_pet else (None, ())
    labels = check_label_map(total.mean, total.first.unit, "volume") if is_pet else ()
    is_known = total.first.header.modality == "PT" or total.first.unit != UNKNOWN
    clipped = check_clipping(total.mean) if is_pet and is_known else ()
    about_suv = () if head is None else check_suv(volume_suv(total.first), head.brain_mean)
    return Inspection(
        path=path,
        first=total.first,
        grid=grid,
        series=series,
        minimum=total.minimum,
        maximum=total.maximum,
        suv_maximum=total.suv_maximum,
        not_finite=total.not_finite,
        head=head,
        models=tuple(_models(grid)),
        findings=(*total.findings, *labels, *clipped, *seen, *about_suv),
        not_finite_frames=tuple(total.not_finite_frames),
    )


def head_facts(pet: sitk.Image) -> tuple[Optional[HeadFacts], tuple[Finding, ...]]:
    """Find the head in a PET; None where none stands out. Findings report a mask and a long field of view."""
    masked = check_masked(Canvas(pet, Grid.of(pet)).zeros)
    aligned = to_model_grid(pet, None, MODEL_SPACING_MM)
    spacing = aligned.grid.array_spacing
    head = find_head(aligned.pet, spacing)
    if head is None:
        return None, masked
    part = aligned.pet[head.box] / head.brain_mean
    noise = noise_level(part, head.mask[head.box], spacing)
    volume = float(head.mask.sum() * np.prod(spacing) / 1000)
    facts = HeadFacts(round(volume, 1), float(f"{head.brain_mean:.5g}"), float(f"{noise:.4g}"))
    return facts, (*check_field(Scan(aligned.pet, aligned.grid, head)), *masked)


def axis_codes(grid: Grid) -> str:
    """Return where the axes x, y, z of the file point, for instance ``LPS``."""
    axes = np.array(grid.direction).reshape(3, 3)
    names = (("R", "L"), ("A", "P"), ("I", "S"))
    codes = []
    for column in axes.T:
        main = int(np.abs(column).argmax())
        codes.append(names[main][int(column[main] > 0)])
    return "".join(codes)


def text_lines(inspection: Inspection) -> Iterator[str]:
    """Yield the inspection as lines to read."""
    facts = inspection.as_dict()
    size, spacing = (" x ".join(f"{value:.4g}" for value in facts[name]) for name in ("size", "spacing_mm"))
    yield f"{facts['format']}, modality {facts['modality']}, {facts['files']} file(s)"
    for each in inspection.series[:20] if len(inspection.series) > 1 else ():
        yield f"  series: {each['modality']} '{each['description']}', {each['files']} files in {each['folder']}"
    yield f"size {size}, voxels {spacing} mm, axes {facts['axes']} (by {facts['orientation']})"
    yield _frames_line(facts["frame_start_s"], facts["frame_duration_s"])
    correction = f", decay correction {facts['decay_correction']}" if facts["decay_correction"] else ""
    yield f"unit {facts['unit']}{correction}; {_values_words(inspection)}"
    yield suv_line(inspection)
    yield head_line(inspection)
    suits = [f"{each['name']} ({'yes' if each['suits'] else 'no'})" for each in inspection.models]
    yield f"models for this voxel size: {', '.join(suits) or 'none is bundled'}"
    for finding in inspection.findings:
        text = sentence(finding, CLI)
        if text:
            yield f"{'warning' if finding.is_warning else 'note'}: {text}"


def suv_line(inspection: Inspection) -> str:
    """Return the body-weight SUV in words: the factor and its source, or why it is unknown."""
    return describe_suv(volume_suv(inspection.first), inspection.suv_maximum)


def head_line(inspection: Inspection) -> str:
    """Return in words whether a head was found."""
    head = inspection.head
    if inspection.first.header.modality in NOT_PET:
        return "head: not sought, because this is no PET"
    if is_too_large(inspection.grid.size, inspection.grid.spacing):
        return "head: not sought, because voxels or field of view are larger than those of a PET; check their unit"
    if head is None:
        return "head: none found"
    return f"head: {head.volume_ml:.0f} mL, brain mean {head.brain_mean:.4g}, noise level {head.noise_level:.3g}"


def _frames_line(starts: Sequence[Optional[float]], durations: Sequence[Optional[float]]) -> str:
    count = f"{len(starts)} frame{'s' if len(starts) > 1 else ''}"
    shown = [f"{_seconds(start)} + {_seconds(length)}" for start, length in zip(starts, durations)]
    if all(length is None for length in durations):
        return f"{count}, times unknown"
    return f"{count}, start + duration: {', '.join(shown[:4])}{', ...' if len(shown) > 4 else ''} s"


def _values_words(inspection: Inspection) -> str:
    """Return the range of the finite values in words, and how many others there are."""
    found = "no finite value"
    if inspection.minimum <= inspection.maximum:
        found = f"values {inspection.minimum:.5g} to {inspection.maximum:.5g}"
    if not inspection.not_finite:
        return found
    found = f"{found}; {inspection.not_finite} voxels are NaN or infinite"
    if len(inspection.first.header.frames) < 2:
        return f"{found}, which denoise refuses without --nan-to-zero"
    frames = named_frames(inspection.not_finite_frames)
    return f"{found}, in frame(s) {frames}; denoise leaves these frames as they are without --nan-to-zero"


def _seconds(value: Optional[float]) -> str:
    return "?" if value is None else f"{value:g}"


def _models(grid: Grid) -> Iterator[dict[str, Any]]:
    for folder in list_models():
        try:
            metadata = read_metadata(folder)
        except InputError:
            continue
        low, high = metadata.spacing_range_mm
        yield {
            "name": metadata.name,
            "suits": bool(low <= min(grid.spacing) and max(grid.spacing) <= high),
            "spacing_range_mm": [low, high],
        }


def _with_note(volume: ReadVolume, note: str) -> ReadVolume:
    suv = volume_suv(volume)
    if suv.source.endswith(note):
        return volume
    return replace(volume, header=replace(volume.header, suv=replace(suv, source=f"{suv.source}{note}")))


class _Totals:
    """Sums over the frames of a study, so that one frame at a time is in memory."""

    def __init__(self) -> None:
        self.first: Optional[ReadVolume] = None
        self.mean: Optional[np.ndarray] = None
        self.minimum, self.maximum = math.inf, -math.inf
        self.suv_maximum: Optional[float] = None
        self.not_finite = 0
        self.not_finite_frames: list[int] = []
        self.findings: list[Finding] = []

    def add(self, volume: ReadVolume) -> None:
        """Take a frame in."""
        values = sitk.GetArrayViewFromImage(volume.image)
        finite = np.isfinite(values)
        broken = int(values.size - finite.sum())
        self.not_finite += broken
        self.not_finite_frames += [volume.header.frame] if broken else []
        if finite.any():
            self.minimum = min(self.minimum, float(values.min(where=finite, initial=math.inf)))
            self.maximum = max(self.maximum, float(values.max(where=finite, initial=-math.inf)))
        self._add_suv(volume, values, finite)
        self.findings += [finding for finding in volume.findings if finding not in self.findings]
        frames = volume.header.frames
        part = np.where(finite, values, 0) * frame_weights(range(len(frames)), frames)[volume.header.frame]
        if self.first is None or self.mean is None:
            self.grid, self.mean = Grid.of(volume.image), part.astype(np.float32)
            self.first = ReadVolume(sitk.Image(), volume.unit, volume.findings, volume.header)
        else:
            self.mean += part

    @property
    def suits_head(self) -> bool:
        """Whether a head can be sought: several slices of positive values, of the size of a PET."""
        size, spacing = self.grid.size, self.grid.spacing
        return self.maximum > 0 and min(size) >= 4 and not is_too_large(size, spacing)

    def _add_suv(self, volume: ReadVolume, values: np.ndarray, finite: np.ndarray) -> None:
        suv = volume_suv(volume)
        if self.first is not None and suv.factors != volume_suv(self.first).factors:
            self.first = _with_note(self.first, "; of the first frame, the others have factors of their own")
        if suv.factors is None or not finite.any():
            return
        largest = values.max(axis=(1, 2), where=finite, initial=-math.inf)
        found = float((largest * np.array(suv.factors)).max())
        self.suv_maximum = found if self.suv_maximum is None else max(self.suv_maximum, found)
