"""Between volume nodes and the worker's files: inputs written in steps, results made all or none."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator, Optional

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _
from vtk.util import numpy_support

from CSRDDenoiseLib.errors import CSRDError, InputError
from CSRDDenoiseLib.findings import OF_WIDTH, Finding, find
from CSRDDenoiseLib.io.nrrd import nrrd_header, write_steps
from CSRDDenoiseLib.sentences import SLICER, sentences
from CSRDDenoiseLib.settings import MAPS

from .nodes import (
    ESTIMATE_REFERENCE,
    FRAME,
    Outputs,
    Volume,
    frame_of,
    hardened_copy,
    is_warped,
    place_beside,
    remove_estimates_with_results,
    remove_volume,
    unit_keys,
)

PET_REFERENCE, MR_REFERENCE, RESULT_REFERENCE = "CSRDDenoise.PET", "CSRDDenoise.MR", "CSRDDenoise.Denoised"
KIND = "CSRDDenoise.Kind"
"""Attribute of a map: which one of its result it is, such as ``difference``."""
TRANSFORM_REFERENCE = "CSRDDenoise.Registration"
PROVENANCE, SUMMARY, FINDINGS = "CSRDDenoise.Provenance", "CSRDDenoise.Summary", "CSRDDenoise.Findings"
PET_REMOVED = "The PET was removed from the scene during the run, so its result was dropped."
SAME_SPACING = 1e-3  # of a side: more than rounding makes, less than a result depends on
LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


# Nodes to files: the user's nodes are read and never changed


def writing(node: Volume, path: Path) -> "Iterator[None]":
    """Return the steps that write a volume, as it lies in world coordinates, to an NRRD file, voxel values exact.

    A step takes some milliseconds. The unit goes into the header as DICOM names it (tags 0054,1001 and 0054,1006).

    Raises:
        InputError: at once, the volume is empty, has several components, or is sheared by its transform; or, in a
            step, the volume was changed since the first.
    """
    copy = hardened_copy(node)
    if copy.GetImageData().GetNumberOfScalarComponents() != 1:
        raise InputError(f"The volume '{node.GetName()}' has several values a voxel. Choose a scalar volume.")
    return _steps(node, copy, path, slicer.util.arrayFromVolume(copy), unit_keys(node))


def write_volume(node: Volume, path: Path) -> None:
    """Write a volume as :func:`writing` does, at once."""
    for _step in writing(node, path):
        pass


def _steps(node: Volume, copy: Volume, path: Path, values: np.ndarray, keys: "dict[str, str]") -> "Iterator[None]":
    image = node.GetImageData()
    before = image.GetMTime()

    def check() -> None:
        if node.GetImageData() is not image or image.GetMTime() != before:
            raise InputError(f"The volume '{node.GetName()}' was changed while it was read. Press Apply again.")

    try:
        header = nrrd_header(values, LPS_FROM_RAS @ ijk_to_ras(copy), keys)
    except InputError as error:
        raise InputError(f"The volume '{node.GetName()}' cannot be written. {error}") from error
    return write_steps(path, header, values, check)


# Files to nodes: all of them, or none


@dataclass(frozen=True)
class DenoisedVolumes:
    """What a run made: nodes in the scene, and the record of how.

    ``uncertaintyVolume`` is None where the settings give no uncertainty, or none was asked for.
    ``registrationTransform``, put above the MR, brings it to where it was used; it is None unless the MR was
    registered. ``supportVolume`` is 1 where structure was added and 2 where it was removed that the PET's counts do not
    support; None unless asked for.
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


def is_free_for(node: Optional[Volume], pet: Optional[Volume]) -> bool:
    """Return whether a volume may be filled with results of this PET: it is none, or no result of another.

    A result of a PET that the scene no longer has, and its maps, are those of another; so is a map of an earlier run.
    """
    if node is None:
        return True
    result = node.GetNodeReference(RESULT_REFERENCE) or node
    owner, is_result = result.GetNodeReference(PET_REFERENCE), bool(result.GetAttribute(PROVENANCE))
    return owner is pet if is_result and owner is not None else owner is None and not is_result


