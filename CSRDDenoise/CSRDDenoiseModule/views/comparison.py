"""The comparison layout: slice views of a result beside its PET, a wipe and a fade between both, and projections."""

from itertools import combinations, product
from typing import Any, Collection, Iterator, Optional

import numpy as np
import qt
import slicer
import vtk

from ..nodes import world_bounds
from ..volumes import Volume
from .display import Shown, copy_display, set_windows, show_legends
from .plots import PLOT_VIEW, TABLE_VIEW

LAYOUT_ID = 72911
WIDE_OFFSET, TABLE_OFFSET = 100, 200
PET_VIEW, DENOISED_VIEW = "CSRDPet", "CSRDDenoised"
LABEL_OPACITY = 0.5
COLUMN_WIDTH = 460
"""Width in pixels that Slicer asks for one slice view with its controller."""
WIPE_NAME = "CSRDDenoise wipe"
SLAB_EXTENTS = 2.0
"""Thickness of a projection over the volume's largest side, so that it holds the volume wherever the slice stands."""
USUAL_OVERSAMPLING = 2.0
PROJECTED = "Coronal"
ORIENTATION = "CSRDDenoise.Orientation"
"""Attribute of the first view while it shows a projection: its orientation of before."""
OWN_VIEW = 'singletontag="CSRD'
"""Part of the description of every layout of this extension."""

_VIEWS = (
    (PET_VIEW, "PET", "#4A50C8"),
    (DENOISED_VIEW, "Denoised", "#6EB04B"),
    ("CSRDDifference", "Difference", "#F34A33"),
    ("CSRDUncertainty", "Uncertainty", "#EDD54C"),
)
_VIEW = """<item splitSize="1"><view class="vtkMRMLSliceNode" singletontag="{tag}">
    <property name="orientation" action="default">Axial</property>
    <property name="viewlabel" action="default">{label}</property>
    <property name="viewcolor" action="default">{colour}</property>
   </view></item>"""
_ROW = """<item splitSize="{size}"><layout type="horizontal">{views}</layout></item>"""
_PLOT = """<item splitSize="1"><view class="vtkMRMLPlotViewNode" singletontag="{tag}">
  <property name="viewlabel" action="default">P</property>
 </view></item>"""
_TABLE = """<item splitSize="1"><view class="vtkMRMLTableViewNode" singletontag="{tag}">
  <property name="viewlabel" action="default">T</property>
 </view></item>"""
_LAYOUT = """<layout type="vertical" split="true">{rows}</layout>"""


