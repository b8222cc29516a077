"""How the volumes of a result look and whether they belong together; and nodes that this module keeps in the scene."""

from dataclasses import dataclass, replace
from typing import Any, Optional, Sequence

import qt
import slicer
from slicer.i18n import tr as _

from CSRDDenoiseLib.errors import InputError

from ..nodes import content_of, hardened_copy, has_image, is_warped
from ..volumes import KIND, PROVENANCE, RESULT_REFERENCE, Volume, check_spacing, ijk_to_ras, part_of, stored

HELPER_ATTRIBUTE = "CSRDDenoise.Helper"
DIFFERENCE_COLOURS, UNCERTAINTY_COLOURS = "DivergingBlueRed", "Inferno"
ADDED_COLOUR, REMOVED_COLOUR = (0.71, 0.02, 0.15), (0.23, 0.30, 0.75)
"""The ends of the difference map's colours: red where activity was added, blue where it was removed."""
PLACE_TOLERANCE_MM = 0.01
"""More than what a file's rounding of a place makes."""
LEGEND_BACKGROUND = 0.6
"""Opacity of the black behind a legend's white text: the difference map is light grey, what surrounds it is black."""


@dataclass(frozen=True)
class Shown:
    """The volumes of one result; those that are None leave their view out.

    ``support``, a label map, lies over the denoised volume, see-through. ``summary`` holds the numbers kept with the
    result, see :mod:`CSRDDenoiseLib.report.summary`.
    """

    pet: Volume
    denoised: Volume
    difference: Optional[Volume]
    uncertainty: Optional[Volume]
    support: Optional[slicer.vtkMRMLLabelMapVolumeNode]
    summary: "dict[str, Any]"

    def without(self, node: Any) -> "Optional[Shown]":
        """Return what is left when a node leaves the scene; None without PET or denoised volume."""
        if node in (self.pet, self.denoised):
            return None
        gone = [name for name in ("difference", "uncertainty", "support") if getattr(self, name) is node]
        return replace(self, **dict.fromkeys(gone)) if gone else self


def check_place(pet: Volume, denoised: Volume) -> None:
    """Refuse a PET that lies elsewhere than a result that was made from it.

    Raises:
        InputError: one of both was moved without the other, by a transform for instance, or holds no image.
    """
    # SimpleITK, which it brings, is slow to import
    from CSRDDenoiseLib.io.grid import disagreement_mm

    copies = [hardened_copy(node) for node in (pet, denoised)]
    apart = disagreement_mm(copies[0].GetImageData().GetDimensions(), *map(ijk_to_ras, copies))
    if apart > PLACE_TOLERANCE_MM:
        raise InputError(
            f"'{pet.GetName()}' and '{denoised.GetName()}' lie up to {apart:.3g} mm apart: one was moved without the "
            "other since the run. Put both under the same transform, or denoise the PET again."
        )


def check_warp(pet: Volume, content: "Optional[str]") -> None:
    """Refuse a PET that is warped otherwise than as its run read it, so that the result lies elsewhere.

    Args:
        pet: as it is now.
        content: of the PET as its run read it, see :func:`~..nodes.content_of`.

    Raises:
        InputError: so it is.
    """
    if is_warped(pet) and content_of(pet) != content:
        raise InputError(
            f"The PET '{pet.GetName()}' is warped otherwise by now than when its run read it, or its voxels were "
            "changed. Denoise it again."
        )


def map_of(node: Optional[Volume], denoised: Volume, kind: str) -> Optional[Volume]:
    """Return a volume if it is the map of a kind, such as ``difference``, of this denoised volume, else None."""
    ours = part_of(node, denoised)
    # scenes of versions up to 0.2.0 name no kinds
    return ours if ours is not None and ours.GetAttribute(KIND) in (None, kind) else None


def check_estimate(denoised: Volume, estimate: Optional[Volume], pet: Optional[Volume]) -> None:
    """Refuse to combine a PET with the model's estimate where one is gone or the PET has another voxel size by now.

    Raises:
        InputError: so it is; the width in mm of what stays as measured would be another one.
    """
    if estimate is None or pet is None:
        raise InputError(f"The model's estimate for '{denoised.GetName()}' is gone; denoise the PET again.")
    check_spacing(pet, stored(denoised, PROVENANCE))


def check_results(denoised: Volume, **maps: Optional[Volume]) -> None:
    """Refuse volumes that are not, or not as, one run made them.

    Args:
        denoised: the result.
        maps: kind -> the map of this kind, or None.

    Raises:
        InputError: a map is one of another result or kind; or a volume has no image, or was cropped or resampled since.
    """
    made = tuple(stored(denoised, PROVENANCE)["inputs"]["pet"]["size"])
    for kind, node in {"output": denoised, **maps}.items():
        if node is None:
            continue
        if node is not denoised and map_of(node, denoised, kind) is None:
            no_map = f"is no {kind} map of '{denoised.GetName()}'"
            raise InputError(f"'{node.GetName()}' {no_map}. Pass its own, or leave it out.")
        size = node.GetImageData().GetDimensions() if has_image(node) else (0, 0, 0)
        if size != made:
            now, before = (" x ".join(map(str, each)) for each in (size, made))
            raise InputError(
                f"'{node.GetName()}' has {now} voxels by now and was made with {before}: it was cropped or resampled. "
                "Denoise the PET again."
            )


