"""The stages of a run between reading and writing: prepare, restore, assess; each takes and returns typed values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Mapping, Optional

import numpy as np
import SimpleITK as sitk

from .checks.alignment import check_alignment
from .checks.fine_band import check_fine_band
from .checks.inputs import Judged, judge_input
from .checks.masked import check_masked
from .checks.mean import check_mean
from .checks.output import judge_output
from .checks.pair import Output
from .checks.voxels import check_spacing
from .errors import TooFewCounts
from .findings import Finding, warning
from .io.grid import Grid
from .io.record import FileFacts, InputFacts, ModelFacts, Record, Resolved, Stages, describe_image
from .io.suv import volume_suv
from .io.volume import ReadVolume, units_of
from .prepare.align import Aligned, to_model_grid
from .prepare.bands import noise_bands
from .prepare.region import check_region, inside, limited_scan
from .prepare.register import register_mr
from .prepare.scheme import make_condition, part_of
from .progress import Reporter
from .request import (
    FileRequest,
    check_gap,
    check_mr,
    check_overlap,
    check_pet,
    check_reference,
    check_register,
)
from .restore import (
    MEAN_LIMIT,
    Keeping,
    default_keep_mm,
    masked_zeros,
    mean_change,
    restore,
    restore_labels,
    restore_uncertainty,
    unchanged_outside,
)
from .scan import Scan
from .settings import DenoiseSettings
from .uncertainty import calibrate

if TYPE_CHECKING:
    from .infer.sampling import ResidualSamples
    from .model.bundle import Model, ModelMetadata

Images = Mapping[str, Optional[sitk.Image]]
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
    """Return a run's job, with one sample of a model whose draws are all the same."""
    if not model.metadata.draws:
        settings = replace(settings, sampler="mean", steps=1, samples=1)
    return Job(model, settings, stages)


@dataclass(frozen=True)
class Inputs:
    """Images that passed the checks, and what these found.

    Attributes:
        pet, mr, reference: as they were given.
        placed_mr: the MR where it is to be used.
        region: mask of what is denoised, or None for all.
        findings: so far.
    """

    pet: sitk.Image
    mr: Optional[sitk.Image]
    reference: Optional[sitk.Image]
    placed_mr: Optional[sitk.Image] = None
    region: Optional[sitk.Image] = None
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Placed:
    """Inputs where they are to be used, and on the model's grid."""

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
        bands: the noise of the whole head, see :class:`.prepare.bands.NoiseBands`; empty where no rule asks for it.
        findings: about the input.
    """

    inputs: Inputs
    scan: Scan
    channels: tuple[np.ndarray, ...]
    scale: float
    findings: tuple[Finding, ...]
    bands: tuple[float, ...] = ()

    def without_channels(self) -> Prepared:
        """Return the rest, when the network has seen its channels."""
        return replace(self, channels=())


@dataclass(frozen=True)
class Restored:
    """The result.

    Attributes:
        denoised, difference, uncertainty: on the PET's grid, in its unit.
        bare: PET and estimate of the model without what is kept of the measurement, as ``denoised``.
        residual: (D, H, W) on the model's grid, in the PET's unit.
        change: relative change of the brain mean by the bare estimate.
        findings: about what was kept, and the uncertainty.
    """

    denoised: sitk.Image
    difference: sitk.Image
    uncertainty: Optional[sitk.Image]
    bare: sitk.Image
    residual: np.ndarray
    change: float
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Assessed:
    """What the checks of the output say: findings, and the map of unsupported structure on the PET's grid."""

    findings: tuple[Finding, ...]
    support: sitk.Image


def prepare(images: Images, job: Job) -> Prepared:
    """Check, align and normalise the inputs, and judge them.

    Raises:
        InputError: an input cannot be used.
    """
    placed = place(images, job)
    return _normalised(placed.inputs, placed.aligned, placed.scan, job)


def place(images: Images, job: Job) -> Placed:
    """Check the inputs, register the MR if asked, and bring all to the model's grid.

    Raises:
        InputError: an input cannot be used.
    """
    settings, metadata, stages = job.settings, job.metadata, job.stages
    with stages.stage("align"):
        inputs = _placed(_checked(images, settings, metadata), settings, stages.report)
        aligned = to_model_grid(inputs.pet, inputs.placed_mr, metadata.voxel_spacing_mm)
        return Placed(inputs, aligned, settings.whole_field)


