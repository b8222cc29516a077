"""The scans of a cohort: from a table or a BIDS dataset to requests with settings, all checked before any work."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Mapping, Optional, Sequence, Union

from ...bids import BidsPet, find_pets
from ...configuration import number_of
from ...errors import InputError
from ...io.outputs import is_dicom_folder
from ...io.read import is_dicom_path
from ...io.study import is_dynamic
from ...io.write import record_path
from ...run.request import FileRequest
from ...settings import MAPS, DenoiseSettings, settings_from_fields, settings_from_preset
from ...subjects.table import Row, read_table, where
from .summary import PAGE, TABLE

PRESET = "preset"
SETTINGS = (PRESET, *(field.name for field in fields(DenoiseSettings) if field.name != "dose"))
"""Columns of a table that override settings of their row. Its ``dose`` is a fact about the scan, not a setting."""
LONGEST_NAME = 220
"""Bytes: the temporary file of a row has a longer one, and 255 are possible."""
_UNSAFE = re.compile(r"[^\w.+-]+")
_SIDES = re.compile(r"\d+x\d+x\d+")


@dataclass(frozen=True)
class Scan:
    """One scan.

    Attributes:
        name: of the scan, and of its files in the cohort's folder.
        request: what is read and written.
        settings: of the run.
        bids: as :attr:`~CSRDDenoiseLib.cluster.jobs.Job.bids`.
        named: every file or folder that a run of the scan may write, whatever is asked for.
    """

    name: str
    request: FileRequest
    settings: DenoiseSettings
    bids: Optional[Mapping[str, str]] = None
    named: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Choices:
    """What is asked for of every scan.

    Attributes:
        output: folder of the cohort.
        settings: defaults, which a row may override.
        maps: of :data:`~CSRDDenoiseLib.settings.MAPS`; the uncertainty only where settings and model give one.
        report: also a quality report of each scan.
        output_unit, format, overwrite, frames: as in :class:`~CSRDDenoiseLib.run.request.FileRequest`.
        draws: the model draws samples.
    """

    output: Path
    settings: DenoiseSettings
    maps: Sequence[str] = ("difference", "uncertainty")
    report: bool = False
    output_unit: str = "same"
    format: Optional[str] = None
    overwrite: bool = False
    frames: Optional[str] = None
    draws: bool = True

    def wanted(self, settings: DenoiseSettings) -> tuple[str, ...]:
        """The maps that a run with these settings gives."""
        has_uncertainty = self.draws and settings.has_uncertainty
        return tuple(each for each in self.maps if each != "uncertainty" or has_uncertainty)


def scans_of_table(path: Path, choices: Choices) -> tuple[Scan, ...]:
    """Return the scans of a table, whose columns may override settings.

    Raises:
        InputError: everything that is wrong with the table, at once.
    """
    table = read_table(path, ("low",), SETTINGS).checked()
    scans, wrong = [], []
    for row in table.rows:
        try:
            scans.append(_scan(row, choices))
        except InputError as error:
            wrong.append(f"The table '{path}', {where(row)}: {error}")
    if wrong:
        raise InputError("\n".join(wrong))
    return _checked(scans)


def scans_of_bids(root: Path, participants: Sequence[str], choices: Choices) -> tuple[Scan, ...]:
    """Return the PETs of a raw BIDS dataset, each with its T1w; outputs are named as BIDS derivatives.

    Raises:
        InputError: as :func:`CSRDDenoiseLib.bids.find_pets`.
    """
    root, output = root.resolve(), choices.output.absolute()
    found = (replace(pet, folder=output) for pet in find_pets(root, participants))
    return _checked([_scan_of_bids(pet, choices) for pet in found])


def check_free(request: FileRequest, begun: bool) -> None:
    """Refuse to replace outputs, unless ``overwrite`` is set or they are of the same scan, from an interrupted run.

    Raises:
        InputError: one exists.
    """
    outputs = (*request.outputs.values(), record_path(request.output))
    existing = [path for path in outputs if path.exists()]
    if existing and not (request.overwrite or begun):
        raise InputError(
            f"The output '{existing[0]}' exists already; choose another name, or have it replaced.", hint="overwrite"
        )


def value_of(text: str) -> Any:
    """Return the setting in a cell of a table: true, 3, 0.5, 1/8, 64x64x48, inf, or a word."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if _SIDES.fullmatch(text):
        return tuple(int(side) for side in text.split("x"))
    for kind in (int, number_of):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def settings_of(row: Row, settings: DenoiseSettings) -> DenoiseSettings:
    """Return the settings of a row: those of the cohort, or of the row's preset, with its own columns on top.

    Raises:
        InputError: a value is not known or out of range.
    """
    given = {name: value_of(text) for name, text in row.settings.items()}
    preset = given.pop(PRESET, None)
    start = settings
    if preset is not None:
        quality = settings_from_preset(str(preset))
        start = replace(settings, sampler=quality.sampler, steps=quality.steps, samples=quality.samples)
    return settings_from_fields({**start.as_dict(), **given})


