"""Between volume nodes and the worker's files: inputs written in steps, results made all or none."""

import json
import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator, Optional

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _
from vtk.util import numpy_support

from CSRDDenoiseLib.errors import InputError

PET_REFERENCE, MR_REFERENCE, RESULT_REFERENCE = "CSRDDenoise.PET", "CSRDDenoise.MR", "CSRDDenoise.Denoised"
TRANSFORM_REFERENCE, ESTIMATE_REFERENCE = "CSRDDenoise.Registration", "CSRDDenoise.Estimate"
PROVENANCE, SUMMARY, FINDINGS = "CSRDDenoise.Provenance", "CSRDDenoise.Summary", "CSRDDenoise.Findings"
AXIS_TOLERANCE = 1e-4
BYTES_A_STEP = 8 << 20
LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_NRRD_TYPES = {"i": "int{}", "u": "uint{}", "f4": "float", "f8": "double"}
_DICOM_UNITS = {"Bq/ml": "BQML", "{counts}": "CNTS", "{counts}/s": "CPS", "{propcounts}/s": "PROPCPS"}
_UNITS_KEY, _SUV_TYPE_KEY = "0054|1001", "0054|1006"
_SUV = re.compile(r"\{SUV(\w*)\}g/ml", re.IGNORECASE)

Volume = Any  # a vtkMRMLScalarVolumeNode; Slicer has no types


# Nodes to files: the user's nodes are read and never changed


def hardened_copy(node: Volume) -> Volume:
    """Return a copy of the volume, in no scene, with its parent transform applied.

    A linear transform changes the geometry alone; a warping one resamples the copy (background 0).

    Raises:
        InputError: the volume is empty.
    """
    if node.GetImageData() is None or node.GetImageData().GetNumberOfPoints() == 0:
        raise InputError(f"The volume '{node.GetName()}' holds no image. Load it again or choose another.")
    copy = slicer.vtkMRMLScalarVolumeNode()
    copy.SetName(node.GetName())
    # the copy only reads the voxels, so they are shared; a warp replaces the copy's image and leaves the user's alone
    copy.SetAndObserveImageData(node.GetImageData())
    copy.CopyOrientation(node)
    transform = node.GetParentTransformNode()
    if transform is None:
        return copy
    if transform.IsTransformToWorldLinear():
        matrix = vtk.vtkMatrix4x4()
        transform.GetMatrixTransformToWorld(matrix)
        copy.ApplyTransformMatrix(matrix)
    else:
        general = vtk.vtkGeneralTransform()
        transform.GetTransformToWorld(general)
        copy.ApplyTransform(general)
    return copy


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
    values = slicer.util.arrayFromVolume(copy)
    return _write_steps(node, path, _header(node, copy, values), values)


def write_volume(node: Volume, path: Path) -> None:
    """Write a volume as :func:`writing` does, at once."""
    for _step in writing(node, path):
        pass


def _write_steps(node: Volume, path: Path, header: str, values: np.ndarray) -> "Iterator[None]":
    image = node.GetImageData()
    before = image.GetMTime()
    slices = max(1, BYTES_A_STEP // max(1, values[0].nbytes))
    with path.open("wb") as stream:
        stream.write(header.encode("ascii", "replace"))
        for first in range(0, values.shape[0], slices):
            if node.GetImageData() is not image or image.GetMTime() != before:
                raise InputError(f"The volume '{node.GetName()}' was changed while it was read. Press Apply again.")
            stream.write(np.ascontiguousarray(values[first : first + slices]).data)
            yield


def _header(node: Volume, copy: Volume, values: np.ndarray) -> str:
    matrix = LPS_FROM_RAS @ _ijk_to_ras(copy)
    axes = matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)
    if np.abs(axes.T @ axes - np.eye(3)).max() > AXIS_TOLERANCE:
        raise InputError(
            f"The axes of the volume '{node.GetName()}' are not perpendicular. Resample it to a rectangular grid first."
        )
    kind = _NRRD_TYPES.get(values.dtype.kind) or _NRRD_TYPES[f"{values.dtype.kind}{values.dtype.itemsize}"]
    fields = {
        "type": kind.format(8 * values.dtype.itemsize),
        "dimension": "3",
        "space": "left-posterior-superior",
        "sizes": " ".join(str(size) for size in reversed(values.shape)),
        "space directions": " ".join(_point(matrix[:3, axis]) for axis in range(3)),
        "kinds": "domain domain domain",
        "endian": "little" if np.little_endian else "big",
        "encoding": "raw",
        "space origin": _point(matrix[:3, 3]),
    }
    lines = ["NRRD0004", *(f"{name}: {value}" for name, value in fields.items())]
    return "\n".join([*lines, *(f"{key}:={value}" for key, value in _unit_keys(node).items())]) + "\n\n"


