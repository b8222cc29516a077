"""MetaImage whose voxels are in several files, or compressed: what its reader would take from memory is refused."""

from __future__ import annotations

import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.io.read import read

VALUES = np.arange(120, dtype=np.float32).reshape(6, 5, 4)
NAMES = [f"s{number}.raw" for number in range(6)]
PACKED = zlib.compress(VALUES.tobytes())
HEADER = (
    "ObjectType = Image\nNDims = 3\nDimSize = 4 5 6\nElementType = MET_FLOAT\nElementSpacing = 2 3 4\n"
    "Offset = 1 2 3\nTransformMatrix = 1 0 0 0 1 0 0 0 1\n{}ElementDataFile = {}\n"
)


def write(folder: Path, named: str, rest: str = "", tags: str = "", voxels: bytes = b"") -> Path:
    for name, plane in zip(NAMES, VALUES):
        (folder / name).write_bytes(plane.tobytes())
    path = folder / ("pet.mha" if named == "LOCAL" else "pet.mhd")
    path.write_bytes((HEADER.format(tags, named) + rest).encode() + voxels)
    return path


@pytest.mark.parametrize(
    ("named", "rest"),
    [
        ("LIST", "\n".join(NAMES) + "\n"),
        ("LIST", "\r\n".join(NAMES) + "\r\n\n"),
        ("LIST 2", "\n".join(NAMES) + "\n"),
        ("s%d.raw 0", ""),
        ("s%d.raw 0 5 1", ""),
    ],
)
def test_a_file_for_each_slice_is_read(tmp_path, named, rest):
    image = read(write(tmp_path, named, rest), "PET").image
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), VALUES)


@pytest.mark.parametrize(
    ("named", "rest", "listed"),
    [
        ("LIST", "\n".join(NAMES), 5),
        ("LIST", "\n".join(NAMES[:4]) + "\n", 4),
        ("s%d.raw 0 3 1", "", 4),
        ("s%d.raw 0 5 2", "", 3),
        ("s%d.raw 0 7 1", "", 8),
    ],
)
def test_other_than_as_many_files_as_slices_are_refused(tmp_path, named, rest, listed):
    with pytest.raises(InputError, match=f"lists {listed} files, and its header says 6 slices"):
        read(write(tmp_path, named, rest), "PET")


def test_a_list_of_whole_volumes_is_refused(tmp_path):
    (tmp_path / "all.raw").write_bytes(VALUES.tobytes())
    with pytest.raises(InputError, match="LIST 3"):
        read(write(tmp_path, "LIST 3", "all.raw\n"), "PET")


@pytest.mark.parametrize("named", ["s%d.raw 0 5", "s%d.raw 0 5 0"])
def test_a_pattern_whose_step_is_zero_does_not_end_the_process(tmp_path, named):
    command = [sys.executable, "-m", "CSRDDenoiseLib", "inspect", str(write(tmp_path, named))]
    assert subprocess.run(command, check=False, capture_output=True).returncode == 2


@pytest.mark.parametrize(
    ("named", "tags", "head"),
    [
        ("LOCAL", f"CompressedDataSize = {len(PACKED)}\n", b""),
        ("pet.zraw", f"CompressedDataSize = {len(PACKED)}\nHeaderSize = 9\n", b"head head"),
        ("pet.zraw", "", b""),
    ],
)
def test_compressed_values_are_read(tmp_path, named, tags, head):
    path = write(tmp_path, named, tags=f"CompressedData = True\n{tags}", voxels=PACKED if named == "LOCAL" else b"")
    (tmp_path / "pet.zraw").write_bytes(head + PACKED)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read(path, "PET").image), VALUES)


@pytest.mark.parametrize(
    ("named", "tags", "word"),
    [
        ("LOCAL", "", "CompressedDataSize"),
        ("LOCAL", "CompressedDataSize = 0\n", "CompressedDataSize"),
        ("LOCAL", f"CompressedDataSize = {len(PACKED) // 2}\n", "says 120 values"),
        ("pet.zraw", "HeaderSize = 9\n", "CompressedDataSize"),
        ("pet.zraw", f"CompressedDataSize = {len(PACKED) // 2}\nHeaderSize = 9\n", "says 120 values"),
    ],
)
def test_compressed_values_that_the_reader_does_not_find_are_refused(tmp_path, named, tags, word):
    path = write(tmp_path, named, tags=f"CompressedData = True\n{tags}", voxels=PACKED if named == "LOCAL" else b"")
    (tmp_path / "pet.zraw").write_bytes(b"head head" + PACKED)
    with pytest.raises(InputError, match=word):
        read(path, "PET")
