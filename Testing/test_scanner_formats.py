"""Formats of PET scanners that are not read, archives and downloads that failed, under whatever suffix."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile

import nibabel
import numpy as np
import pytest

from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.io.read import read
from CSRDDenoiseLib.io.study import open_study

INTERFILE = b"!INTERFILE :=\n!imaging modality := PT\nname of data file := pet.img\n!END OF INTERFILE :=\n"


@pytest.mark.parametrize("look", [lambda path: read(path, "PET"), open_study])
@pytest.mark.parametrize(
    ("name", "content", "form"),
    [
        ("pet.hdr", INTERFILE, "Interfile"),
        ("pet.v.hdr", b"  " + INTERFILE.lower(), "Interfile"),
        ("pet.hv", INTERFILE, "Interfile"),
        ("pet.v", b"MATRIX72v\0" + bytes(600), "ECAT 7"),
        ("pet+orig.HEAD", b"\ntype  = string-attribute\nname  = TYPESTRING\ncount = 15\n'3DIM_HEAD_ANAT~\n", "AFNI"),
        ("pet.mat", b"MATLAB 5.0 MAT-file, Platform: GLNXA64" + bytes(600), "MATLAB"),
        ("pet.npy", b"\x93NUMPY\1\0v\0{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2, 2), }", "NumPy"),
    ],
)
def test_the_format_is_named(tmp_path, name, content, form, look):
    (tmp_path / name).write_bytes(content)
    (tmp_path / "pet.img").write_bytes(bytes(400))
    with pytest.raises(InputError, match=f"{form}.*NIfTI"):
        look(tmp_path / name)


def tar(content):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        entry = tarfile.TarInfo("pet.nii")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def zipped(content):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("pet.nii", content)
    return packed.getvalue()


NIFTI = nibabel.Nifti1Image(np.ones((4, 4, 4), np.float32), np.eye(4)).to_bytes()


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("pet.zip", zipped(NIFTI), "ZIP"),
        ("pet.nii.gz", zipped(NIFTI), "ZIP"),
        ("pet.tar.gz", gzip.compress(tar(NIFTI)), "tar"),
        ("pet.nii.gz", gzip.compress(tar(NIFTI)), "tar"),
        ("pet.nii.bz2", bz2.compress(NIFTI), "bzip2"),
        ("pet.nii.xz", lzma.compress(NIFTI), "xz"),
        ("pet.nii.gz", gzip.compress(gzip.compress(NIFTI)), "twice"),
        ("pet.nrrd.gz", gzip.compress(b"NRRD0004\n"), "gzip"),
        ("pet.nii.gz", b"\n<!DOCTYPE html><html>Log in</html>", "web page"),
        ("pet.nii", b"", "0 bytes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "content",
)
def test_a_file_that_is_packed_or_no_image_is_named(tmp_path, name, content, kind):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=kind):
        read(tmp_path / name, "PET")


@pytest.mark.parametrize("name", ["pet.nii", "pet.nii.gz"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_a_nifti_that_is_compressed_once_is_read_by_either_name(tmp_path, name, pack):
    (tmp_path / name).write_bytes(pack(NIFTI))
    assert read(tmp_path / name, "PET").image.GetSize() == (4, 4, 4)


@pytest.mark.parametrize("name", ["pet.nii.gz", "study.zip"])
def test_a_folder_without_dicom_names_what_it_holds(tmp_path, name):
    (tmp_path / name).write_bytes(zipped(NIFTI))
    with pytest.raises(InputError, match=f"no DICOM series.*'{name}'"):
        read(tmp_path, "PET")
