"""What a reader sees: the images of one trial in linked views, under names that reveal no method."""

from pathlib import Path
from typing import Any, Sequence

import qt
import slicer
from slicer.i18n import tr as _

from CSRDDenoiseLib.readers.study import IMAGES, Trial, check_files

ATTRIBUTE = "CSRDReaderStudy.Trial"
LAYOUT_ID, MOST_VOLUMES = 72951, 3
BEFORE = "CSRDReaderStudy.Before"
"""Attribute of the layout node while a trial is shown: the layout of before."""
PET_COLOURS = "InvertedGrey"
ORIENTATIONS = ("Axial", "Coronal", "Sagittal")
_VIEW = """
    <item><view class="vtkMRMLSliceNode" singletontag="{tag}">
     <property name="orientation" action="default">{orientation}</property>
     <property name="viewlabel" action="default">{label}</property>
     <property name="viewcolor" action="default">#888888</property>
    </view></item>"""
_COLUMN = """
  <item><layout type="vertical">{views}
  </layout></item>"""


def titles_of(trial: Trial) -> "tuple[str, ...]":
    """Return how the images of a trial are called: by their place, never by their content."""
    titles = (_("Left"), _("Right")) if len(trial.images) == 2 else (_("Image"),)
    return (*titles, _("MR")) if trial.mr else titles


def layout_description(columns: int) -> str:
    """Return Slicer's XML of a layout: one column an image, three planes below each other."""
    made = [
        _COLUMN.format(
            views="".join(
                _VIEW.format(tag=_tag(column, plane), orientation=plane, label=f"{column + 1}{plane[0]}")
                for plane in ORIENTATIONS
            )
        )
        for column in range(columns)
    ]
    return f'<layout type="horizontal">{"".join(made)}\n</layout>'


def show_trial(folder: Path, trial: Trial) -> None:
    """Show the images of a trial in place of those before.

    All are read before one is shown, so that a pair appears at once.

    Raises:
        InputError: an image is missing or was changed since the study was made.
    """
    names = [f"{IMAGES}/{name}" for name in (*trial.images, trial.mr) if name]
    check_files(folder, names)
    titles = titles_of(trial)
    volumes = [_load(folder / name, title) for name, title in zip(names, titles)]
    clear(volumes)
    _set_window(volumes[: len(trial.images)], trial.window)
    _show(volumes, trial.centre)


def clear(kept: "Sequence[Any]" = ()) -> None:
    """Remove the images of a trial from the scene, apart from those kept; without any the user's layout comes back."""
    for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"):
        if node.GetAttribute(ATTRIBUTE) and node not in kept:
            for index in reversed(range(node.GetNumberOfDisplayNodes())):
                slicer.mrmlScene.RemoveNode(node.GetNthDisplayNode(index))
            if node.GetStorageNode() is not None:
                slicer.mrmlScene.RemoveNode(node.GetStorageNode())
            slicer.mrmlScene.RemoveNode(node)
    if not kept:
        _leave_layout()


def _load(path: Path, title: str) -> Any:
    node = slicer.util.loadVolume(str(path), {"name": title, "show": False, "singleFile": True})
    node.SetName(title)
    node.SetAttribute(ATTRIBUTE, "1")
    _keep_out_of_scenes(node)
    return node


def _keep_out_of_scenes(volume: Any) -> None:
    """Let a saved scene bring nothing of an image along: it belongs to the study."""
    for node in (volume, volume.GetStorageNode(), volume.GetDisplayNode()):
        if node is not None:
            node.SetSaveWithScene(False)
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    if hierarchy is not None and (item := hierarchy.GetItemByDataNode(volume)):
        # it would be saved as an item without a volume
        hierarchy.RemoveItem(item, False)


def _set_window(volumes: "Sequence[Any]", window: "tuple[float, float]") -> None:
    """Give the images to compare one display, so that a change of the window changes both."""
    display = volumes[0].GetScalarVolumeDisplayNode()
    table = slicer.mrmlScene.GetFirstNodeByName(PET_COLOURS)
    if table is not None:
        display.SetAndObserveColorNodeID(table.GetID())
    display.SetAutoWindowLevel(False)
    display.SetWindowLevelMinMax(*window)
    for volume in volumes[1:]:
        own = volume.GetDisplayNode()
        volume.SetAndObserveDisplayNodeID(display.GetID())
        slicer.mrmlScene.RemoveNode(own)


def _show(volumes: "Sequence[Any]", centre: "tuple[float, float, float]") -> None:
    manager = slicer.app.layoutManager()
    if manager is None:
        return
    _use_layout(manager, len(volumes))
    # a view has its size, which it is fitted to, only once the events of the new layout are done; a key must wait
    slicer.app.processEvents(qt.QEventLoop.ExcludeUserInputEvents)
    for column, volume in enumerate(volumes):
        for plane in ORIENTATIONS:
            logic = manager.sliceWidget(_tag(column, plane)).sliceLogic()
            # a reader may have turned a view; every trial begins alike
            logic.GetSliceNode().SetOrientation(plane)
            _show_in_view(logic, volume, centre)


def _use_layout(manager: Any, columns: int) -> None:
    node, identity = manager.layoutLogic().GetLayoutNode(), LAYOUT_ID + columns
    if not node.IsLayoutDescription(identity):
        node.AddLayoutDescription(identity, layout_description(columns))
    if not _is_of_study(manager.layout):
        node.SetAttribute(BEFORE, str(manager.layout))
    # a Slicer without this module shows no view of a scene that names its layout; without any it keeps its own
    node.SetSaveWithScene(False)
    manager.setLayout(identity)


def _leave_layout() -> None:
    manager = slicer.app.layoutManager()
    if manager is None:
        return
    node = manager.layoutLogic().GetLayoutNode()
    usual = slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalView
    before = int(node.GetAttribute(BEFORE) or usual)
    node.RemoveAttribute(BEFORE)
    node.SetSaveWithScene(True)
    if _is_of_study(manager.layout):
        manager.setLayout(before)


def _is_of_study(layout: int) -> bool:
    return 0 < layout - LAYOUT_ID <= MOST_VOLUMES


def _show_in_view(logic: Any, volume: Any, centre: "tuple[float, float, float]") -> None:
    composite = logic.GetSliceCompositeNode()
    composite.SetLinkedControl(True)
    composite.SetHotLinkedControl(True)
    composite.SetBackgroundVolumeID(volume.GetID())
    composite.SetForegroundVolumeID(None)
    composite.SetLabelVolumeID(None)
    logic.FitSliceToAll()
    x, y, z = centre
    logic.GetSliceNode().JumpSliceByOffsetting(-x, -y, z)


def _tag(column: int, plane: str) -> str:
    return f"CSRDReader{column + 1}{plane}"
