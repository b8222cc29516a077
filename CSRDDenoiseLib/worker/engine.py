"""The work of each command: one method a command, from the fields of its message to the answer.

The libraries of a command are imported when it comes, so that the process answers at once.
"""

from __future__ import annotations

from typing import Any, Optional

from ..configuration import structure
from ..progress import Progress, ProgressCallback
from ..sentences import SLICER, sentences

WHERE = "The request"

Fields = dict[str, Any]


class Engine:
    """Does the work of each command; keeps the last model loaded, so that the next run starts at once."""

    def __init__(self) -> None:
        self._key: Any = None
        self._model: Any = None
        self._finished: Any = None
        self._identity = ""

    def begin(self, identity: Any) -> None:
        """Name the request that comes next."""
        self._identity = str(identity)

    def denoise(self, values: Fields, report: ProgressCallback) -> dict[str, Any]:
        """Denoise files; answer with the record, the findings and, for a static PET, the summary of what changed."""
        report(Progress("read", 0, 1, 0.0, message="loading the libraries"))
        from ..denoise import denoise_files
        from ..dynamic.denoise import denoise_dynamic, is_dynamic
        from ..model.bundle import DEFAULT_MODEL
        from ..report.summary import summarise_change
        from ..run.recombine import Afterwards
        from .finished_run import FinishedRun
        from .messages import DenoiseMessage

        request = structure(values, DenoiseMessage, WHERE)
        if request.on:
            from ..cluster.remote import denoise_on

            done = denoise_on(request.on, request, request.settings, request.model or DEFAULT_MODEL, report, SLICER)
            return _answer_of_frames(done.result) if done.summary is None else _answer(done.result, done.summary)
        model = self._loaded(request.model, request.settings.device)
        self._finished = None
        if request.frames or is_dynamic(request.pet):
            return _answer_of_frames(denoise_dynamic(request, request.settings, model, report, edge=SLICER))
        afterwards = Afterwards()
        result = denoise_files(request, request.settings, model, report, afterwards=afterwards)
        if request.bare:
            self._finished = FinishedRun(self._identity, afterwards)
        return _answer(result.record, summarise_change(result.denoised, result.difference).as_dict())

    def inspect(self, values: Fields, _report: ProgressCallback) -> dict[str, Any]:
        """Inspect a volume as ``csrd-denoise inspect`` does; answer with lines and the SUV."""
        from ..inspection import head_line, inspect_image, suv_line
        from ..io.headers import with_headers
        from ..io.read import read
        from ..io.suv import volume_suv
        from .messages import InspectMessage

        request = structure(values, InspectMessage, WHERE)
        volume = with_headers(read(request.path, request.what), request.headers, request.what)
        is_pet = request.what == "PET"
        modality = "PT" if is_pet else "MR"
        suv = volume_suv(volume)
        seen = inspect_image(volume.image, volume.unit, modality, suv, request.name)
        return {
            "unit": volume.unit,
            "suv_factor": suv.factor,
            "suv_source": suv.source,
            "suv_maximum": seen.suv_maximum,
            "lines": [suv_line(seen), head_line(seen)] if is_pet else [],
            "not_finite": seen.not_finite,
            "head": None if seen.head is None else dict(vars(seen.head)),
            "findings": [finding.as_dict() for finding in (*volume.findings, *seen.findings)],
        }

    def report(self, values: Fields, report: ProgressCallback) -> dict[str, Any]:
        """Write the report of a run that is over; answer with its path."""
        report(Progress("report", 0, 1, 0.0, message="loading the libraries"))
        from ..io.read import read_volume
        from ..io.write import all_or_nothing
        from ..report.facts import facts_of_message
        from ..report.report import check_unmoved, report_page
        from ..report.run import RunImages
        from .messages import ReportMessage

        request = structure(values, ReportMessage, WHERE)
        names = ("pet", "denoised", "mr", "uncertainty", "labels")
        images = {name: read_volume(getattr(request, name), name) for name in names if getattr(request, name)}
        facts = facts_of_message(request.provenance or {})
        check_unmoved(images, facts)
        with all_or_nothing([request.output]) as temporary:
            temporary[request.output].write_text(report_page(RunImages(**images), facts), encoding="utf-8")
        return {"path": str(request.output)}

    def keep(self, values: Fields, report: ProgressCallback) -> dict[str, Any]:
        """Make a result for another ``keep_above_mm``; answer with what changed."""
        from .finished_run import FinishedRun
        from .messages import KeepMessage

        request = structure(values, KeepMessage, WHERE)
        if self._finished is None or not request.run or self._finished.run != request.run:
            self._finished = FinishedRun.of_files(request)
        if not request.exact:
            return self._finished.quick(request)
        return self._finished.exact(request, report)

    def idle(self) -> None:
        """Prepare what may be asked for next, now that an answer has gone out."""
        if self._finished is not None:
            self._finished.prepare()

    def compare(self, values: Fields, report: ProgressCallback) -> dict[str, Any]:
        """Measure a PET and its denoised volume against the full dose; answer with the scores and the regions."""
        report(Progress("compare", 0, 1, 0.0))
        from ..full_dose import compare_with_full_dose
        from ..io.read import read, read_volume
        from .messages import CompareMessage

        request = structure(values, CompareMessage, WHERE)
        images = {name: read(getattr(request, name), name) for name in ("pet", "denoised")}
        labels = read_volume(request.labels, "label map") if request.labels else None
        return compare_with_full_dose(images, read(request.full, "full-dose volume"), labels).as_dict()

    def estimate(self, values: Fields, report: ProgressCallback) -> dict[str, Any]:
        """Time the network; answer with what an estimate of time and memory needs."""
        from ..model.bundle import DEFAULT_MODEL
        from .estimate import run_speed
        from .messages import EstimateMessage

        request = structure(values, EstimateMessage, WHERE)
        report(Progress("read", 0, 1, 0.0, message="measuring the speed"))
        name = request.model or DEFAULT_MODEL
        if request.on:
            from ..cluster.remote import estimate_on

            return estimate_on(request.on, name, request.device)
        return run_speed(self._loaded(request.model, request.device), request.device, name)

    def reach(self, values: Fields, _report: ProgressCallback) -> dict[str, Any]:
        """Answer with the workers of a place."""
        from ..cluster.remote import check_place
        from .messages import ReachMessage

        request = structure(values, ReachMessage, WHERE)
        facts = check_place(request.on, request.seconds)
        return {"sentence": facts.sentence, **facts.as_dict()}

    def info(self, values: Fields, _report: ProgressCallback) -> dict[str, Any]:
        """Answer with the devices of this machine."""
        from ..devices import list_devices
        from .messages import InfoMessage

        structure(values, InfoMessage, WHERE)
        return {"devices": [device.as_dict() for device in list_devices()]}

    def _loaded(self, model: Optional[str], device: str) -> Any:
        from ..model.bundle import DEFAULT_MODEL, find_model, load_model, read_metadata

        folder = find_model(model or DEFAULT_MODEL)
        # its metadata hold the checksum of the weights: a folder may hold another model than it did before
        key = (folder, read_metadata(folder), device)
        if key != self._key:
            self._model, self._key = None, None
            self._model, self._key = load_model(folder, device), key
        return self._model


def _answer(record: Any, summary: Optional[dict[str, Any]]) -> dict[str, Any]:
    from .finished_run import CONTRAST, contrast_kept

    if summary is not None:
        summary = {**summary, CONTRAST: contrast_kept(record.findings)}
    return {
        "provenance": record.as_dict(),
        "findings": [finding.as_dict() for finding in record.findings],
        "warnings": list(sentences(record.findings, SLICER)),
        "summary": summary,
        "suv_factor": _suv_factor(record),
    }


def _answer_of_frames(result: Any) -> dict[str, Any]:
    return {
        "provenance": result.provenance,
        "findings": [finding.as_dict() for finding in result.findings],
        "warnings": list(result.sentences(SLICER)),
        "summary": None,
        "suv_factor": _suv_factor(result),
    }


def _suv_factor(record: Any) -> Optional[float]:
    """Return SUV per unit of the PET's values where it is known and one for all slices."""
    suv = record.inputs["pet"].suv
    return suv.factor if suv is not None and isinstance(suv.factor, float) else None