def name_of(row: Row) -> str:
    """Return the name of a row's files: subject, session, dose and replicate, in letters of every file system."""
    dose = f"dose-{row.dose.numerator}_{row.dose.denominator}" if row.dose is not None else ""
    session = f"ses-{row.session}" if row.session else ""
    replicate = f"rep-{row.replicate}" if row.replicate else ""
    return _UNSAFE.sub("-", "_".join(filter(None, [row.subject, session, dose, replicate]))).strip(".") or "scan"


def _scan(row: Row, choices: Choices) -> Scan:
    settings, name = settings_of(row, choices.settings), name_of(row)
    if row.low is None:
        raise InputError("There is no PET.")
    pet, folder = row.low.absolute(), choices.output.absolute() / name
    suffix = "" if choices.format else ".nii.gz"
    outputs: dict[str, Union[Path, None]] = {
        each: folder / f"{each}{suffix}" for each in ("denoised", *choices.wanted(settings))
    }
    # a static PET of the table is denoised as it is, as in a BIDS dataset
    frames = choices.frames if choices.frames and is_dynamic(pet) else None
    request = FileRequest(
        pet,
        outputs.pop("denoised"),  # type: ignore[arg-type]
        row.mr and row.mr.absolute(),
        labels=row.labels.absolute() if row.labels and choices.report else None,
        report=folder if choices.report else None,
        overwrite=choices.overwrite,
        output_unit=choices.output_unit,
        format=choices.format,
        frames=frames,
        **outputs,  # type: ignore[arg-type]
    )
    if not suffix and not is_dicom_folder(request.output, is_dicom_path(pet)):
        raise InputError(f"DICOM output needs a DICOM PET, and '{pet}' is none.")
    settings = replace(settings, register=settings.register and row.mr is not None)
    named = tuple(folder / f"{each}{ending}" for each in ("denoised", *MAPS) for ending in ("", ".nii.gz"))
    return Scan(name, request, settings, named=(*named, folder / "denoised.html"))


def _scan_of_bids(pet: BidsPet, choices: Choices) -> Scan:
    request = pet.request(choices.settings, choices.overwrite, choices.frames)
    wanted = choices.wanted(choices.settings)
    difference, uncertainty = (
        getattr(request, name) if name in wanted else None for name in ("difference", "uncertainty")
    )
    request = replace(request, difference=difference, uncertainty=uncertainty)
    name = _UNSAFE.sub("-", request.output.name.partition("_desc-")[0])
    bids = {"root": str(pet.root), "folder": str(pet.derivatives)}
    return Scan(name, request, choices.settings, bids, tuple(pet.outputs.values()))


def _checked(scans: Sequence[Scan]) -> tuple[Scan, ...]:
    """Refuse scans that would write the same files, or whose files cannot have their names."""
    seen: dict[str, Scan] = {}
    for scan in scans:
        _check_name(scan)
        other = seen.setdefault(scan.name.lower(), scan)
        if other is not scan:
            raise InputError(
                f"The scans '{other.request.pet}' and '{scan.request.pet}' would both be called '{scan.name}'; give "
                "them different subjects, sessions or replicates."
            )
    return tuple(scans)


def _check_name(scan: Scan) -> None:
    length = len(os.fsencode(scan.name))
    if length > LONGEST_NAME:
        raise InputError(
            f"The scan '{scan.request.pet}' would be called '{scan.name[:40]}...', a name of {length} bytes; "
            f"{LONGEST_NAME} are possible. Give it a shorter subject, session or replicate."
        )
    if scan.name.lower() in (TABLE, PAGE):
        raise InputError(
            f"The scan '{scan.request.pet}' would be called '{scan.name}', as a file that the cohort writes; give it "
            "another subject."
        )