class Comparison:
    """The comparison layout; gives back the layout that was there before."""

    def __init__(self):
        self._before: Optional[int] = None
        self._shown: Optional[Shown] = None
        self._crosshair: Optional[int] = None
        self._table = False
        self._tag: Optional[int] = None

    @property
    def there(self) -> bool:
        """Whether a result is shown and its first view is in the layout."""
        manager = slicer.app.layoutManager()
        return manager is not None and self._shown is not None and PET_VIEW in manager.sliceViewNames()

    def show(self, shown: Shown, table: bool = False) -> None:
        """Switch to the layout and show the volumes in it; with ``table`` a table view stands beside the plot.

        The order matters: a view has its size, and draws legends, only once the events of the new layout are done.
        """
        shown.pet.CreateDefaultDisplayNodes()
        set_windows(shown)
        self._shown, self._table = shown, table
        manager = slicer.app.layoutManager()
        if manager is None:
            return
        self._use_layout(manager)
        slicer.app.processEvents()
        # those of before, where the user went to another layout meanwhile
        self.project(False)
        for view, volume in in_views(shown).items():
            _show_in_view(manager, view, volume, shown.support if volume is shown.denoised else None)
        for view in in_views(shown):
            manager.sliceWidget(view).sliceLogic().FitSliceToAll()
        show_legends(shown)

    def fade(self, opacity: float) -> None:
        """Lay the denoised volume over the PET's view: 0 shows the PET, 1 the denoised volume."""
        if self.there:
            _lay_over(self._shown.denoised if opacity > 0 else None, opacity)

    def wipe(self, share: float) -> None:
        """Show the denoised volume left of a split of the PET's view, and the PET right of it.

        The split lies in a plane of voxels; ``share`` is the part of the volume that shows the denoised one. Slicer has
        no view with a split, so the part is a volume of its own, hidden and not saved, that lies over the PET.
        """
        if not self.there:
            return
        if share <= 0:
            _lay_over(None, 0.0)
            return
        part = _wipe_node()
        _cut(self._shown.denoised, part, _first_view().GetSliceToRAS(), share)
        _lay_over(part, 1.0)

    def project(self, on: bool) -> None:
        """Show maximum intensity projections (MIP) in the views of PET and denoised, coronal, or slices again.

        A projection is a thick slab of the slice view, which every Slicer since 5.4 has and which needs no GPU.
        """
        if not self.there:
            return
        first = _first_view()
        before = first.GetAttribute(ORIENTATION)
        if on == (before is not None):
            return
        wanted = PROJECTED if on else before
        first.SetAttribute(ORIENTATION, first.GetOrientation() if on else None)
        box = world_bounds(self._shown.pet)
        thickness = SLAB_EXTENTS * float((box[1] - box[0]).max()) if on else None
        for view in in_views(self._shown):
            logic = slicer.app.layoutManager().sliceWidget(view).sliceLogic()
            logic.GetSliceNode().SetOrientation(wanted)
            logic.GetSliceNode().JumpSliceByCentering(*box.mean(axis=0))
            if view in (PET_VIEW, DENOISED_VIEW):
                _project(logic, thickness)
                logic.GetSliceCompositeNode().SetLabelOpacity(0.0 if on else LABEL_OPACITY)
            logic.FitSliceToAll()

    def crosshair(self, on: bool) -> None:
        """Show a crosshair at one place in all views, which Shift and the mouse move; or as it was before."""
        node = slicer.mrmlScene.GetNthNodeByClass(0, "vtkMRMLCrosshairNode")
        if node is None:
            return
        if on:
            if self._crosshair is None:
                self._crosshair = node.GetCrosshairMode()
            node.SetCrosshairMode(node.ShowBasic)
        elif self._crosshair is not None:
            node.SetCrosshairMode(self._crosshair)
            self._crosshair = None
        # whoever opens a saved scene keeps the one that is there, as with the layout
        node.SetSaveWithScene(not on)

    def forget(self, node: Volume) -> None:
        """A volume is about to leave the scene."""
        if self._shown is not None:
            self._shown = self._shown.without(node)
            if self._shown is None:
                # not now: the scene is about to remove the other one
                qt.QTimer.singleShot(0, remove_wipe)

    def leave(self) -> None:
        """Go back to the layout of before, so that volumes loaded next are shown as anywhere else in Slicer."""
        self.crosshair(False)
        self.project(False)
        remove_wipe()
        manager, before = slicer.app.layoutManager(), self._before
        self._before, self._shown = None, None
        if manager is not None and is_comparison(manager.layout):
            # a comparison that an earlier panel laid out says nothing of what was before it
            usual = slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalView
            manager.setLayout(usual if before is None else before)
        if self._tag is not None:
            manager.layoutLogic().GetLayoutNode().RemoveObserver(self._tag)
            self._tag = None

    def _use_layout(self, manager: "slicer.qMRMLLayoutManager") -> None:
        if not is_comparison(manager.layout):
            self._before = manager.layout
        views = tuple(in_views(self._shown))
        node = manager.layoutLogic().GetLayoutNode()
        if self._tag is None:
            # what Slicer heard at its start is not enough: the module may be loaded later
            _describe_layouts(node)
            self._tag = _keep_out_of_scenes(node)
        manager.setLayout(_identity(views, _is_wide(manager, len(views)), self._table))


def register_layouts() -> None:
    """Make every comparison layout known to Slicer, and keep them out of scenes that are saved; once, at its start.

    Slicer shows no view of a scene that names a layout it does not know, as scenes of versions up to 0.2.0 do. It keeps
    the descriptions as long as it runs and saves none in a scene.
    """
    manager = slicer.app.layoutManager()
    if manager is not None:
        _describe_layouts(manager.layoutLogic().GetLayoutNode())
        _keep_out_of_scenes(manager.layoutLogic().GetLayoutNode())


def _describe_layouts(node: Any) -> None:
    for views, wide, table in _kinds():
        identity = _identity(views, wide, table)
        if not node.IsLayoutDescription(identity):
            node.AddLayoutDescription(identity, layout_description(views, wide, table))


def _keep_out_of_scenes(node: Any) -> int:
    """Save which layout is shown only where each Slicer knows it, as the others keep their own; return the observer."""
    tag = node.AddObserver("ModifiedEvent", _on_layout)
    _on_layout(node)
    return int(tag)


