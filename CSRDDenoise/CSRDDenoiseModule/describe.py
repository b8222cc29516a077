"""What the panel understood of a chosen volume, in one line, and what looks wrong with it, in words."""

import re
from typing import Optional

import numpy as np
import slicer
from slicer.i18n import tr as _

from .volumes import world_bounds

MR_NAME = re.compile(r"(^|[^a-z])(mr|mri|t1w?|t2w?|flair|mprage)([^a-z]|$)", re.IGNORECASE)
PET_NAME = re.compile(r"(^|[^a-z])(pet|fdg|suv|amyloid|tau)([^a-z]|$)", re.IGNORECASE)


def unit_of(volume: slicer.vtkMRMLScalarVolumeNode) -> str:
    """Return the unit of a volume's voxels as it is written, such as ``Bq/ml`` or ``SUVbw``, or nothing."""
    entry = volume.GetVoxelValueUnits()
    if entry is None:
        return ""
    value = entry.GetCodeValue() or ""
    scale = re.search(r"\{(SUV\w*)\}", value)
    return scale.group(1) if scale else value or entry.GetCodeMeaning() or ""


def describe(volume: slicer.vtkMRMLScalarVolumeNode) -> str:
    """Return size, spacing, unit and maximum of a volume in one line."""
    image = volume.GetImageData()
    if image is None:
        return _("The volume holds no image.")
    size = " x ".join(str(n) for n in image.GetDimensions())
    spacing = " x ".join(f"{step:.4g}" for step in volume.GetSpacing())
    maximum = f"{unit_of(volume)} max {image.GetScalarRange()[1]:.6g}".strip()
    return _("{size} voxels of {spacing} mm, {maximum}").format(size=size, spacing=spacing, maximum=maximum)


def told(volume: Optional[slicer.vtkMRMLScalarVolumeNode], warnings: "list[str]") -> str:
    """Return what stands under the selector of a volume: what it is, if any is chosen, and what looks wrong."""
    about = [] if volume is None else [describe(volume)]
    return "\n".join([*about, *warnings])


def pet_warnings(pet: Optional[slicer.vtkMRMLScalarVolumeNode]) -> "list[str]":
    """Return what looks wrong with the volume chosen as PET."""
    if pet is None:
        return []
    warnings = _volume_warnings(pet)
    if modality_of(pet) == "MR":
        warnings.append(_("This looks like an MR; choose the PET here."))
    elif pet.GetImageData() is not None and pet.GetImageData().GetScalarRange()[1] <= 0:
        warnings.append(_("No voxel is above zero."))
    return warnings


def mr_warnings(
    pet: Optional[slicer.vtkMRMLScalarVolumeNode], mr: Optional[slicer.vtkMRMLScalarVolumeNode]
) -> "list[str]":
    """Return what looks wrong with the volume chosen as MR, also in relation to the PET."""
    if mr is None:
        return []
    warnings = _volume_warnings(mr)
    if mr is pet:
        return [*warnings, _("This is the PET itself; choose the MR, or none.")]
    if modality_of(mr) == "PT":
        warnings.append(_("This looks like a PET; choose the MR here."))
    if pet is not None:
        gap = gap_mm(pet, mr)
        if gap > 0:
            warnings.append(
                _("It does not overlap the PET: they are {gap:.0f} mm apart. Tick 'Register MR to PET'.").format(
                    gap=gap
                )
            )
    return warnings


def modality_of(volume: slicer.vtkMRMLScalarVolumeNode) -> str:
    """Return ``PT``, ``MR`` or another DICOM modality, from the subject hierarchy or else from the name, or nothing."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    item = hierarchy.GetItemByDataNode(volume) if hierarchy is not None else 0
    modality = hierarchy.GetItemAttribute(item, "DICOM.Modality") if item else ""
    if modality:
        return modality
    name = volume.GetName() or ""
    if PET_NAME.search(name):
        return "PT"
    return "MR" if MR_NAME.search(name) else ""


def gap_mm(one: slicer.vtkMRMLScalarVolumeNode, other: slicer.vtkMRMLScalarVolumeNode) -> float:
    """Return how far the boxes of two volumes are apart in world coordinates, 0 if they overlap."""
    boxes = [world_bounds(one), world_bounds(other)]
    if any(box is None for box in boxes):
        return 0.0
    (low, high), (other_low, other_high) = boxes
    apart = np.maximum(np.maximum(other_low - high, low - other_high), 0.0)
    return float(np.linalg.norm(apart))


def _volume_warnings(volume: slicer.vtkMRMLScalarVolumeNode) -> "list[str]":
    warnings = []
    if _in_sequence(volume):
        warnings.append(_("It is one frame of a sequence (4D); only the frame shown now is used."))
    transform = volume.GetParentTransformNode()
    if transform is not None:
        warnings.append(
            _("Its transform '{name}' is not hardened; it is applied to a copy for the run.").format(
                name=transform.GetName()
            )
        )
    return warnings


def _in_sequence(volume: slicer.vtkMRMLScalarVolumeNode) -> bool:
    browsers = slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode")
    return any(browser.IsProxyNodeID(volume.GetID()) for browser in browsers)
