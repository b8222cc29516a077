"""The whole job, for the command line, the Slicer logic and the tests alike: low-dose PET and MR in, denoised PET out.

read -> prepare (align, normalise) -> infer (sample) -> restore -> assess -> record -> write
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, Mapping, Optional

import numpy as np
import SimpleITK as sitk

from .checks.output import assess
from .errors import InputError
from .io.frame_file import FrameWriter, write_sidecar
from .io.outputs import Target, write_output
from .io.record import Stages
from .io.study import open_study
from .io.write import all_or_nothing, record_path, write_record
from .model.bundle import DEFAULT_MODEL
from .prepare.align import near_broken_on
from .progress import ProgressCallback, Reporter, shares_of
from .report.facts import facts_of
from .report.report import report_page
from .report.run import RunImages
from .restore.canvas import Canvas
from .restore.keeping import choose_keeping
from .restore.uncertainty import calibrate, spread_of_result
from .run.reading import read_inputs
from .run.recombine import Afterwards, NetworkRun
from .run.recording import make_record, record_of_files
from .run.request import FileRequest, check_draws, check_request
from .run.result import DenoiseResult
from .run.sidecars import check_sidecars, own_entries, remove_stale_sidecars
from .run.stages import Job, ModelChoice, Prepared, job_of, load_checked, prepare
from .sentences import PYTHON
from .settings import DenoiseSettings, checked

__all__ = ["DenoiseResult", "FileRequest", "ModelChoice", "denoise", "denoise_files"]


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

    Returns:
        Images on the PET's own grid and in its unit, and the record.

    Raises:
        InputError: the input, the settings or the model cannot be used; the message states why.
        Cancelled: ``progress`` returned False.

    Example:
        >>> from CSRDDenoiseLib import read_volume, resource_folder, settings_from_preset
        >>> example = resource_folder() / "SampleData"
        >>> pet, mr = read_volume(example / "low_dose_1_10.nii.gz", "PET"), read_volume(example / "mr.nii.gz", "MR")
        >>> result = denoise(pet, mr, settings_from_preset("fast"), model="tissue")
        >>> result.denoised.GetSize(), result.warnings
        ((90, 110, 99), ())
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
    afterwards: Optional[Afterwards] = None,
    entries: Optional[Mapping[str, Any]] = None,
) -> DenoiseResult:
    """Denoise files: invalid requests are rejected before the work, and outputs appear only when complete.

    The record (provenance) goes beside the denoised volume, ``denoised.nii.gz`` -> ``denoised_provenance.json``.

    Args:
        request: the files; its PET has one time frame (:func:`CSRDDenoiseLib.denoise_dynamic` takes several).
        settings: as for :func:`denoise`.
        model: as for :func:`denoise`.
        progress: receives the reports; returning False cancels.
        edge: that the report is worded for, see :mod:`CSRDDenoiseLib.sentences`.
        afterwards: filled with what recombines the result for another ``keep_above_mm``.
        entries: of a BIDS sidecar that each output then has.

    Returns:
        The images that were written, in the PET's unit also where the files are SUV, and the record.

    Raises:
        InputError: as :func:`denoise`; also paths that cannot be read or written. Nothing is written then.
        Cancelled: ``progress`` returned False; nothing is written.
    """
    settings = checked(settings)
    if request.frames:
        raise InputError("Frames are chosen from a dynamic PET, which denoise_dynamic takes.")
    check_request(request, settings)
    sidecars = {} if entries is None else check_sidecars(request)
    shares = shares_of(settings.evaluations, files=True, report=request.page is not None)
    stages = Stages(Reporter(progress, shares))
    with stages.stage("read"):
        loaded = load_checked(model, settings, with_mr=request.mr is not None)
        check_draws(request, loaded.metadata)
        given = read_inputs(request)
        target = Target(request.pet, given.volumes["pet"], request.output_unit, loaded.metadata.name)
        target.check(request.dicom)
    job = job_of(loaded, settings, stages)
    # the caller's is that of the former run until the outputs are written
    left = None if afterwards is None else Afterwards()
    result = denoise_prepared(prepare(given.images, job), job, left)
    record = record_of_files(result.record, request, given.volumes, given.files)
    beside = record_path(request.output)
    written = [*request.outputs.values(), *sidecars.values(), beside]
    with all_or_nothing(written, request.overwrite) as temporary:
        with stages.stage("write"):
            for name, path in request.volumes.items():
                write_output(getattr(result, name), temporary[path], name, target, name in request.dicom)
            if sidecars:
                writer = FrameWriter(open_study(request.pet), target, entries or {})
                own = own_entries(request, target.model)
                for name, path in sidecars.items():
                    write_sidecar(writer.sidecar(name, own), temporary[path])
        if request.page:
            with stages.stage("report"):
                shown = RunImages(denoised=result.denoised, uncertainty=result.uncertainty, **given.shown)
                page = report_page(shown, facts_of(replace(record, seconds=stages.summary()), edge))
                temporary[request.page].write_text(page, encoding="utf-8")
        result = replace(result, record=replace(record, seconds=stages.summary()))
        write_record(result.provenance, temporary[beside])
    if request.overwrite and entries is None:
        remove_stale_sidecars(request)
    if afterwards is not None and left is not None:
        afterwards.take(left, result.record)
    return result


def denoise_prepared(prepared: Prepared, job: Job, afterwards: Optional[Afterwards] = None) -> DenoiseResult:
    """Do everything after the preparation: sample, restore, assess, record.

    Raises:
        ModelError: the network gave no numbers.
        Cancelled: the callback returned False.
    """
    from .infer.sampling import sample_residual

    scan, stages, metadata = prepared.scan, job.stages, job.metadata
    keeping = choose_keeping(scan, prepared.bands, job.settings, metadata)
    if prepared.broken:
        keeping = replace(keeping, mask=scan.head.mask, near=near_broken_on(prepared.inputs.pet, scan.grid))
    with stages.stage("sample"):
        samples = sample_residual(job.model, prepared.channels, scan.head.mask, job.settings, stages.report)
        prepared = prepared.without_channels()
    with stages.stage("restore"):
        canvas = Canvas.of_scan(prepared.inputs.pet, scan, prepared.inputs.region)
        estimate = samples.mean * np.float32(prepared.scale)
        restored = canvas.result(estimate, keeping)
        left_out = restored.left_out / np.float32(prepared.scale)
        spread = None if samples.std is None else spread_of_result(samples.std, left_out)
        error, about_error = calibrate(spread, scan.spacing, metadata.recipes, job.settings.recipe)
        uncertainty = None if error is None else canvas.spread(error * (keeping.modelled * prepared.scale), keeping)
        assessed = assess(canvas, scan, estimate, restored, metadata)
    findings = (*prepared.findings, *samples.findings, keeping.finding, *about_error, *assessed.findings)
    record = make_record(job, prepared, samples, assessed.mean_change, findings)
    make_bare = partial(canvas.bare, estimate, keeping)
    result = DenoiseResult(restored.denoised, restored.difference, uncertainty, assessed.support, record, make_bare)
    if afterwards is not None:
        afterwards.remember(NetworkRun(result, canvas, scan, samples, keeping, metadata, prepared.scale))
    return result
