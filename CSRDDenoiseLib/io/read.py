"""Read: a file or a DICOM series folder becomes a three-dimensional floating-point SimpleITK image."""

from __future__ import annotations

import gzip
import io
import math
import re
import shutil
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Union

import numpy as np
import SimpleITK as sitk

from ..errors import InputError

UNITS_TAG = "0054|1001"
_SERIES_DESCRIPTION_TAG = "0008|103e"
_UNITS = {"BQML": "Bq/mL", "GML": "g/mL (SUV)", "CNTS": "counts", "CPS": "counts/s", "PROPCPS": "relative counts/s"}
_SAME_POSITION_MM = 1e-2
_MISSING_SLICE_RATIO = 1.1
_AXIS_TOLERANCE = 1e-3
_UNKNOWN_FORMAT = "Unable to determine ImageIO reader"
_GZIP_MAGIC = b"\x1f\x8b"
_BLOCK = 1 << 20
_DICOM_INDEX, _DICOM_PREAMBLE = "DICOMDIR", 128
_ORIGIN_OF_ERROR = re.compile(r"^(sitk::ERROR|ITK ERROR|itk::ERROR): |\w+\(0x[0-9a-f]+\): ")
_NIFTI_SUFFIXES = (".nii", ".nii.gz")
_NIFTI_FLOATS = ("16", "64")
_NIFTI_HEADER_SIZES = (348, 540)


def read_volume(path: Union[str, Path], what: str = "volume") -> sitk.Image:
    """Read a NIfTI, NRRD or MetaImage file, or a folder that holds one DICOM series.

    Args:
        path: the file or folder.
        what: how messages call it, for instance "PET".

    Returns:
        A scalar 3D image, float64 if it was stored so and float32 otherwise. NaN and infinity are left as they are.

    Raises:
        InputError: missing, unreadable, not three-dimensional, more than one value a voxel, several series,
            missing or doubled slices.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"The {what} '{path}' does not exist.")
    try:
        image = _read_series(path, what) if path.is_dir() else _read_file(path, what)
    except RuntimeError as error:
        raise InputError(f"The {what} '{path}' cannot be read as an image: {_reason(error)}") from error
    except MemoryError as error:
        raise InputError(f"The {what} '{path}' does not fit into memory.") from error
    if min(image.GetSize()) < 2:
        raise InputError(f"The {what} '{path}' is a single slice ({_times(image.GetSize())}); a 3D volume is needed.")
    return image


def units_of(image: sitk.Image) -> str:
    """Return the unit of the voxel values in words where the file told it (DICOM), else "unknown"."""
    code = image.GetMetaData(UNITS_TAG).strip() if image.HasMetaDataKey(UNITS_TAG) else ""
    return _UNITS.get(code, code or "unknown")


def dicom_files(folder: Path, what: str = "volume") -> list[str]:
    """Return the files of the one DICOM series in ``folder``.

    Raises:
        InputError: there is none, or more than one (then they are listed), or files of it cannot be read.
    """
    identifiers = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
    if not identifiers:
        raise InputError(f"The {what} folder '{folder}' holds no DICOM series.")
    series = [list(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), uid)) for uid in identifiers]
    if len(series) > 1:
        names = "; ".join(f"{_description(files[0])}, {len(files)} files" for files in series)
        raise InputError(
            f"The {what} folder '{folder}' holds {len(series)} DICOM series ({names}). "
            "Put the one to use in a folder of its own."
        )
    _check_strays(folder, series[0], what)
    return series[0]


def _check_strays(folder: Path, files: list[str], what: str) -> None:
    """Refuse DICOM files that cannot be read: at an end of the series they would not leave a gap."""
    known = {Path(name).name for name in files}
    strays = sorted(path.name for path in folder.iterdir() if path.name not in known and _is_slice_by_look(path))
    if strays:
        raise InputError(
            f"The {what} series in '{folder}' has {len(strays)} of {len(known) + len(strays)} DICOM files that cannot "
            f"be read as part of it, such as '{strays[0]}'; export the series again."
        )


def _is_slice_by_look(path: Path) -> bool:
    """Whether a file is named like a slice, or begins like one; the index of a CD is none."""
    if not path.is_file() or path.name.upper() == _DICOM_INDEX:
        return False
    with path.open("rb") as stream:
        return path.suffix.lower() == ".dcm" or stream.read(_DICOM_PREAMBLE + 4)[_DICOM_PREAMBLE:] == b"DICM"


def _read_file(path: Path, what: str) -> sitk.Image:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    size, components = reader.GetSize(), reader.GetNumberOfComponents()
    if components != 1:
        raise InputError(f"The {what} '{path}' has {components} values per voxel; one is needed.")
    extra = size[3:]
    if len(size) < 3 or any(n != 1 for n in extra):
        raise InputError(
            f"The {what} '{path}' has {len(size)} dimensions ({_times(size)}); a 3D volume is needed"
            f"{', for instance one frame of it' if len(size) > 3 else ''}."
        )
    if extra:
        reader.SetExtractSize([*size[:3], *(0 for _ in extra)])
    image = _floating(reader.Execute(), path, what)
    _check_axes(image, reader, path, what)
    if path.name.lower().endswith(_NIFTI_SUFFIXES) and reader.HasMetaDataKey("vox_offset"):
        return _with_what_itk_hides(image, reader, path, what)
    return image


def _check_axes(image: sitk.Image, reader: sitk.ImageFileReader, path: Path, what: str) -> None:
    """Refuse axes that are not perpendicular: ITK reads some of them as others that are, without a word."""
    directions = np.reshape(image.GetDirection(), (3, 3))
    bad = np.abs(directions.T @ directions - np.eye(3)).max() > _AXIS_TOLERANCE
    if not bad and reader.HasMetaDataKey("srow_x"):
        bad = not _lies_as_told(image, reader)
    if bad:
        raise InputError(
            f"The axes of the {what} '{path}' are not perpendicular (a shear, or a damaged header); resample it to a "
            "rectangular grid first."
        )


def _lies_as_told(image: sitk.Image, reader: sitk.ImageFileReader) -> bool:
    """Whether a NIfTI came out where its sform says; one with a valid qform beside it may have been read by that."""
    codes = [int(reader.GetMetaData(f"{form}_code")) for form in ("sform", "qform")]
    if codes[0] <= 0 or codes[1] > 0:
        return True
    rows = [[float(value) for value in reader.GetMetaData(f"srow_{axis}").split()] for axis in "xyz"]
    last = np.array([*image.GetSize(), 2]) - 1
    told = np.array(rows) @ last * (-1, -1, 1)
    here = image.TransformIndexToPhysicalPoint([int(index) for index in last[:3]])
    return float(np.linalg.norm(told - here)) <= min(image.GetSpacing())


def _with_what_itk_hides(image: sitk.Image, reader: sitk.ImageFileReader, path: Path, what: str) -> sitk.Image:
    """Look at a NIfTI's own bytes: ITK turns NaN, infinity and voxels that are cut off into zeros, without a word."""
    content = _content(path)
    offset, bits = int(float(reader.GetMetaData("vox_offset"))), int(reader.GetMetaData("bitpix"))
    count = math.prod(reader.GetSize())
    wanted = offset + count * bits // 8
    if len(content) < wanted:
        raise InputError(f"The {what} '{path}' is cut short: it holds {len(content)} of {wanted} bytes. Copy it again.")
    if reader.GetMetaData("datatype") not in _NIFTI_FLOATS:
        return image
    order = "<" if int.from_bytes(content[:4], "little") in _NIFTI_HEADER_SIZES else ">"
    stored = np.frombuffer(content, f"{order}f{bits // 8}", count, offset)
    bad = ~np.isfinite(stored)
    if not bad.any():
        return image
    values = sitk.GetArrayFromImage(image)
    values.ravel()[bad] = stored[bad]
    restored = sitk.GetImageFromArray(values)
    restored.CopyInformation(image)
    return restored


