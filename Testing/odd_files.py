"""Image files of any geometry, type and byte order, written byte by byte: no library tidies them up on the way."""

from __future__ import annotations

import gzip
from dataclasses import dataclass, field
from pathlib import Path

import nibabel
import numpy as np

RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0])
SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".mha")
_NRRD_TYPES = {
    "i1": "int8", "u1": "uint8", "i2": "int16", "u2": "uint16", "i4": "int32", "u4": "uint32",
    "f4": "float", "f8": "double",
}  # fmt: skip
_META_TYPES = {
    "i1": "MET_CHAR", "u1": "MET_UCHAR", "i2": "MET_SHORT", "u2": "MET_USHORT", "i4": "MET_INT", "u4": "MET_UINT",
    "f4": "MET_FLOAT", "f8": "MET_DOUBLE",
}  # fmt: skip
TYPES = tuple(_NRRD_TYPES)


@dataclass(frozen=True)
class OddVolume:
    """A volume as it is to lie in a file.

    Attributes:
        array: (D, H, W), in the byte order in which it is written.
        spacing: mm along x, y, z.
        origin: mm, L-P-S.
        axes: (3, 3), columns are the directions of x, y and z; need not be a rotation.
    """

    array: np.ndarray = field(repr=False)
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]
    axes: np.ndarray

    def __repr__(self) -> str:
        kind, shape = self.array.dtype.str, self.array.shape
        return f"OddVolume({kind} {shape}, {self.spacing}, {self.origin}, {self.axes.tolist()})"

    def write(self, path: Path) -> Path:
        """Write the volume in the format that the suffix names."""
        if path.name.endswith((".nii", ".nii.gz")):
            self._write_nifti(path)
        else:
            header = self._nrrd_header() if path.suffix == ".nrrd" else self._meta_header()
            path.write_bytes(header.encode() + self.array.tobytes())
        return path

    def corners(self) -> np.ndarray:
        """Centres of the first and the last voxel, mm, L-P-S."""
        last = (np.array(self.array.shape[::-1]) - 1) * self.spacing
        return np.array([self.origin, self.axes @ last + self.origin])

    @property
    def _type(self) -> str:
        return self.array.dtype.str[1:]

    @property
    def _is_big(self) -> bool:
        return self.array.dtype.str[0] == ">"

    def _write_nifti(self, path: Path) -> None:
        affine = np.eye(4)
        affine[:3, :3] = RAS_FROM_LPS @ (self.axes * self.spacing)
        affine[:3, 3] = RAS_FROM_LPS @ self.origin
        header = nibabel.Nifti1Header(endianness=">" if self._is_big else "<")
        header.set_data_dtype(self.array.dtype)
        header.set_data_shape(self.array.shape[::-1])
        header.set_sform(affine, 1)
        header["pixdim"][1:4] = self.spacing
        header["vox_offset"] = 352
        header["magic"] = b"n+1"
        header["scl_slope"] = 1
        content = header.binaryblock + bytes(4) + self.array.tobytes()
        path.write_bytes(gzip.compress(content, 1) if path.suffix == ".gz" else content)

    def _nrrd_header(self) -> str:
        steps = (self.axes * self.spacing).T
        directions = " ".join(f"({','.join(f'{value:.9g}' for value in step)})" for step in steps)
        return (
            f"NRRD0004\ntype: {_NRRD_TYPES[self._type]}\ndimension: 3\nspace: left-posterior-superior\n"
            f"sizes: {' '.join(map(str, self.array.shape[::-1]))}\nspace directions: {directions}\n"
            f"endian: {'big' if self._is_big else 'little'}\nencoding: raw\n"
            f"space origin: ({','.join(f'{value:.9g}' for value in self.origin)})\n\n"
        )

    def _meta_header(self) -> str:
        matrix = " ".join(f"{value:.9g}" for value in self.axes.T.ravel())
        return (
            "ObjectType = Image\nNDims = 3\nBinaryData = True\n"
            f"BinaryDataByteOrderMSB = {self._is_big}\nCompressedData = False\nTransformMatrix = {matrix}\n"
            f"Offset = {' '.join(f'{value:.9g}' for value in self.origin)}\nCenterOfRotation = 0 0 0\n"
            f"ElementSpacing = {' '.join(f'{value:.9g}' for value in self.spacing)}\n"
            f"DimSize = {' '.join(map(str, self.array.shape[::-1]))}\nElementType = {_META_TYPES[self._type]}\n"
            "ElementDataFile = LOCAL\n"
        )
