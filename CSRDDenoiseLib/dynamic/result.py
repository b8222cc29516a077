"""What a run on a dynamic PET returns: what happened to each frame, the findings, and the record."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from functools import cached_property
from typing import Any, Mapping, Optional, Sequence

from ..findings import Finding, info, warning
from ..io.record import RECORD_FORMAT, FileFacts, InputFacts, Record, peak_memory_bytes, versions
from ..io.volume import Frame
from ..prepare.frames import named_frames
from ..prepare.motion import MOTION_LIMIT_MM
from ..sentences import PYTHON, sentence
from ..settings import DenoiseSettings

DENOISED, UNCHANGED, NOT_CHOSEN = "denoised", "unchanged", "not chosen"


@dataclass(frozen=True)
class FrameOutcome:
    """What happened to one frame.

    Attributes:
        index: of the frame, from 0.
        frame: when it was.
        status: "denoised", "unchanged" or "not chosen"; the values of the last two are those of the input.
        reason: why it is unchanged: "too_few_counts", "noise_outside", "not_finite" or "unusable".
        detail: the same as a sentence, where there is one.
        motion_mm: mean displacement of the head against the late frames, or None where it was not measured.
        seed: of the samples.
        record: of the denoising, or None.
    """

    index: int
    frame: Frame
    status: str
    reason: str = ""
    detail: str = ""
    motion_mm: Optional[float] = None
    seed: Optional[int] = None
    record: Optional[Record] = None

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What the checks noticed about the frame."""
        return self.record.findings if self.record else ()

    def as_dict(self) -> dict[str, Any]:
        """Return the outcome as plain JSON types; frames are numbered from 1."""
        values: dict[str, Any] = {"frame": self.index + 1, **asdict(self.frame), "status": self.status}
        values.update({"reason": self.reason, "detail": self.detail} if self.reason else {})
        values["motion_mm"] = None if self.motion_mm is None else round(self.motion_mm, 2)
        if self.record is None:
            return values
        return {
            **values,
            "seed": self.seed,
            "scale_factor": self.record.brain_mean,
            "residual_scale": self.record.residual_scale,
            "mean_change_of_model": self.record.mean_change,
            "findings": [finding.as_dict() for finding in self.findings],
        }


@dataclass(frozen=True)
class RegionCurve:
    """The time-activity curve of one label, a mean over its voxels for each frame, in the PET's unit.

    Attributes:
        label: number in the label map.
        millilitres: volume on the PET's grid.
        before, after: in the PET, and denoised.
    """

    label: int
    millilitres: float
    before: tuple[float, ...]
    after: tuple[float, ...]


