"""Studies of several time frames: opened once, read frame by frame."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Callable, Mapping, Optional

from ..errors import InputError
from .dicom import DicomStudy, dicom_frame, open_dicom
from .nifti import nifti_frame, open_nifti, suffix_of
from .read import check_readable, is_dicom_path, read, with_sidecar
from .sidecar import read_sidecar, sidecar_frames
from .volume import Frame, ReadVolume


@dataclass(frozen=True)
class Study:
    """A study whose headers were read and whose voxels were not.

    Attributes:
        path: the file or folder.
        frames: when its time frames are; one for a static volume.
        read: returns a frame, from 0.
        dicom: the headers of a DICOM series, or None.
        sidecar: entries of the BIDS sidecar, empty without one.
    """

    path: Path
    frames: tuple[Frame, ...]
    read: Callable[[int], ReadVolume]
    dicom: Optional[DicomStudy] = None
    sidecar: Mapping[str, Any] = field(default_factory=dict)

    @property
    def has_times(self) -> bool:
        """Whether start and duration of every frame are known."""
        return all(frame.start_s is not None and frame.duration_s is not None for frame in self.frames)

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that holds a part of the study."""
        if self.dicom is not None:
            return tuple(dict.fromkeys(tags.path for tags in self.dicom.tags))
        return self.read(0).header.files


def open_study(path: Path, what: str = "PET") -> Study:
    """Read the headers of a volume or a study.

    Raises:
        InputError: as :func:`CSRDDenoiseLib.io.read.read`.
    """
    check_readable(path, what)
    if is_dicom_path(path):
        series = open_dicom(path, what)
        return Study(path, series.frames, partial(dicom_frame, series), series)
    sidecar, findings = read_sidecar(path, what)
    if not suffix_of(path):
        frames = read(path, what, 0).header.frames
        return Study(path, frames, lambda index: read(path, what, index), sidecar=sidecar)
    nifti = open_nifti(path, what, sidecar)
    stated = sidecar_frames(sidecar, len(nifti.frames)) or nifti.frames
    return Study(
        path, stated, lambda index: with_sidecar(nifti_frame(nifti, index), sidecar, findings, what), sidecar=sidecar
    )


def is_dynamic(path: Path) -> bool:
    """Whether a path that can be read holds several time frames; what cannot be read is not."""
    try:
        return len(open_study(path).frames) > 1
    except (InputError, OSError, RuntimeError):
        return False
