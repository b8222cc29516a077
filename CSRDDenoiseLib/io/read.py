"""Read: a file or a DICOM series folder becomes a three-dimensional floating-point SimpleITK image.

nibabel reads NIfTI, Analyze and MGH, pydicom DICOM, SimpleITK everything else. The header is compared with
what arrived; a difference is refused or becomes a finding.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any, Iterator, Mapping, Optional, Union

import numpy as np
import SimpleITK as sitk

from ..errors import InputError, reason_of
from ..findings import Finding, info
from .dicom import dicom_files, dicom_frame, is_dicom_file, open_dicom, read_dicom
from .dicom_files import INDEX, unusual_modality
from .foreign import what_is_it
from .itk_checks import check_axes, check_fields, check_kind, check_place, findings_of, unit_in
from .meta_image import check_length
from .names import itk_path
from .nifti import nifti_frame, open_nifti, read_nifti, suffix_of
from .pointers import command_for
from .sidecar import attenuation_findings, frame_findings, modality_of, read_sidecar, sidecar_frames, sidecar_unit
from .suv import suv_of_image
from .suv_sidecar import injection_findings, suv_from_sidecar
from .text_header import data_files, has_patient_space, read_text_header
from .volume import UNKNOWN, Frame, Header, ReadVolume, are_wide, check_range, times, units_of, with_unit

__all__ = ["ReadVolume", "dicom_files", "read", "read_frames", "read_volume", "units_of"]

_UNKNOWN_FORMAT = "Unable to determine ImageIO reader"
_SEQUENCE = re.compile(r"axis \d+ index type$")
"""Key that 3D Slicer writes into the header of a sequence (.seq.nrrd)."""


def read_volume(path: Union[str, Path], what: str = "volume") -> sitk.Image:
    """Read a NIfTI, NRRD or MetaImage file, or a folder that holds one DICOM series, of one time frame.

    Args:
        path: the file or folder.
        what: how messages call it, as for :func:`read`.

    Returns:
        A floating-point image in the file's unit: values with slope and intercept applied, geometry in mm, L-P-S.

    Raises:
        InputError: as :func:`read`.

    Example:
        >>> from CSRDDenoiseLib import resource_folder
        >>> read_volume(resource_folder() / "SampleData" / "mr.nii.gz", "MR").GetSpacing()
        (2.0, 2.0, 2.0)
    """
    return read(path, what).image


def read(path: Union[str, Path], what: str = "volume", frame: Optional[int] = None) -> ReadVolume:
    """Read a volume with its header as typed values.

    Args:
        path: the file or folder.
        what: how messages call it, for instance "PET"; "PET" and "MR" are checked against the DICOM modality.
        frame: which time frame of a dynamic study, from 0; None rejects a study of more than one.

    Returns:
        Image, unit, header, and findings about what was assumed.

    Raises:
        InputError: missing, unreadable, damaged, not three-dimensional, more than one value a voxel, several series,
            missing or doubled slices, no rectangular grid, values beyond float32.
    """
    path = Path(path)
    check_readable(path, what)
    try:
        volume = _read(path, what, frame)
    except RuntimeError as error:
        raise InputError(f"The {what} '{path}' cannot be read as an image: {_reason(error)}") from error
    except MemoryError as error:
        raise InputError(f"The {what} '{path}' does not fit into memory.") from error
    except OSError as error:
        raise InputError(f"The {what} '{path}' cannot be read: {error.strerror or error}.") from error
    size = volume.image.GetSize()
    if min(size) < 2:
        raise InputError(f"The {what} '{path}' is a single slice ({times(size)}); a 3D volume is needed.")
    check_range(volume.image, f"{what} '{path}'")
    return volume


def check_readable(path: Path, what: str, is_image: bool = True) -> None:
    """Reject a path that does not exist, may not be read, is a pipe or a device, or holds no image where it should."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            os.listdir(path)
        elif stat.S_ISREG(mode):
            _check_content(path, what, is_image)
        else:
            raise InputError(f"The {what} '{path}' is a pipe or a device; save it as a file first.")
    except FileNotFoundError as error:
        if path.is_symlink():
            raise InputError(
                f"The {what} '{path}' is a link to '{os.readlink(path)}', which is not there. Get the file first, for "
                "instance by git annex get or datalad get."
            ) from error
        raise InputError(f"The {what} '{path}' does not exist.") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"The {what} '{path}' cannot be read: {reason}.") from error


def _check_content(path: Path, what: str, is_image: bool) -> None:
    """Reject a file that only names where its content is kept, and an archive or no image in place of an image."""
    kind = what_is_it(path) if is_image else ""
    if kind:
        raise InputError(f"The {what} '{path}' {kind}")
    command = command_for(path)
    if command:
        raise InputError(f"The {what} '{path}' is a pointer to its content, which is elsewhere; {command} gets it.")


def is_dicom_path(path: Path) -> bool:
    """Whether a path that can be read is a DICOM folder or file."""
    return path.is_dir() or path.name.upper() == INDEX or is_dicom_file(path)


def _read(path: Path, what: str, frame: Optional[int]) -> ReadVolume:
    if is_dicom_path(path):
        return read_dicom(path, what, frame)
    sidecar, findings = read_sidecar(path, what)
    is_nifti = bool(suffix_of(path))
    volume = read_nifti(path, what, frame, sidecar) if is_nifti else _read_by_itk(path, what, frame)
    return with_sidecar(volume, sidecar, findings, what)