def _on_layout(node: Any, _event: str = "") -> None:
    # also of the reader study, which does the same: none of both may let the other's be saved
    node.SetSaveWithScene(OWN_VIEW not in (node.GetCurrentLayoutDescription() or ""))


def in_views(shown: Shown) -> "dict[str, Volume]":
    """Return view -> volume of a result, in the order of the views."""
    volumes = (shown.pet, shown.denoised, shown.difference, shown.uncertainty)
    return {view: volume for (view, _label, _colour), volume in zip(_VIEWS, volumes) if volume is not None}


def is_comparison(layout: int) -> bool:
    """Return whether a layout is one of this module's; those of reader studies lie between them."""
    return any(layout == _identity(*kind) for kind in _kinds())


def layout_description(views: "Collection[str]", wide: bool, table: bool = False) -> str:
    """Return Slicer's XML of slice views, in one row or two a row, above a plot view, and a table view if asked for."""
    cells = [_VIEW.format(tag=tag, label=label, colour=colour) for tag, label, colour in _VIEWS if tag in views]
    columns = len(cells) if wide else 2
    rows = [cells[first : first + columns] for first in range(0, len(cells), columns)]
    xml = [_ROW.format(size=700 // len(rows), views="".join(row)) for row in rows]
    below = [_PLOT.format(tag=PLOT_VIEW), *([_TABLE.format(tag=TABLE_VIEW)] if table else [])]
    return _LAYOUT.format(rows="".join([*xml, _ROW.format(size=300 if wide else 200, views="".join(below))]))


def line_ends() -> Optional[np.ndarray]:
    """Return the ends (2, 3) of a line through the middle of the PET's view, in world coordinates, or None."""
    if slicer.app.layoutManager() is None or PET_VIEW not in slicer.app.layoutManager().sliceViewNames():
        return None
    node = _first_view()
    half = 0.3 * node.GetFieldOfView()[0]
    to_ras = slicer.util.arrayFromVTKMatrix(node.GetSliceToRAS())
    return np.array([(to_ras @ [side, 0.0, 0.0, 1.0])[:3] for side in (-half, half)])


def remove_wipe() -> None:
    """Remove the hidden part that a wipe made."""
    for node in list(_wipe_nodes()):
        slicer.mrmlScene.RemoveNode(node.GetDisplayNode())
        slicer.mrmlScene.RemoveNode(node)


def _view_sets() -> "Iterator[tuple[str, ...]]":
    """Return the views of every result: PET and denoised, each other one or not."""
    others = [view for view, _label, _colour in _VIEWS[2:]]
    for count in range(len(others) + 1):
        for chosen in combinations(others, count):
            yield (PET_VIEW, DENOISED_VIEW, *chosen)


def _kinds() -> "Iterator[tuple[tuple[str, ...], bool, bool]]":
    """Return every layout: its views, whether they are in one row, and whether there is a table."""
    return product(_view_sets(), (False, True), (False, True))


def _identity(views: "Collection[str]", wide: bool, table: bool) -> int:
    shown = sum(1 << place for place, (view, _label, _colour) in enumerate(_VIEWS) if view in views)
    return LAYOUT_ID + shown + WIDE_OFFSET * wide + TABLE_OFFSET * table


def _first_view() -> slicer.vtkMRMLSliceNode:
    return slicer.app.layoutManager().sliceWidget(PET_VIEW).sliceLogic().GetSliceNode()


def _lay_over(volume: Optional[Volume], opacity: float) -> None:
    composite = slicer.app.layoutManager().sliceWidget(PET_VIEW).sliceLogic().GetSliceCompositeNode()
    composite.SetForegroundVolumeID(volume.GetID() if volume is not None else None)
    composite.SetForegroundOpacity(opacity)


def _wipe_nodes() -> "Iterator[Volume]":
    nodes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    return (node for node in nodes if node.GetName() == WIPE_NAME and node.GetHideFromEditors())


def _wipe_node() -> Volume:
    found = next(_wipe_nodes(), None)
    if found is not None:
        return found
    node = slicer.vtkMRMLScalarVolumeNode()
    node.SetName(WIPE_NAME)
    # before it is in the scene, so that no list shows it for a moment
    node.SetHideFromEditors(True)
    node.SetSaveWithScene(False)
    slicer.mrmlScene.AddNode(node)
    node.CreateDefaultDisplayNodes()
    node.GetDisplayNode().SetSaveWithScene(False)
    return node


def _cut(volume: Volume, part: Volume, slice_to_ras: vtk.vtkMatrix4x4, share: float) -> None:
    """Make ``part`` the share of a volume that a view shows on its left."""
    axis, forward = _axis_across(volume, slice_to_ras)
    extent = list(volume.GetImageData().GetExtent())
    planes = extent[2 * axis + 1] - extent[2 * axis] + 1
    left = max(1, round(share * planes))
    if forward:
        extent[2 * axis + 1] = extent[2 * axis] + left - 1
    else:
        extent[2 * axis] = extent[2 * axis + 1] - left + 1
    cutter = vtk.vtkExtractVOI()
    cutter.SetInputData(volume.GetImageData())
    cutter.SetVOI(extent)
    cutter.Update()
    image = vtk.vtkImageData()
    image.ShallowCopy(cutter.GetOutput())
    first = [extent[0], extent[2], extent[4]]
    # Slicer wants images that begin at 0; the place is in the node
    image.SetExtent([value - first[index // 2] for index, value in enumerate(extent)])
    image.SetOrigin(0.0, 0.0, 0.0)
    with slicer.util.NodeModify(part):
        _place(volume, part, first)
        part.SetAndObserveImageData(image)
        part.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
    copy_display(volume, part)


def _place(volume: Volume, part: Volume, first: "list[int]") -> None:
    part.CopyOrientation(volume)
    to_ras = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(to_ras)
    part.SetOrigin(to_ras.MultiplyPoint([*first, 1.0])[:3])


def _axis_across(volume: Volume, slice_to_ras: vtk.vtkMatrix4x4) -> "tuple[int, bool]":
    """Return the voxel axis that runs most across a view, and whether its first voxels are on the left."""
    to_ras, transform = vtk.vtkMatrix4x4(), volume.GetParentTransformNode()
    volume.GetIJKToRASDirectionMatrix(to_ras)
    if transform is not None and transform.IsTransformToWorldLinear():
        to_world = vtk.vtkMatrix4x4()
        transform.GetMatrixTransformToWorld(to_world)
        vtk.vtkMatrix4x4.Multiply4x4(to_world, to_ras, to_ras)
    across = [slice_to_ras.GetElement(row, 0) for row in range(3)]
    along = [sum(to_ras.GetElement(row, axis) * across[row] for row in range(3)) for axis in range(3)]
    axis = max(range(3), key=lambda each: abs(along[each]))
    return axis, along[axis] > 0


def _project(logic: slicer.vtkMRMLSliceLogic, thickness: Optional[float]) -> None:
    """Make a view a projection through a slab of this thickness in mm, or a slice again."""
    node = logic.GetSliceNode()
    # the logic divides the slice spacing by this factor twice, so a step is a voxel only where it is the spacing
    step = logic.GetLowestVolumeSliceSpacing()[2] if thickness is not None else USUAL_OVERSAMPLING
    with slicer.util.NodeModify(node):
        node.SetSlabReconstructionEnabled(thickness is not None)
        node.SetSlabReconstructionType(node.GetSlabReconstructionTypeFromString("Max"))
        node.SetSlabReconstructionOversamplingFactor(step)
        if thickness is not None:
            node.SetSlabReconstructionThickness(thickness)


def _is_wide(manager: "slicer.qMRMLLayoutManager", columns: int) -> bool:
    viewport = manager.viewport()
    return viewport is not None and viewport.width >= columns * COLUMN_WIDTH


def _show_in_view(
    manager: "slicer.qMRMLLayoutManager",
    view: str,
    volume: Volume,
    labels: Optional[slicer.vtkMRMLLabelMapVolumeNode],
) -> None:
    logic = manager.sliceWidget(view).sliceLogic()
    composite = logic.GetSliceCompositeNode()
    # a scene may have been saved with projections
    _project(logic, None)
    # a volume that is loaded later does not push the results out of their views
    composite.SetDoPropagateVolumeSelection(False)
    composite.SetLinkedControl(True)
    composite.SetHotLinkedControl(True)
    composite.SetBackgroundVolumeID(volume.GetID())
    composite.SetForegroundVolumeID(None)
    composite.SetForegroundOpacity(0.0)
    composite.SetLabelVolumeID(labels.GetID() if labels is not None else None)
    composite.SetLabelOpacity(LABEL_OPACITY)
