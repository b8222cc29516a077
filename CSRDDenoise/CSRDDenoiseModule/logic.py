"""The work of the module without its panel: volumes in, volumes out, from the Python console in one call."""

import logging
import weakref
from itertools import chain
from pathlib import Path
from typing import Any, Callable, Iterable, Optional

from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.settings import DEFAULT_PRESET, settings_from_preset

from .job import (
    RUNNING,
    UNDER_WAY,
    Callbacks,
    Job,
    RunFiles,
    check_inputs,
    check_nodes,
    check_outputs,
    describing,
    model_there,
    writing_region,
)
from .nodes import CONTENT, Outputs, check_content, estimate_of, header_files, image_time, marks_of, report_path
from .parameters import REGION, CSRDDenoiseParameterNode, apply_defaults, choices_in
from .readiness import require_packages, settings_for
from .sequences import start_sequence
from .views.display import check_estimate, check_results, check_warp, map_of, show_results
from .volumes import (
    MR_REFERENCE,
    PET_REFERENCE,
    PROVENANCE,
    DenoisedVolumes,
    Volume,
    collect,
    collect_kept,
    has_finding,
    has_record,
    stored,
    writing,
)
from .worker_process import WorkerProcess, on_place

DENOISE = "denoise"
Inputs = dict[str, Optional[Volume]]


