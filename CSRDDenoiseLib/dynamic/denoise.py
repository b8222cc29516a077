"""Dynamic PET: every time frame denoised by the same pipeline, with the MR placed once, on the mean of late frames.

open -> mean of late frames -> place the MR -> for each frame: read, prepare, infer, restore, assess -> settle -> write

One frame is in memory at a time. Frames that are not chosen, show no head, or whose noise lies outside of what the
model was trained on are passed through unchanged and named.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping, Optional, Sequence

import SimpleITK as sitk

from ..checks.unit import check_suv
from ..checks.volumes import INPUT_NAMES
from ..denoise import denoise_prepared
from ..errors import InputError, ModelError, NotFinite, OutOfMemoryError, TooFewCounts
from ..findings import find
from ..infer.memory import return_freed_memory
from ..io.frame_file import FrameStore, FrameWriter, write_sidecar
from ..io.grid import Grid, image_like
from ..io.nifti import SINGLE_FILE_NIFTI
from ..io.outputs import Target
from ..io.read import read
from ..io.record import FileFacts, InputFacts, Stages, describe_file, describe_image
from ..io.study import Study, is_dynamic, open_study
from ..io.suv import volume_suv
from ..io.volume import ReadVolume
from ..io.write import all_or_nothing, record_path, write_record
from ..model.bundle import DEFAULT_MODEL, Model
from ..prepare.comparable import Seen
from ..prepare.frames import chosen_frames, frame_weights, late_frames, mean_frame, numbers_of
from ..prepare.motion import motion_against, see_late
from ..progress import Progress, ProgressCallback, Reporter, shares_of
from ..report.regions import check_labels
from ..run.request import FileRequest, check_draws, check_request
from ..run.sidecars import check_sidecars, output_sidecars, own_entries
from ..run.stages import Images, Job, ModelChoice, StudyPlace, job_of, load_checked, place_study, prepare_frame
from ..sentences import PYTHON
from ..settings import WARN, DenoiseSettings, checked
from .outputs import SETTLED, DynamicOutputs
from .page import StudyImages, StudyWatch, study_page
from .result import DENOISED, NOT_CHOSEN, UNCHANGED, DynamicResult, FrameOutcome

__all__ = ["DynamicResult", "FileRequest", "FrameOutcome", "denoise_dynamic", "is_dynamic"]

_SETTLE = 0.02
"""Time of that, as a share of a frame's."""
_NOISE_OUTSIDE = ("noise.outside", "noise.level_outside")


@dataclass(frozen=True)
class _Run:
    """What is common to all frames.

    Attributes:
        study: the PET.
        place: the mean of late frames with the MR in its place.
        model: which.
        settings: of a frame, without the registration, which is done.
        outputs: names of the volumes that are asked for.
        seen_late: what the motion of each frame is measured against, None where it is not.
    """

    study: Study
    place: StudyPlace
    model: Model
    settings: DenoiseSettings
    outputs: tuple[str, ...]
    seen_late: Optional[Seen] = None


@dataclass(frozen=True)
class _Given:
    """The inputs of a run.

    Attributes:
        first: frame 0 of the PET.
        others: name -> volume of each input besides the PET.
        late: numbers of the late frames that are in the mean.
        mean: their mean.
    """

    first: ReadVolume
    others: Mapping[str, ReadVolume]
    late: tuple[int, ...]
    mean: sitk.Image

    @property
    def images(self) -> dict[str, sitk.Image]:
        """The other inputs."""
        return {name: volume.image for name, volume in self.others.items()}

    @property
    def to_place(self) -> dict[str, Optional[sitk.Image]]:
        """What is brought to the model's grid."""
        return {"pet": self.mean, "mr": self.images.get("mr"), "region": self.images.get("region")}


