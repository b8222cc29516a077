"""Output of several time frames: collected frame by frame on the disk, then written as one 4D NIfTI or DICOM series.

Until the end the frames lie in a file without a name in the output's folder, so nothing is left of a killed process,
and the memory in use does not depend on the number of frames.
"""

from __future__ import annotations

import gzip
import json
import os
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Iterator, Mapping, Optional

import numpy as np
import SimpleITK as sitk
from nibabel import Nifti1Header
from pydicom.uid import generate_uid

from ..errors import InputError
from .dicom_labels import write_labels
from .dicom_write import write_dicom
from .grid import Grid
from .nifti_write import nifti_image, nifti_stream
from .outputs import LABELS, SUV, Target, derived_series
from .study import Study
from .suv import SUV_UNIT, in_suv, volume_suv
from .suv_sidecar import entries_in_suv
from .volume import ReadVolume, with_unit

OWN_KEY = "CSRDDenoise"


class FrameStore:
    """The frames of one output, in a nameless file.

    Args:
        folder: where the file lies, on the disk that the output goes to.
    """

    def __init__(self, folder: Path):
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self._type: Optional[np.dtype] = None
        self._shape: tuple[int, ...] = ()
        self.count = 0

    def append(self, image: sitk.Image) -> None:
        """Add a frame; all have the type and the size of the first.

        Raises:
            InputError: it could not be written, or has another size.
        """
        values = sitk.GetArrayViewFromImage(image)
        self._type, self._shape = self._type or values.dtype, self._shape or values.shape
        if values.shape != self._shape:
            raise InputError(f"Frame {self.count + 1} has {values.shape} voxels and the first has {self._shape}.")
        self._put(self.count * self._size, values)
        self.count += 1

    def frame(self, index: int) -> np.ndarray:
        """Give one frame (D, H, W) again."""
        return np.frombuffer(self._read(index * self._size, self._size), self._type).reshape(self._shape)

    def replace(self, index: int, image: sitk.Image) -> None:
        """Put another image in the place of a frame.

        Raises:
            InputError: it could not be written.
        """
        self._put(index * self._size, sitk.GetArrayViewFromImage(image))

    def block(self, voxels: slice) -> np.ndarray:
        """Give a range of voxels of all frames, (frames, voxels)."""
        return np.stack([np.frombuffer(self._read(*place), self._type) for place in self._places(voxels)])

    def replace_block(self, voxels: slice, values: np.ndarray) -> None:
        """Put other values (frames, voxels) in the place of a range of voxels of all frames.

        Raises:
            InputError: they could not be written.
        """
        for (place, _length), of_frame in zip(self._places(voxels), values):
            self._put(place, of_frame)

    def _places(self, voxels: slice) -> list[tuple[int, int]]:
        """Begin and length, in bytes, of a range of voxels in each frame."""
        each = np.dtype(self._type).itemsize
        length = (voxels.stop - voxels.start) * each
        return [(index * self._size + voxels.start * each, length) for index in range(self.count)]

    def _read(self, place: int, length: int) -> bytes:
        self._file.seek(place)
        return self._file.read(length)

    def _put(self, place: int, values: np.ndarray) -> None:
        try:
            self._file.seek(place)
            self._file.write(np.ascontiguousarray(values, self._type).data)
            self._file.flush()
        except OSError as error:
            raise InputError(f"The results cannot be written: {error.strerror}. Nothing was written.") from error

    @property
    def _size(self) -> int:
        return int(np.prod(self._shape)) * np.dtype(self._type).itemsize

    def frames(self) -> Iterator[np.ndarray]:
        """Give each frame (D, H, W) again."""
        self._file.seek(0)
        for _ in range(self.count):
            yield np.frombuffer(self._file.read(self._size), self._type).reshape(self._shape)

    def close(self) -> None:
        """Let the file go."""
        self._file.close()


