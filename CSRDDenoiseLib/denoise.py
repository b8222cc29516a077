"""The whole job, for the command line, the Slicer logic and the tests alike: low-dose PET and MR in, denoised PET out.

read -> prepare (align, normalise) -> infer (sample) -> restore -> assess -> record -> write
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Optional, Union

import SimpleITK as sitk

from .errors import InputError
from .io.outputs import Target, write_output
from .io.read import read
from .io.record import Stages, describe_file
from .io.write import all_or_nothing, record_path, write_record
from .model.bundle import DEFAULT_MODEL, Model, load_model
from .progress import ProgressCallback, Reporter, shares_of
from .report.facts import facts_of
from .report.regions import check_labels
from .report.report import report_page
from .report.run import RunImages
from .request import INPUT_NAMES, FileRequest, check_model, check_request, check_residual
from .result import DenoiseResult
from .sentences import PYTHON
from .settings import DenoiseSettings, checked
from .stages import Job, Prepared, assess, choose_keeping, job_of, make_record, prepare, record_of_files, restore_run

__all__ = ["DenoiseResult", "FileRequest", "ModelChoice", "denoise", "denoise_files"]

ModelChoice = Union[str, Path, Model]


def denoise(
    pet: sitk.Image,
    mr: Optional[sitk.Image] = None,
    settings: Optional[DenoiseSettings] = None,
    model: ModelChoice = DEFAULT_MODEL,
    progress: Optional[ProgressCallback] = None,
    full_dose_reference: Optional[sitk.Image] = None,
    region: Optional[sitk.Image] = None,
) -> DenoiseResult:
    """Denoise a PET image, guided by an MR of the same head.

    Args:
        pet: low-dose PET, scalar 3D, any positive unit, any grid; it is not changed.
        mr: MR that overlaps the PET in physical space (any grid), or None for models that allow it.
        settings: sampler, samples, patches, seed, device; None takes the defaults.
        model: name of a bundled model, a model folder, or a model already loaded.
        progress: receives the reports; returning False cancels.
        full_dose_reference: full-dose PET of the same scanner and protocol, of any head; only the dose in the record
            depends on it.
        region: mask (:mod:`.prepare.region`) of what is denoised; outside of it the result is the PET. None for all.

    Raises:
        InputError: the input, the settings or the model cannot be used; the message says why.
        Cancelled: ``progress`` returned False.
    """
    settings = checked(settings)
    stages = Stages(Reporter(progress, shares_of(settings.evaluations)))
    images = {"pet": pet, "mr": mr, "full_dose_reference": full_dose_reference, "region": region}
    job = job_of(load_checked(model, settings, with_mr=mr is not None), settings, stages)
    return denoise_prepared(prepare(images, job), job)


def denoise_files(
    request: FileRequest,
    settings: Optional[DenoiseSettings] = None,
    model: ModelChoice = DEFAULT_MODEL,
    progress: Optional[ProgressCallback] = None,
    edge: str = PYTHON,
) -> DenoiseResult:
    """Denoise files: invalid requests are rejected before the work, and outputs appear only when complete.

    The record (provenance) goes beside the denoised volume, ``denoised.nii.gz`` -> ``denoised_provenance.json``. The
    report is worded for ``edge``, see :mod:`CSRDDenoiseLib.sentences`.

    Raises:
        InputError: as :func:`denoise`; also paths that cannot be read or written. Nothing is written then.
        Cancelled: ``progress`` returned False; nothing is written.
    """
    settings = checked(settings)
    if request.frames:
        raise InputError("Frames are chosen from a dynamic PET, which denoise_dynamic takes.")
    check_request(request, settings)
    shares = shares_of(settings.evaluations, files=True, report=request.page is not None)
    stages = Stages(Reporter(progress, shares))
    with stages.stage("read"):
        loaded = load_checked(model, settings, with_mr=request.mr is not None)
        volumes = {name: read(path, INPUT_NAMES[name]) for name, path in request.inputs.items()}
        images = {name: volume.image for name, volume in volumes.items()}
        files = {
            name: describe_file(request.path_in_record(name), volumes[name].header.files) for name in request.inputs
        }
        target = Target(request.pet, volumes["pet"], request.output_unit, loaded.metadata.name)
        target.check()
        if "labels" in images:
            check_labels(images["labels"], images["pet"])
    job = job_of(loaded, settings, stages)
    result = denoise_prepared(prepare(images, job), job)
    record = record_of_files(result.record, request, volumes, files)
    beside = record_path(request.output)
    with all_or_nothing([*request.outputs.values(), beside]) as temporary:
        with stages.stage("write"):
            for name, path in request.volumes.items():
                write_output(getattr(result, name), temporary[path], name, target, name in request.dicom)
        if request.page:
            with stages.stage("report"):
                given = {name: images[name] for name in ("pet", "mr", "labels") if name in images}
                shown = RunImages(denoised=result.denoised, uncertainty=result.uncertainty, **given)
                page = report_page(shown, facts_of(replace(record, seconds=stages.summary()), edge))
                temporary[request.page].write_text(page, encoding="utf-8")
        result = replace(result, record=replace(record, seconds=stages.summary()))
        write_record(result.provenance, temporary[beside])
    return result


def denoise_prepared(prepared: Prepared, job: Job) -> DenoiseResult:
    """Do everything after the preparation: sample, restore, assess, record.

    Raises:
        ModelError: the network gave no numbers.
        Cancelled: the callback returned False.
    """
    from .infer.sampling import sample_residual

    model, settings, stages = job.model, job.settings, job.stages
    keeping = choose_keeping(prepared, job)
    with stages.stage("sample"):
        samples = sample_residual(model, prepared.channels, prepared.scan.head.mask, settings, stages.report, keeping)
        check_residual(samples.mean, model.metadata)
        prepared = prepared.without_channels()
    with stages.stage("restore"):
        restored = restore_run(prepared, samples, keeping, job)
        assessed = assess(prepared, restored, model.metadata.voxel_spacing_mm)
    findings = (*prepared.findings, *samples.findings, *restored.findings, *assessed.findings)
    record = make_record(job, prepared, samples, restored.change, findings)
    return DenoiseResult(
        restored.denoised, restored.difference, restored.uncertainty, assessed.support, restored.bare, record
    )


def load_checked(model: ModelChoice, settings: DenoiseSettings, with_mr: bool) -> Model:
    """Return a loaded model that can run with, or without, an MR."""
    loaded = model if isinstance(model, Model) else load_model(model, settings.device)
    check_model(loaded.metadata, with_mr)
    return loaded
