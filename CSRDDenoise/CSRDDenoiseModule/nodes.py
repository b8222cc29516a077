"""What a volume node is: its unit, its files, its place in the world and in the subject hierarchy; volumes to fill."""

import hashlib
import logging
import os
import re
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Iterable, Optional

import numpy as np
import qt
import slicer
import vtk

from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.io.nrrd import SUV_TYPE_KEY, UNITS_KEY
from CSRDDenoiseLib.settings import MAPS

Volume = Any  # a vtkMRMLScalarVolumeNode; Slicer has no types
ESTIMATE_REFERENCE = "CSRDDenoise.Estimate"
"""From a result to the model's bare estimate for its PET, a hidden volume."""
CONTENT = "CSRDDenoise.Content"
"""Attribute of a result: the voxels of its PET, see :func:`content_of`."""
FRAME = "CSRDDenoise.Frame"
"""Attribute of a result: the index value of the frame that its PET showed, see :func:`frame_of`."""
_DICOM_UNITS = {"Bq/ml": "BQML", "{counts}": "CNTS", "{counts}/s": "CPS", "{propcounts}/s": "PROPCPS"}
_SUV = re.compile(r"\{SUV(\w*)\}(g|cm2)/ml", re.IGNORECASE)
SERIES = ("", "output", *MAPS)
"""Kinds of results; the place is the end of the DICOM series number."""
LONGEST_NAME = 30
"""Of the PET in a series description, which has 64 characters (VR LO)."""
LONGEST_FILE_NAME = 100
STUDY_UID = "StudyInstanceUID"
COPIED_TAGS = {
    STUDY_UID: "0020,000D",
    "FrameOfReferenceInstanceUID": "0020,0052",
    "FrameOfReferenceUID": "0020,0052",
    "Manufacturer": "0008,0070",
    "Model": "0008,1090",
}
"""As Slicer's DICOM export calls the tags that are the PET's."""


def unit_keys(node: Volume) -> "dict[str, str]":
    """Return the unit of a volume as entries of a file's header, as DICOM names it (tags 0054,1001 and 0054,1006)."""
    code = _unit_code(node)
    suv = _SUV.fullmatch(code)
    if suv:
        kind, unit = suv.group(1).upper(), f"{suv.group(2)}ml".upper()
        return {UNITS_KEY: unit, **({SUV_TYPE_KEY: kind} if kind else {})}
    return {UNITS_KEY: _DICOM_UNITS.get(code, code)} if code else {}


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


def header_files(node: Volume) -> "list[Path]":
    """Return the files whose headers say what a volume is: its DICOM files, or those that hold it unchanged."""
    instances, database = node.GetAttribute("DICOM.instanceUIDs"), getattr(slicer, "dicomDatabase", None)
    if instances and database is not None:
        return _existing(map(database.fileForInstance, instances.split()))
    return _stored_files(node)


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


def hardened_copy(node: Volume, above: Optional[slicer.vtkMRMLTransformNode] = None) -> Volume:
    """Return a copy of the volume, in no scene, with its parent transform applied, or that of another volume.

    A linear transform changes the geometry alone; a warping one resamples the copy (background 0).

    Raises:
        InputError: the volume is empty, or the node is none.
    """
    if not has_image(node):
        raise InputError(f"The volume '{node.GetName()}' holds no image. Load it again or choose another.")
    # Slicer warps a label map to the nearest label, another volume linearly
    labels = node.IsA("vtkMRMLLabelMapVolumeNode")
    copy = slicer.vtkMRMLLabelMapVolumeNode() if labels else slicer.vtkMRMLScalarVolumeNode()
    copy.SetName(node.GetName())
    # the copy only reads the voxels, so they are shared; a warp replaces the copy's image and leaves the user's alone
    copy.SetAndObserveImageData(node.GetImageData())
    copy.CopyOrientation(node)
    transform = above or node.GetParentTransformNode()
    if transform is None:
        return copy
    if transform.IsTransformToWorldLinear():
        matrix = vtk.vtkMatrix4x4()
        transform.GetMatrixTransformToWorld(matrix)
        copy.ApplyTransformMatrix(matrix)
    else:
        _warp(copy, transform)
    return copy


