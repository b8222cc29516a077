"""One output volume of a run: the unit and the format that were asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Collection, Mapping

import SimpleITK as sitk

from .. import __version__
from ..errors import InputError
from ..settings import SAME, SUV
from .dicom_labels import check_labels, write_labels
from .dicom_write import Derived, check_study, is_own_series, write_dicom
from .suv import SUV_UNIT, in_suv, volume_suv
from .volume import ReadVolume
from .write import output_suffix, write_image

SUFFIXES: Mapping[str, str] = {
    "denoised": "denoised",
    "difference": "difference (denoised - PET)",
    "uncertainty": "uncertainty of denoised (SD)",
    "support": "structure without support by the counts",
    "bare": "bare estimate of the model",
}
"""Output -> what is appended to the series description."""
LABELS = "support"


@dataclass(frozen=True)
class Target:
    """What the outputs of a run have in common.

    Attributes:
        source: path of the PET.
        like: the PET as it was read.
        unit: "same" or "suv".
        model: name of the model.
    """

    source: Path
    like: ReadVolume
    unit: str = SAME
    model: str = ""

    def check(self, dicom: Collection[str] = ()) -> None:
        """Refuse SUV where the factor is unknown, and DICOM that the PET's header does not allow.

        Args:
            dicom: names of the outputs that are written as DICOM.

        Raises:
            InputError: naming what is missing.
        """
        if dicom:
            check_study(self.source, self.like)
        if LABELS in dicom:
            check_labels(self.source, self.like, derived_series(LABELS, self.model))
        suv = volume_suv(self.like)
        if self.unit == SUV and suv.factors is None:
            raise InputError(f"The output cannot be in SUV: {suv.source}. Leave the unit as it is.")


def check_format(path: Path, name: str, is_dicom: bool, asked: bool, overwrite: bool = False) -> None:
    """Refuse an output whose name or kind does not go with its format.

    Args:
        path: of the output.
        name: "denoised", "difference", "uncertainty", "support" or "bare".
        is_dicom: whether the PET is DICOM.
        asked: whether DICOM was asked for.
        overwrite: whether a series that this package wrote may be replaced; nothing else ever is.

    Raises:
        InputError: no image suffix, or DICOM where it cannot be.
    """
    if not is_dicom_folder(path, is_dicom):
        if asked and name == "denoised":
            reason = "the PET is no DICOM series" if not is_dicom else f"'{path.name}' names a file"
            raise InputError(f"DICOM output needs a DICOM PET and a folder as the output, and {reason}.")
        output_suffix(path)
        return
    if not path.is_dir() or not any(path.iterdir()):
        return
    if not is_own_series(path):
        raise InputError(
            f"The output folder '{path}' is not empty, and not all that it holds is a series of csrd-denoise; give a "
            "new one for the DICOM series."
        )
    if not overwrite:
        raise InputError(
            f"The output folder '{path}' is not empty; give a new one for the DICOM series, or have it replaced.",
            hint="overwrite",
        )


def is_dicom_folder(path: Path, is_dicom: bool) -> bool:
    """Whether an output goes to a folder as DICOM: its name has no image suffix, and the PET is DICOM."""
    try:
        output_suffix(path)
    except InputError:
        return is_dicom and (not path.suffix or path.is_dir())
    return False


def write_output(image: sitk.Image, path: Path, name: str, target: Target, as_dicom: bool) -> None:
    """Write one volume of a run.

    Args:
        image: on the PET's grid and in its unit.
        path: where to; a folder that does not exist yet for DICOM.
        name: "denoised", "difference", "uncertainty", "support" or "bare".
        target: what the outputs have in common.
        as_dicom: as a DICOM series.

    Raises:
        OSError, RuntimeError: it could not be written.
    """
    like = target.like
    if target.unit == SUV and name != LABELS:
        image, like = in_suv(image, volume_suv(like)), replace(like, unit=SUV_UNIT)
    if not as_dicom:
        write_image(image, path, like, describes=name == "denoised")
        return
    path.mkdir()
    write = write_labels if name == LABELS else write_dicom
    write(image, path, target.source, target.like, derived_series(name, target.model))


def derived_series(name: str, model: str) -> Derived:
    """Return what the series of an output is; ``name`` as in :func:`write_output`, ``model`` its name or empty."""
    by = f", model {model}" if model else ""
    method = f"PET denoised by csrd-denoise {__version__}{by}; this series: {SUFFIXES[name]}. For research only."
    return Derived(SUFFIXES[name], method, list(SUFFIXES).index(name))