def denoise_dynamic(
    request: FileRequest,
    settings: Optional[DenoiseSettings] = None,
    model: ModelChoice = DEFAULT_MODEL,
    progress: Optional[ProgressCallback] = None,
    entries: Optional[Mapping[str, Any]] = None,
    edge: str = PYTHON,
) -> DynamicResult:
    """Denoise a dynamic PET, frame by frame; outputs appear only when complete.

    The outputs are 4D NIfTI files with a BIDS sidecar, or DICOM series, on the frames of the input. The record goes
    beside the denoised volume. Frame i (from 0) is sampled with ``settings.seed + i``. With five denoised frames or
    more, what their residuals have in common is taken back (:mod:`..prepare.windows`), which keeps the means of curves.

    Args:
        request: the files; ``request.frames`` chooses the frames that are denoised.
        settings: as for :func:`CSRDDenoiseLib.denoise.denoise`; the MR is registered once.
        model: name of a bundled model, a model folder, or a model already loaded.
        progress: receives the reports; returning False cancels.
        entries: further ones of the sidecars.
        edge: that the report is worded for, see :mod:`CSRDDenoiseLib.sentences`.

    Returns:
        What happened to each frame, the findings, and the record; the images are in the files.

    Raises:
        InputError: invalid requests, or no frame that can be denoised. Nothing is written then.
        Cancelled: ``progress`` returned False; nothing is written.
    """
    settings = checked(settings)
    check_dynamic(request, settings)
    study = open_study(request.pet)
    if len(study.frames) < 2:
        raise InputError(f"The PET '{request.pet}' is static, with one time frame; leave the choice of frames out.")
    chosen = chosen_frames(request.frames, len(study.frames))
    stages = Stages(Reporter(progress, _shares(len(study.frames), settings, request.page is not None)))
    with stages.stage("read"):
        loaded = load_checked(model, settings, with_mr=request.mr is not None)
        check_draws(request, loaded.metadata)
        first = study.read(0)
        writer = FrameWriter(
            study, Target(request.pet, first, request.output_unit, loaded.metadata.name), entries or {}
        )
        writer.target.check(request.dicom)
        given = _read(request, study, first, settings)
    placed = place_study(given.to_place, Job(loaded, settings, stages))
    seen_late = see_late(given.mean) if request.motion == WARN else None
    run = _Run(study, placed, loaded, replace(settings, register=False), tuple(request.volumes), seen_late)
    watch = StudyWatch(Grid.of(first.image), frame_weights(given.late, study.frames), given.images.get("labels"))
    with _frame_stores(request) as (stores, restoring):
        outputs = DynamicOutputs(study, placed, writer, stores, restoring)
        outcomes = _denoise_frames(run, chosen, stages, outputs.append)
        outputs.settle(stages, watch if request.page else None)
        result = _result(request, run, given, outcomes)
        result = replace(result, settings=settings, curves=watch.curves, window=outputs.window)
        shown = StudyImages(given.mean, watch.late, given.images.get("mr"), given.images.get("labels"))
        page = partial(study_page, shown, edge=edge) if request.page else None
        return _write(request, result, stores, writer, stages, page)


@contextmanager
def _frame_stores(request: FileRequest) -> Iterator[tuple[dict[str, FrameStore], tuple[FrameStore, FrameStore]]]:
    """Open a file for the frames of each output, and two for what the means are restored from; close them."""
    with ExitStack() as open_files:

        def beside(path: Path) -> FrameStore:
            store = FrameStore(path.resolve().parent)
            open_files.callback(store.close)
            return store

        stores = {name: beside(path) for name, path in request.volumes.items()}
        yield stores, (beside(request.output), beside(request.output))


def _read(request: FileRequest, study: Study, first: ReadVolume, settings: DenoiseSettings) -> _Given:
    """Read the inputs besides the frames, and the mean of the late frames."""
    others = {name: read(path, INPUT_NAMES[name]) for name, path in request.inputs.items() if name != "pet"}
    if "labels" in others:
        check_labels(others["labels"].image, first.image)
    late = late_frames(study.frames)
    mean, late = mean_frame(lambda index: _finite(study.read(index).image, settings), late, study.frames)
    return _Given(first, others, late, mean)


def _result(request: FileRequest, run: _Run, given: _Given, outcomes: Sequence[FrameOutcome]) -> DynamicResult:
    read_findings = (finding for volume in (given.first, *given.others.values()) for finding in volume.findings)
    return DynamicResult(
        run.settings,
        request.frames,
        tuple(outcomes),
        given.late,
        (*read_findings, *run.place.findings, *check_suv(volume_suv(given.first), run.place.brain_mean)),
        _inputs(run.place, given.first, given.images),
        _files(request, run.study, given.others),
        {name: request.path_in_record(name) for name in request.outputs},
        request.output_unit,
        place=request.place,
    )


def _denoise_frames(
    run: _Run, chosen: tuple[int, ...], stages: Stages, put: Callable[[ReadVolume, Images], None]
) -> list[FrameOutcome]:
    """Treat one frame after another and hand its outputs on; refuse a study none of whose frames can be denoised."""
    outcomes, count = [], len(run.study.frames)
    with stages.stage("frames"):
        for index in range(count):
            stages.report("frames", index, count, _name(index, count))
            volume = run.study.read(index)
            if index in chosen:
                outcome, images = _one_frame(run, volume, _callback(stages.report, index, count))
            else:
                outcome, images = FrameOutcome(index, run.study.frames[index], NOT_CHOSEN), {}
            put(volume, images)
            outcomes.append(outcome)
            # nothing of a frame stays in memory while the next one is denoised
            del volume, images
            return_freed_memory()
    if not any(outcome.record for outcome in outcomes):
        details = {outcome.detail for outcome in outcomes if outcome.detail}
        raise InputError(f"None of the {len(chosen)} chosen frames can be denoised. {' '.join(sorted(details)[:3])}")
    return outcomes