def _warp(copy: Volume, transform: slicer.vtkMRMLTransformNode) -> None:
    """Resample a volume that is in no scene by a warping transform, over an extent that holds all of the result.

    Only a volume whose parent transform is in its own scene gets that extent; the one it had would cut activity off.
    """
    general, parent, scene = vtk.vtkGeneralTransform(), slicer.vtkMRMLTransformNode(), slicer.vtkMRMLScene()
    transform.GetTransformToWorld(general)
    parent.SetAndObserveTransformToParent(general)
    scene.AddNode(parent)
    scene.AddNode(copy)
    copy.SetAndObserveTransformNodeID(parent.GetID())
    copy.HardenTransform()
    scene.RemoveNode(copy)


def content_of(node: Volume) -> str:
    """Return the SHA-256 of a volume's voxels, as a run reads them; nothing of an empty volume."""
    if not has_image(node):
        return ""
    read = hardened_copy(node) if is_warped(node) else node
    return hashlib.sha256(np.ascontiguousarray(slicer.util.arrayFromVolume(read)).data).hexdigest()


def marks_of(pet: Volume) -> "dict[str, Optional[str]]":
    """Return the attributes of a result that say what its PET was: its voxels, and the frame that it shows."""
    return {CONTENT: content_of(pet), FRAME: frame_of(pet)}


def has_image(node: Volume) -> bool:
    """Return whether a node is a volume with voxels; one whose file was not found when its scene was read has none."""
    image = node.GetImageData() if node.IsA("vtkMRMLVolumeNode") else None
    return image is not None and image.GetNumberOfPoints() > 0


def is_warped(node: Volume) -> bool:
    """Return whether a volume has a parent transform that is not linear, by which it is resampled."""
    transform = node.GetParentTransformNode()
    return transform is not None and not transform.IsTransformToWorldLinear()


def image_time(node: Volume) -> int:
    """Return when a volume's voxels, or their warp, were changed last, as VTK counts changes; 0 without an image."""
    if not has_image(node):
        return 0
    time = int(node.GetImageData().GetMTime())
    return max(time, node.GetParentTransformNode().GetTransformToWorldMTime()) if is_warped(node) else time


def check_content(pet: Volume, denoised: Volume) -> None:
    """Refuse a PET whose voxels are not those that a result was made from.

    Raises:
        InputError: they were changed, or the volume shows another frame of a sequence.
    """
    if denoised.GetAttribute(CONTENT) not in (None, content_of(pet)):
        raise InputError(
            f"The PET '{pet.GetName()}' is not what '{denoised.GetName()}' was made from: its voxels were changed "
            "since, it shows another frame, or it is warped otherwise. Denoise it again."
        )


def source_file(node: Volume) -> Optional[Path]:
    """Return the one file that holds a volume as it is now, or None: never stored, changed since, gone, or several."""
    files = _stored_files(node) if node.GetParentTransformNode() is None else []
    return files[0] if len(files) == 1 else None


def _stored_files(node: Volume) -> "list[Path]":
    """Return the files that hold a volume, its parent transform aside, as it is now, such as the slices of a stack."""
    storage = node.GetStorageNode()
    if storage is None or node.GetModifiedSinceRead():
        return []
    listed = (storage.GetNthFileName(index) for index in range(storage.GetNumberOfFileNames()))
    return _existing(dict.fromkeys((storage.GetFileName(), *listed)))


def _existing(names: "Iterable[Optional[str]]") -> "list[Path]":
    # Path.is_file raises where a network drive is gone, or a folder may not be read
    return [Path(name) for name in names if name and os.path.isfile(name)]


def report_path(denoised: Volume, record: Any) -> Path:
    """Return a path in Slicer's temporary folder for the report of a result.

    The ID tells results of one name apart, the record those of another scene or Slicer, which uses the same folder.
    """
    run = hashlib.sha256(repr(record).encode()).hexdigest()[:8]
    name = re.sub(r"[^0-9A-Za-z._-]+", "_", denoised.GetName())[:LONGEST_FILE_NAME]
    return Path(str(slicer.app.temporaryPath)) / f"{name}_{denoised.GetID()}_{run}.html"


def browser_of(volume: Optional[Volume]) -> Any:
    """Return the sequence browser whose frame a volume, or a transform, shows, or None."""
    if volume is None:
        return None
    browsers = slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode")
    return next((browser for browser in browsers if browser.IsProxyNodeID(volume.GetID())), None)


def frame_count(volume: Volume) -> int:
    """Return how many frames the sequence has that a volume shows a frame of; 0 for another volume."""
    browser = browser_of(volume)
    return 0 if browser is None else browser.GetSequenceNode(volume).GetNumberOfDataNodes()