@dataclass(frozen=True)
class DynamicResult:
    """What a run on a dynamic PET gives; the volumes lie in the files.

    Attributes:
        settings: of the run.
        chosen: the frames that were asked for, as text, or None for all.
        frames: what happened to each frame.
        late: the frames (from 0) whose mean the MR was placed on: the late ones without NaN and infinity.
        study_findings: about the files and the place of the MR.
        inputs: name -> what was read.
        files: name -> file it was read from.
        outputs: name -> path.
        output_unit: "same" as the PET's, or "suv".
        curves: of the labels, where there are some.
        seconds: stage -> wall time.
        created: when the run ended, UTC.
        place: which other machine worked, or None.
        window: frames over which the means of regions were kept, or 0 where too few were denoised.
    """

    settings: DenoiseSettings
    chosen: Optional[str]
    frames: tuple[FrameOutcome, ...]
    late: tuple[int, ...]
    study_findings: tuple[Finding, ...]
    inputs: Mapping[str, InputFacts]
    files: Mapping[str, FileFacts]
    outputs: Mapping[str, str]
    output_unit: str = "same"
    curves: tuple[RegionCurve, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    created: str = field(default_factory=lambda: datetime.now(timezone.utc).isoformat(timespec="seconds"))
    place: Optional[str] = None
    window: int = 0

    @property
    def findings(self) -> tuple[Finding, ...]:
        """About the study as a whole; those of single frames are in ``frames``."""
        return (*self.study_findings, *_about_frames(self.frames))

    @property
    def warnings(self) -> tuple[str, ...]:
        """Every warning as a sentence; the same of several frames once, with the frames."""
        return self.sentences(PYTHON)

    def sentences(self, edge: str) -> tuple[str, ...]:
        """Return the warnings worded for an edge, see :mod:`CSRDDenoiseLib.sentences`."""
        of_study = [sentence(finding, edge) for finding in self.findings if finding.is_warning]
        return (*of_study, *_of_frames(self.frames, {finding.code for finding in self.findings}, edge))

    def frames_with(self, status: str) -> tuple[int, ...]:
        """Return the frames (from 0) with a status."""
        return tuple(outcome.index for outcome in self.frames if outcome.status == status)

    @property
    def middles(self) -> tuple[tuple[float, ...], str]:
        """When the middle of each frame was, and the name of that axis: minutes where they are known, else numbers."""
        frames = [outcome.frame for outcome in self.frames]
        known = [
            (each.start_s + each.duration_s / 2) / 60
            for each in frames
            if each.start_s is not None and each.duration_s is not None
        ]
        if len(known) == len(frames):
            return tuple(known), "time (min)"
        return tuple(float(outcome.index + 1) for outcome in self.frames), "frame"

    @property
    def as_run(self) -> Record:
        """The record of the first frame that was denoised, with the inputs, settings and findings of the whole run."""
        first = next(outcome.record for outcome in self.frames if outcome.record)
        inputs = {name: replace(facts, file=self.files.get(name)) for name, facts in self.inputs.items()}
        return replace(
            first,
            inputs=inputs,
            settings=self.settings,
            findings=self.findings,
            seconds=self.seconds,
            created=self.created,
        )

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """The record as plain JSON types: what is common to all frames, and ``frames``, one entry each."""
        common = self.as_run.as_dict()
        named = ("inputs", "units", "model", "settings", "resolved", "seed", "device", "precision")
        return {
            "format": RECORD_FORMAT,
            "kind": "dynamic",
            "created": self.created,
            **({"place": self.place} if self.place else {}),
            "outputs": dict(self.outputs),
            "output_unit": self.output_unit,
            **{name: common[name] for name in named},
            "frames_chosen": self.chosen,
            "means_kept_over_frames": self.window,
            "late_frames": [index + 1 for index in self.late],
            "findings": [finding.as_dict() for finding in self.findings],
            "warnings": list(self.warnings),
            "frames": [outcome.as_dict() for outcome in self.frames],
            **({"curves": [asdict(curve) for curve in self.curves]} if self.curves else {}),
            "seconds": dict(self.seconds),
            "peak_memory_bytes": peak_memory_bytes(),
            "versions": versions(),
        }


def _about_frames(frames: Sequence[FrameOutcome]) -> tuple[Finding, ...]:
    found = []
    for reason in dict.fromkeys(outcome.reason for outcome in frames if outcome.reason):
        those = [outcome for outcome in frames if outcome.reason == reason]
        names = named_frames([outcome.index for outcome in those])
        detail = those[0].detail.rstrip(".")
        found.append(warning("frames.unchanged", frames=names, count=len(those), reason=reason, detail=detail))
    others = [outcome.index for outcome in frames if outcome.status == NOT_CHOSEN]
    if others:
        found.append(info("frames.not_chosen", frames=named_frames(others), count=len(others)))
    moved = [(outcome.motion_mm, outcome.index) for outcome in frames if (outcome.motion_mm or 0) > MOTION_LIMIT_MM]
    if moved:
        largest, index = max((mm or 0.0, index) for mm, index in moved)
        names = named_frames([each for _, each in moved])
        values = {"frames": names, "largest_mm": round(largest, 2), "frame": index + 1, "limit_mm": MOTION_LIMIT_MM}
        found.append(warning("motion.between_frames", **values))
    return tuple(found)


def _of_frames(frames: Sequence[FrameOutcome], known: set[str], edge: str) -> list[str]:
    """Word the warnings of single frames, each code once by its first frame."""
    found = [(outcome.index, each) for outcome in frames for each in outcome.findings if each.is_warning]
    found = [(index, each) for index, each in found if each.code not in known]
    texts = []
    for code, count in Counter(each.code for _, each in found).items():
        those = [index for index, each in found if each.code == code]
        first = next(each for _, each in found if each.code == code)
        text = sentence(first, edge)
        if text:
            where = f"Frame {those[0] + 1}" if count == 1 else f"Frames {named_frames(those)}, first of them"
            texts.append(f"{where}: {text}")
    return texts
