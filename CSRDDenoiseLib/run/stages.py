"""Prepare a run: check the inputs, place the MR, bring all to the model's grid, normalise and judge it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Mapping, Optional, Union

import numpy as np
import SimpleITK as sitk

from ..checks.alignment import check_alignment
from ..checks.inputs import Judged, judge_frame, judge_input, judge_study
from ..checks.overlap import check_gap, check_overlap
from ..checks.volumes import Inputs, check_pet, check_volumes
from ..checks.voxels import check_spacing
from ..errors import TooFewCounts
from ..infer.memory import check_patch, check_patch_is_enough
from ..io.record import Stages
from ..model.bundle import Model, load_model
from ..prepare.align import Aligned, to_model_grid
from ..prepare.bands import noise_bands
from ..prepare.region import limited_scan
from ..prepare.register import register_mr
from ..prepare.scheme import make_condition, part_of
from ..scan import Scan
from ..settings import DenoiseSettings
from .request import check_model, check_register

if TYPE_CHECKING:
    from ..findings import Finding
    from ..model.metadata import ModelMetadata

ModelChoice = Union[str, Path, Model]
Images = Mapping[str, Optional[sitk.Image]]
Judge = Callable[[Judged, "ModelMetadata"], "tuple[Finding, ...]"]
SMALLEST_LIKENESS = 0.3
"""Correlation of a smoothed frame with the late frames, head and air; noise alone has about 0, a head 0.6 and more."""


@dataclass(frozen=True)
class Job:
    """What does not change in a run: the model, the settings, and where stages are timed and reported."""

    model: Model
    settings: DenoiseSettings
    stages: Stages

    @property
    def metadata(self) -> ModelMetadata:
        """Of the model."""
        return self.model.metadata


def job_of(model: Model, settings: DenoiseSettings, stages: Stages) -> Job:
    """Return a run's job, with the settings that a run of the model has."""
    return Job(model, model.metadata.settings_of(settings), stages)


def load_checked(model: ModelChoice, settings: DenoiseSettings, with_mr: bool) -> Model:
    """Return a loaded model that can run with, or without, an MR, and in the precision and patches that are asked for.

    Raises:
        InputError: it cannot.
    """
    from ..devices import choose_device, choose_precision

    choose_precision(choose_device(settings.device), settings.precision)
    loaded = model if isinstance(model, Model) else load_model(model, settings.device)
    check_model(loaded.metadata, with_mr)
    check_register(settings, with_mr)
    for denoiser in filter(None, (loaded.denoiser, loaded.deviation)):
        check_patch_is_enough(settings.patch_sides, denoiser.model.multiple)
        check_patch(settings.patch_sides, denoiser.model.multiple)
    return loaded


@dataclass(frozen=True)
class Placed:
    """Inputs at their final position, and on the model's grid."""

    inputs: Inputs
    aligned: Aligned
    whole_field: bool = False

    @cached_property
    def scan(self) -> Scan:
        """The PET on the model's grid, the whole volume."""
        return Scan(self.aligned.pet, self.aligned.grid, whole_field=self.whole_field)


@dataclass(frozen=True)
class Prepared:
    """What the network and everything after it need.

    Attributes:
        inputs: as they were read.
        scan: the PET on the model's grid, in the head's box.
        channels: the network's condition there, float32 (D, H, W) each.
        scale: a residual of the network times this is a residual in the PET's unit.
        findings: about the input.
        bands: the noise of the whole head, see :class:`..prepare.bands.NoiseBands`; empty if no rule needs it.
        broken: voxels of the PET were limited for the network.
    """

    inputs: Inputs
    scan: Scan
    channels: tuple[np.ndarray, ...]
    scale: float
    findings: tuple[Finding, ...]
    bands: tuple[float, ...] = ()
    broken: bool = False

    def without_channels(self) -> Prepared:
        """Return the rest, when the network has seen its channels."""
        return replace(self, channels=())


def prepare(images: Images, job: Job) -> Prepared:
    """Check, align and normalise the inputs, and judge them.

    Raises:
        InputError: an input cannot be used.
    """
    placed = place(images, job)
    return _normalised(placed.inputs, placed.aligned, placed.scan, job, judge_input)


def place(images: Images, job: Job) -> Placed:
    """Check the inputs, register the MR if asked, and bring all to the model's grid.

    Raises:
        InputError: an input cannot be used.
    """
    with job.stages.stage("align"):
        inputs = check_volumes(images, job.settings.nan_to_zero)
        spacing = check_spacing(inputs.pet.GetSpacing(), job.metadata.spacing_range_mm)
        inputs = _with_placed_mr(replace(inputs, findings=(*inputs.findings, *spacing)), job)
        aligned = to_model_grid(inputs.pet, inputs.placed_mr, job.metadata.voxel_spacing_mm)
        return Placed(inputs, aligned, job.settings.whole_field)