def frame_of(volume: Volume) -> Optional[str]:
    """Return the index value of the frame of a sequence that a volume shows, None for another volume."""
    browser = browser_of(volume)
    master = None if browser is None else browser.GetMasterSequenceNode()
    return None if master is None else master.GetNthIndexValue(browser.GetSelectedItemNumber())


def region_sides(node: slicer.vtkMRMLDisplayableNode) -> "list[float]":
    """Return the sides in mm of the box, parallel to the world's axes, around an ROI or a segmentation."""
    bounds = [0.0] * 6
    node.GetRASBounds(bounds)
    return [max(high - low, 0.0) for low, high in zip(bounds[::2], bounds[1::2])]


def place_beside(pet: slicer.vtkMRMLScalarVolumeNode, node: slicer.vtkMRMLScalarVolumeNode, kind: str) -> None:
    """Give a result the PET's quantity and unit, its place in the subject hierarchy (the study), and DICOM attributes.

    Slicer's DICOM export (``qSlicerDICOMTagEditorWidget::setExportables``) takes the tags of patient and study from the
    items above, those of the series from the attributes ``DICOM.<tag>`` of the item itself. StudyInstanceUID is a tag
    of the study, which Slicer's import keeps there without the prefix; without it the results would begin a new study.

    Args:
        kind: ``output``, ``difference``, ``uncertainty``, ``support``, labels that have no unit, or ``bare``, which no
            list shows and which lies nowhere, because an export of the study to DICOM takes all that lies in it.
    """
    if kind != "support":
        copy_unit(pet, node)
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    if hierarchy is None:
        logging.warning("CSRDDenoise: the scene has no subject hierarchy.")
        return
    if kind == "bare":
        if item := hierarchy.GetItemByDataNode(node):
            hierarchy.RemoveItem(item, False)
        return
    pet_item = hierarchy.GetItemByDataNode(pet)
    parent = hierarchy.GetItemParent(pet_item) if pet_item else hierarchy.GetSceneItemID()
    item = hierarchy.GetItemByDataNode(node) or hierarchy.CreateItem(parent, node)
    if not _is_sorted(hierarchy, item, pet_item):
        hierarchy.SetItemParent(item, parent)
    tags = _series_attributes(pet, hierarchy, pet_item, kind)
    for name, value in tags.items():
        hierarchy.SetItemAttribute(item, f"DICOM.{name}", value)
    of_study = f"DICOM.{STUDY_UID}"
    level = slicer.vtkMRMLSubjectHierarchyConstants.GetDICOMLevelStudy()
    if hierarchy.GetItemLevel(parent) == level and not hierarchy.GetItemAttribute(parent, of_study):
        hierarchy.SetItemAttribute(parent, of_study, tags.get(STUDY_UID, ""))


def _is_sorted(hierarchy: slicer.vtkMRMLSubjectHierarchyNode, item: int, pet_item: int) -> bool:
    """Return whether a user put a result of before into a folder, of the same patient and study as the PET."""
    if hierarchy.GetItemParent(item) == hierarchy.GetSceneItemID() or not pet_item:
        return False
    constants = slicer.vtkMRMLSubjectHierarchyConstants
    levels = (constants.GetDICOMLevelPatient(), constants.GetDICOMLevelStudy())
    above = [[hierarchy.GetItemAncestorAtLevel(each, level) for level in levels] for each in (item, pet_item)]
    return above[0] == above[1]


def _series_attributes(
    pet: slicer.vtkMRMLScalarVolumeNode, hierarchy: slicer.vtkMRMLSubjectHierarchyNode, pet_item: int, kind: str
) -> "dict[str, str]":
    """Return the tags of a result's DICOM series; none where the PET is not from DICOM."""
    instances = (pet.GetAttribute("DICOM.instanceUIDs") or "").split()
    modality = hierarchy.GetItemAttribute(pet_item, "DICOM.Modality") if pet_item else ""
    if not instances and not modality:
        return {}
    names = {"output": "denoised", "support": "unsupported structure"}
    description = f"{(pet.GetName() or '')[:LONGEST_NAME]} {names.get(kind, kind)} (research)"
    number = hierarchy.GetItemAttribute(pet_item, "DICOM.SeriesNumber") if pet_item else ""
    place = list(SERIES).index(kind)
    tags = {
        # Slicer writes a modality that it does not know, such as OT, as CT; SC becomes a secondary capture
        "Modality": "SC" if kind == "support" else modality or "PT",
        "SeriesDescription": description,
        "SeriesNumber": f"{100 * int(number) + place}" if number.isdigit() else f"{place}",
        "ReferencedInstanceUIDs": " ".join(instances),
    }
    database = getattr(slicer, "dicomDatabase", None)
    if instances and database is not None:
        tags.update({name: database.instanceValue(instances[0], tag).strip() for name, tag in COPIED_TAGS.items()})
    return {name: value for name, value in tags.items() if value}