class CSRDDenoiseLogic(ScriptedLoadableModuleLogic):
    """Denoises PET volumes with the help of an MR.

    From the Python console::

        from CSRDDenoise import CSRDDenoiseLogic

        logic = CSRDDenoiseLogic()
        result = logic.denoise(petVolume, mrVolume, preset="balanced", steps=8, overlap=0.5, seed=0)
        print(result.denoisedVolume.GetName(), result.provenance["seconds"]["total"])

        job = logic.start(petVolume, mrVolume, onFinished=lambda result: print("done"))   # returns at once
        job.cancel()

    Settings not given come from the preset; their names are those of
    :class:`CSRDDenoiseLib.settings.DenoiseSettings`.
    """

    def __init__(self):
        ScriptedLoadableModuleLogic.__init__(self)
        self.onWorkerMessage: Optional[Callable[[dict], None]] = None
        self._worker = WorkerProcess(self._receive, self._worker_ended)
        # a logic that is dropped, as by CSRDDenoiseLogic().denoise(...), leaves no process behind
        weakref.finalize(self, self._worker.end).atexit = False
        self._job: Optional[Job] = None
        self._inspections: dict[str, Job] = {}
        self._refining: Optional[Job] = None
        self._known: dict[Any, str] = {}
        self._parameters: Optional[CSRDDenoiseParameterNode] = None

    def getParameterNode(self) -> CSRDDenoiseParameterNode:
        """Return the choices kept in the scene; the same object as long as the scene keeps the same node.

        A wrapper that is dropped while its node lives on leaves observers behind whose functions Python's garbage
        collector takes away, and the next change of the node would then crash Slicer.
        """
        node = super().getParameterNode()
        if self._parameters is None or self._parameters.parameterNode is not node:
            fresh = node.GetParameterCount() == 0
            self._parameters = choices_in(node)
            if fresh:
                apply_defaults(self._parameters)
        return self._parameters

    @property
    def worker(self) -> WorkerProcess:
        """The process that does the work."""
        return self._worker

    @property
    def busy(self) -> bool:
        """Whether work is under way that is waited for; the refinement of a result is not, and gives way."""
        return self._job is not None and self._job.state == RUNNING and self._job is not self._refining

    def denoise(
        self,
        petVolume: Volume,
        mrVolume: Optional[Volume] = None,
        preset: str = DEFAULT_PRESET,
        model: Optional[str] = None,
        outputs: Optional[Outputs] = None,
        fullDoseReferenceVolume: Optional[Volume] = None,
        regionNode: Optional[Any] = None,
        place: str = "",
        **changes: Any,
    ) -> DenoisedVolumes:
        """Denoise a volume and wait for the result; Slicer stays responsive meanwhile.

        Args:
            petVolume: the PET; it is not changed.
            mrVolume: the MR, or None if the model can do without.
            preset: ``fast``, ``balanced`` or ``quality``.
            model: name of a bundled model or folder of another; None takes the default one.
            outputs: volumes to fill; those left out are made.
            fullDoseReferenceVolume: full-dose PET of the same scanner and protocol, of any head, or None; only the dose
                in the record depends on it.
            regionNode: ROI or segmentation (its visible segments) of what is denoised; the rest stays as it was
                measured. None for all.
            place: address of a Dask scheduler whose workers do the work, such as ``tls://host:8786``, with the
                certificates that the panel shows; empty for this computer.
            changes: settings that differ from the preset, such as ``steps=8``.

        Raises:
            CSRDError: the input cannot be used, or the run failed; the scene is as it was before.
        """
        options: dict[str, Any] = {"preset": preset, "model": model, "outputs": outputs, "place": place}
        options.update(fullDoseReferenceVolume=fullDoseReferenceVolume, regionNode=regionNode)
        return self.start(petVolume, mrVolume, **options, **changes).wait()

    def start(
        self,
        petVolume: Volume,
        mrVolume: Optional[Volume] = None,
        preset: str = DEFAULT_PRESET,
        model: Optional[str] = None,
        outputs: Optional[Outputs] = None,
        onProgress: Optional[Callable[[dict], None]] = None,
        onFinished: Optional[Callable[[DenoisedVolumes], None]] = None,
        onError: Optional[Callable[[Exception], None]] = None,
        fullDoseReferenceVolume: Optional[Volume] = None,
        regionNode: Optional[Any] = None,
        place: str = "",
        **changes: Any,
    ) -> Job:
        """Start denoising a volume and return at once.

        Args:
            petVolume, mrVolume, preset, model, outputs, fullDoseReferenceVolume, regionNode, place,
                changes: see :meth:`denoise`.
            onProgress: receives the fields of :class:`CSRDDenoiseLib.progress.Progress` as a dict.
            onFinished: receives the :class:`DenoisedVolumes`.
            onError: receives the exception when the run failed or was cancelled.

        Raises:
            CSRDError: the input cannot be used, a run is under way, or a Python package is missing.
        """
        check_inputs(petVolume, mrVolume, fullDoseReferenceVolume, regionNode)
        settings = settings_from_preset(preset, **changes)
        inputs = {"pet": petVolume, "mr": mrVolume, "full_dose_reference": fullDoseReferenceVolume, REGION: regionNode}
        outputs = check_outputs(outputs, inputs.values())
        kinds = outputs.kinds(settings_for(model, settings).has_uncertainty)
        marks, seen, files = marks_of(petVolume), image_time(petVolume), RunFiles()
        sources: dict[str, Any] = {}
        # a machine elsewhere does not have the files that the PET was loaded from
        there = on_place(place) if place else {"headers": [str(path) for path in header_files(petVolume)]}
        request = {"command": DENOISE, "model": model_there(model), "settings": settings.as_dict(), **there}

        def collected(message: "dict[str, Any]") -> DenoisedVolumes:
            check_warp(petVolume, marks[CONTENT])
            result = collect(message, files.path, outputs, inputs, sources, show_results)
            for name, mark in marks.items():
                result.denoisedVolume.SetAttribute(name, mark)
            estimate = estimate_of(result.denoisedVolume)
            if estimate is not None and not place:
                made_of = (result.denoisedVolume.GetID(), seen, image_time(estimate))
                self._known = {(self._worker.processId, *made_of): files.folder.name}
            return result

        return self.begin(
            files,
            {**request, **{kind: str(files.path(kind)) for kind in kinds}},
            inputs,
            collected,
            Callbacks(onProgress, onFinished, onError),
            describing(inputs, sources),
        )

    def startSequence(self, petVolume: Volume, mrVolume: Optional[Volume] = None, **options: Any) -> Job:
        """Start denoising all frames of the sequence that a volume shows one of, with the options of :meth:`start`.

        The result is that of ``csrd-denoise denoise`` on the same frames as a dynamic PET, a
        :class:`.sequences.DenoisedSequences` of new sequences; of ``outputs`` only what to make is used.
        """
        return start_sequence(self, petVolume, mrVolume, **options)

    def writeReport(
        self,
        denoisedVolume: Volume,
        uncertaintyVolume: Optional[Volume] = None,
        labelVolume: Optional[Volume] = None,
        path: Optional[str] = None,
    ) -> Path:
        """Write the quality report of a result, one HTML page, and return its path.

        Args:
            denoisedVolume: a result of this module; its PET and MR are found by node references.
            uncertaintyVolume: the uncertainty of the same run.
            labelVolume: label map whose regions the report measures.
            path: where to write it; None takes Slicer's temporary folder.

        Raises:
            CSRDError: the report cannot be made, for instance because matplotlib is not installed.
        """
        return self.startReport(denoisedVolume, uncertaintyVolume, labelVolume, path).wait()

    def startReport(
        self,
        denoisedVolume: Volume,
        uncertaintyVolume: Optional[Volume] = None,
        labelVolume: Optional[Volume] = None,
        path: Optional[str] = None,
        onProgress: Optional[Callable[[dict], None]] = None,
        onFinished: Optional[Callable[[Path], None]] = None,
        onError: Optional[Callable[[Exception], None]] = None,
    ) -> Job:
        """Start writing the report of :meth:`writeReport` and return at once."""
        check_nodes({"denoisedVolume": denoisedVolume}, uncertaintyVolume=uncertaintyVolume, labelVolume=labelVolume)
        if not has_record(denoisedVolume):
            name = denoisedVolume.GetName()
            raise InputError(f"The volume '{name}' has no record of a run, or its PET is gone; denoise the PET again.")
        record = stored(denoisedVolume, PROVENANCE)
        # the process has a working directory of its own
        place = report_path(denoisedVolume, record) if path is None else Path(path).absolute()
        request = {"command": "report", "output": str(place), "provenance": record}
        volumes = {
            "pet": denoisedVolume.GetNodeReference(PET_REFERENCE),
            "mr": denoisedVolume.GetNodeReference(MR_REFERENCE),
            "denoised": denoisedVolume,
            "uncertainty": map_of(uncertaintyVolume, denoisedVolume, "uncertainty"),
            "labels": labelVolume,
        }
        check_content(volumes["pet"], denoisedVolume)
        check_results(denoisedVolume, uncertainty=volumes["uncertainty"])
        callbacks = Callbacks(onProgress, onFinished, onError)
        return self.begin(RunFiles(), request, volumes, lambda message: Path(message["path"]), callbacks)

    def startKeep(
        self,
        denoisedVolume: Volume,
        keepAboveMm: float,
        differenceVolume: Optional[Volume] = None,
        onFinished: Optional[Callable[[Volume], None]] = None,
        onError: Optional[Callable[[Exception], None]] = None,
        uncertaintyVolume: Optional[Volume] = None,
        supportVolume: Optional[Volume] = None,
        exact: bool = True,
    ) -> Job:
        """Recompute a result so that what is coarser than ``keepAboveMm`` stays as it was measured; return at once.

        The model is not asked again. 0 gives the PET back. The width goes into the record and the findings. After a run
        of this process everything becomes what a run with that width makes, the maps and the findings too; for a result
        of an earlier one (a scene from a file) the maps that cannot follow belong to it no more. Without ``exact``
        result, difference and some numbers follow alone, in a fraction of a second.
        """
        check_nodes({"denoisedVolume": denoisedVolume}, differenceVolume=differenceVolume)
        check_nodes({}, uncertaintyVolume=uncertaintyVolume, supportVolume=supportVolume)
        estimate, pet = estimate_of(denoisedVolume), denoisedVolume.GetNodeReference(PET_REFERENCE)
        check_estimate(denoisedVolume, estimate, pet)
        check_results(denoisedVolume, difference=differenceVolume, uncertainty=uncertaintyVolume, support=supportVolume)
        made_of = (denoisedVolume.GetID(), image_time(pet), image_time(estimate))
        if (known := self._known.get((self._worker.processId, *made_of))) is None:
            check_content(pet, denoisedVolume)
        files, results = RunFiles(), {"output": denoisedVolume, "difference": differenceVolume}
        maps = {"uncertainty": uncertaintyVolume, "support": supportVolume} if exact else {}
        results.update({kind: node for kind, node in maps.items() if node is not None})
        request: dict[str, Any] = {"command": "keep", "keep_above_mm": float(keepAboveMm), "exact": exact}
        request.update(run=known or files.folder.name, limited=has_finding(denoisedVolume, "region.used"))
        request.update({kind: str(files.path(kind)) for kind in results})

        def collected(message: "dict[str, Any]") -> Volume:
            self._known = {(self._worker.processId, *made_of): request["run"]}
            return collect_kept(message, files.path, results, pet)

        volumes = {} if known else {"pet": pet, "bare": estimate}
        job = self.begin(files, request, volumes, collected, Callbacks(None, onFinished, onError))
        self._refining = job if exact else None
        return job

    def startInspect(
        self,
        volume: Volume,
        what: str = "PET",
        onFinished: Optional[Callable[[dict], None]] = None,
        onError: Optional[Callable[[Exception], None]] = None,
    ) -> Job:
        """Ask the worker what it understands of a volume, as ``csrd-denoise inspect`` does; return at once.

        It is no run: the logic stays free for one, which ends an inspection that has not been answered.
        """
        check_nodes({"volume": volume})
        require_packages()
        files = RunFiles()
        headers = [str(path) for path in header_files(volume)]
        request = {"command": "inspect", "what": what, "name": volume.GetName(), "headers": headers}
        job = Job(self._worker, files, lambda message: message, Callbacks(None, onFinished, onError), self)
        try:
            job.begin(writing(volume, files.path("path")), {**request, "path": str(files.path("path"))})
        except Exception:
            files.remove()
            raise
        self._inspections[job.identity] = job
        return job

    def ask(self, request: dict[str, Any]) -> None:
        """Send the worker a request that is no run, such as ``info``; the answer goes to ``onWorkerMessage``."""
        self._worker.send(request)

    def close(self) -> None:
        """End a run under way and the worker process."""
        if self._job is not None:
            self._job.abort()
        self._release()
        self._known.clear()
        self._dropInspections()
        self._worker.end()

    def begin(
        self,
        files: RunFiles,
        request: "dict[str, Any]",
        volumes: Inputs,
        collect: Callable[[dict], Any],
        callbacks: Callbacks,
        more_steps: "Iterable[None]" = (),
    ) -> Job:
        """Write the volumes, send the worker a request and return its job; the files go when that cannot be."""
        try:
            if self.busy:
                raise InputError(UNDER_WAY)
            require_packages()
            if self._refining is not None:
                self._refining.drop()
            given = {name: node for name, node in volumes.items() if node is not None}
            steps = [writing(node, files.path(name)) for name, node in given.items() if name != REGION]
            if REGION in given:
                steps.append(writing_region(given[REGION], given["pet"], files.path(REGION)))
            job = Job(self._worker, files, collect, callbacks, self)
            paths = {name: str(files.path(name)) for name in given}
            job.begin(chain(*steps, more_steps), {**request, **paths})
        except Exception:
            files.remove()
            raise
        self._job = job
        if request["command"] == DENOISE and "on" not in request:
            # the process lets go of the run that it held, whatever becomes of this one
            self._known.clear()
        self._dropInspections()
        return job

    def _dropInspections(self) -> None:
        dropped, self._inspections = self._inspections, {}
        for job in dropped.values():
            job.drop()

    def _receive(self, message: dict[str, Any]) -> None:
        identity = message.get("id")
        if self._job is not None and identity == self._job.identity:
            self._job.receive(message)
            self._release()
        elif identity in self._inspections:
            self._inspections.pop(identity).receive(message)
        elif self.onWorkerMessage is not None:
            self.onWorkerMessage(message)

    def _release(self) -> None:
        """Hold a job that has ended no longer: its result would keep volumes that the user removes in memory."""
        if self._job is not None and self._job.state != RUNNING:
            self._job, self._refining = None, None

    def _worker_ended(self, sentence: str, details: str) -> None:
        logging.error("CSRDDenoise: %s\n%s", sentence, details)
        inspections, self._inspections = self._inspections, {}
        for inspection in inspections.values():
            # it may be what ended the process, so it is not asked for again
            inspection.worker_ended(sentence, details)
        if self._job is not None and self._job.state == RUNNING:
            self._job.worker_ended(sentence, details)
            self._release()
        elif self.onWorkerMessage is not None:
            self.onWorkerMessage({"event": "error", "id": None, "message": sentence, "details": details})