def _one_frame(
    run: _Run, volume: ReadVolume, callback: ProgressCallback
) -> tuple[FrameOutcome, dict[str, Optional[sitk.Image]]]:
    """Denoise a frame; without images where it is to be passed through."""
    index = volume.header.frame
    settings = replace(run.settings, seed=(run.settings.seed + index) % 2**63)
    outcome = FrameOutcome(index, run.study.frames[index], UNCHANGED)
    stages = Stages(Reporter(callback, shares_of(settings.evaluations)))
    job = job_of(run.model, settings, stages)
    try:
        prepared = prepare_frame(volume.image, run.place, job)
    except TooFewCounts as error:
        return replace(outcome, reason="too_few_counts", detail=str(error)), {}
    except (ModelError, OutOfMemoryError):
        raise
    except NotFinite as error:
        return replace(outcome, reason="not_finite", detail=str(error)), {}
    except InputError as error:
        return replace(outcome, reason="unusable", detail=str(error)), {}
    motion = motion_against(prepared.inputs.pet, run.seen_late)
    outcome = replace(outcome, motion_mm=motion.displacement_mm if motion else None)
    if any(find(prepared.findings, code) for code in _NOISE_OUTSIDE):
        return replace(outcome, reason="noise_outside", detail="The noise lies outside of the trained range."), {}
    result = denoise_prepared(prepared, job)
    images = {name: getattr(result, name) for name in ("difference", *run.outputs)}
    return replace(outcome, status=DENOISED, seed=settings.seed, record=result.record), images


def _write(
    request: FileRequest,
    result: DynamicResult,
    stores: Mapping[str, FrameStore],
    writer: FrameWriter,
    stages: Stages,
    page: Optional[Callable[[DynamicResult], str]],
) -> DynamicResult:
    beside, sidecars = record_path(request.output), output_sidecars(request)
    frames = [index + 1 for index in result.frames_with(DENOISED)]
    own = {**own_entries(request, writer.target.model), "FramesDenoised": frames}
    with all_or_nothing([*request.outputs.values(), *sidecars.values(), beside], request.overwrite) as temporary:
        with stages.stage("write"):
            for done, (name, path) in enumerate(request.volumes.items()):
                stages.report("write", done, len(stores))
                writer.write(stores[name], temporary[path], name, name in request.dicom)
            for name, path in sidecars.items():
                kept = {"MeansKeptOverFrames": result.window if name in SETTLED else 0}
                write_sidecar(writer.sidecar(name, {**own, **kept}), temporary[path])
        if request.page and page:
            with stages.stage("report"):
                text = page(replace(result, seconds=stages.summary()))
                temporary[request.page].write_text(text, encoding="utf-8")
        result = replace(result, seconds=stages.summary())
        write_record(result.provenance, temporary[beside])
    return result


def check_dynamic(request: FileRequest, settings: DenoiseSettings) -> None:
    check_request(request, settings)
    if request.full_dose_reference:
        raise InputError("A full-dose reference goes with a static PET, and this one is dynamic; leave it out.")
    for name, path in request.volumes.items():
        if name not in request.dicom and not path.name.lower().endswith(SINGLE_FILE_NIFTI):
            raise InputError(
                f"The {name} '{path}' of a dynamic PET is written as .nii or .nii.gz; choose one of these."
            )
    check_sidecars(request)


def _finite(image: sitk.Image, settings: DenoiseSettings) -> sitk.Image:
    if not settings.nan_to_zero:
        return image
    return image_like(image, numbers_of(image))


def _shares(count: int, settings: DenoiseSettings, report: bool) -> dict[str, float]:
    one = shares_of(settings.evaluations, files=True, report=True)
    frame = sum(one.values()) - one["write"] - one["report"]
    last = {"settle": count * _SETTLE * frame, "write": count * one["write"]}
    shares = {"read": one["read"], "align": one["align"], "frames": count * frame, **last}
    return {**shares, "report": one["report"]} if report else shares


def _name(index: int, count: int) -> str:
    return f"frame {index + 1} of {count}"


def _callback(report: Reporter, index: int, count: int) -> ProgressCallback:
    """Return what turns the progress of one frame into that of the run; cancelling raises inside."""

    def on_progress(progress: Progress) -> None:
        report("frames", index, count, f"{_name(index, count)}: {progress.stage}", part=progress.fraction)

    return on_progress


def _inputs(placed: StudyPlace, first: ReadVolume, images: Mapping[str, sitk.Image]) -> dict[str, InputFacts]:
    given = {"pet": placed.inputs.pet, **images, "mr": placed.inputs.mr}
    facts = {name: InputFacts(describe_image(image)) for name, image in given.items() if image is not None}
    return {**facts, "pet": replace(facts["pet"], suv=volume_suv(first))}


def _files(request: FileRequest, study: Study, others: Mapping[str, ReadVolume]) -> dict[str, FileFacts]:
    read_from = {"pet": study.files, **{name: volume.header.files for name, volume in others.items()}}
    return {name: describe_file(request.path_in_record(name), read_from[name]) for name in request.inputs}
