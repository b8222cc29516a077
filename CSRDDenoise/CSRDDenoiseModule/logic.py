"""The work of the module without its panel: volumes in, volumes out, from the Python console in one call."""

import json
import logging
from pathlib import Path
from typing import Any, Callable, Optional

import slicer
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

from CSRDDenoiseLib.errors import CSRDError, InputError
from CSRDDenoiseLib.settings import DEFAULT_PRESET, DenoiseSettings, settings_from_preset

from .describe import unit_of
from .job import RUNNING, DenoisedVolumes, Job, RunFiles
from .packages import require_packages
from .parameters import CSRDDenoiseParameterNode
from .report import PROVENANCE, report_path, report_request
from .results import Outputs, check_outputs, make_transform, make_volumes
from .volumes import write_volume
from .worker_process import WorkerProcess

VOLUMES = ("output", "difference", "uncertainty", "support")
Inputs = dict[str, Optional[slicer.vtkMRMLScalarVolumeNode]]


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
            self._parameters = CSRDDenoiseParameterNode(node)
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
        petVolume: slicer.vtkMRMLScalarVolumeNode,
        mrVolume: Optional[slicer.vtkMRMLScalarVolumeNode] = None,
        preset: str = DEFAULT_PRESET,
        model: Optional[str] = None,
        outputs: Optional[Outputs] = None,
        fullDoseReferenceVolume: Optional[slicer.vtkMRMLScalarVolumeNode] = None,
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
                that the record tells depends on it.
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
        petVolume: slicer.vtkMRMLScalarVolumeNode,
        mrVolume: Optional[slicer.vtkMRMLScalarVolumeNode] = None,
        preset: str = DEFAULT_PRESET,
        model: Optional[str] = None,
        outputs: Optional[Outputs] = None,
        onProgress: Optional[Callable[[dict], None]] = None,
        onFinished: Optional[Callable[[DenoisedVolumes], None]] = None,
        onError: Optional[Callable[[Exception], None]] = None,
        fullDoseReferenceVolume: Optional[slicer.vtkMRMLScalarVolumeNode] = None,
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
        return self._begin(
            files,
            lambda: {
                **_write_inputs(files, inputs),
                **_output_paths(files, outputs, settings),
                "command": "denoise",
                "model": model or None,
                "settings": settings.as_dict(),
            },
            lambda message: _collect(message, files, outputs, inputs),
            (onProgress, onFinished, onError),
        )

    def writeReport(
        self,
        denoisedVolume: slicer.vtkMRMLScalarVolumeNode,
        uncertaintyVolume: Optional[slicer.vtkMRMLScalarVolumeNode] = None,
        labelVolume: Optional[slicer.vtkMRMLScalarVolumeNode] = None,
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
        denoisedVolume: slicer.vtkMRMLScalarVolumeNode,
        uncertaintyVolume: Optional[slicer.vtkMRMLScalarVolumeNode] = None,
        labelVolume: Optional[slicer.vtkMRMLScalarVolumeNode] = None,
        path: Optional[str] = None,
        onProgress: Optional[Callable[[dict], None]] = None,
        onFinished: Optional[Callable[[Path], None]] = None,
        onError: Optional[Callable[[Exception], None]] = None,
    ) -> Job:
        """Start writing the report of :meth:`writeReport` and return at once."""
        place = report_path(denoisedVolume) if path is None else Path(path)
        files = RunFiles()
        return self._begin(
            files,
            lambda: report_request(files, denoisedVolume, uncertaintyVolume, labelVolume, place),
            lambda message: Path(message["path"]),
            (onProgress, onFinished, onError),
        )

    def _begin(
        self,
        files: RunFiles,
        make_request: Callable[[], "dict[str, Any]"],
        collect: Callable[[dict], Any],
        callbacks: "tuple[Optional[Callable], ...]",
    ) -> Job:
        """Send the worker a request and return its job; the files are removed when that cannot be."""
        try:
            if self.busy:
                raise InputError("A run is under way. Wait for its end or cancel it first.")
            require_packages()
            request = {**make_request(), "id": files.folder.name}
            job = Job(self._worker, files, collect, *callbacks)
            self._worker.send(request)
        except Exception:
            files.remove()
            raise
        self._job = job
        return job

    def ask(self, request: dict[str, Any]) -> None:
        """Send the worker a request that is no run, such as ``info``; the answer goes to ``onWorkerMessage``."""
        self._worker.send(request)

    def close(self) -> None:
        """End a run under way and the worker process."""
        if self.busy:
            self._job.abort()
        self._worker.end()

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


def _write_inputs(files: RunFiles, inputs: Inputs) -> "dict[str, str]":
    given = {name: node for name, node in inputs.items() if node is not None}
    for name, node in given.items():
        write_volume(node, files.path(name))
    return {name: str(files.path(name)) for name in given}


def _output_paths(files: RunFiles, outputs: Outputs, settings: DenoiseSettings) -> "dict[str, str]":
    """Return where each volume goes; there is no uncertainty without samples to compare."""
    wanted = {"uncertainty": outputs.makeUncertainty and settings.has_uncertainty, "support": outputs.makeSupport}
    return {kind: str(files.path(kind)) for kind in VOLUMES if wanted.get(kind, True)}


def _collect(message: dict[str, Any], files: RunFiles, outputs: Outputs, inputs: Inputs) -> DenoisedVolumes:
    """Make the nodes of a finished run."""
    pet, mr = inputs["pet"], inputs["mr"]
    if not slicer.mrmlScene.IsNodePresent(pet):
        raise CSRDError("The PET was removed from the scene during the run, so its result was dropped.")
    provenance = _provenance(message["provenance"], inputs)
    paths: dict[str, Optional[Path]] = {
        name: files.path(name) if files.path(name).exists() else None for name in VOLUMES
    }
    nodes = make_volumes(paths, outputs, pet, mr)
    denoised = nodes["output"]
    denoised.SetAttribute(PROVENANCE, json.dumps(provenance))
    denoised.SetAttribute("CSRDDenoise.Summary", json.dumps(message["summary"]))
    return DenoisedVolumes(
        denoisedVolume=denoised,
        differenceVolume=nodes["difference"],
        uncertaintyVolume=nodes["uncertainty"],
        supportVolume=nodes["support"],
        provenance=provenance,
        registrationTransform=_transform(provenance, denoised, mr),
        summary=message["summary"],
        warnings=tuple(message["warnings"]),
    )


def _transform(
    provenance: "dict[str, Any]",
    denoised: slicer.vtkMRMLScalarVolumeNode,
    mr: Optional[slicer.vtkMRMLScalarVolumeNode],
) -> Optional[slicer.vtkMRMLLinearTransformNode]:
    registration = provenance["quality"].get("registration")
    if not registration or not registration["applied"]:
        return None
    return make_transform(registration["mr_to_pet_lps"], denoised, mr)


def _provenance(record: "dict[str, Any]", inputs: Inputs) -> "dict[str, Any]":
    """Return the worker's record with the volumes' names in place of the temporary files."""
    named = {
        name: None if told is None else {**told, "path": None, "volume": inputs[name].GetName()}
        for name, told in record["inputs"].items()
    }
    return {**record, "inputs": named, "units": unit_of(inputs["pet"]) or record.get("units")}
