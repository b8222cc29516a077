"""BIDS: every PET of a raw dataset denoised into ``derivatives/csrd-denoise``; names are data in ``bids_outputs.json``.

BIDS specification: PET, "Common data types and metadata" (derivatives), "Dataset description".
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Callable, Mapping, Optional, Sequence, Union

from . import __version__
from .atomic import read_json
from .denoise import denoise_files
from .dynamic.denoise import DynamicResult, denoise_dynamic, is_dynamic
from .errors import InputError
from .io.frame_file import write_sidecar
from .io.sidecar import read_sidecar, stem_of
from .io.write import all_or_nothing, make_folder
from .model.bundle import DEFAULT_MODEL, Model
from .progress import ProgressCallback
from .run.request import FileRequest
from .run.result import DenoiseResult
from .run.sidecars import remove_former
from .run.stages import ModelChoice, load_checked
from .sentences import CLI
from .settings import DenoiseSettings, checked

SPEC: Any = json.loads(Path(__file__).with_name("bids_outputs.json").read_text(encoding="utf-8"))
_SUFFIX = "_pet"

Result = Union[DenoiseResult, DynamicResult]


@dataclass(frozen=True)
class BidsPet:
    """One PET of a dataset, and the T1w of the same participant, of the same session where there is one.

    Attributes:
        root: of the raw dataset.
        pet: the file.
        mr: the file, or None.
        folder: root of the derivatives; None for the one in the dataset.
    """

    root: Path
    pet: Path
    mr: Optional[Path]
    folder: Optional[Path] = None

    @property
    def derivatives(self) -> Path:
        """Root of the derivatives."""
        return self.folder or derivatives_of(self.root)

    @property
    def outputs(self) -> dict[str, Path]:
        """Name -> path of every volume that a run may write."""
        folder = self.derivatives / self.pet.parent.relative_to(self.root)
        stem = stem_of(self.pet)[: -len(_SUFFIX)]
        return {name: folder / f"{stem}{ending}" for name, ending in SPEC["outputs"].items()}

    def request(self, settings: DenoiseSettings, overwrite: bool = False, frames: Optional[str] = None) -> FileRequest:
        """Return what is read and written; the uncertainty only where the settings give one."""
        paths = self.outputs
        return FileRequest(
            self.pet,
            paths["denoised"],
            self.mr,
            difference=paths["difference"],
            uncertainty=paths["uncertainty"] if settings.has_uncertainty else None,
            overwrite=overwrite,
            frames=frames,
        )


def derivatives_of(root: Path) -> Path:
    """Return the folder of the outputs."""
    return root / "derivatives" / SPEC["pipeline"]


def find_pets(root: Path, participants: Sequence[str] = ()) -> tuple[BidsPet, ...]:
    """Find the PETs of a raw dataset, in the order of their names.

    Args:
        root: of the dataset.
        participants: labels, with or without ``sub-``; none for all.

    Raises:
        InputError: no such folder or participant, no PET, or two files of one name, compressed and not.
    """
    if not root.is_dir():
        raise InputError(f"The BIDS dataset '{root}' is not a folder; give the root of the raw dataset.")
    present = sorted(folder.name[4:] for folder in root.glob("sub-*") if folder.is_dir())
    # one that is named twice is taken once
    named = dict.fromkeys(label.removeprefix("sub-") for label in participants)
    labels = list(named) or present
    missing = [label for label in labels if label not in present]
    if missing:
        raise InputError(f"The BIDS dataset '{root}' has no sub-{missing[0]}; it has {len(present)} participants.")
    found = [_pet_of(root, label, path) for label in labels for path in _matches(root, SPEC["pet"], label)]
    if not found:
        of_whom = " of these participants" if named else ""
        raise InputError(f"The BIDS dataset '{root}' has no PET (sub-*/[ses-*/]pet/*_pet.nii.gz){of_whom}.")
    by_name: dict[Path, BidsPet] = {}
    for pet in found:
        other = by_name.setdefault(pet.pet.with_name(stem_of(pet.pet)), pet)
        if other is not pet:
            raise InputError(f"'{other.pet}' and '{pet.pet}' are one PET by their names; leave one in the dataset.")
    return tuple(found)


def denoise_bids(
    root: Path,
    participants: Sequence[str] = (),
    settings: Optional[DenoiseSettings] = None,
    model: ModelChoice = DEFAULT_MODEL,
    progress: Optional[ProgressCallback] = None,
    overwrite: bool = False,
    frames: Optional[str] = None,
    done: Callable[[BidsPet, Union[Result, InputError]], None] = lambda _pet, _result: None,
) -> tuple[BidsPet, ...]:
    """Denoise the PETs of a raw dataset, static and dynamic, each with its T1w registered to it.

    Args:
        root: of the dataset.
        participants: labels; none for all.
        settings: of every run; the MR is registered in any case.
        model: which.
        progress: receives the reports of each run in turn; returning False cancels.
        overwrite: replace outputs that exist.
        frames: time frames of every dynamic PET that are denoised ("5-"), None for all; a static PET is denoised.
        done: receives each PET with its result, or with the error of one that could not be denoised.

    Returns:
        The PETs that could not be denoised.

    Raises:
        InputError: as :func:`find_pets`; the model cannot be used.
        Cancelled: ``progress`` returned False; what is complete stays.
    """
    settings, failed = checked(settings), []
    pets = find_pets(root.resolve(), participants)
    loaded = load_checked(model, settings, with_mr=any(pet.mr for pet in pets))
    settings = loaded.metadata.settings_of(settings)
    describe_derivatives(root.resolve())
    for pet in pets:
        try:
            result = denoise_pet(pet, settings, loaded, progress, overwrite, frames)
        except InputError as error:
            failed.append(pet)
            done(pet, error)
        else:
            done(pet, result)
    return tuple(failed)


def denoise_pet(
    pet: BidsPet,
    settings: DenoiseSettings,
    model: Model,
    progress: Optional[ProgressCallback] = None,
    overwrite: bool = False,
    frames: Optional[str] = None,
) -> Result:
    """Denoise one PET of a dataset, with the sidecars of its outputs; arguments as of :func:`denoise_bids`.

    Raises:
        InputError, Cancelled: as :func:`CSRDDenoiseLib.denoise.denoise_files`.
    """
    request = pet.request(settings, overwrite, frames)
    make_folder(request.output.parent)
    result = denoise_request(request, settings, model, progress, entries_of(pet))
    remove_former(pet.outputs.values(), request)
    return result


def denoise_request(
    request: FileRequest,
    settings: DenoiseSettings,
    model: Model,
    progress: Optional[ProgressCallback],
    entries: Mapping[str, Any],
) -> Result:
    """Denoise one PET of a dataset, wherever its files lie, with the sidecars of its outputs.

    Args:
        request: the files; its ``frames`` are those of a dynamic PET, and a static one is denoised.
        settings: of the run; the MR is registered in any case.
        model: loaded.
        progress: receives the reports.
        entries: of every sidecar, see :func:`entries_of`.

    Raises:
        InputError, Cancelled: as :func:`CSRDDenoiseLib.denoise.denoise_files`.
    """
    settings = replace(settings, register=request.mr is not None)
    if is_dynamic(request.pet):
        return denoise_dynamic(request, settings, model, progress, entries)
    request = replace(request, frames=None)
    return denoise_files(request, settings, model, progress, CLI, entries=entries)


def entries_of(pet: BidsPet, at: Optional[Path] = None) -> dict[str, Any]:
    """Return what the sidecars of derivatives need: BIDS URIs of the inputs, and whether the PET was stripped.

    Args:
        pet: of a dataset, which need not be on this machine.
        at: where the PET is on this machine; None for where it is in the dataset.
    """
    stripped = read_sidecar(at or pet.pet, "PET")[0].get("SkullStripped") is True
    sources = [f"bids:raw:{path.relative_to(pet.root).as_posix()}" for path in (pet.pet, pet.mr) if path]
    return {"Sources": sources, "SkullStripped": stripped}


def _path_from(folder: Path, root: Path) -> str:
    """Return a path that is relative to a folder, or a URI where it lies on another drive of Windows."""
    try:
        return Path(os.path.relpath(root, folder)).as_posix()
    except ValueError:
        return root.absolute().as_uri()


def describe_derivatives(root: Path, derivatives: Optional[Path] = None) -> None:
    """Write what the derivatives are, and which files BIDS does not know; into the dataset or elsewhere.

    Raises:
        InputError: the folder is that of another dataset, the raw one for instance, or cannot be made.
    """
    folder = derivatives or derivatives_of(root)
    check_derivatives(root, folder)
    raw_data = _path_from(folder, root)
    make_folder(folder)
    try:
        raw = read_json(root / "dataset_description.json")
    except (OSError, ValueError):
        raw = {}
    raw = raw if isinstance(raw, dict) else {}
    source = {"DOI": raw["DatasetDOI"]} if raw.get("DatasetDOI") else {"URL": raw_data}
    entries = {
        "Name": f"{SPEC['pipeline']}: denoised PET of {raw.get('Name') or root.name}",
        "BIDSVersion": SPEC["bids_version"],
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": SPEC["pipeline"], "Version": __version__, "CodeURL": SPEC["code"]}],
        "SourceDatasets": [source],
        "DatasetLinks": {"raw": raw_data},
    }
    described, ignored, about = (folder / name for name in ("dataset_description.json", ".bidsignore", "README.md"))
    texts = {ignored: SPEC["ignored"], about: SPEC["readme"]}
    # people write into a README
    texts = {path: lines for path, lines in texts.items() if path != about or not about.exists()}
    with all_or_nothing([described, *texts]) as temporary:
        write_sidecar(entries, temporary[described])
        for path, lines in texts.items():
            temporary[path].write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def check_derivatives(root: Path, derivatives: Path) -> None:
    """Refuse a folder for the derivatives of a dataset that is another dataset's, or the dataset itself.

    Raises:
        InputError: it is.
    """
    _check_own(derivatives / "dataset_description.json")
    if derivatives.resolve() == root.resolve():
        raise InputError(f"The output folder '{derivatives}' is the BIDS dataset itself; give a folder of its own.")


def _check_own(description: Path) -> None:
    """Refuse a folder whose description is not of this pipeline."""
    if not description.exists():
        return
    try:
        found = read_json(description)
    except (OSError, ValueError):
        found = None
    makers = found.get("GeneratedBy") if isinstance(found, dict) else None
    names = [each.get("Name") for each in makers if isinstance(each, dict)] if isinstance(makers, list) else []
    if SPEC["pipeline"] not in names:
        raise InputError(
            f"The output folder '{description.parent}' is that of another dataset, by its {description.name}; give a "
            "folder of its own."
        )


def _pet_of(root: Path, label: str, path: Path) -> BidsPet:
    session = path.parent.parent.name
    place = f"{session}/" if session.startswith("ses-") else ""
    return BidsPet(root, path, next(iter(_matches(root, SPEC["mr"], label, place)), None))


def _matches(root: Path, patterns: Sequence[str], label: str, session: str = "") -> list[Path]:
    """Return the files of the patterns, those of an earlier pattern first; hidden ones (``._*`` of macOS) are none."""
    found = [
        path
        for pattern in patterns
        for path in sorted(root.glob(f"{pattern.format(participant=label, session=session)}.*"))
        if path.name.endswith(tuple(SPEC["extensions"])) and not path.name.startswith(".")
    ]
    return list(dict.fromkeys(found))
