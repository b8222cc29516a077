"""A sequence as one dynamic PET: all its frames in one run, the results as sequences of the same browser."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Iterator, Optional

import numpy as np
import slicer
from slicer.i18n import tr as _

from CSRDDenoiseLib.errors import CSRDError, InputError
from CSRDDenoiseLib.findings import Finding
from CSRDDenoiseLib.io.nrrd import UNITS_KEY
from CSRDDenoiseLib.io.sequence_file import sequence_entries, sequence_path, sequence_steps
from CSRDDenoiseLib.settings import DEFAULT_PRESET, settings_from_preset

from .job import Callbacks, Job, RunFiles, check_inputs, check_outputs, describing, model_there, writing_region
from .nodes import (
    Outputs,
    browser_of,
    copy_unit,
    frame_count,
    is_warped,
    place_beside,
    remove_volume,
    unit_keys,
    unit_of,
)
from .readiness import settings_for
from .views.display import show_results
from .volumes import (
    FINDINGS,
    LPS_FROM_RAS,
    PET_REMOVED,
    PROVENANCE,
    Volume,
    check_spacing,
    fill_node,
    hardened_copy,
    ijk_to_ras,
    scene_record,
)
from .worker_process import on_place

KINDS = {"output": "denoised", "difference": "difference", "uncertainty": "uncertainty", "support": "support"}
"""Name of a volume's file -> what its sequence is called after."""
PLACE_TOLERANCE_MM = 1e-3


@dataclass(frozen=True)
class DenoisedSequences:
    """What a run on a sequence made: sequences in the browser of the PET, by kind, and the record of how."""

    sequences: "dict[str, Any]"
    provenance: "dict[str, Any]"
    warnings: "tuple[str, ...]" = ()
    findings: "tuple[Finding, ...]" = ()


def start_sequence(
    logic: Any,
    petVolume: Volume,
    mrVolume: Optional[Volume] = None,
    preset: str = DEFAULT_PRESET,
    model: Optional[str] = None,
    outputs: Optional[Outputs] = None,
    onProgress: "Optional[Callable[[dict[str, Any]], None]]" = None,
    onFinished: "Optional[Callable[[DenoisedSequences], None]]" = None,
    onError: Optional[Callable[[Exception], None]] = None,
    fullDoseReferenceVolume: Optional[Volume] = None,
    regionNode: Optional[Any] = None,
    place: str = "",
    **changes: Any,
) -> Job:
    """Do what :meth:`.logic.CSRDDenoiseLogic.startSequence` promises."""
    check_inputs(petVolume, mrVolume, fullDoseReferenceVolume, regionNode)
    browser = browser_of(petVolume)
    if browser is None:
        raise InputError("The PET shows no frame of a sequence. Choose the volume of a sequence browser.")
    if frame_count(petVolume) < 2:
        raise InputError(f"The sequence of '{petVolume.GetName()}' has one frame. Denoise the volume that shows it.")
    if fullDoseReferenceVolume is not None:
        raise InputError("A full-dose reference goes with a static PET, and this one is dynamic. Leave it out.")
    settings = settings_from_preset(preset, **changes)
    _check_place(petVolume, browser.GetSequenceNode(petVolume))
    _check_transforms(petVolume, mrVolume, regionNode)
    kinds, files = check_outputs(outputs).kinds(settings_for(model, settings).has_uncertainty), RunFiles()
    paths = {kind: sequence_path(files.folder, kind) for kind in kinds if kind in KINDS}
    source, sequence = sequence_path(files.folder, "pet"), browser.GetSequenceNode(petVolume)
    # the user may add and remove frames during the run
    values = index_values(sequence)
    request = {"command": "denoise", "model": model_there(model), "settings": settings.as_dict(), "pet": str(source)}
    request.update({kind: str(path) for kind, path in paths.items()})
    request.update(on_place(place))
    sources: dict[str, Any] = {}
    if regionNode is not None:
        request["region"] = str(files.path("region"))

    def writing() -> "Iterator[None]":
        if regionNode is not None:
            yield from writing_region(regionNode, petVolume, files.path("region"))
        yield from writing_sequence(sequence, values, petVolume, source)
        yield from describing({"mr": mrVolume}, sources)

    inputs = {"pet": petVolume, "mr": mrVolume, "region": regionNode}

    def collected(message: "dict[str, Any]") -> DenoisedSequences:
        if not (slicer.mrmlScene.IsNodePresent(petVolume) and slicer.mrmlScene.IsNodePresent(browser)):
            raise CSRDError(PET_REMOVED)
        check_spacing(petVolume, message["provenance"])
        return _collect(message, paths, (browser, sequence, values), inputs, sources)

    callbacks = Callbacks(onProgress, onFinished, onError)
    return logic.begin(files, request, {"mr": mrVolume}, collected, callbacks, writing())


def _check_place(pet: Volume, sequence: Any) -> None:
    """Refuse a volume that was moved without the frames of its sequence, by hardening a transform for instance."""
    frame = sequence.GetNthDataNode(0)
    if frame is not None and not np.allclose(ijk_to_ras(pet), ijk_to_ras(frame), atol=PLACE_TOLERANCE_MM):
        raise InputError(
            f"The volume '{pet.GetName()}' lies elsewhere than the frames of its sequence '{sequence.GetName()}'. Show "
            "another frame, which takes the volume back, and put it under a transform that is not hardened."
        )


