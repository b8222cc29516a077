"""The models the panel offers: the bundled ones, and folders that the user imported."""

import json
from dataclasses import dataclass
from pathlib import Path

import qt
from slicer.i18n import tr as _

from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.model.bundle import DEFAULT_MODEL, ModelMetadata, find_model, list_models, read_metadata

SETTINGS_KEY = "CSRDDenoise/ImportedModels"


@dataclass(frozen=True)
class ModelChoice:
    """One model to choose.

    Attributes:
        value: what a run is given: a bundled model's name, or a folder.
        title: what the list shows.
    """

    value: str
    title: str


def model_choices() -> "list[ModelChoice]":
    """Return the bundled models, the default one first, then the imported folders that are still there."""
    bundled = sorted((folder.name for folder in list_models()), key=lambda name: (name != DEFAULT_MODEL, name))
    imported = [folder for folder in imported_folders() if Path(folder).is_dir()]
    return [
        *(ModelChoice(name, name) for name in bundled),
        *(ModelChoice(folder, _("{name} (imported)").format(name=Path(folder).name)) for folder in imported),
    ]


def imported_folders() -> "list[str]":
    """Return the folders that were imported before."""
    text = qt.QSettings().value(SETTINGS_KEY)
    try:
        return [str(folder) for folder in json.loads(text)] if text else []
    except ValueError:
        return []


def import_model(folder: str) -> str:
    """Remember a model folder and return it as a choice's value.

    Raises:
        InputError: it holds no model, or one that cannot be read.
    """
    read_metadata(find_model(folder))
    kept = [known for known in imported_folders() if known != folder]
    qt.QSettings().setValue(SETTINGS_KEY, json.dumps([*kept, folder]))
    return folder


def card(value: str) -> str:
    """Return what a model is for in two sentences, or why it cannot be used."""
    try:
        metadata = read_metadata(find_model(value or DEFAULT_MODEL))
    except InputError as error:
        return str(error)
    return _("{description} Trained for {doses} of the full dose and voxels of {low:g} to {high:g} mm; {mr}.").format(
        description=metadata.description,
        doses=_doses(metadata),
        low=metadata.spacing_range_mm[0],
        high=metadata.spacing_range_mm[1],
        mr=_("runs without an MR too") if metadata.mr_optional else _("needs an MR"),
    )


def needs_mr(value: str) -> bool:
    """Return whether a model cannot run without an MR; False where the model cannot be read."""
    try:
        return not read_metadata(find_model(value or DEFAULT_MODEL)).mr_optional
    except InputError:
        return False


def _doses(metadata: ModelMetadata) -> str:
    low, high = (f"1/{round(1 / dose)}" for dose in metadata.dose_range)
    return low if low == high else f"{low} - {high}"
