"""The work of the module without its panel: volumes in, volumes out, from the Python console in one call."""

import json
import logging
import re
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Callable, Iterable, Optional

import slicer
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

from CSRDDenoiseLib.errors import CSRDError, InputError
from CSRDDenoiseLib.findings import Finding, find
from CSRDDenoiseLib.sentences import SLICER, sentences
from CSRDDenoiseLib.settings import DEFAULT_PRESET, DenoiseSettings, settings_from_preset

from .parameters import CSRDDenoiseParameterNode, apply_defaults
from .readiness import require_packages
from .views.display import show_results
from .volumes import (
    ESTIMATE_REFERENCE,
    FINDINGS,
    MR_REFERENCE,
    PET_REFERENCE,
    PROVENANCE,
    SUMMARY,
    Outputs,
    Volume,
    check_outputs,
    fill_node,
    has_record,
    kept,
    make_transform,
    make_volumes,
    part_of,
    read_array,
    writing,
)
from .worker_process import RUNNING, Job, RunFiles, WorkerProcess, describing

VOLUMES = ("output", "difference", "uncertainty", "support", "bare")
Inputs = dict[str, Optional[Volume]]


@dataclass(frozen=True)
class DenoisedVolumes:
    """What a run made: nodes in the scene, and the record of how.

    ``uncertaintyVolume`` is None when only one sample was drawn or none was asked for. ``registrationTransform``, put
    above the MR, brings it to where it was used; it is None unless the MR was registered. ``supportVolume`` is 1 where
    structure was added and 2 where it was removed that the PET's counts do not support; None unless asked for.
    ``findings`` holds what the checks noticed, ``warnings`` the sentences of the warnings among them.
    """

    denoisedVolume: Volume
    differenceVolume: Optional[Volume]
    uncertaintyVolume: Optional[Volume]
    provenance: dict[str, Any]
    registrationTransform: Optional[slicer.vtkMRMLLinearTransformNode] = None
    summary: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    supportVolume: Optional[slicer.vtkMRMLLabelMapVolumeNode] = None
    findings: tuple[Finding, ...] = ()


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
        self._job: Optional[Job] = None
        self._parameters: Optional[CSRDDenoiseParameterNode] = None

    def getParameterNode(self) -> CSRDDenoiseParameterNode:
        """Return the choices kept in the scene; the same object as long as the scene keeps the same node.

        A wrapper that is dropped while its node lives on leaves observers behind whose functions Python's garbage
        collector takes away, and the next change of the node would then crash Slicer.
        """
        node = super().getParameterNode()
        if self._parameters is None or self._parameters.parameterNode is not node:
            fresh = node.GetParameterCount() == 0
            self._parameters = CSRDDenoiseParameterNode(node)
            if fresh:
                apply_defaults(self._parameters)
        return self._parameters

    @property
    def worker(self) -> WorkerProcess:
        """The process that does the work."""
        return self._worker

    @property
    def busy(self) -> bool:
        """Whether a run is under way."""
        return self._job is not None and self._job.state == RUNNING

    def denoise(
        self,
        petVolume: Volume,
        mrVolume: Optional[Volume] = None,
        preset: str = DEFAULT_PRESET,
        model: Optional[str] = None,
        outputs: Optional[Outputs] = None,
        fullDoseReferenceVolume: Optional[Volume] = None,
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
            changes: settings that differ from the preset, such as ``steps=8``.

        Raises:
            CSRDError: the input cannot be used, or the run failed; the scene is as it was before.
        """
        job = self.start(
            petVolume,
            mrVolume,
            preset=preset,
            model=model,
            outputs=outputs,
            fullDoseReferenceVolume=fullDoseReferenceVolume,
            **changes,
        )
        return job.wait()

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
        **changes: Any,
    ) -> Job:
        """Start denoising a volume and return at once.

        Args:
            petVolume, mrVolume, preset, model, outputs, fullDoseReferenceVolume, changes: see :meth:`denoise`.
            onProgress: receives the fields of :class:`CSRDDenoiseLib.progress.Progress` as a dict.
            onFinished: receives the :class:`DenoisedVolumes`.
            onError: receives the exception when the run failed or was cancelled.

        Raises:
            CSRDError: the input cannot be used, a run is under way, or a Python package is missing.
        """
        if petVolume is None:
            raise InputError("No PET volume is given. Choose the volume to denoise.")
        settings = settings_from_preset(preset, **changes)
        outputs = outputs or Outputs()
        inputs = {"pet": petVolume, "mr": mrVolume, "full_dose_reference": fullDoseReferenceVolume}
        check_outputs(outputs, inputs.values())
        files = RunFiles()
        sources: dict[str, Any] = {}
        request = {"command": "denoise", "model": model or None, "settings": settings.as_dict()}
        return self.begin(
            files,
            {**request, **_output_paths(files, outputs, settings)},
            inputs,
            lambda message: _collect(message, files, outputs, inputs, sources),
            (onProgress, onFinished, onError),
            describing(inputs, sources),
        )

    def writeReport(
        self,
        denoisedVolume: Volume,
        uncertaintyVolume: Optional[Volume] = None,
        labelVolume: Optional[Volume] = None,
        path: Optional[str] = None,
    ) -> Path:
        """Write the quality report of a result, one HTML page, and return where it lies.

        Args:
            denoisedVolume: a result of this module; its PET and MR are found by themselves.
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
        if not has_record(denoisedVolume):
            raise InputError(
                f"The volume '{denoisedVolume.GetName()}' has no record of a run, or its PET is gone; denoise the PET "
                "again."
            )
        place = _report_path(denoisedVolume) if path is None else Path(path)
        request = {"command": "report", "output": str(place), "provenance": kept(denoisedVolume, PROVENANCE)}
        volumes = {
            "pet": denoisedVolume.GetNodeReference(PET_REFERENCE),
            "mr": denoisedVolume.GetNodeReference(MR_REFERENCE),
            "denoised": denoisedVolume,
            "uncertainty": part_of(uncertaintyVolume, denoisedVolume),
            "labels": labelVolume,
        }
        callbacks = (onProgress, onFinished, onError)
        return self.begin(RunFiles(), request, volumes, lambda message: Path(message["path"]), callbacks)

    def startKeep(
        self,
        denoisedVolume: Volume,
        keepAboveMm: float,
        differenceVolume: Optional[Volume] = None,
        onFinished: Optional[Callable[[Volume], None]] = None,
        onError: Optional[Callable[[Exception], None]] = None,
    ) -> Job:
        """Recompute a result so that what is coarser than ``keepAboveMm`` stays as it was measured; return at once.

        The model is not asked again. 0 gives the PET back. The width goes into the record and the findings.
        """
        estimate, pet = (denoisedVolume.GetNodeReference(name) for name in (ESTIMATE_REFERENCE, PET_REFERENCE))
        if estimate is None or pet is None:
            raise InputError(f"The model's estimate for '{denoisedVolume.GetName()}' is gone; denoise the PET again.")
        files, results = RunFiles(), {"output": denoisedVolume, "difference": differenceVolume}
        request = {"command": "keep", "keep_above_mm": keepAboveMm}
        request.update({kind: str(files.path(kind)) for kind in results})
        return self.begin(
            files,
            request,
            {"pet": pet, "bare": estimate},
            lambda message: _collect_kept(message, files, results, pet),
            (None, onFinished, onError),
        )

    def ask(self, request: dict[str, Any]) -> None:
        """Send the worker a request that is no run, such as ``info``; the answer goes to ``onWorkerMessage``."""
        self._worker.send(request)

    def close(self) -> None:
        """End a run under way and the worker process."""
        if self.busy:
            self._job.abort()
        self._worker.end()

    def begin(
        self,
        files: RunFiles,
        request: "dict[str, Any]",
        volumes: Inputs,
        collect: Callable[[dict], Any],
        callbacks: "tuple[Optional[Callable], ...]",
        more_steps: "Iterable[None]" = (),
    ) -> Job:
        """Write the volumes, send the worker a request and return its job; the files go when that cannot be."""
        try:
            if self.busy:
                raise InputError("A run is under way. Wait for its end or cancel it first.")
            require_packages()
            given = {name: node for name, node in volumes.items() if node is not None}
            steps = [writing(node, files.path(name)) for name, node in given.items()]
            job = Job(self._worker, files, collect, *callbacks)
            paths = {name: str(files.path(name)) for name in given}
            job.begin(chain(*steps, more_steps), {**request, **paths})
        except Exception:
            files.remove()
            raise
        self._job = job
        return job

    def _receive(self, message: dict[str, Any]) -> None:
        if self._job is not None and message.get("id") == self._job.identity:
            self._job.receive(message)
        elif self.onWorkerMessage is not None:
            self.onWorkerMessage(message)

    def _worker_ended(self, sentence: str, details: str) -> None:
        logging.error("CSRDDenoise: %s\n%s", sentence, details)
        if self.busy:
            self._job.worker_ended(sentence, details)
        elif self.onWorkerMessage is not None:
            self.onWorkerMessage({"event": "error", "id": None, "message": sentence, "details": details})


def _report_path(denoised: Volume) -> Path:
    return Path(str(slicer.app.temporaryPath)) / f"{re.sub(r'[^0-9A-Za-z._-]+', '_', denoised.GetName())}.html"


def _output_paths(files: RunFiles, outputs: Outputs, settings: DenoiseSettings) -> "dict[str, str]":
    """Return where each volume goes; there is no uncertainty without samples to compare."""
    wanted = {"uncertainty": outputs.makeUncertainty and settings.has_uncertainty, "support": outputs.makeSupport}
    return {kind: str(files.path(kind)) for kind in VOLUMES if wanted.get(kind, True)}


def _collect(
    message: "dict[str, Any]",
    files: RunFiles,
    outputs: Outputs,
    inputs: Inputs,
    sources: "dict[str, dict[str, Any]]",
) -> DenoisedVolumes:
    """Make the nodes of a finished run."""
    pet, mr = inputs["pet"], inputs["mr"]
    if not slicer.mrmlScene.IsNodePresent(pet):
        raise CSRDError("The PET was removed from the scene during the run, so its result was dropped.")
    paths: dict[str, Optional[Path]] = {
        name: files.path(name) if files.path(name).exists() else None for name in VOLUMES
    }
    nodes = make_volumes(paths, outputs, pet, mr, show_results)
    denoised = nodes["output"]
    provenance = _scene_record(message["provenance"], inputs, nodes, sources)
    findings = tuple(Finding.from_dict(each) for each in message["findings"])
    for name, content in ((PROVENANCE, provenance), (SUMMARY, message["summary"])):
        denoised.SetAttribute(name, json.dumps(content))
    denoised.SetAttribute(FINDINGS, json.dumps([finding.as_dict() for finding in findings]))
    return DenoisedVolumes(
        denoisedVolume=denoised,
        differenceVolume=nodes["difference"],
        uncertaintyVolume=nodes["uncertainty"],
        supportVolume=nodes["support"],
        provenance=provenance,
        registrationTransform=_transform(findings, denoised, mr),
        summary=message["summary"],
        warnings=sentences(findings, SLICER),
        findings=findings,
    )


def _collect_kept(
    message: "dict[str, Any]", files: RunFiles, results: "dict[str, Optional[Volume]]", pet: Volume
) -> Volume:
    """Fill the volumes of a result that was recomputed."""
    denoised = results["output"]
    for kind, node in results.items():
        if node is not None:
            fill_node(node, read_array(files.path(kind)), pet)
    others = [each for each in kept(denoised, FINDINGS) or [] if not each["code"].startswith("keep.")]
    record = kept(denoised, PROVENANCE)
    record["settings"]["keep_above_mm"] = message["keep_above_mm"]
    contents = {SUMMARY: message["summary"], FINDINGS: [*others, message["finding"]], PROVENANCE: record}
    for name, content in contents.items():
        denoised.SetAttribute(name, json.dumps(content))
    return denoised


def _transform(
    findings: "Iterable[Finding]", denoised: Volume, mr: Optional[Volume]
) -> Optional[slicer.vtkMRMLLinearTransformNode]:
    moved = find(findings, "registration.applied")
    return None if moved is None else make_transform(moved.values["mr_to_pet_lps"], denoised, mr)


def _scene_record(
    record: "dict[str, Any]",
    inputs: Inputs,
    nodes: "dict[str, Optional[Volume]]",
    sources: "dict[str, dict[str, Any]]",
) -> "dict[str, Any]":
    """Return the worker's record with volumes of the scene, and the files that hold them, for the temporary files."""
    temporary = ("path", "files", "sha256")
    named = {}
    for name, about in record["inputs"].items():
        of_file = {"path": None, **sources.get(name, {}), "volume": inputs[name].GetName()} if about else {}
        lasting = {key: value for key, value in (about or {}).items() if key not in temporary}
        named[name] = {**lasting, **of_file} if about else None
    made = {"denoised" if kind == "output" else kind: node for kind, node in nodes.items() if node is not None}
    return {**record, "inputs": named, "outputs": {name: {"volume": node.GetName()} for name, node in made.items()}}
