"""What lies beside a result: BIDS sidecars (``denoised.nii.gz`` -> ``denoised.json``), and maps of a former run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Iterable

from .. import __version__
from ..atomic import read_json
from ..errors import InputError
from ..io.dicom_write import is_own_series
from ..io.frame_file import OWN_KEY
from ..io.write import record_path, remove, sidecar_path
from .request import FileRequest, is_same


def output_sidecars(request: FileRequest) -> dict[str, Path]:
    """Return where the sidecar of each output lies; DICOM series have none."""
    return {name: sidecar_path(path) for name, path in request.volumes.items() if name not in request.dicom}


def check_sidecars(request: FileRequest) -> dict[str, Path]:
    """Check where the sidecars of the outputs go, and return that.

    Raises:
        InputError: one is that of an input, or exists and is not to be replaced.
    """
    sidecars = output_sidecars(request)
    for path in sidecars.values():
        if any(is_same(path, sidecar_path(given)) for given in request.inputs.values()):
            raise InputError(f"The sidecar '{path}' would overwrite that of an input; give another output.")
        if path.exists() and not request.overwrite:
            raise InputError(
                f"The sidecar '{path}' exists already; choose another output, or have it replaced.", hint="overwrite"
            )
    return sidecars


def remove_stale_sidecars(request: FileRequest) -> None:
    """Remove sidecars that a former run, of a dynamic PET, wrote beside outputs that now have none: unit and times."""
    of_inputs = [sidecar_path(given) for given in request.inputs.values()]
    for path in output_sidecars(request).values():
        try:
            found = read_json(path)
        except (OSError, ValueError):
            continue
        if isinstance(found, dict) and OWN_KEY in found and not any(is_same(path, each) for each in of_inputs):
            remove(path)


def own_entries(request: FileRequest, model: str) -> dict[str, Any]:
    """Return each sidecar's entries about the run that wrote its output, for :meth:`.FrameWriter.sidecar`."""
    return {"Version": __version__, "Model": model, "Provenance": record_path(request.output).name}


def remove_former(named: Iterable[Path], request: FileRequest) -> None:
    """Remove what a former run wrote and this one did not, so that no map lies beside a result that it is not of.

    Args:
        named: the files and DICOM folders that a former run wrote.
        request: of the run that has succeeded. Nothing is removed where it does not replace outputs.
    """
    if not request.overwrite:
        return
    written = {*request.outputs.values(), *output_sidecars(request).values()}
    for path in named:
        for former in {path, sidecar_path(path)} - written:
            # people put notes into a folder of DICOM files
            if former.is_dir() and not is_own_series(former):
                continue
            if not any(is_same(former, given) for given in request.inputs.values()):
                remove(former)
