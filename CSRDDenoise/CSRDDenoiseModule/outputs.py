"""Which volumes a run of the panel fills: those that are chosen there, as far as they hold no other result."""

from typing import Optional

import slicer

from .nodes import FRAME, Outputs, Volume, frame_of
from .parameters import RESULTS, CSRDDenoiseParameterNode
from .volumes import KIND, PET_REFERENCE, PROVENANCE, RESULT_REFERENCE, part_of


def outputs_of(parameters: CSRDDenoiseParameterNode) -> Outputs:
    """Return the volumes that the panel chose to fill; results of another frame of the PET are left as they are."""
    chosen = (_of_frame(getattr(parameters, name), parameters.pet) for name in RESULTS)
    denoised, difference, uncertainty, support = chosen
    return Outputs(denoised, difference, uncertainty, parameters.makeUncertainty, support, parameters.makeSupport)


def settle(parameters: CSRDDenoiseParameterNode, before: Optional[Volume]) -> None:
    """Choose the maps of a denoised volume with it, in place of those of another, and no result of another PET.

    Args:
        before: the denoised volume that was chosen before.
    """
    # while a scene is read a reference comes before its node
    if slicer.mrmlScene.IsImporting():
        return
    with slicer.util.NodeModify(parameters.parameterNode):
        if parameters.denoised is not before:
            _choose_maps(parameters)
        strange = [name for name in RESULTS if not is_free_for(getattr(parameters, name), parameters.pet)]
        for name in strange if parameters.pet is not None else ():
            setattr(parameters, name, None)


def _choose_maps(parameters: CSRDDenoiseParameterNode) -> None:
    denoised = parameters.denoised
    theirs = _maps_of(denoised)
    for name in RESULTS[1:]:
        chosen = getattr(parameters, name)
        owner = None if chosen is None else chosen.GetNodeReference(RESULT_REFERENCE)
        if chosen is None or owner not in (None, denoised):
            wanted = theirs.get(name)
            if wanted is not chosen:
                setattr(parameters, name, wanted)


def _maps_of(denoised: Optional[Volume]) -> "dict[str, Volume]":
    """Return the maps of a result by their kind."""
    if denoised is None:
        return {}
    nodes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    return {node.GetAttribute(KIND): node for node in nodes if part_of(node, denoised) is not None}


def is_free_for(node: Optional[Volume], pet: Optional[Volume]) -> bool:
    """Return whether a volume may be filled with results of this PET: it is none, or no result of another.

    A result of a PET that the scene no longer has, and its maps, are those of another; so is a map of an earlier run.
    """
    if node is None:
        return True
    result = node.GetNodeReference(RESULT_REFERENCE) or node
    owner, is_result = result.GetNodeReference(PET_REFERENCE), bool(result.GetAttribute(PROVENANCE))
    return owner is pet if is_result and owner is not None else owner is None and not is_result


def _of_frame(node: Optional[Volume], pet: Volume) -> Optional[Volume]:
    """Return a volume to fill, or None where it holds the result of another frame of the sequence of a PET."""
    result = None if node is None else node.GetNodeReference(RESULT_REFERENCE) or node
    is_result = result is not None and bool(result.GetAttribute(PROVENANCE))
    return None if is_result and result.GetAttribute(FRAME) != frame_of(pet) else node
