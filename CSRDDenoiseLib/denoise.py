"""The whole job, for the command line, the Slicer logic and the tests alike: low-dose PET and MR in, denoised PET out.

read -> align -> normalise -> sample -> restore -> write
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping, Optional, Sequence, Union

import numpy as np
import SimpleITK as sitk

from .checks.alignment import check_alignment
from .checks.inputs import judge_input
from .checks.unsupported import NOT_JUDGED, Output, check_output
from .io.read import read, units_of
from .io.record import RECORD_FORMAT, Stages, describe_file, describe_image, peak_memory_bytes, versions
from .io.volume import ReadVolume
from .io.write import all_or_nothing, record_path, write_image, write_record
from .model.bundle import DEFAULT_MODEL, Model, load_model
from .prepare.align import Aligned, to_model_grid
from .prepare.register import register_mr
from .prepare.scheme import Condition, make_condition
from .progress import ProgressCallback, Reporter
from .report.facts import facts_from_record
from .report.regions import check_labels
from .report.report import report_page
from .report.run import RunImages
from .request import (
    INPUT_NAMES,
    FileRequest,
    check_gap,
    check_model,
    check_mr,
    check_overlap,
    check_pet,
    check_reference,
    check_register,
    check_request,
    check_residual,
    check_spacing,
)
from .restore import MEAN_LIMIT, hold_mean, hold_structure, restore, restore_labels, restore_uncertainty
from .scan import HEAD_SMOOTHING_MM, smooth
from .sentences import sentences
from .settings import DenoiseSettings
from .uncertainty import calibrate

if TYPE_CHECKING:
    from .infer.sampling import ResidualSamples

ModelChoice = Union[str, Path, Model]

# seconds a stage takes on one million voxels and two cores, roughly: they only place the progress bar
_SHARES = {"align": 1.0, "normalise": 1.0, "sample": 0.0, "restore": 1.0}
_FILE_SHARES = {"read": 2.0, **_SHARES, "write": 2.0}
_REPORT_SHARE = {"report": 6.0}
_SHARE_OF_EVALUATION = 4.0


@dataclass(frozen=True)
class DenoiseResult:
    """What a run gives, on the PET's own grid and in its unit.

    Attributes:
        denoised: the denoised PET.
        difference: denoised - PET.
        uncertainty: standard deviation to expect, from the spread of the samples and, where the model has one, its
            calibration; None with one sample or the posterior mean.
        support: label map, 1 where structure was added and 2 where it was removed that the PET's counts do not support.
        provenance: inputs, model, settings, versions, times and warnings as plain JSON types.
        warnings: sentences for the user.
    """

    denoised: sitk.Image
    difference: sitk.Image
    uncertainty: Optional[sitk.Image]
    support: sitk.Image
    provenance: dict[str, Any]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _Inputs:
    """Images that passed the checks, and what these had to say, in sentences and by area of quality."""

    pet: sitk.Image
    mr: Optional[sitk.Image]
    reference: Optional[sitk.Image]
    warnings: tuple[str, ...]
    quality: dict[str, Any] = field(default_factory=dict)

    def told(self, warnings: Sequence[str], quality: Mapping[str, Any]) -> _Inputs:
        """Return the same inputs with more that was found about them."""
        return replace(self, warnings=(*self.warnings, *warnings), quality={**self.quality, **quality})


def denoise(
    pet: sitk.Image,
    mr: Optional[sitk.Image] = None,
    settings: Optional[DenoiseSettings] = None,
    model: ModelChoice = DEFAULT_MODEL,
    progress: Optional[ProgressCallback] = None,
    full_dose_reference: Optional[sitk.Image] = None,
) -> DenoiseResult:
    """Denoise a PET image, guided by an MR of the same head.

    Args:
        pet: low-dose PET, scalar 3D, any positive unit, any grid; it is not changed.
        mr: MR that overlaps the PET in physical space (any grid), or None for models that allow it.
        settings: sampler, samples, patches, seed, device; None takes the defaults.
        model: name of a bundled model, a model folder, or a model already loaded.
        progress: receives the reports; returning False cancels.
        full_dose_reference: full-dose PET of the same scanner and protocol, of any head; only the dose that the record
            tells depends on it.

    Raises:
        InputError: the input, the settings or the model cannot be used; the message says why.
        Cancelled: ``progress`` returned False.
    """
    settings = settings or DenoiseSettings()
    stages = Stages(Reporter(progress, _shares(_SHARES, settings)))
    images = {"pet": pet, "mr": mr, "full_dose_reference": full_dose_reference}
    return _run(images, settings, _loaded(model, settings, with_mr=mr is not None), stages)


def denoise_files(
    request: FileRequest,
    settings: Optional[DenoiseSettings] = None,
    model: ModelChoice = DEFAULT_MODEL,
    progress: Optional[ProgressCallback] = None,
) -> DenoiseResult:
    """Denoise files: what can be told to be wrong is told before the work, and outputs appear only when complete.

    The record (provenance) goes beside the denoised volume, ``denoised.nii.gz`` -> ``denoised_provenance.json``.

    Raises:
        InputError: as :func:`denoise`; also paths that cannot be read or written. Nothing is written then.
        Cancelled: ``progress`` returned False; nothing is written.
    """
    settings = settings or DenoiseSettings()
    check_request(request, settings)
    shares = {**_FILE_SHARES, **_REPORT_SHARE} if request.page else _FILE_SHARES
    stages = Stages(Reporter(progress, _shares(shares, settings)))
    with stages.stage("read"):
        loaded = _loaded(model, settings, with_mr=request.mr is not None)
        volumes = {name: read(path, INPUT_NAMES[name]) for name, path in request.inputs.items()}
        images = {name: volume.image for name, volume in volumes.items()}
        files = {name: describe_file(path, volumes[name].header.files) for name, path in request.inputs.items()}
        if request.labels:
            check_labels(images["labels"], images["pet"])
            files["labels"].update(describe_image(images["labels"]))
    result = _with_reading(_run(images, settings, loaded, stages), volumes)
    if request.support and not result.provenance["quality"]["output"]["judged"]:
        result = _with_warning(result, NOT_JUDGED)
    images.pop("full_dose_reference", None)
    record = record_path(request.output)
    pages = [request.page] if request.page else []
    with all_or_nothing([*request.volumes.values(), *pages, record]) as temporary:
        with stages.stage("write"):
            for name, path in request.volumes.items():
                write_image(getattr(result, name), temporary[path], volumes["pet"], describes=name == "denoised")
        for page in pages:
            with stages.stage("report"):
                told = _with_files(result, request, files, stages).provenance
                shown = RunImages(denoised=result.denoised, uncertainty=result.uncertainty, **images)
                temporary[page].write_text(report_page(shown, facts_from_record(told)), encoding="utf-8")
        result = _with_files(result, request, files, stages)
        write_record(result.provenance, temporary[record])
    return result


def _loaded(model: ModelChoice, settings: DenoiseSettings, with_mr: bool) -> Model:
    loaded = model if isinstance(model, Model) else load_model(model, settings.device)
    check_model(loaded.metadata, with_mr)
    return loaded


def _run(
    images: Mapping[str, Optional[sitk.Image]], settings: DenoiseSettings, model: Model, stages: Stages
) -> DenoiseResult:
    from .infer.sampling import sample_residual

    with stages.stage("align"):
        inputs = _checked(images, settings, model)
        inputs, placed_mr = _placed(inputs, settings, stages.report)
        aligned = to_model_grid(inputs.pet, placed_mr, model.metadata.voxel_spacing_mm)
    with stages.stage("normalise"):
        condition = make_condition(model.metadata.normalisation, aligned.pet, aligned.mr, aligned.grid.array_spacing)
        inputs = _with_overlap_checked(inputs, aligned, condition)
        inputs = inputs.told(*judge_input(inputs.pet, aligned, condition.head, model.metadata, inputs.reference))
        # from here on only the head's PET is asked for: what else was aligned is let go
        aligned, condition = aligned.without_mr().crop(condition.head.box), condition.cropped()
    with stages.stage("sample"):
        samples = sample_residual(model, condition.channels, condition.head.mask, settings, stages.report)
        check_residual(samples.mean, model.metadata)
        condition = condition.without_channels()
    with stages.stage("restore"):
        mean, change = _held(samples.mean * condition.scale, aligned, condition)
        denoised, difference = restore(inputs.pet, mean, aligned.grid)
        spread, calibration = calibrate(samples.std, aligned.grid.array_spacing, model.metadata.extra)
        std = None if spread is None else spread * condition.scale
        uncertainty = None if std is None else restore_uncertainty(inputs.pet, std, aligned.grid)
        about, found, labels = check_output(_output(aligned, condition, mean))
        support = restore_labels(inputs.pet, labels, aligned.grid)
        inputs = inputs.told(about, {"output": found, "uncertainty": calibration})
    warnings = (*inputs.warnings, *_mean_warning(change))
    provenance = {
        **_provenance(inputs, settings, model, samples),
        "scale_factor": condition.head.scale,
        "residual_scale": condition.scale,
        "mean_change_of_model": change,
        "seconds": stages.summary(),
        "peak_memory_bytes": peak_memory_bytes(),
        "warnings": list(warnings),
    }
    return DenoiseResult(denoised, difference, uncertainty, support, provenance, warnings)


def _checked(images: Mapping[str, Optional[sitk.Image]], settings: DenoiseSettings, model: Model) -> _Inputs:
    pet, warnings = check_pet(images["pet"], settings.nan_to_zero)
    warnings = warnings + check_spacing(pet, model.metadata.spacing_range_mm)
    mr, reference = images.get("mr"), images.get("full_dose_reference")
    if mr is not None:
        mr, about_mr = check_mr(mr, pet, settings.nan_to_zero)
        warnings = warnings + about_mr
    if reference is not None:
        reference, about_reference = check_reference(reference, pet, settings.nan_to_zero)
        warnings = warnings + about_reference
    return _Inputs(pet, mr, reference, tuple(warnings))


def _placed(inputs: _Inputs, settings: DenoiseSettings, report: Reporter) -> tuple[_Inputs, Optional[sitk.Image]]:
    """Return the MR where it is to be used, registered if asked, and the inputs with what was found about its place."""
    check_register(settings, with_mr=inputs.mr is not None)
    if inputs.mr is None:
        return inputs, None
    mr, warnings, quality = inputs.mr, [], {}
    if settings.register:
        mr, warnings, quality["registration"] = register_mr(inputs.pet, mr, partial(report, "align"))
    check_gap(inputs.pet, mr)
    about_place, quality["alignment"] = check_alignment(inputs.pet, mr)
    return inputs.told([*warnings, *about_place], quality), mr


def _with_overlap_checked(inputs: _Inputs, aligned: Aligned, condition: Condition) -> _Inputs:
    if inputs.mr is None:
        return inputs
    warnings = check_overlap(aligned, condition.head.mask, inputs.pet, inputs.mr)
    return replace(inputs, warnings=(*inputs.warnings, *warnings))


def _held(residual: np.ndarray, aligned: Aligned, condition: Condition) -> tuple[np.ndarray, float]:
    brain_mean = condition.head.scale
    smoothed = smooth(aligned.pet / brain_mean, aligned.grid.array_spacing, HEAD_SMOOTHING_MM)
    kept = hold_structure(residual / brain_mean, condition.head.mask, aligned.grid.array_spacing)
    held, change = hold_mean(kept, smoothed, condition.head.mask)
    return held * brain_mean, change


def _output(aligned: Aligned, condition: Condition, residual: np.ndarray) -> Output:
    pet, brain_mean = aligned.pet, condition.head.scale
    return Output(pet / brain_mean, (pet + residual) / brain_mean, condition.head.mask, aligned.grid)


def _mean_warning(change: float) -> tuple[str, ...]:
    if abs(change) <= MEAN_LIMIT:
        return ()
    return (
        f"The model would have changed mean brain activity by {change:+.1%}; the change was held at {MEAN_LIMIT:.0%}. "
        "The input may be unlike what the model was trained on.",
    )


def _provenance(inputs: _Inputs, settings: DenoiseSettings, model: Model, samples: ResidualSamples) -> dict[str, Any]:
    metadata = model.metadata
    return {
        "format": RECORD_FORMAT,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "inputs": {
            "pet": describe_image(inputs.pet),
            "mr": None if inputs.mr is None else describe_image(inputs.mr),
            **({} if inputs.reference is None else {"full_dose_reference": describe_image(inputs.reference)}),
        },
        "units": units_of(inputs.pet),
        "quality": inputs.quality,
        "model": {
            "name": metadata.name,
            "folder": str(model.folder),
            "weights_sha256": metadata.weights_sha256,
            "normalisation": metadata.normalisation,
            "voxel_spacing_mm": metadata.voxel_spacing_mm,
        },
        "settings": settings.as_dict(),
        "seed": settings.seed,
        "evaluations": samples.evaluations,
        "patch_size": samples.patch_size,
        "device": str(samples.device),
        "precision": str(samples.precision),
        "versions": versions(),
    }


def _with_reading(result: DenoiseResult, volumes: Mapping[str, ReadVolume]) -> DenoiseResult:
    """Return the result with what was noticed when its inputs were read."""
    findings = [finding for volume in volumes.values() for finding in volume.findings]
    warnings = (*sentences(findings), *result.warnings)
    told = {"reading": [finding.as_dict() for finding in findings], "warnings": list(warnings)}
    return replace(result, warnings=warnings, provenance={**result.provenance, **told})


def _with_warning(result: DenoiseResult, sentence: str) -> DenoiseResult:
    warnings = (*result.warnings, sentence)
    return replace(result, warnings=warnings, provenance={**result.provenance, "warnings": list(warnings)})


def _with_files(
    result: DenoiseResult, request: FileRequest, files: dict[str, dict[str, Any]], stages: Stages
) -> DenoiseResult:
    inputs = result.provenance["inputs"]
    described = {name: {**files[name], **inputs[name]} if name in files else None for name in inputs}
    described.update({name: told for name, told in files.items() if name not in inputs})
    paths = {**request.volumes, **({"report": request.page} if request.page else {})}
    outputs = {name: str(path.resolve()) for name, path in paths.items()}
    told = {"inputs": described, "outputs": outputs, "seconds": stages.summary()}
    return replace(result, provenance={**result.provenance, **told})


def _shares(stages: dict[str, float], settings: DenoiseSettings) -> dict[str, float]:
    return {**stages, "sample": _SHARE_OF_EVALUATION * settings.evaluations}
