"""The files of a request as images with their headers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping

import SimpleITK as sitk

from ..checks.volumes import INPUT_NAMES
from ..io.headers import with_headers
from ..io.read import read
from ..io.record import FileFacts, describe_file
from ..io.volume import ReadVolume
from ..report.regions import check_labels
from .request import FileRequest

_SHOWN = ("pet", "mr", "labels")


@dataclass(frozen=True)
class InputFiles:
    """What was read.

    Attributes:
        volumes: name of each input -> image, unit and header.
        files: name -> path and checksums, for the record.
    """

    volumes: Mapping[str, ReadVolume]
    files: Mapping[str, FileFacts]

    @property
    def images(self) -> dict[str, sitk.Image]:
        """The images by name."""
        return {name: volume.image for name, volume in self.volumes.items()}

    @property
    def shown(self) -> dict[str, sitk.Image]:
        """Those that a report shows."""
        return {name: image for name, image in self.images.items() if name in _SHOWN}


def read_inputs(request: FileRequest) -> InputFiles:
    """Read all inputs of a request, and check that its label map is one of the PET.

    Raises:
        InputError: a file cannot be read, or the label map does not fit.
    """
    volumes = {name: read(path, INPUT_NAMES[name]) for name, path in request.inputs.items()}
    volumes["pet"] = with_headers(volumes["pet"], request.headers)
    files = {name: describe_file(request.path_in_record(name), volumes[name].header.files) for name in volumes}
    if "labels" in volumes:
        check_labels(volumes["labels"].image, volumes["pet"].image)
    return InputFiles(volumes, files)