def _check_transforms(pet: Volume, *others: Any) -> None:
    """Refuse a PET, an MR or a region under a transform that is another one in each frame."""
    for node in (pet, *others):
        above = None if node is None else node.GetParentTransformNode()
        while above is not None:
            if frame_count(above) > 1:
                raise InputError(
                    f"The transform '{above.GetName()}' is a sequence of {frame_count(above)} too: it moves "
                    f"'{node.GetName()}' elsewhere in each frame of '{pet.GetName()}'. Resample the frames first, "
                    f"or take '{node.GetName()}' out of it."
                )
            above = above.GetParentTransformNode()


def index_values(sequence: Any) -> "tuple[str, ...]":
    """Return the index value of each frame, such as its time."""
    return tuple(sequence.GetNthIndexValue(index) for index in range(sequence.GetNumberOfDataNodes()))


def writing_sequence(sequence: Any, values: "tuple[str, ...]", pet: Volume, path: Path) -> "Iterator[None]":
    """Return the steps that write all frames of a sequence where its volume lies, as 4D NIfTI with a sidecar.

    Raises:
        InputError: the frames are no longer those of ``values`` (in a step).
    """
    # a code of DICOM does not say which SUV it is
    unit = unit_of(pet) if unit_of(pet).startswith("SUV") else unit_keys(pet).get(UNITS_KEY, "")
    entries = sequence_entries(values, sequence.GetIndexUnit() or "", unit)
    path.with_suffix(".json").write_text(json.dumps(entries), encoding="utf-8")

    def frames() -> "Iterator[tuple[np.ndarray, np.ndarray]]":
        for index in range(len(values)):
            if index_values(sequence) != values:
                raise InputError("The sequence lost or got frames while it was read. Add all frames again.")
            copy = hardened_copy(sequence.GetNthDataNode(index), pet.GetParentTransformNode())
            yield slicer.util.arrayFromVolume(copy), LPS_FROM_RAS @ ijk_to_ras(copy)

    return sequence_steps(path, frames(), len(values))


def _collect(
    message: "dict[str, Any]",
    paths: "dict[str, Path]",
    of: "tuple[Any, Any, tuple[str, ...]]",
    inputs: "dict[str, Any]",
    sources: "dict[str, dict[str, Any]]",
) -> DenoisedSequences:
    browser, source, values = of
    made: dict[str, Any] = {}
    try:
        for kind, path in paths.items():
            made[kind] = _sequence(source, kind)
            _fill(made[kind], kind, path, values, inputs["pet"])
        record = scene_record(message["provenance"], inputs, made, sources)
        for node in made.values():
            node.SetAttribute(PROVENANCE, json.dumps(record))
            node.SetAttribute(FINDINGS, json.dumps(message["findings"]))
            browser.AddSynchronizedSequenceNode(node)
        _present({kind: browser.GetProxyNode(node) for kind, node in made.items()}, inputs["pet"])
    except Exception:
        for node in made.values():
            slicer.mrmlScene.RemoveNode(node)
        raise
    findings = tuple(Finding.from_dict(each) for each in message["findings"])
    return DenoisedSequences(made, record, tuple(message["warnings"]), findings)


def _sequence(source: Any, kind: str) -> Any:
    name = slicer.mrmlScene.GenerateUniqueName(f"{source.GetName()} {KINDS[kind]}")
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", name)
    node.SetIndexName(source.GetIndexName())
    node.SetIndexUnit(source.GetIndexUnit())
    node.SetIndexType(source.GetIndexType())
    return node


def _present(shown: "dict[str, Optional[Volume]]", pet: Volume) -> None:
    """Give the volumes that show a frame of a result the PET's linear transform, unit and study, and displays.

    A sequence keeps none of these of its frames, and the volume keeps its own when it shows another frame.
    """
    there = {kind: node for kind, node in shown.items() if node is not None}
    for kind, node in there.items():
        place_beside(pet, node, kind)
        if not is_warped(pet):
            node.SetAndObserveTransformNodeID(pet.GetTransformNodeID())
    if "output" in there:
        show_results({**dict.fromkeys(KINDS), **there}, pet)


def _fill(sequence: Any, kind: str, path: Path, values: "tuple[str, ...]", pet: Volume) -> None:
    """Put the frames of a file into a sequence at their index values, one at a time."""
    import nibabel

    image: Any = nibabel.load(path)
    class_name = "vtkMRMLLabelMapVolumeNode" if kind == "support" else "vtkMRMLScalarVolumeNode"
    for index, value in enumerate(values):
        name = _("{pet} {kind}").format(pet=pet.GetName(), kind=KINDS[kind])
        node = slicer.mrmlScene.AddNewNodeByClass(class_name, name)
        try:
            fill_node(node, np.asanyarray(image.dataobj[..., index]).T, pet)
            sequence.SetDataNodeAtValue(node, value)
            if kind != "support":
                # the sequence keeps a copy, without the unit
                copy_unit(pet, sequence.GetDataNodeAtValue(value))
        finally:
            remove_volume(node)