def _content(path: Path) -> bytes:
    """Return the bytes of a file, decompressed as far as they can be."""
    with path.open("rb") as stream:
        if stream.read(len(_GZIP_MAGIC)) != _GZIP_MAGIC:
            return path.read_bytes()
    content = io.BytesIO()
    with gzip.open(path) as stream, suppress(EOFError, zlib.error, gzip.BadGzipFile):
        shutil.copyfileobj(stream, content, _BLOCK)
    return content.getvalue()


def _read_series(folder: Path, what: str) -> sitk.Image:
    files = dicom_files(folder, what)
    if len(files) == 1:
        return _read_file(Path(files[0]), what)
    headers = [_header(name) for name in files]
    normal = np.array(headers[0].GetDirection()).reshape(3, 3)[:, 2]
    positions = np.array([np.dot(header.GetOrigin(), normal) for header in headers])
    order = np.argsort(positions)
    _check_slices(positions[order], folder, what)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([files[i] for i in order])
    # PET slices carry a rescale slope each: a floating type keeps ITK from rounding them to the first slice's type
    reader.SetOutputPixelType(sitk.sitkFloat32)
    image = reader.Execute()
    if headers[0].HasMetaDataKey(UNITS_TAG):
        image.SetMetaData(UNITS_TAG, headers[0].GetMetaData(UNITS_TAG))
    return image


def _check_slices(positions: np.ndarray, folder: Path, what: str) -> None:
    gaps = np.diff(positions)
    doubled = int((gaps < _SAME_POSITION_MM).sum())
    if doubled:
        raise InputError(
            f"The {what} series in '{folder}' has {doubled} of {len(positions)} slices at a position that another "
            "slice already has (a dynamic or doubled series); give one frame."
        )
    # the smallest, not the median: of slices at 0, 6 and 15 mm most may be missing
    usual = float(gaps.min())
    wide = gaps > _MISSING_SLICE_RATIO * usual
    if wide.any():
        missing = max(1, int(np.round(gaps[wide] / usual - 1).sum()))
        raise InputError(
            f"The {what} series in '{folder}' lacks about {missing} of its slices: they are {usual:.2f} mm apart, but "
            f"one gap is {gaps.max():.2f} mm (after {positions[int(gaps.argmax())]:.1f} mm). Export the series again."
        )


def _header(name: str) -> sitk.ImageFileReader:
    reader = sitk.ImageFileReader()
    reader.SetFileName(name)
    reader.ReadImageInformation()
    return reader


def _description(name: str) -> str:
    header = _header(name)
    text = header.GetMetaData(_SERIES_DESCRIPTION_TAG).strip() if header.HasMetaDataKey(_SERIES_DESCRIPTION_TAG) else ""
    return f"'{text}'" if text else "without a description"


def _floating(image: sitk.Image, path: Path, what: str) -> sitk.Image:
    if "complex" in image.GetPixelIDTypeAsString():
        raise InputError(f"The {what} '{path}' holds complex numbers; a magnitude image is needed.")
    if image.GetPixelID() in (sitk.sitkFloat32, sitk.sitkFloat64):
        return image
    return sitk.Cast(image, sitk.sitkFloat32)


def _times(size: tuple[int, ...]) -> str:
    return " x ".join(str(n) for n in size)


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines or _UNKNOWN_FORMAT in lines[-1]:
        return "the format is not known, or the file is damaged."
    return f"{_ORIGIN_OF_ERROR.sub('', lines[-1]).rstrip('.')}."
