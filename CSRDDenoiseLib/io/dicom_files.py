"""Find the DICOM series that is meant: a folder with sub-folders, a DICOMDIR, a multi-frame file."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path
from typing import Any, Mapping, Optional

from ..errors import InputError
from ..findings import Finding, info, warning
from .dicom_tags import BARE_STARTS, MAGIC, PREAMBLE, Tags, frames_of, quiet, read_header, sop_class_name
from .foreign import instead_of_dicom
from .pointers import command_for
from .volume import UNKNOWN

INDEX = "DICOMDIR"
_PACKED = (".dcm.gz", ".ima.gz")
_LISTED = 20
"""Series of a folder that messages name."""
MODALITIES: Mapping[str, str] = {"pet": "PT", "full-dose reference": "PT", "mr": "MR"}
"""What messages call an input, in lower case -> the modality it should have (0008,0060)."""


def is_dicom_file(path: Path) -> bool:
    """Whether a file begins as DICOM files do, or holds the tags of an object without the head of a file."""
    with path.open("rb") as stream:
        start = stream.read(PREAMBLE + len(MAGIC))
    return start[PREAMBLE:] == MAGIC or (start[:2] in BARE_STARTS and _is_bare_object(path))


def _is_bare_object(path: Path) -> bool:
    try:
        dataset = read_header(path)
        return dataset is not None and "SOPClassUID" in dataset
    except MemoryError:
        raise
    # something else may begin with the same two bytes, and pydicom makes whatever it can of it
    except Exception:
        return False


def dicom_files(path: Path, what: str = "volume") -> list[str]:
    """Return the files of the one DICOM series in a folder and its sub-folders, in no particular order.

    Raises:
        InputError: as :func:`find_series`.
    """
    frames, _ = find_series(path, what)
    return sorted({str(frame.path) for frame in frames})


def find_series(path: Path, what: str) -> tuple[list[Tags], tuple[Finding, ...]]:
    """Return the frames of the one DICOM series in a folder or a multi-frame file, in no particular order.

    Of several series the one is taken that has more than one image and the modality of the input, if there is one only.

    Raises:
        InputError: there is none, or more than one (then they are listed), or files of it cannot be read.
    """
    folder = path if path.is_dir() else path.parent
    files = _files(folder, what) if path.is_dir() or path.name.upper() == INDEX else [path]
    series: dict[str, list[Tags]] = defaultdict(list)
    broken: list[Path] = []
    for file in files:
        frames = _image_frames(file)
        if frames is None:
            broken.append(file)
        elif frames:
            series[frames[0].text("SeriesInstanceUID") or str(file.parent)].extend(frames)
    if not series and not broken:
        raise InputError(f"The {what} folder '{folder}' holds no DICOM series.{instead_of_dicom(files)}")
    if broken:
        raise InputError(
            f"The {what} series in '{folder}' has {len(broken)} of {len(files)} DICOM files that cannot be read as "
            f"part of it, such as '{broken[0].name}'; unpack or export the series again."
        )
    chosen = _chosen(series, what)
    if chosen is None:
        names = "; ".join(_description(frames) for frames in list(series.values())[:_LISTED])
        names += "; ..." if len(series) > _LISTED else ""
        raise InputError(
            f"The {what} folder '{folder}' holds {len(series)} DICOM series ({names}). "
            "Put the one to use in a folder of its own."
        )
    others = len(series) - 1
    findings = (info("series.others_ignored", what=what, count=others, series=_description(chosen)),) if others else ()
    return chosen, findings


def unusual_modality(modality: str, what: str) -> tuple[Finding, ...]:
    """Report a modality that is not the one of the input, where one is known."""
    wanted = MODALITIES.get(what.lower())
    if wanted is None or modality in (UNKNOWN, wanted):
        return ()
    return (warning("modality.unusual", what=what, modality=modality or "none", wanted=wanted),)


def list_series(path: Path) -> list[dict[str, Any]]:
    """Return modality, description and number of files of every DICOM series in a folder; none for other files."""
    folder = path.parent if path.name.upper() == INDEX else path
    if not folder.is_dir():
        return []
    series: dict[str, list[Tags]] = defaultdict(list)
    for file in _files(folder, "volume"):
        for frame in _image_frames(file) or []:
            series[frame.text("SeriesInstanceUID")].append(frame)
    return [
        {
            "modality": frames[0].text("Modality") or UNKNOWN,
            "description": frames[0].text("SeriesDescription"),
            "files": len({frame.path for frame in frames}),
            "folder": str(frames[0].path.parent),
        }
        for frames in series.values()
    ]


def series_folder(path: Path) -> Optional[Path]:
    """Return the folder below which the series of an input is looked for; None of a file that is read alone."""
    if path.is_dir():
        return path
    return path.parent if path.name.upper() == INDEX else None


def files_below(folder: Path, what: str = "volume") -> list[Path]:
    """Return what lies in a folder and its sub-folders but hidden files and folders, in the order of their names.

    Links to folders are followed, each folder is looked into once, and none that the folder itself lies in.

    Raises:
        InputError: a folder cannot be read.
    """
    top = folder.resolve()
    found, seen = [], {top, *top.parents}

    def refuse(error: OSError) -> None:
        raise InputError(f"The {what} folder '{error.filename}' cannot be read: {error.strerror}.") from error

    def is_new(place: Path) -> bool:
        is_known = place.resolve() in seen
        seen.add(place.resolve())
        return not is_known

    for place, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        visible = sorted(name for name in folders if not name.startswith(".") and name != "__MACOSX")
        folders[:] = [name for name in visible if is_new(Path(place, name))]
        found += [Path(place, name) for name in sorted(names) if not name.startswith(".")]
    return found


def _files(folder: Path, what: str) -> list[Path]:
    """Return the files below a folder that may be slices; macOS's ``._`` companions and other hidden files are not."""
    found = [path for path in files_below(folder, what) if path.name.upper() != INDEX]
    lost = [path for path in found if path.is_symlink() and not path.exists()]
    if lost:
        raise InputError(
            f"The {what} folder '{folder}' has {len(lost)} links to files that are gone, such as '{lost[0].name}': "
            "slices may be missing. Get the files first (git annex get, datalad get), or remove the links."
        )
    return [path for path in found if path.is_file()]


