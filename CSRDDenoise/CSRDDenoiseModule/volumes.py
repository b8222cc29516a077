"""Between volume nodes and files: the user's nodes are read and never changed."""

import logging
from pathlib import Path
from typing import Optional

import numpy as np
import slicer
import vtk
from vtk.util import numpy_support

from CSRDDenoiseLib.errors import InputError

AXIS_TOLERANCE = 1e-4
LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def hardened_copy(node: slicer.vtkMRMLScalarVolumeNode) -> slicer.vtkMRMLScalarVolumeNode:
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


def write_volume(node: slicer.vtkMRMLScalarVolumeNode, path: Path) -> None:
    """Write a volume as it lies in world coordinates to an NRRD file, voxel values exact.

    Raises:
        InputError: the volume is empty, has several components, or is sheared by its transform.
    """
    import SimpleITK as sitk

    copy = hardened_copy(node)
    if copy.GetImageData().GetNumberOfScalarComponents() != 1:
        raise InputError(f"The volume '{node.GetName()}' has several values a voxel. Choose a scalar volume.")
    image = sitk.GetImageFromArray(slicer.util.arrayFromVolume(copy))
    matrix = LPS_FROM_RAS @ _ijk_to_ras(copy)
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    axes = matrix[:3, :3] / spacing
    if np.abs(axes.T @ axes - np.eye(3)).max() > AXIS_TOLERANCE:
        raise InputError(
            f"The axes of the volume '{node.GetName()}' are not perpendicular. Resample it to a rectangular grid first."
        )
    image.SetSpacing([float(step) for step in spacing])
    image.SetDirection([float(value) for value in axes.ravel()])
    image.SetOrigin([float(value) for value in matrix[:3, 3]])
    sitk.WriteImage(image, str(path))


def read_array(path: Path) -> np.ndarray:
    """Read the voxels of a file that the worker wrote, shape (slices, rows, columns)."""
    import SimpleITK as sitk

    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def fill_node(node: slicer.vtkMRMLScalarVolumeNode, array: np.ndarray, pet: slicer.vtkMRMLScalarVolumeNode) -> None:
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


def copy_meaning(pet: slicer.vtkMRMLScalarVolumeNode, node: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Give a result the PET's quantity and unit, and a place beside it in the subject hierarchy."""
    node.SetVoxelValueQuantity(_copy_of(pet.GetVoxelValueQuantity()))
    node.SetVoxelValueUnits(_copy_of(pet.GetVoxelValueUnits()))
    place_beside(pet, node)


def place_beside(pet: slicer.vtkMRMLScalarVolumeNode, node: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Put a node under the same subject hierarchy item as the PET."""
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


def world_bounds(node: slicer.vtkMRMLScalarVolumeNode) -> Optional[np.ndarray]:
    """Return the box of a volume in world coordinates as [[R, A, S] low, [R, A, S] high] in mm, or None if empty."""
    if node.GetImageData() is None:
        return None
    bounds = [0.0] * 6
    node.GetRASBounds(bounds)
    return np.array(bounds).reshape(3, 2).T


def _ijk_to_ras(node: slicer.vtkMRMLScalarVolumeNode) -> np.ndarray:
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def _copy_of(entry: Optional[slicer.vtkCodedEntry]) -> Optional[slicer.vtkCodedEntry]:
    if entry is None:
        return None
    copy = slicer.vtkCodedEntry()
    copy.Copy(entry)
    return copy
