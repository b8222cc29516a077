"""From the worker's files to volume nodes in the scene: all of them, or none."""

from dataclasses import dataclass
from pathlib import Path
from typing import Iterable, Optional

import numpy as np
import slicer
from slicer.i18n import tr as _

from CSRDDenoiseLib.errors import InputError

from .volumes import LPS_FROM_RAS, copy_meaning, fill_node, place_beside, read_array

PET_REFERENCE, MR_REFERENCE, RESULT_REFERENCE = "CSRDDenoise.PET", "CSRDDenoise.MR", "CSRDDenoise.Denoised"
TRANSFORM_REFERENCE = "CSRDDenoise.Registration"
DIFFERENCE_COLOURS, UNCERTAINTY_COLOURS = "DivergingBlueRed", "Inferno"
DISPLAY_QUANTILE = 0.995


@dataclass(frozen=True)
class Outputs:
    """Volumes to fill with the results; where there is None a new one is made.

    ``makeUncertainty`` False leaves the uncertainty out; it also is where fewer than two samples are drawn.
    ``makeSupport`` True asks for the label map of what the PET's counts do not support.
    """

    denoisedVolume: Optional[slicer.vtkMRMLScalarVolumeNode] = None
    differenceVolume: Optional[slicer.vtkMRMLScalarVolumeNode] = None
    uncertaintyVolume: Optional[slicer.vtkMRMLScalarVolumeNode] = None
    makeUncertainty: bool = True
    supportVolume: Optional[slicer.vtkMRMLLabelMapVolumeNode] = None
    makeSupport: bool = False


def check_outputs(outputs: Outputs, inputs: "Iterable[Optional[slicer.vtkMRMLScalarVolumeNode]]") -> None:
    """Refuse to write over an input, or two results into one volume.

    Raises:
        InputError: a volume is chosen twice.
    """
    taken = list(inputs)
    for node in _chosen(outputs).values():
        if node is not None and node in taken:
            raise InputError(f"The volume '{node.GetName()}' is chosen twice. Choose another output, or a new volume.")
        taken.append(node)


def output_name(pet_name: str, kind: str) -> str:
    """Return the name of a new result volume; ``kind`` is a key of a run's paths."""
    names = {
        "output": _("{pet} denoised"),
        "difference": _("{pet} difference"),
        "uncertainty": _("{pet} uncertainty"),
        "support": _("{pet} unsupported structure"),
    }
    return names[kind].format(pet=pet_name)


def make_volumes(
    paths: "dict[str, Optional[Path]]",
    outputs: Outputs,
    pet: slicer.vtkMRMLScalarVolumeNode,
    mr: Optional[slicer.vtkMRMLScalarVolumeNode],
) -> "dict[str, Optional[slicer.vtkMRMLScalarVolumeNode]]":
    """Make or fill the volumes of a run.

    Every file is read before a node is touched; if anything fails, nodes made here are removed again.

    Args:
        paths: file of each of ``output``, ``difference``, ``uncertainty``, ``support``, or None for none.
    """
    arrays = {kind: read_array(path) for kind, path in paths.items() if path is not None}
    chosen = _chosen(outputs)
    made = []
    nodes: dict[str, Optional[slicer.vtkMRMLScalarVolumeNode]] = dict.fromkeys(chosen)
    try:
        for kind, array in arrays.items():
            node = chosen[kind]
            if node is None or not slicer.mrmlScene.IsNodePresent(node):
                name = slicer.mrmlScene.GenerateUniqueName(output_name(pet.GetName(), kind))
                node = slicer.mrmlScene.AddNewNodeByClass(_node_class(kind), name)
                made.append(node)
            fill_node(node, array, pet)
            # labels have neither the PET's quantity nor its unit
            (place_beside if kind == "support" else copy_meaning)(pet, node)
            nodes[kind] = node
        _show(nodes, arrays, pet)
        _refer(nodes, pet, mr)
    except Exception:
        for node in made:
            remove_volume(node)
        raise
    return nodes


def make_transform(
    mr_to_pet_lps: "list[list[float]]",
    denoised: slicer.vtkMRMLScalarVolumeNode,
    mr: slicer.vtkMRMLScalarVolumeNode,
) -> slicer.vtkMRMLLinearTransformNode:
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


def remove_volume(node: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Remove a volume and the display nodes that came with it."""
    for index in reversed(range(node.GetNumberOfDisplayNodes())):
        slicer.mrmlScene.RemoveNode(node.GetNthDisplayNode(index))
    slicer.mrmlScene.RemoveNode(node)


def _chosen(outputs: Outputs) -> "dict[str, Optional[slicer.vtkMRMLScalarVolumeNode]]":
    return {
        "output": outputs.denoisedVolume,
        "difference": outputs.differenceVolume,
        "uncertainty": outputs.uncertaintyVolume,
        "support": outputs.supportVolume,
    }


def _node_class(kind: str) -> str:
    return "vtkMRMLLabelMapVolumeNode" if kind == "support" else "vtkMRMLScalarVolumeNode"


def _show(nodes: dict, arrays: "dict[str, np.ndarray]", pet: slicer.vtkMRMLScalarVolumeNode) -> None:
    for node in nodes.values():
        if node is not None and node.GetDisplayNode() is None:
            node.CreateDefaultDisplayNodes()
    copy_display(pet, nodes["output"])
    if nodes["difference"] is not None:
        window = float(np.quantile(np.abs(arrays["difference"]), DISPLAY_QUANTILE)) or 1.0
        set_display(nodes["difference"], DIFFERENCE_COLOURS, -window, window)
    if nodes["uncertainty"] is not None:
        top = float(np.quantile(arrays["uncertainty"], DISPLAY_QUANTILE)) or 1.0
        set_display(nodes["uncertainty"], UNCERTAINTY_COLOURS, 0.0, top)


def copy_display(pet: slicer.vtkMRMLScalarVolumeNode, node: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Show a volume with the colours, window and threshold of the PET."""
    source, target = pet.GetScalarVolumeDisplayNode(), node.GetScalarVolumeDisplayNode()
    if source is None:
        return
    target.SetAndObserveColorNodeID(source.GetColorNodeID())
    target.SetAutoWindowLevel(False)
    target.SetWindowLevel(source.GetWindow(), source.GetLevel())
    target.SetInterpolate(source.GetInterpolate())
    target.SetAutoThreshold(False)
    target.SetApplyThreshold(source.GetApplyThreshold())
    target.SetThreshold(source.GetLowerThreshold(), source.GetUpperThreshold())


def set_display(node: slicer.vtkMRMLScalarVolumeNode, colours: str, low: float, high: float) -> None:
    """Show a volume with a colour table, known by name, over low to high."""
    display = node.GetScalarVolumeDisplayNode()
    table = slicer.mrmlScene.GetFirstNodeByName(colours)
    if table is not None and table.IsA("vtkMRMLColorNode"):
        display.SetAndObserveColorNodeID(table.GetID())
    display.SetAutoWindowLevel(False)
    display.SetWindowLevelMinMax(low, high)


def _refer(nodes: dict, pet: slicer.vtkMRMLScalarVolumeNode, mr: Optional[slicer.vtkMRMLScalarVolumeNode]) -> None:
    for node in nodes.values():
        if node is not None:
            node.SetNodeReferenceID(PET_REFERENCE, pet.GetID())
            node.SetNodeReferenceID(MR_REFERENCE, mr.GetID() if mr is not None else None)
    for kind in ("difference", "uncertainty", "support"):
        if nodes[kind] is not None:
            nodes[kind].SetNodeReferenceID(RESULT_REFERENCE, nodes["output"].GetID())