def _image_frames(path: Path) -> Optional[list[Tags]]:
    """Return the frames of an image, none where the file is something else, None where it is damaged."""
    damaged: Optional[list[Tags]] = None
    try:
        if path.name.lower().endswith(_PACKED) or command_for(path):
            # slices that are compressed, or whose content is elsewhere
            return None
        if not is_dicom_file(path) and path.suffix.lower() != ".dcm":
            # without the marker a file may still be DICOM, or anything else
            damaged = []
        dataset = read_header(path)
        if dataset is None:
            return damaged
        with quiet():
            if "Rows" in dataset and "SeriesInstanceUID" in dataset:
                return frames_of(path, dataset)
            name = sop_class_name(dataset)
    except MemoryError:
        raise
    except OSError as error:
        raise InputError(f"The DICOM file '{path}' cannot be read: {error.strerror or error}.") from error
    # a damaged header raises whatever pydicom makes of it
    except Exception:
        return damaged
    return damaged if not name or name.endswith("Image Storage") else []


def _chosen(series: Mapping[str, list[Tags]], what: str) -> Optional[list[Tags]]:
    if len(series) == 1:
        return next(iter(series.values()))
    # a projection, a scout or a screen shot beside the series is one image, and no volume
    volumes = [frames for frames in series.values() if len(frames) > 1]
    wanted = MODALITIES.get(what.lower())
    fitting = [frames for frames in volumes if wanted and frames[0].text("Modality") == wanted]
    choice = fitting or ([] if wanted else volumes)
    return choice[0] if len(choice) == 1 else None


def _description(frames: list[Tags]) -> str:
    text = frames[0].text("SeriesDescription")
    files = len({frame.path for frame in frames})
    modality = frames[0].text("Modality") or f"modality {UNKNOWN}"
    return f"{repr(text) if text else 'without a description'}, {modality}, {files} file{'s' if files > 1 else ''}"