def _point(values: np.ndarray) -> str:
    return "(" + ",".join(repr(float(value)) for value in values) + ")"


def _unit_keys(node: Volume) -> "dict[str, str]":
    code = _unit_code(node)
    suv = _SUV.fullmatch(code)
    if suv:
        return {_UNITS_KEY: "GML", **({_SUV_TYPE_KEY: suv.group(1).upper()} if suv.group(1) else {})}
    return {_UNITS_KEY: _DICOM_UNITS.get(code, code)} if code else {}


def _unit_code(node: Volume) -> str:
    """Return the unit of a volume as UCUM writes it, from the node or from the DICOM files it was loaded from."""
    entry = node.GetVoxelValueUnits()
    if entry is not None:
        return entry.GetCodeValue() or entry.GetCodeMeaning() or ""
    instances, database = node.GetAttribute("DICOM.instanceUIDs"), getattr(slicer, "dicomDatabase", None)
    if not instances or database is None:
        return ""
    named = database.instanceValue(instances.split()[0], "0054,1001").strip()
    return {dicom: ucum for ucum, dicom in _DICOM_UNITS.items()}.get(named, "{SUV}g/ml" if named == "GML" else named)


def unit_of(node: Volume) -> str:
    """Return the unit of a volume's voxels as it is read, such as ``Bq/ml`` or ``SUVbw``, or nothing."""
    code = _unit_code(node)
    suv = _SUV.fullmatch(code)
    return f"SUV{suv.group(1)}" if suv else code


def world_bounds(node: Volume) -> Optional[np.ndarray]:
    """Return the box of a volume in world coordinates as [[R, A, S] low, [R, A, S] high] in mm, or None if empty."""
    if node.GetImageData() is None:
        return None
    bounds = [0.0] * 6
    node.GetRASBounds(bounds)
    return np.array(bounds).reshape(3, 2).T


def source_file(node: Volume) -> Optional[Path]:
    """Return the file that holds a volume as it is now, or None: never stored, changed since, or the file is gone."""
    storage = node.GetStorageNode()
    name = storage.GetFileName() if storage is not None else None
    if not name or node.GetModifiedSinceRead() or node.GetParentTransformNode() is not None:
        return None
    return Path(name) if Path(name).is_file() else None


# Files to nodes: all of them, or none


@dataclass(frozen=True)
class Outputs:
    """Volumes to fill with the results; where there is None a new one is made.

    ``makeUncertainty`` False leaves the uncertainty out; it also is where fewer than two samples are drawn.
    ``makeSupport`` True asks for the label map of what the PET's counts do not support.
    """

    denoisedVolume: Optional[Volume] = None
    differenceVolume: Optional[Volume] = None
    uncertaintyVolume: Optional[Volume] = None
    makeUncertainty: bool = True
    supportVolume: Optional[slicer.vtkMRMLLabelMapVolumeNode] = None
    makeSupport: bool = False

    @property
    def chosen(self) -> "dict[str, Optional[Volume]]":
        """Kind of result -> volume to fill, or None."""
        return {
            "output": self.denoisedVolume,
            "difference": self.differenceVolume,
            "uncertainty": self.uncertaintyVolume,
            "support": self.supportVolume,
            "bare": self.denoisedVolume and self.denoisedVolume.GetNodeReference(ESTIMATE_REFERENCE),
        }


def check_outputs(outputs: Outputs, inputs: "Iterable[Optional[Volume]]") -> None:
    """Refuse to write over an input, or two results into one volume.

    Raises:
        InputError: a volume is chosen twice.
    """
    taken = list(inputs)
    for node in list(outputs.chosen.values())[:-1]:
        if node is not None and node in taken:
            raise InputError(f"The volume '{node.GetName()}' is chosen twice. Choose another output, or a new volume.")
        taken.append(node)