def read_frames(path: Path, what: str = "volume") -> Iterator[ReadVolume]:
    """Read every time frame of a study, one after another; a static volume is one frame.

    Raises:
        InputError: as :func:`read`.
    """
    check_readable(path, what)
    if is_dicom_path(path):
        series = open_dicom(path, what)
        for index in range(len(series.frames)):
            yield dicom_frame(series, index)
        return
    sidecar, findings = read_sidecar(path, what)
    if suffix_of(path):
        study = open_nifti(path, what, sidecar)
        for index in range(len(study.frames)):
            yield with_sidecar(nifti_frame(study, index), sidecar, findings, what)
        return
    first = read(path, what, 0)
    yield first
    for index in range(1, len(first.header.frames)):
        yield read(path, what, index)


def with_sidecar(
    volume: ReadVolume, sidecar: Mapping[str, Any], findings: tuple[Finding, ...], what: str
) -> ReadVolume:
    """Return a volume with the entries of its BIDS sidecar, and the findings about that file."""
    header, unit = volume.header, sidecar_unit(sidecar)
    frames = sidecar_frames(sidecar, len(header.frames)) or header.frames
    modality = modality_of(header.files[0], sidecar)
    stated = (*attenuation_findings(sidecar, what), *frame_findings(sidecar, len(header.frames), what))
    findings = (*volume.findings, *findings, *unusual_modality(modality, what), *stated)
    if unit != UNKNOWN:
        findings = (*findings, info("unit.sidecar", what=what, unit=unit))
        volume = replace(volume, image=with_unit(volume.image, unit), unit=unit)
    suv = suv_from_sidecar(sidecar, volume.unit, frames[header.frame]) if sidecar else suv_of_image(volume)
    header = replace(header, modality=modality, frames=frames, suv=suv)
    volume = replace(volume, findings=findings, header=header)
    return replace(volume, findings=(*findings, *injection_findings(sidecar, volume, what)))


def _read_by_itk(path: Path, what: str, frame: Optional[int]) -> ReadVolume:
    with itk_path(path) as place:
        return _read_place_by_itk(place, path, what, frame)


def _read_place_by_itk(place: str, path: Path, what: str, frame: Optional[int]) -> ReadVolume:
    check_kind(place, path, what)
    reader = sitk.ImageFileReader()
    reader.SetFileName(place)
    reader.ReadImageInformation()
    of_length = check_length(path, what)
    size, header = reader.GetSize(), read_text_header(path)
    count, index = _choose_frame(reader, path, what, frame)
    check_fields(header, path, what)
    image = _floating(reader.Execute(), path, what)
    check_axes(image, f"{what} '{path}'")
    check_place(image, header, path, what)
    unit = unit_in(header, image)
    described = Header(
        format=reader.GetImageIO() or path.suffix.lstrip(".").upper(),
        files=(path, *data_files(path)),
        orientation="header" if has_patient_space(header) else "none",
        frames=(Frame(),) * count,
        frame=index,
    )
    findings = (*of_length, *findings_of(header, size, path, what))
    return ReadVolume(with_unit(image, unit), unit, findings, described)


def _choose_frame(reader: sitk.ImageFileReader, path: Path, what: str, frame: Optional[int]) -> tuple[int, int]:
    """Have the reader give one frame, a volume of one value a voxel; return the number of frames, and which it is.

    Raises:
        InputError: there are several frames and none is asked for, there is no such frame, or it is no such volume.
    """
    size, components = reader.GetSize(), reader.GetNumberOfComponents()
    if components != 1:
        is_sequence = any(_SEQUENCE.match(name) for name in reader.GetMetaDataKeys())
        way = " It is a sequence of 3D Slicer: denoise its frames there, or save it as 4D NIfTI." if is_sequence else ""
        raise InputError(f"The {what} '{path}' has {components} values per voxel; one is needed.{way}")
    count = int(np.prod(size[3:], dtype=object)) if len(size) > 3 else 1
    if len(size) < 3 or (frame is None and count > 1):
        raise InputError(
            f"The {what} '{path}' has {len(size)} dimensions ({times(size)}); a 3D volume is needed"
            f"{', for instance one frame of it' if len(size) > 3 else ''}."
        )
    index = frame or 0
    if not 0 <= index < count or len(size) > 4:
        raise InputError(f"The {what} '{path}' has {count} frame(s) ({times(size)}), so there is no frame {index + 1}.")
    if len(size) > 3:
        reader.SetExtractSize([*size[:3], 0])
        reader.SetExtractIndex([0, 0, 0, index])
    return count, index


def _floating(image: sitk.Image, path: Path, what: str) -> sitk.Image:
    if "complex" in image.GetPixelIDTypeAsString():
        raise InputError(f"The {what} '{path}' holds complex numbers; a magnitude image is needed.")
    if "vector" in image.GetPixelIDTypeAsString():
        image = sitk.VectorIndexSelectionCast(image, 0)
    if image.GetPixelID() in (sitk.sitkFloat32, sitk.sitkFloat64):
        return image
    return sitk.Cast(image, sitk.sitkFloat64 if are_wide(sitk.GetArrayViewFromImage(image)) else sitk.sitkFloat32)


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines or _UNKNOWN_FORMAT in lines[-1]:
        return "the format is not known, or the file is damaged."
    if "File cannot be read" in lines[-1] or "No such file" in lines[-1]:
        return "the file, or a file of voxels that it names, is cut short or missing."
    return f"{reason_of(error)}."
