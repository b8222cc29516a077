"""DICOM stacks: which slices make one volume, which are time frames, and whether a stack is a rectangular grid."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Callable, Mapping, Optional, Sequence

import numpy as np

from ..errors import InputError
from ..findings import Finding, warning
from .dicom_tags import Tags, date_time, finite, full_date_time, zone_of
from .volume import Frame

SAME_POSITION_MM = 1e-2
LARGEST_SHIFT = 0.1
"""Part of a voxel by which a slice may lie beside or off its place in a regular stack."""
_MISSING_GAP = 1.5


@dataclass(frozen=True)
class Slice:
    """One frame of a file as a slice in space.

    Attributes:
        tags: its header.
        position: centre of the first pixel, mm, L-P-S.
        axes: directions of a row and of a column (2, 3).
        spacing: mm between rows, and between columns.
        slope: of the stored values.
        intercept: of the stored values.
    """

    tags: Tags
    position: np.ndarray
    axes: np.ndarray
    spacing: tuple[float, float]
    slope: float
    intercept: float

    @property
    def normal(self) -> np.ndarray:
        """Direction across the slice."""
        return np.cross(self.axes[0], self.axes[1])

    @property
    def name(self) -> str:
        """How messages call the slice."""
        tags = self.tags
        return tags.path.name if tags.count == 1 else f"frame {tags.index + 1} of {tags.path.name}"


def acquisition_time(tags: Tags) -> Optional[datetime]:
    """Return when the acquisition of a frame began, by a date-time or a date and a time."""
    for keyword in ("FrameAcquisitionDateTime", "AcquisitionDateTime"):
        found = full_date_time(tags.text(keyword), zone_of(tags))
        if found:
            return found
    dates = (tags.text(f"{name}Date") for name in ("Acquisition", "Series", "Study"))
    return date_time(next(filter(None, dates), ""), tags.text("AcquisitionTime"))


def duration_s(tags: Tags) -> Optional[float]:
    """Return the length of a frame in seconds (the tags are in ms); 0, as of a tag that was filled in, is none."""
    duration = tags.number("FrameAcquisitionDuration") or tags.number("ActualFrameDuration") or 0.0
    return duration / 1000 if duration > 0 else None


def _time_slot(tags: Tags) -> str:
    """Return the time slot that the image index counts in (PS3.3 C.8.9.4.1.9), or nothing."""
    index, slices = tags.number("ImageIndex"), tags.number("NumberOfSlices")
    return str(int((index - 1) // slices)) if index and slices else ""


_TIMES: Mapping[str, Callable[[Tags], str]] = {
    "TemporalPositionIndex": lambda tags: tags.text("TemporalPositionIndex"),
    "TemporalPositionIdentifier": lambda tags: tags.text("TemporalPositionIdentifier"),
    "FrameReferenceTime": lambda tags: tags.text("FrameReferenceTime"),
    "FrameReferenceDateTime": lambda tags: tags.text("FrameReferenceDateTime"),
    "AcquisitionTime": lambda tags: str(acquisition_time(tags) or ""),
    "ImageIndex": _time_slot,
    "TriggerTime": lambda tags: tags.text("TriggerTime"),
}
"""What may distinguish the frames of a dynamic or gated study, in the order of trust."""
_OF_ACQUISITION = ("AcquisitionTime", "FrameReferenceTime")
"""Of :data:`_TIMES`, what is one for all slices that were measured at once; they lie side by side."""
_OF_RECONSTRUCTION = ("ReconstructionMethod", "ConvolutionKernel", "AttenuationCorrectionMethod")
_OTHERS = (
    *("EchoTime", "EffectiveEchoTime", "InversionTime", "FlipAngle", "DiffusionBValue", "ImageType", "FrameType"),
    *("ComplexImageComponent", "StackID", *_OF_RECONSTRUCTION, "SeriesDescription", "SeriesNumber"),
    "AcquisitionNumber",
)
"""What may distinguish volumes of one series that are no time frames."""


def split_frames(slices: Sequence[Slice], place: str) -> tuple[list[list[Slice]], tuple[Frame, ...]]:
    """Return the volumes of a series, each sorted by position, in the order of time, and when they are.

    Raises:
        InputError: slices lie at the same place without being time frames, or a frame lacks slices.
    """
    along = np.array([each.position @ slices[0].normal for each in slices])
    order = np.argsort(along, kind="stable")
    steps = np.diff(along[order]) > SAME_POSITION_MM
    places = np.empty(len(slices), dtype=int)
    places[order] = np.concatenate([[0], np.cumsum(steps)])
    if int(np.bincount(places).max()) == 1:
        volumes = [[slices[index] for index in order]]
    else:
        volumes = _by_time(slices, places, place)
    return volumes, _frames(volumes)


def _by_time(slices: Sequence[Slice], places: np.ndarray, place: str) -> list[list[Slice]]:
    most = int(np.bincount(places).max())
    # echoes, or water and fat, may have times of their own too, and reconstructions an image index
    sure = {"MR": _OTHERS}.get(slices[0].tags.text("Modality"), _OF_RECONSTRUCTION)
    kinds = _kinds(slices, places, most, sure)
    if kinds:
        raise InputError(f"{place} {kinds}")
    for value in _TIMES.values():
        values = [value(each.tags) for each in slices]
        if _distinguishes(values, places, most):
            break
    else:
        raise InputError(_doubled(slices, places, most, place))
    groups = []
    for when in sorted(set(values), key=lambda text: (finite(text) or 0.0, text)):
        chosen = sorted((index for index, text in enumerate(values) if text == when), key=lambda index: places[index])
        groups.append([slices[index] for index in chosen])
    count = int(places.max()) + 1
    short = [index for index, group in enumerate(groups) if len(group) < count]
    if short:
        raise InputError(
            f"{place} is a dynamic study of {len(groups)} frames, and {len(short)} of them lack slices (frame "
            f"{short[0] + 1} has {len(groups[short[0]])} of {count}), or beds that overlap. Export all slices of every "
            "frame, or the beds joined to one volume."
        )
    return groups


def _distinguishes(values: Sequence[str], places: np.ndarray, most: int) -> bool:
    pairs = set(zip(values, places.tolist()))
    return "" not in values and len(set(values)) == most and len(pairs) == len(values)


def _kinds(slices: Sequence[Slice], places: np.ndarray, most: int, keywords: Sequence[str] = _OTHERS) -> str:
    """Return in words the first of these tags by which volumes at one place differ; empty without."""
    for keyword in keywords:
        values = [each.tags.text(keyword) for each in slices]
        if _distinguishes(values, places, most):
            listed = ", ".join(sorted(set(values)))
            return f"holds {most} volumes at one place that differ in {keyword} ({listed}); export the one to use."
    return ""


def _doubled(slices: Sequence[Slice], places: np.ndarray, most: int, place: str) -> str:
    kinds = _kinds(slices, places, most)
    if kinds:
        return f"{place} {kinds}"
    copies = _copies(slices)
    if copies:
        return (
            f"{place} has files that are copies of others (the same SOPInstanceUID), such as '{copies[0]}' and "
            f"'{copies[1]}'. Remove the copies."
        )
    doubled = len(slices) - int(places.max()) - 1
    return (
        f"{place} has {doubled} of {len(slices)} slices at a position that another slice already has, and no tag that "
        "distinguishes time frames; remove the duplicates, or give one frame."
    )


def _copies(slices: Sequence[Slice]) -> Optional[tuple[str, str]]:
    """Return the names of two files that hold the same object at the same place, if there are any."""
    seen: dict[tuple[str, int, tuple[float, ...]], str] = {}
    for one in slices:
        uid = one.tags.text("SOPInstanceUID")
        key, name = (uid, one.tags.index, tuple(one.position.round(2).tolist())), "/".join(one.tags.path.parts[-2:])
        if uid and key in seen:
            return seen[key], name
        seen[key] = name
    return None


def _frames(volumes: Sequence[Sequence[Slice]]) -> tuple[Frame, ...]:
    """When the frames are; without begins where these do not rise: one time for all, or no date after midnight."""
    begins = [begin for volume in volumes if (begin := _begin(volume)) is not None]
    durations = [duration_s(volume[0].tags) for volume in volumes]
    if len(begins) < len(volumes) or any(later <= begin for begin, later in zip(begins, begins[1:])):
        return tuple(Frame(None, duration) for duration in durations)
    return tuple(Frame((begin - begins[0]).total_seconds(), each) for begin, each in zip(begins, durations))


def _begin(volume: Sequence[Slice]) -> Optional[datetime]:
    return min((when for each in volume if (when := acquisition_time(each.tags))), default=None)


def check_stack(stack: Sequence[Slice], place: str, what: str, frames: int = 1) -> tuple[float, tuple[Finding, ...]]:
    """Return the distance between the slices of a sorted stack in mm, and what was noticed.

    Raises:
        InputError: slices are missing, unevenly spaced, beside the stack, or of acquisitions that alternate.
    """
    if len(stack) < 2:
        return stack[0].tags.number("SliceThickness") or 1.0, ()
    offsets = np.array([each.position - stack[0].position for each in stack])
    along = offsets @ stack[0].normal
    _check_straight(stack, offsets - along[:, None] * stack[0].normal, place)
    _check_even(stack, along, place)
    _check_one_acquisition(stack, place)
    return float(along[-1]) / (len(stack) - 1), _count_findings(stack, place, what, frames)


def _check_straight(stack: Sequence[Slice], aside: np.ndarray, place: str) -> None:
    distances = np.linalg.norm(aside, axis=1)
    limit = LARGEST_SHIFT * min(stack[0].spacing)
    if distances.max() <= limit:
        return
    usual = np.median(aside, axis=0)
    away = np.linalg.norm(aside - usual, axis=1)
    if (away > limit).sum() <= len(stack) // 4:
        names = [each.name for each, distance in zip(stack, away) if distance > limit]
        raise InputError(
            f"{place} has {len(names)} of {len(stack)} slices beside the others by up to {away.max():.2f} mm, such as "
            f"'{names[0]}'. Export the series again."
        )
    length = np.linalg.norm(stack[-1].position - stack[0].position)
    angle = np.degrees(np.arcsin(min(distances[-1] / length, 1)))
    raise InputError(
        f"{place} is a tilted stack: its slices drift sideways by {distances.max():.1f} mm ({angle:.1f} degrees), so "
        "they are no rectangular grid. Resample it to one first."
    )


def _check_even(stack: Sequence[Slice], along: np.ndarray, place: str) -> None:
    gaps = np.diff(along)
    # the smallest, not the median: of slices at 0, 6 and 15 mm most may be missing
    usual, widest = float(gaps.min()), int(gaps.argmax())
    wide = gaps > _MISSING_GAP * usual
    if wide.any():
        missing = max(1, int(np.round(gaps[wide] / usual - 1).sum()))
        raise InputError(
            f"{place} lacks about {missing} of its slices: they are {usual:.2f} mm apart, but one gap is "
            f"{gaps.max():.2f} mm (after '{stack[widest].name}'). Export the series again."
        )
    step = along[-1] / (len(along) - 1)
    off = np.abs(along - np.arange(len(along)) * step)
    if off.max() > LARGEST_SHIFT * step:
        raise InputError(
            f"{place} has unevenly spaced slices: they are {gaps.min():.2f} to {gaps.max():.2f} mm apart, "
            f"and '{stack[int(off.argmax())].name}' lies {off.max():.2f} mm off its place. Resample it first."
        )


def _check_one_acquisition(stack: Sequence[Slice], place: str) -> None:
    """Refuse a PET of which two acquisitions alternate along the stack; the slices of an MR may be acquired so."""
    if stack[0].tags.text("Modality") != "PT":
        return
    for name in _OF_ACQUISITION:
        values = [_TIMES[name](each.tags) for each in stack]
        different, changes = sorted(set(values)), sum(one != other for one, other in zip(values, values[1:]))
        # beds of a long field of view follow each other, so that there is one change less than there are beds
        if changes >= 2 * len(different):
            raise InputError(
                f"{place} mixes {len(different)} acquisitions, whose slices alternate ({name} {different[0]}, "
                f"{different[1]}). Export one of them."
            )


def _count_findings(stack: Sequence[Slice], place: str, what: str, frames: int) -> tuple[Finding, ...]:
    """Compare the number of slices with what the header announces: at an end, missing slices leave no gap."""
    numbers = [number for each in stack if (number := each.tags.number("InStackPositionNumber"))]
    announced = stack[0].tags.number("NumberOfSlices") or (max(numbers) if len(numbers) == len(stack) else None)
    if announced is None or announced in (len(stack), len(stack) * frames):
        return ()
    if announced > len(stack):
        raise InputError(
            f"{place} holds {len(stack)} of {announced:.0f} slices (by NumberOfSlices or the positions in the "
            "stack), so some are missing at an end. Export the whole series again; if it was cut on purpose, as to the "
            "head of a whole-body scan, convert it to NIfTI."
        )
    return (warning("series.more_slices", what=what, count=len(stack), announced=int(announced)),)