def copy_unit(pet: slicer.vtkMRMLScalarVolumeNode, node: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Give a volume the PET's quantity and unit, which may be known from the PET's DICOM files alone."""
    unit, code = _copy_of(pet.GetVoxelValueUnits()), _unit_code(pet)
    if unit is None and code:
        unit = slicer.vtkCodedEntry()
        unit.SetValueSchemeMeaning(code, "UCUM", code)
    node.SetVoxelValueQuantity(_copy_of(pet.GetVoxelValueQuantity()))
    node.SetVoxelValueUnits(unit)


def _copy_of(entry: Optional[slicer.vtkCodedEntry]) -> Optional[slicer.vtkCodedEntry]:
    if entry is None:
        return None
    copy = slicer.vtkCodedEntry()
    copy.Copy(entry)
    return copy


def remove_volume(node: Volume) -> None:
    """Remove a volume with its display and storage nodes, if the scene still has it."""
    if not slicer.mrmlScene.IsNodePresent(node):
        return
    for index in reversed(range(node.GetNumberOfDisplayNodes())):
        slicer.mrmlScene.RemoveNode(node.GetNthDisplayNode(index))
    if node.GetStorageNode() is not None:
        slicer.mrmlScene.RemoveNode(node.GetStorageNode())
    slicer.mrmlScene.RemoveNode(node)


def estimate_of(denoised: Optional[Volume]) -> Optional[Volume]:
    """Return the model's bare estimate for a result, None where it is gone or was not saved with the scene."""
    estimate = None if denoised is None else denoised.GetNodeReference(ESTIMATE_REFERENCE)
    return estimate if estimate is not None and has_image(estimate) else None


@cache
def remove_estimates_with_results(scene: Any) -> None:
    """Let the estimate of a result, which no list shows, leave a scene with it unless a copy needs it; once a scene."""
    scene.AddObserver(scene.NodeAboutToBeRemovedEvent, _on_removal)


@vtk.calldata_type(vtk.VTK_OBJECT)
def _on_removal(scene: Any, _event: str, node: Any) -> None:
    estimate = None if node is None or scene.IsClosing() else _own_estimate(node)
    if estimate is not None:
        # not now: the scene is about to remove the other one
        qt.QTimer.singleShot(0, partial(remove_volume, estimate))


def _own_estimate(denoised: Any) -> Optional[Volume]:
    """Return the estimate of a result; None where there is none, or where a copy of the result has the same one."""
    estimate = denoised.GetNodeReference(ESTIMATE_REFERENCE)
    others = (each for each in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if each is not denoised)
    shared = any(each.GetNodeReference(ESTIMATE_REFERENCE) is estimate for each in others)
    return None if shared else estimate


@dataclass(frozen=True)
class Outputs:
    """Volumes to fill with the results; where there is None a new one is made.

    ``makeUncertainty`` False leaves the uncertainty out, as do settings that give none (the posterior mean alone).
    ``makeSupport`` True asks for the label map of what the PET's counts do not support.
    """

    denoisedVolume: Optional[Volume] = None
    differenceVolume: Optional[Volume] = None
    uncertaintyVolume: Optional[Volume] = None
    makeUncertainty: bool = True
    supportVolume: Optional[slicer.vtkMRMLLabelMapVolumeNode] = None
    makeSupport: bool = False

    def kinds(self, hasSamples: bool) -> "list[str]":
        """Return the kinds of volumes that a run makes; there is no uncertainty without samples to compare."""
        wanted = {"uncertainty": self.makeUncertainty and hasSamples, "support": self.makeSupport}
        return [kind for kind in SERIES[1:] if wanted.get(kind, True)]

    @property
    def chosen(self) -> "dict[str, Optional[Volume]]":
        """Kind of result -> volume to fill, or None."""
        return {
            "output": self.denoisedVolume,
            "difference": self.differenceVolume,
            "uncertainty": self.uncertaintyVolume,
            "support": self.supportVolume,
            "bare": None if self.denoisedVolume is None else _own_estimate(self.denoisedVolume),
        }