def prepare_frame(pet: sitk.Image, study: Placed, job: Job) -> Prepared:
    """Prepare one time frame of a dynamic study as :func:`prepare` does, with the MR where the study has it.

    Raises:
        InputError: the frame cannot be used.
    """
    with job.stages.stage("align"):
        pet, findings = check_pet(pet, job.settings.nan_to_zero)
        inputs = replace(study.inputs, pet=pet, findings=findings)
        alone = to_model_grid(pet, None, job.metadata.voxel_spacing_mm)
        aligned = replace(alone, mr=study.aligned.mr, covered=study.aligned.covered)
    scan = Scan(aligned.pet, aligned.grid, whole_field=job.settings.whole_field)
    likeness = _correlation(scan.smoothed, study.scan.smoothed)
    if likeness < SMALLEST_LIKENESS:
        raise TooFewCounts(
            f"No head stands out in the frame: smoothed, it correlates with the late frames by {likeness:.2f}, and "
            f"{SMALLEST_LIKENESS:g} is needed."
        )
    return _normalised(inputs, aligned, scan, job)


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    a, b = one - one.mean(), other - other.mean()
    return float(np.vdot(a, b) / max(float(np.linalg.norm(a)) * float(np.linalg.norm(b)), 1e-30))


def _normalised(inputs: Inputs, aligned: Aligned, scan: Scan, job: Job) -> Prepared:
    metadata = job.metadata
    with job.stages.stage("normalise"):
        condition = make_condition(metadata.normalisation, scan, aligned.mr)
        covered = _covered(inputs, aligned, scan)
        judged = judge_input(Judged(inputs.pet, scan, aligned.mr, inputs.reference), metadata)
        # from here on only the head's PET is asked for: what else was aligned is let go
        channels = condition.cropped().channels
        findings = (*inputs.findings, *covered, *judged)
        prepared = Prepared(inputs, scan.cropped(), channels, condition.scale, findings)
        bands = _bands(prepared.scan) if metadata.keep and job.settings.keep_above_mm is None else ()
        return _limited(replace(prepared, bands=bands))


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


def choose_keeping(prepared: Prepared, job: Job) -> Keeping:
    """Decide what the result keeps of the measurement: as was asked for, or by the model's rule and the PET's noise."""
    settings, metadata, scan = job.settings, job.metadata, prepared.scan
    share = settings.dose if settings.dose and metadata.target == "noise-free" else 0.0
    if settings.keep_above_mm is not None:
        return Keeping(settings.keep_above_mm, share, scan.spacing, chosen=True, mask=scan.head.mask)
    return Keeping(default_keep_mm(metadata.keep, prepared.bands), share, scan.spacing, mask=scan.head.mask)


def restore_run(prepared: Prepared, samples: ResidualSamples, keeping: Keeping, job: Job) -> Restored:
    """Bring the network's residual and its spread back to the PET's grid and unit."""
    scan, pet = prepared.scan, prepared.inputs.pet
    estimated = samples.mean * np.float32(prepared.scale)
    residual = keeping(estimated)
    denoised, difference = restore(pet, residual, scan.grid)
    bare, _ = restore(pet, replace(keeping, fwhm_mm=float("inf"))(estimated), scan.grid)
    change = mean_change(estimated, scan)
    error, findings = calibrate(samples.std, scan.spacing, job.metadata.calibrated_recipes, job.settings.recipe)
    uncertainty = None if error is None else restore_uncertainty(pet, error * prepared.scale, scan.grid)
    mean = check_mean(change, mean_change(residual, scan), MEAN_LIMIT)
    found = (keeping.finding, *findings, mean)
    return _within(prepared, Restored(denoised, difference, uncertainty, bare, residual, change, found))


def _within(prepared: Prepared, restored: Restored) -> Restored:
    """Return a result that is the PET outside of the region, if there is one."""
    pet, region = prepared.inputs.pet, prepared.inputs.region
    if region is None:
        return restored
    outside = ~inside(region, Grid.of(pet))
    none = Grid.of(pet).image(np.zeros_like(sitk.GetArrayViewFromImage(pet)))
    spread = restored.uncertainty
    return replace(
        restored,
        denoised=unchanged_outside(restored.denoised, pet, outside),
        difference=unchanged_outside(restored.difference, none, outside),
        uncertainty=None if spread is None else unchanged_outside(spread, none, outside),
        bare=unchanged_outside(restored.bare, pet, outside),
    )