def of_frame(node: Optional[Volume], pet: Volume) -> Optional[Volume]:
    """Return a volume to fill, or None where it holds the result of another frame of the sequence of a PET."""
    result = None if node is None else node.GetNodeReference(RESULT_REFERENCE) or node
    is_result = result is not None and bool(result.GetAttribute(PROVENANCE))
    return None if is_result and result.GetAttribute(FRAME) != frame_of(pet) else node


def check_spacing(pet: Volume, record: "dict[str, Any]") -> None:
    """Refuse a PET that has another voxel size by now than in the record of its run.

    Raises:
        InputError: so it is; the noise and every width in mm would be others.
    """
    if is_warped(pet):  # another warp makes other voxels
        return
    # in the world, as a run measures it: a transform may scale, and a turn rounds
    sides = hardened_copy(pet).GetSpacing(), record["inputs"]["pet"]["spacing_mm"]
    if not np.allclose(*sides, rtol=SAME_SPACING, atol=0.0):
        sizes = [" x ".join(f"{side:.4g}" for side in each) for each in sides]
        raise InputError(
            f"The PET '{pet.GetName()}' has voxels of {sizes[0]} mm by now and was denoised with {sizes[1]} mm. "
            "Denoise it again."
        )


def part_of(node: Optional[Volume], denoised: Volume) -> Optional[Volume]:
    """Return a difference, uncertainty or label map if it belongs to this denoised volume, else None."""
    return node if node is not None and node.GetNodeReference(RESULT_REFERENCE) is denoised else None


def has_record(denoised: Optional[Volume]) -> bool:
    """Return whether a volume is a result of this module whose PET is still in the scene."""
    if denoised is None:
        return False
    return bool(denoised.GetAttribute(PROVENANCE)) and denoised.GetNodeReference(PET_REFERENCE) is not None


def has_finding(denoised: Volume, code: str) -> bool:
    """Return whether a finding of this code is stored with a result."""
    return any(each["code"] == code for each in stored(denoised, FINDINGS) or [])


def stored(denoised: Volume, name: str) -> Any:
    """Return what is stored with a result under an attribute's name, None if there is nothing."""
    text = denoised.GetAttribute(name)
    return json.loads(text) if text else None


def make_volumes(
    paths: "dict[str, Optional[Path]]",
    outputs: Outputs,
    pet: Volume,
    mr: Optional[Volume],
    show: "Callable[[dict[str, Optional[Volume]], Volume], None]",
) -> "dict[str, Optional[Volume]]":
    """Make or fill the volumes of a run.

    Every file is read before a node is touched; if anything fails, nodes made here are removed again. Maps of an
    earlier run of the same denoised volume that are not made anew stay in the scene and no longer belong to it.

    Args:
        paths: file of each of ``output``, ``difference``, ``uncertainty``, ``support``, ``bare``, or None for none.
        show: gives the nodes their displays.
    """
    arrays = {kind: read_array(path) for kind, path in paths.items() if path is not None}
    made = []
    nodes: dict[str, Optional[Volume]] = dict.fromkeys(outputs.chosen)
    try:
        for kind, array in arrays.items():
            node = outputs.chosen[kind]
            if node is None or not slicer.mrmlScene.IsNodePresent(node):
                name = slicer.mrmlScene.GenerateUniqueName(_output_name(pet.GetName(), kind))
                class_name = "vtkMRMLLabelMapVolumeNode" if kind == "support" else "vtkMRMLScalarVolumeNode"
                node = slicer.mrmlScene.AddNewNodeByClass(class_name, name)
                # the model's bare estimate is kept for "Keep measured above", not to be looked at
                node.SetHideFromEditors(kind == "bare")
                made.append(node)
            fill_node(node, array, pet)
            nodes[kind] = node
        for kind, node in nodes.items():
            if node is not None:
                place_beside(pet, node, kind)
        show(nodes, pet)
        _refer(nodes, pet, mr)
    except Exception:
        for node in made:
            remove_volume(node)
        raise
    release_maps(nodes["output"], *nodes.values())
    return nodes