def _with_placed_mr(inputs: Inputs, job: Job) -> Inputs:
    """Return the inputs with the MR at its final position, registered if asked, and the findings about it."""
    mr, findings = inputs.mr, inputs.findings
    if mr is None:
        return inputs
    if job.settings.register:
        mr, found = register_mr(inputs.pet, mr, partial(job.stages.report, "align"))
        findings = (*findings, found)
    check_gap(inputs.pet, mr)
    return replace(inputs, placed_mr=mr, findings=(*findings, *check_alignment(inputs.pet, mr)))


@dataclass(frozen=True)
class StudyPlace:
    """What the frames of a dynamic study share: no more of the mean of its late frames than they need.

    Attributes:
        inputs: the mean late frame as PET, and the MR in its place.
        mr, covered: on the model's grid, see :class:`..prepare.align.Aligned`.
        smoothed: the mean late frame on the model's grid, smoothed, relative to its brain.
        brain_mean: of the mean late frame, in the PET's unit.
        findings: about the place of the MR, and what PET and MR look like.
    """

    inputs: Inputs
    mr: Optional[np.ndarray]
    covered: Optional[np.ndarray]
    smoothed: np.ndarray
    brain_mean: float
    findings: tuple[Finding, ...]


def place_study(images: Images, job: Job) -> StudyPlace:
    """Place the MR on the mean late frame, and judge what both look like; a frame is judged by its noise.

    Raises:
        InputError: an input cannot be used.
    """
    placed = place(images, job)
    inputs, aligned, scan = placed.inputs, placed.aligned, placed.scan
    findings = (*inputs.findings, *judge_study(Judged(inputs.pet, scan, aligned.mr)))
    return StudyPlace(inputs, aligned.mr, aligned.covered, scan.smoothed, scan.brain_mean, findings)


def prepare_frame(pet: sitk.Image, study: StudyPlace, job: Job) -> Prepared:
    """Prepare one time frame of a dynamic study as :func:`prepare` does, with the MR where the study has it.

    Raises:
        InputError: the frame cannot be used.
    """
    with job.stages.stage("align"):
        pet, findings = check_pet(pet, job.settings.nan_to_zero)
        inputs = replace(study.inputs, pet=pet, findings=findings)
        alone = to_model_grid(pet, None, job.metadata.voxel_spacing_mm)
        aligned = replace(alone, mr=study.mr, covered=study.covered)
    scan = Scan(aligned.pet, aligned.grid, whole_field=job.settings.whole_field)
    likeness = _correlation(scan.smoothed, study.smoothed)
    if likeness < SMALLEST_LIKENESS:
        raise TooFewCounts(
            f"No head stands out in the frame: smoothed, it correlates with the late frames by {likeness:.2f}, and "
            f"{SMALLEST_LIKENESS:g} is needed."
        )
    return _normalised(inputs, aligned, scan, job, judge_frame)


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    a, b = one - one.mean(), other - other.mean()
    return float(np.vdot(a, b) / max(float(np.linalg.norm(a)) * float(np.linalg.norm(b)), 1e-30))


def _normalised(inputs: Inputs, aligned: Aligned, scan: Scan, job: Job, judge: Judge) -> Prepared:
    metadata = job.metadata
    with job.stages.stage("normalise"):
        condition = make_condition(metadata.normalisation, scan, aligned.mr)
        covered: tuple[Finding, ...] = ()
        if inputs.placed_mr is not None and aligned.covered is not None:
            covered = check_overlap(aligned.covered, scan, inputs.pet, inputs.placed_mr)
        judged = judge(Judged(inputs.pet, scan, aligned.mr, inputs.reference), metadata)
        # later stages need the head's part of the PET alone, so the rest can be freed
        channels = condition.cropped().channels
        findings = (*inputs.findings, *covered, *judged)
        scan = scan.cropped()
        bands = _bands(scan) if metadata.keep and job.settings.keep_above_mm is None else ()
        return _limited(Prepared(inputs, scan, channels, condition.scale, findings, bands, aligned.broken))


def _bands(scan: Scan) -> tuple[float, ...]:
    return noise_bands(scan.relative, scan.head.mask, scan.spacing, scan.smoothed).constants


def _limited(prepared: Prepared) -> Prepared:
    """Return what a region leaves of the head for the network, or all of it."""
    region = prepared.inputs.region
    if region is None:
        return prepared
    scan, box, finding = limited_scan(prepared.scan, region)
    channels = tuple(part_of(channel, box) for channel in prepared.channels)
    return replace(prepared, scan=scan, channels=channels, findings=(*prepared.findings, finding))
