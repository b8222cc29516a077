"""NIfTI output: the input's own forms, codes, units and texts around new values, written and read back by nibabel."""

from __future__ import annotations

import gzip
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Iterator, Optional, cast

import nibabel
import numpy as np
import SimpleITK as sitk

from .grid import Grid, array_to_xyz
from .nifti import read_nifti
from .nifti_place import MM_PER_UNIT, is_unset, units_of_header
from .volume import ReadVolume

_LEVEL = 6
_KEPT = (
    *("pixdim", "xyzt_units", "toffset", "dim_info", "qform_code", "sform_code", "srow_x", "srow_y", "srow_z"),
    *("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
)
_CODE_OF = {"sform": "sform_code", "qform": "qform_code"}
"""What decided where the input lies -> the field that states it."""
_ALIGNED = 2
_KEPT_WITH_MEANING = ("descrip", "aux_file", "intent_code", "intent_name", "intent_p1", "intent_p2", "intent_p3")


def write_nifti(image: sitk.Image, path: Path, like: Optional[ReadVolume], describes: bool) -> sitk.Image:
    """Write an image and return it as it reads back; see :func:`CSRDDenoiseLib.io.write.write_image`.

    With a NIfTI input both forms, their codes, the units and the times are kept, and the texts, the intent and the
    header extensions if ``describes``; else both forms are the image's own (code 1, scanner).
    """
    with nifti_stream(path) as stream:
        nifti_image(image, like, describes).to_stream(stream)
    return read_nifti(path, "result", None, {}).image


def nifti_image(image: sitk.Image, like: Optional[ReadVolume], describes: bool) -> Any:
    """Return nibabel's image of what :func:`write_nifti` writes."""
    header = _output_header(image, like, describes)
    kind = nibabel.Nifti2Image if isinstance(header, nibabel.Nifti2Header) else nibabel.Nifti1Image
    values = array_to_xyz(image)
    if like is not None and like.header.nifti is not None:
        return kind(values, None, header)
    made = kind(values, Grid.of(image).affine, header)
    for set_form in (made.set_sform, made.set_qform):
        set_form(made.affine, 1, update_affine=False)
    return made


@contextmanager
def nifti_stream(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing, compressed if it is named so."""
    with path.open("wb") as stream:
        if not path.name.lower().endswith(".gz"):
            yield stream
            return
        # neither name nor time inside: the same result gives the same file
        with gzip.GzipFile(filename="", fileobj=stream, mode="wb", compresslevel=_LEVEL, mtime=0) as packed:
            yield cast(BinaryIO, packed)


def _output_header(image: sitk.Image, like: Optional[ReadVolume], describes: bool) -> Any:
    source = like.header.nifti if like else None
    is_second = source is not None and source.sizeof_hdr == nibabel.Nifti2Header.sizeof_hdr
    header = nibabel.Nifti2Header() if is_second else nibabel.Nifti1Header()
    if source is None:
        header.set_xyzt_units("mm", "sec")
    else:
        names = _KEPT + (_KEPT_WITH_MEANING if describes else ())
        for name in names:
            header[name] = source[name]
        if describes:
            header.extensions.extend(getattr(source, "extensions", ()))
        ignored = like is not None and any(each.code == "units.length_ignored" for each in like.findings)
        if ignored or units_of_header(source)[0] == "unknown":
            header.set_xyzt_units("mm", units_of_header(source)[1])
        code = _CODE_OF.get(like.header.orientation) if like else None
        if code and int(header[code]) <= 0:
            # a code that NIfTI does not know, which nibabel has set to 0
            header[code] = _ALIGNED
        pixdim = np.array(header["pixdim"][1:4], dtype=float)
        if is_unset(pixdim) or int(header["qform_code"]) <= 0:
            unit = MM_PER_UNIT.get(units_of_header(header)[0], 1.0)
            header["pixdim"][1:4] = np.array(image.GetSpacing()) / unit
    header.set_data_dtype(sitk.GetArrayViewFromImage(image).dtype)
    header.set_data_shape(image.GetSize())
    return header