def assess(prepared: Prepared, restored: Restored, model_mm: float) -> Assessed:
    """Judge the result by the counts of the PET."""
    scan = prepared.scan
    output = Output(scan, (scan.pet + restored.residual) / scan.brain_mean)
    findings, labels = judge_output(output)
    pet, region = prepared.inputs.pet, prepared.inputs.region
    support = restore_labels(pet, labels, scan.grid)
    if region is not None:
        support *= sitk.Cast(Grid.of(pet).image(inside(region, Grid.of(pet)).astype(np.uint8)), support.GetPixelID())
    before, after = (sitk.GetArrayViewFromImage(each) for each in (pet, restored.denoised))
    fine = check_fine_band(before, after, scan.brain_mean, pet.GetSpacing(), model_mm)
    about = (*fine, *check_masked(masked_zeros(pet)))
    return Assessed((*findings, *about), support)


def make_record(
    job: Job, prepared: Prepared, samples: ResidualSamples, change: float, findings: tuple[Finding, ...]
) -> Record:
    """Return the record of a run on images."""
    inputs, metadata = prepared.inputs, job.metadata
    given = {"pet": inputs.pet, "mr": inputs.mr, "full_dose_reference": inputs.reference, "region": inputs.region}
    described = {name: None if image is None else InputFacts(describe_image(image)) for name, image in given.items()}
    return Record(
        inputs={name: facts for name, facts in described.items() if facts or name == "mr"},
        model=ModelFacts(
            metadata.name,
            str(job.model.folder),
            metadata.weights_sha256,
            metadata.normalisation,
            metadata.voxel_spacing_mm,
        ),
        settings=job.settings,
        resolved=Resolved(
            samples.device, samples.precision, samples.patch, samples.patch_size is None, samples.evaluations
        ),
        unit=units_of(inputs.pet),
        brain_mean=prepared.scan.brain_mean,
        residual_scale=prepared.scale,
        mean_change=change,
        findings=findings,
        seconds=job.stages.summary(),
    )


def record_of_files(
    record: Record, request: FileRequest, volumes: Mapping[str, ReadVolume], files: Mapping[str, FileFacts]
) -> Record:
    """Return the record of a run on files, with these, what was noticed on reading them, and where outputs go."""
    others = {name: InputFacts(describe_image(each.image)) for name, each in volumes.items()}
    inputs = {**record.inputs, **{name: facts for name, facts in others.items() if name not in record.inputs}}
    suv = {"pet": volume_suv(volumes["pet"])}
    about_files = (finding for volume in volumes.values() for finding in volume.findings)
    too_little = (finding for finding in record.findings if finding.code == "output.too_little" and request.support)
    not_judged = (warning("output.not_judged", **finding.values) for finding in too_little)
    read_from = {
        name: facts and replace(facts, file=files.get(name), suv=suv.get(name)) for name, facts in inputs.items()
    }
    return replace(
        record,
        inputs=read_from,
        outputs={name: request.path_in_record(name) for name in request.outputs},
        output_unit=request.output_unit,
        place=request.place,
        findings=(*about_files, *record.findings, *not_judged),
    )


def _checked(images: Images, settings: DenoiseSettings, metadata: ModelMetadata) -> Inputs:
    given = images["pet"]
    if given is None:
        raise TypeError("A PET is needed.")
    pet, findings = check_pet(given, settings.nan_to_zero)
    findings = (*findings, *check_spacing(pet.GetSpacing(), metadata.spacing_range_mm))
    mr, reference = images.get("mr"), images.get("full_dose_reference")
    if mr is not None:
        mr, found = check_mr(mr, pet, settings.nan_to_zero)
        findings = (*findings, *found)
    if reference is not None:
        reference, found = check_reference(reference, pet, settings.nan_to_zero)
        findings = (*findings, *found)
    region = images.get("region")
    if region is not None:
        check_region(region, pet)
    return Inputs(pet, mr, reference, region=region, findings=findings)


def _placed(inputs: Inputs, settings: DenoiseSettings, report: Reporter) -> Inputs:
    """Return the inputs with the MR where it is to be used, registered if asked, and what was found about its place."""
    check_register(settings, with_mr=inputs.mr is not None)
    if inputs.mr is None:
        return inputs
    mr, findings = inputs.mr, inputs.findings
    if settings.register:
        mr, found = register_mr(inputs.pet, mr, partial(report, "align"))
        findings = (*findings, found)
    check_gap(inputs.pet, mr)
    return replace(inputs, placed_mr=mr, findings=(*findings, *check_alignment(inputs.pet, mr)))


def _covered(inputs: Inputs, aligned: Aligned, scan: Scan) -> tuple[Finding, ...]:
    if inputs.placed_mr is None or aligned.covered is None:
        return ()
    return check_overlap(aligned.covered, scan.head.mask, inputs.pet, inputs.placed_mr)