@dataclass(frozen=True)
class FrameWriter:
    """Writes the outputs of a dynamic run.

    Attributes:
        study: the PET.
        target: what the outputs have in common; ``like`` is the first frame.
        entries: further ones of every sidecar.
    """

    study: Study
    target: Target
    entries: Mapping[str, Any] = field(default_factory=dict)

    def in_unit(self, image: sitk.Image, name: str, volume: ReadVolume) -> sitk.Image:
        """Return a frame of an output in the unit that is asked for; ``volume`` is the frame as it was read."""
        wanted = self.target.unit == SUV and name != LABELS
        return in_suv(image, volume_suv(volume)) if wanted else image

    def write(self, store: FrameStore, path: Path, name: str, as_dicom: bool) -> None:
        """Write all frames of an output.

        Raises:
            OSError, RuntimeError: it could not be written.
        """
        like = self.target.like
        if self.target.unit == SUV and name != LABELS:
            like = replace(like, unit=SUV_UNIT)
        if as_dicom:
            self._write_dicom(store, path, name, like.unit)
        else:
            _write_nifti(store, path, like, describes=name == "denoised", step_s=_even_step(self.study))

    def sidecar(self, name: str, own: Mapping[str, Any]) -> dict[str, Any]:
        """Return the entries of an output's BIDS sidecar: the PET's, its times and unit, and ``own`` under our key."""
        entries: dict[str, Any] = dict(self.study.sidecar)
        if self.study.has_times:
            entries["FrameTimesStart"] = [frame.start_s for frame in self.study.frames]
            entries["FrameDuration"] = [frame.duration_s for frame in self.study.frames]
        if name == LABELS:
            # whole numbers for kinds of structure
            entries.pop("Units", None)
        elif self.target.unit == SUV:
            entries = entries_in_suv(entries)
        elif "Units" not in entries and self.target.like.unit != "unknown":
            entries["Units"] = self.target.like.unit
        described = {"Description": derived_series(name, self.target.model).description}
        return {**entries, **described, **self.entries, OWN_KEY: {"Output": name, **own}}

    def _write_dicom(self, store: FrameStore, folder: Path, name: str, unit: str) -> None:
        like, derived = self.target.like, derived_series(name, self.target.model)
        derived = replace(derived, series=generate_uid(), frames=store.count)
        grid = Grid.of(like.image)
        folder.mkdir()
        for index, values in enumerate(store.frames()):
            part = folder / "frame"
            part.mkdir()
            of_frame = replace(like, header=replace(like.header, frame=index))
            source, is_map = self.study.dicom or self.study.path, name == LABELS
            if is_map:
                write_labels(grid.image(values), part, source, of_frame, replace(derived, before=index))
            else:
                # 16-bit integers know no NaN
                image = with_unit(grid.image(np.nan_to_num(values)), unit)
                write_dicom(image, part, source, of_frame, replace(derived, before=index * len(values)))
            for file in part.iterdir():
                # the Segmentations of all frames have one name
                os.replace(file, folder / (f"{file.stem}{index + 1:04d}{file.suffix}" if is_map else file.name))
            part.rmdir()


def write_sidecar(entries: Mapping[str, Any], path: Path) -> None:
    """Write a BIDS sidecar."""
    path.write_text(json.dumps(entries, indent=2, default=str) + "\n", encoding="utf-8")


def _write_nifti(store: FrameStore, path: Path, like: ReadVolume, describes: bool, step_s: Optional[float]) -> None:
    header = _header(store, like, describes, step_s)
    with nifti_stream(path) as stream:
        header.write_to(stream)
        for values in store.frames():
            stream.write(values.data)
    opened = gzip.open if path.name.lower().endswith(".gz") else open
    with opened(path, "rb") as stream:
        stream.read(int(header.get_data_offset()))
        same = all(stream.read(values.nbytes) == values.tobytes() for values in store.frames())
        if not same or stream.read(1):
            raise OSError("what was written reads back differently, as from a full disk")


def _header(store: FrameStore, like: ReadVolume, describes: bool, step_s: Optional[float]) -> Nifti1Header:
    """Return the header of the input around all frames: forms, codes, units and times are kept."""
    first = Grid.of(like.image).image(next(store.frames()))
    image = nifti_image(first, like, describes)
    image.update_header()
    header = image.header
    header.set_data_shape((*first.GetSize(), store.count))
    # a header of three dimensions has let the time step go
    source = like.header.nifti
    header["pixdim"][4] = (step_s or 0.0) if source is None else source["pixdim"][4]
    header["scl_slope"], header["scl_inter"] = 1.0, 0.0
    return header


def _even_step(study: Study) -> Optional[float]:
    durations = {frame.duration_s for frame in study.frames}
    return durations.pop() if len(durations) == 1 else None