def make_transform(mr_to_pet_lps: "list[list[float]]", denoised: Volume, mr: Volume) -> slicer.vtkMRMLTransformNode:
    """Make the transform that brings the MR to the PET when it is put above it.

    Args:
        mr_to_pet_lps: matrix (4, 4) of points in world coordinates, L-P-S; Slicer's are R-A-S.
        denoised: the result, which refers to the transform.
        mr: gives the name.
    """
    name = slicer.mrmlScene.GenerateUniqueName(_("{mr} registered to PET").format(mr=mr.GetName()))
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", name)
    matrix = LPS_FROM_RAS @ np.array(mr_to_pet_lps) @ LPS_FROM_RAS
    node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    denoised.SetNodeReferenceID(TRANSFORM_REFERENCE, node.GetID())
    return node


def read_array(path: Path) -> np.ndarray:
    """Read the voxels of a file that the worker wrote, shape (slices, rows, columns)."""
    import SimpleITK as sitk

    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def fill_node(node: Volume, array: np.ndarray, pet: Volume) -> None:
    """Put an array on the PET's grid into a volume node that lies where the PET lies.

    With a linear parent transform the node takes the PET's geometry and the same transform, so it follows the PET;
    with a warping one it lies, as the array does, on the grid of the hardened copy.

    Raises:
        InputError: the array's shape is not that of the PET.
    """
    transform, follows = pet.GetParentTransformNode(), not is_warped(pet)
    grid = pet if follows else hardened_copy(pet)
    size = tuple(reversed(grid.GetImageData().GetDimensions()))
    if tuple(array.shape) != size:
        raise InputError(f"The result has shape {tuple(array.shape)}, the PET {size}. The PET was changed meanwhile.")
    image = vtk.vtkImageData()
    image.SetDimensions(grid.GetImageData().GetDimensions())
    scalars = numpy_support.numpy_to_vtk(np.ascontiguousarray(array).ravel(), deep=True)
    scalars.SetName("ImageScalars")
    image.GetPointData().SetScalars(scalars)
    node.CopyOrientation(grid)
    node.SetAndObserveImageData(image)
    node.SetAndObserveTransformNodeID(transform.GetID() if transform is not None and follows else None)


def _output_name(pet_name: str, kind: str) -> str:
    names = {
        "output": _("{pet} denoised"),
        "difference": _("{pet} difference"),
        "uncertainty": _("{pet} uncertainty"),
        "support": _("{pet} unsupported structure"),
        "bare": _("{pet} estimate"),
    }
    # Slicer names the file of a hidden volume after it, and cannot read a scene with a file that has "&" in its name
    return names[kind].format(pet=pet_name.replace("&", "+") if kind == "bare" else pet_name)


def _refer(nodes: "dict[str, Optional[Volume]]", pet: Volume, mr: Optional[Volume]) -> None:
    for node in nodes.values():
        if node is not None:
            node.SetNodeReferenceID(PET_REFERENCE, pet.GetID())
            node.SetNodeReferenceID(MR_REFERENCE, mr.GetID() if slicer.mrmlScene.IsNodePresent(mr) else None)
    if nodes["bare"] is not None:
        nodes["output"].SetNodeReferenceID(ESTIMATE_REFERENCE, nodes["bare"].GetID())
        # a script may have no panel
        remove_estimates_with_results(slicer.mrmlScene)
    # a volume that is filled may have been a map, or a result with a record, before
    nodes["output"].SetNodeReferenceID(RESULT_REFERENCE, None)
    for kind in ("difference", "uncertainty", "support"):
        if nodes[kind] is not None:
            nodes[kind].SetNodeReferenceID(RESULT_REFERENCE, nodes["output"].GetID())
            nodes[kind].SetAttribute(KIND, kind)
            nodes[kind].SetAttribute(PROVENANCE, None)


def release_maps(denoised: Volume, *kept: Optional[Volume]) -> None:
    """Let maps of a result that are not those of its voxels, all but those ``kept``, belong to it no more."""
    for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"):
        if part_of(node, denoised) is not None and node not in kept:
            node.SetNodeReferenceID(RESULT_REFERENCE, None)
            node.SetName(slicer.mrmlScene.GenerateUniqueName(_("{name} (earlier run)").format(name=node.GetName())))


def ijk_to_ras(node: Volume) -> np.ndarray:
    """Return the matrix (4, 4) from indices to mm, R-A-S."""
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