def is_free_for(node: Optional[Volume], pet: Optional[Volume]) -> bool:
    """Return whether a volume may be filled with results of this PET: it is none, or no result of another."""
    owner = None if node is None else node.GetNodeReference(PET_REFERENCE)
    return owner is None or owner is pet


def part_of(node: Optional[Volume], denoised: Volume) -> Optional[Volume]:
    """Return a difference, uncertainty or label map if it belongs to this denoised volume, else None."""
    return node if node is not None and node.GetNodeReference(RESULT_REFERENCE) is denoised else None


def has_record(denoised: Optional[Volume]) -> bool:
    """Return whether a volume is a result of this module whose PET is still in the scene."""
    if denoised is None:
        return False
    return bool(denoised.GetAttribute(PROVENANCE)) and denoised.GetNodeReference(PET_REFERENCE) is not None


def kept(denoised: Volume, name: str) -> Any:
    """Return what is kept with a result under an attribute's name, None if there is nothing."""
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
        show: gives the nodes their displays, beside the PET's.
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
            # labels have neither the PET's quantity nor its unit
            (_place_beside if kind == "support" else _copy_meaning)(pet, node)
            nodes[kind] = node
        show(nodes, pet)
        _refer(nodes, pet, mr)
    except Exception:
        for node in made:
            remove_volume(node)
        raise
    _release_earlier(nodes)
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
    transform = pet.GetParentTransformNode()
    follows = transform is None or transform.IsTransformToWorldLinear()
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


def remove_volume(node: Volume) -> None:
    """Remove a volume and the display nodes that came with it."""
    for index in reversed(range(node.GetNumberOfDisplayNodes())):
        slicer.mrmlScene.RemoveNode(node.GetNthDisplayNode(index))
    slicer.mrmlScene.RemoveNode(node)


def _output_name(pet_name: str, kind: str) -> str:
    names = {
        "output": _("{pet} denoised"),
        "difference": _("{pet} difference"),
        "uncertainty": _("{pet} uncertainty"),
        "support": _("{pet} unsupported structure"),
        "bare": _("{pet} estimate"),
    }
    return names[kind].format(pet=pet_name)


def _refer(nodes: "dict[str, Optional[Volume]]", pet: Volume, mr: Optional[Volume]) -> None:
    for node in nodes.values():
        if node is not None:
            node.SetNodeReferenceID(PET_REFERENCE, pet.GetID())
            node.SetNodeReferenceID(MR_REFERENCE, mr.GetID() if mr is not None else None)
    if nodes["bare"] is not None:
        nodes["output"].SetNodeReferenceID(ESTIMATE_REFERENCE, nodes["bare"].GetID())
    for kind in ("difference", "uncertainty", "support"):
        if nodes[kind] is not None:
            nodes[kind].SetNodeReferenceID(RESULT_REFERENCE, nodes["output"].GetID())


def _release_earlier(nodes: "dict[str, Optional[Volume]]") -> None:
    for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"):
        if part_of(node, nodes["output"]) is not None and node not in nodes.values():
            node.SetNodeReferenceID(RESULT_REFERENCE, None)
            node.SetName(slicer.mrmlScene.GenerateUniqueName(_("{name} (earlier run)").format(name=node.GetName())))


def _copy_meaning(pet: Volume, node: Volume) -> None:
    """Give a result the PET's quantity and unit, and a place beside it in the subject hierarchy."""
    node.SetVoxelValueQuantity(_copy_of(pet.GetVoxelValueQuantity()))
    node.SetVoxelValueUnits(_copy_of(pet.GetVoxelValueUnits()))
    _place_beside(pet, node)


def _place_beside(pet: Volume, node: Volume) -> None:
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    if hierarchy is None:
        logging.warning("CSRDDenoise: the scene has no subject hierarchy.")
        return
    pet_item = hierarchy.GetItemByDataNode(pet)
    parent = hierarchy.GetItemParent(pet_item) if pet_item else hierarchy.GetSceneItemID()
    item = hierarchy.GetItemByDataNode(node)
    if item:
        hierarchy.SetItemParent(item, parent)
    else:
        hierarchy.CreateItem(parent, node)


def _ijk_to_ras(node: Volume) -> np.ndarray:
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def _copy_of(entry: Optional[slicer.vtkCodedEntry]) -> Optional[slicer.vtkCodedEntry]:
    if entry is None:
        return None
    copy = slicer.vtkCodedEntry()
    copy.Copy(entry)
    return copy
