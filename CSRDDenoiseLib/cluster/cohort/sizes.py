"""How much memory a scan will take, from its header alone; see :mod:`CSRDDenoiseLib.infer.cost`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Optional, Union

import SimpleITK as sitk

from ...infer.cost import BYTES_PER_FIELD_VOXEL, DeviceSpeed, seconds_and_bytes
from ...infer.memory import PROCESS_LIMIT, STATE_VOLUMES
from ...io.dicom_files import files_below, is_dicom_file
from ...io.dicom_tags import read_header
from ...io.names import itk_path
from ...io.read import is_dicom_path
from ...model.metadata import ModelMetadata
from ...settings import DenoiseSettings

RESIDENT_BYTES = 700 << 20
"""What a process holds with the libraries and a model loaded, roughly."""
HEAD_MM = (200.0, 240.0, 280.0)
"""Box of a large head with its margin; no more of a longer field of view is sampled."""
UNKNOWN_MM = (260.0, 260.0, 200.0)
"""Field of view of a scan whose header does not state it."""

Extent = tuple[float, ...]


def planned_bytes(extent_mm: Extent, metadata: ModelMetadata, settings: DenoiseSettings) -> float:
    """Return the memory that a process needs for a scan.

    Args:
        extent_mm: of the field of view.
        metadata: of the model.
        settings: of the run.
    """
    voxel = metadata.voxel_spacing_mm**3
    field = math.prod(extent_mm) / voxel
    head = field if settings.whole_field else min(field, math.prod(HEAD_MM) / voxel)
    speed = DeviceSpeed(
        voxel_spacing_mm=metadata.voxel_spacing_mm,
        voxels_per_second=1.0,
        draw_voxels_per_second=1.0,
        seconds_per_field_voxel=0.0,
        bytes_per_voxel=max(metadata.bytes_per_voxel, 1.0),
        bytes_per_state_voxel=4 * STATE_VOLUMES,
        bytes_per_field_voxel=BYTES_PER_FIELD_VOXEL,
        bytes_resident=RESIDENT_BYTES,
        bytes_for_evaluation=max(PROCESS_LIMIT - RESIDENT_BYTES - 4 * STATE_VOLUMES * head, 1.0),
    )
    return seconds_and_bytes(speed, head, field, settings)[1]


def extent_of(path: Path) -> Extent:
    """Return the field of view of a scan in mm, by its header; of one that cannot be read, a usual one."""
    try:
        found = _dicom_extent(path) if is_dicom_path(path) else _file_extent(path)
    # a scan that cannot be used fails as it is read; pydicom raises whatever it makes of a damaged header
    except Exception:
        found = None
    return found or UNKNOWN_MM


def _file_extent(path: Path) -> Extent:
    reader = sitk.ImageFileReader()
    with itk_path(path) as place:
        reader.SetFileName(str(place))
        reader.ReadImageInformation()
    return tuple(size * step for size, step in zip(reader.GetSize()[:3], reader.GetSpacing()[:3]))


def _dicom_extent(path: Path) -> Optional[Extent]:
    """As if every file of the folder were one slice of the series: not less than there is."""
    files = [each for each in files_below(path) if each.is_file()] if path.is_dir() else [path]
    first = next((read_header(each) for each in files if is_dicom_file(each)), None)
    if first is None:
        return None
    step: list[Union[float, int]] = [float(each) for each in first.PixelSpacing]
    slices = max(len(files), int(first.get("NumberOfFrames", 1) or 1))
    return float(first.Rows) * step[0], float(first.Columns) * step[1], slices * float(first.SliceThickness)