# A run that ended


def collect(
    message: "dict[str, Any]",
    path_of: "Callable[[str], Path]",
    outputs: Outputs,
    inputs: "dict[str, Optional[Volume]]",
    sources: "dict[str, dict[str, Any]]",
    show: "Callable[[dict[str, Optional[Volume]], Volume], None]",
) -> DenoisedVolumes:
    """Make the nodes of a finished run."""
    pet, mr = inputs["pet"], inputs["mr"]
    if not slicer.mrmlScene.IsNodePresent(pet):
        raise CSRDError(PET_REMOVED)
    check_spacing(pet, message["provenance"])
    paths: dict[str, Optional[Path]] = {
        name: path_of(name) if path_of(name).exists() else None for name in ("output", *MAPS)
    }
    nodes = make_volumes(paths, outputs, pet, mr, show)
    denoised = nodes["output"]
    provenance = scene_record(message["provenance"], inputs, nodes, sources)
    findings = tuple(Finding.from_dict(each) for each in message["findings"])
    summary = {**message["summary"], "suv_factor": message["suv_factor"]}
    for name, content in ((PROVENANCE, provenance), (SUMMARY, summary)):
        denoised.SetAttribute(name, json.dumps(content))
    denoised.SetAttribute(FINDINGS, json.dumps([finding.as_dict() for finding in findings]))
    return DenoisedVolumes(
        denoisedVolume=denoised,
        differenceVolume=nodes["difference"],
        uncertaintyVolume=nodes["uncertainty"],
        supportVolume=nodes["support"],
        provenance=provenance,
        registrationTransform=_transform(findings, denoised, mr),
        summary=summary,
        warnings=sentences(findings, SLICER),
        findings=findings,
    )


def collect_kept(
    message: "dict[str, Any]", path_of: "Callable[[str], Path]", results: "dict[str, Optional[Volume]]", pet: Volume
) -> Volume:
    """Fill the volumes of a result that was recomputed, or the part of them that changes; maps not made go."""
    from CSRDDenoiseLib.io.record import entries_of

    denoised, nodes = results["output"], {kind: node for kind, node in results.items() if node is not None}
    for kind, node in nodes.items():
        if not path_of(kind).exists():
            continue
        if message["exact"]:
            fill_node(node, read_array(path_of(kind)), pet)
        else:
            part = tuple(slice(*ends) for ends in message["box"])
            slicer.util.arrayFromVolume(node)[part] = read_array(path_of(kind))
            slicer.util.arrayFromVolumeModified(node)
    if message["exact"]:
        release_maps(denoised, *(node for kind, node in nodes.items() if path_of(kind).exists()))
    findings, record = message.get("findings") or _findings_of_width(denoised, message), stored(denoised, PROVENANCE)
    record.update(entries_of([Finding.from_dict(each) for each in findings]))
    record["settings"]["keep_above_mm"] = message["keep_above_mm"]
    summary = {**(stored(denoised, SUMMARY) or {}), **message["summary"]}
    for name, content in {SUMMARY: summary, FINDINGS: findings, PROVENANCE: record}.items():
        denoised.SetAttribute(name, json.dumps(content))
    return denoised


def _findings_of_width(denoised: Volume, message: "dict[str, Any]") -> "list[dict[str, Any]]":
    """Return the findings of a result as far as they are known of another width."""
    before = [Finding.from_dict(each) for each in stored(denoised, FINDINGS) or []]
    former, kept = find(before, "keep"), Finding.from_dict(message["finding"])
    # the dose, which the estimate holds, does not depend on the width
    dose = None if former is None else former.values.get("dose")
    others = (each for each in before if each.check not in OF_WIDTH)
    return [each.as_dict() for each in (*others, replace(kept, values={**kept.values, "dose": dose}))]


def _transform(findings: "Iterable[Finding]", denoised: Volume, mr: Optional[Volume]) -> Optional[Any]:
    moved = find(findings, "registration.applied")
    return None if moved is None else make_transform(moved.values["mr_to_pet_lps"], denoised, mr)


def scene_record(
    record: "dict[str, Any]",
    inputs: "dict[str, Optional[Volume]]",
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
