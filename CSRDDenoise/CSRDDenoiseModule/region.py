"""A region that limits a run, an ROI or the visible segments of a segmentation, as the mask that a run reads."""

from pathlib import Path
from typing import Any, Iterator

import numpy as np
import slicer

from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.io.nrrd import box_of, nrrd_header, write_steps

from .nodes import Volume, hardened_copy
from .volumes import LPS_FROM_RAS, ijk_to_ras


def writing_region(node: Any, pet: Volume, path: Path) -> "Iterator[None]":
    """Return the step that writes a region to an NRRD file, a mask above zero inside: a box, or visible segments.

    Args:
        node: a vtkMRMLMarkupsROINode, or a vtkMRMLSegmentationNode.
        pet: whose grid the segments are written on.

    Raises:
        InputError: the node is neither, the ROI has no size, the segmentation has no visible segment, or the PET is
            warped by its transform.
    """
    if not (node.IsA("vtkMRMLMarkupsROINode") or node.IsA("vtkMRMLSegmentationNode")):
        raise InputError(f"The region '{node.GetName()}' is neither an ROI nor a segmentation. Make one of it.")
    if node.IsA("vtkMRMLMarkupsROINode"):
        if min(node.GetSize()) <= 0:
            sides = " x ".join(f"{side:.4g}" for side in node.GetSize())
            raise InputError(f"The ROI '{node.GetName()}' has sides of {sides} mm. Draw a box, or choose no region.")
        to_world = slicer.util.arrayFromVTKMatrix(node.GetObjectToWorldMatrix())
        values, matrix = box_of(LPS_FROM_RAS @ to_world, node.GetSize())
    else:
        copy = hardened_copy(pet)
        values, matrix = _segments(node, pet), LPS_FROM_RAS @ ijk_to_ras(copy)
        if values.shape != slicer.util.arrayFromVolume(copy).shape:
            raise InputError(
                "A segmentation limits no PET that a transform warps. Harden the transform, or use an ROI."
            )
    return write_steps(path, nrrd_header(values, matrix), values, lambda: None)


def _segments(node: Any, pet: Volume) -> np.ndarray:
    display, segmentation = node.GetDisplayNode(), node.GetSegmentation()
    every = [segmentation.GetNthSegmentID(index) for index in range(segmentation.GetNumberOfSegments())]
    seen = [name for name in every if display is None or display.GetSegmentVisibility(name)]
    if not seen:
        raise InputError(
            f"The segmentation '{node.GetName()}' has no visible segment. Show the one that is the region."
        )
    masks = [slicer.util.arrayFromSegmentBinaryLabelmap(node, name, pet) for name in seen]
    return np.any([mask > 0 for mask in masks], axis=0).astype(np.uint8)