def show_results(nodes: "dict[str, Optional[Volume]]", pet: Volume) -> None:
    """Give new results displays: the PET's for the denoised volume, colours of their own for the maps."""
    set_windows(Shown(pet, nodes["output"], nodes["difference"], nodes["uncertainty"], nodes["support"], {}))


def set_windows(shown: Shown) -> None:
    """Show the denoised volume like the PET, the difference around zero, and the uncertainty from zero.

    A result without a display, which a user may have removed, gets one.
    """
    if shown.support is not None and shown.support.GetDisplayNode() is None:
        shown.support.CreateDefaultDisplayNodes()
        shown.support.GetDisplayNode().SetAndObserveColorNodeID(_support_colours().GetID())
    for node in (shown.denoised, shown.difference, shown.uncertainty):
        if node is not None:
            # does nothing where there is one; a colour legend, a display node too, may be the only one
            node.CreateDefaultDisplayNodes()
    copy_display(shown.pet, shown.denoised)
    if shown.difference is not None:
        low, high = shown.difference.GetImageData().GetScalarRange()
        window = shown.summary.get("window") or max(-low, high) or 1.0
        set_display(shown.difference, DIFFERENCE_COLOURS, -window, window)
    if shown.uncertainty is not None:
        set_display(shown.uncertainty, UNCERTAINTY_COLOURS, 0.0, shown.uncertainty.GetImageData().GetScalarRange()[1])


def copy_display(pet: Volume, node: Volume) -> None:
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


def set_display(node: Volume, colours: str, low: float, high: float) -> None:
    """Show a volume with a colour table, known by name, over low to high; over 0 to 1 if it is zero everywhere."""
    display = node.GetScalarVolumeDisplayNode()
    table = slicer.mrmlScene.GetFirstNodeByName(colours)
    if table is not None and table.IsA("vtkMRMLColorNode"):
        display.SetAndObserveColorNodeID(table.GetID())
    display.SetAutoWindowLevel(False)
    display.SetWindowLevelMinMax(low, high if high > low else low + 1.0)


def helper_node(class_name: str, role: str, name: str, of: Optional[Volume] = None) -> slicer.vtkMRMLNode:
    """Return this module's one node of a class for a role, of a result if one is given; made the first time."""
    found = find_helper(class_name, role, of)
    if found is not None:
        return found
    node = slicer.mrmlScene.AddNewNodeByClass(class_name, name)
    node.SetAttribute(HELPER_ATTRIBUTE, role)
    node.SetNodeReferenceID(RESULT_REFERENCE, of.GetID() if of is not None else None)
    return node


def find_helper(class_name: str, role: str, of: Optional[Volume] = None) -> Optional[slicer.vtkMRMLNode]:
    """Return the node of :func:`helper_node`, None if it was never made."""
    nodes = (node for node in slicer.util.getNodesByClass(class_name) if node.GetAttribute(HELPER_ATTRIBUTE) == role)
    return next((node for node in nodes if of is None or part_of(node, of) is not None), None)


def legend_format(largest: float) -> str:
    """Return the format of a legend's numbers, three significant digits without an exponent where that is readable."""
    size = abs(largest)
    if size >= 100 or size == 0:
        return "%.0f"
    if size >= 0.01:
        return "%.1f" if size >= 10 else "%.2f" if size >= 1 else "%.3f"
    return "%.2g"


def show_legends(shown: Shown) -> None:
    """Show a colour legend for the difference and the uncertainty; their views must have their size already."""
    logic = slicer.modules.colors.logic()
    titles = {shown.difference: _("denoised - PET"), shown.uncertainty: _("standard deviation")}
    for volume, title in titles.items():
        if volume is None:
            continue
        legend = logic.GetColorLegendDisplayNode(volume) or logic.AddDefaultColorLegendDisplayNode(volume)
        if legend is not None:
            legend.SetTitleText(title)
            legend.SetLabelFormat(legend_format(volume.GetScalarVolumeDisplayNode().GetWindowLevelMax()))
            for text in (legend.GetTitleTextProperty(), legend.GetLabelTextProperty()):
                text.SetBackgroundColor(0.0, 0.0, 0.0)
                text.SetBackgroundOpacity(LEGEND_BACKGROUND)
            legend.SetVisibility(True)
            # one that was visible before its view was there is drawn only when it changes
            legend.Modified()


def fill(table: Any, rows: "Sequence[tuple[str, ...]]") -> None:
    """Show rows of texts in a table of the panel."""
    table.setRowCount(len(rows))
    for row, cells in enumerate(rows):
        for column, text in enumerate(cells):
            table.setItem(row, column, qt.QTableWidgetItem(text))
    # the last column takes what is left, and long texts wrap in it
    table.resizeColumnToContents(0)


def _support_colours() -> slicer.vtkMRMLColorTableNode:
    table = helper_node("vtkMRMLColorTableNode", "support", _("Unsupported structure"))
    table.SetTypeToUser()
    table.SetNumberOfColors(3)
    table.SetColor(0, _("nothing"), 0.0, 0.0, 0.0, 0.0)
    table.SetColor(1, _("added"), *ADDED_COLOUR, 1.0)
    table.SetColor(2, _("removed"), *REMOVED_COLOUR, 1.0)
    table.SetAttribute("Category", "CSRDDenoise")
    return table
