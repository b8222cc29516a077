"""The models that the panel offers, and how long a run with one takes on this computer."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Callable, Optional

import qt
import slicer
from slicer.i18n import tr as _

from CSRDDenoiseLib.errors import CSRDError, InputError
from CSRDDenoiseLib.infer.cost import Calibration, calibration_from, seconds_and_bytes
from CSRDDenoiseLib.infer.extent import field_voxels, head_voxels
from CSRDDenoiseLib.model.bundle import DEFAULT_MODEL, ModelMetadata, find_model, list_models, read_metadata
from CSRDDenoiseLib.settings import DenoiseSettings

from .packages import missing_packages
from .parameters import CSRDDenoiseParameterNode, settings_of
from .wording import estimate_text, missing_text

IMPORTED_KEY = "CSRDDenoise/ImportedModels"
CALIBRATION_GROUP = "CSRDDenoise/Calibration"
INFO, CALIBRATE = "info", "calibrate"


def model_choices() -> "dict[str, str]":
    """Return the models as value -> title: the bundled ones, the default first, then imported folders still there.

    A value is what a run is given: a bundled model's name, or a folder.
    """
    bundled = sorted((folder.name for folder in list_models()), key=lambda name: (name != DEFAULT_MODEL, name))
    imported = [folder for folder in imported_folders() if Path(folder).is_dir()]
    titles = {name: name for name in bundled}
    return {**titles, **{folder: _("{name} (imported)").format(name=Path(folder).name) for folder in imported}}


def imported_folders() -> "list[str]":
    """Return the folders that were imported before."""
    text = qt.QSettings().value(IMPORTED_KEY)
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
    qt.QSettings().setValue(IMPORTED_KEY, json.dumps([*kept, folder]))
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


def keep_calibration(device: str, model: str, calibration: Calibration) -> None:
    """Keep a calibration in Slicer's settings."""
    qt.QSettings().setValue(_key(device, model), json.dumps(asdict(calibration)))


def kept_calibration(device: str, model: str) -> Optional[Calibration]:
    """Return the calibration kept for a device and a model, or None."""
    text = qt.QSettings().value(_key(device, model))
    if not text:
        return None
    try:
        return Calibration(**json.loads(text))
    except (TypeError, ValueError):
        return None


def estimate_sentence(calibration: Calibration, pet: slicer.vtkMRMLScalarVolumeNode, settings: DenoiseSettings) -> str:
    """Return time and memory of a run as the panel shows them."""
    values, spacing = slicer.util.arrayFromVolume(pet), pet.GetSpacing()[::-1]
    head = head_voxels(values, spacing, calibration.voxel_spacing_mm)
    field = field_voxels(values.shape, spacing, calibration.voxel_spacing_mm)
    return estimate_text(*seconds_and_bytes(calibration, head, field, settings))


class Questions:
    """What the panel asks the worker besides runs: the devices, and how fast this computer is; each once.

    Args:
        ask: sends a request to the worker.
        onDevices: receives the devices, each a dict with ``name``, ``description`` and ``memory_bytes``.
        log: receives what went wrong, one sentence.
    """

    def __init__(
        self,
        ask: "Callable[[dict[str, Any]], None]",
        onDevices: "Callable[[list[dict[str, Any]]], None]",
        log: Callable[[str], None],
    ):
        self._send = ask
        self._onDevices = onDevices
        self._log = log
        self._problem = ""
        self._asked: set[Any] = set()

    def estimate(self, parameters: CSRDDenoiseParameterNode, mayAsk: bool) -> str:
        """Return how long a run with these parameters takes and what it needs, or why that is not known yet.

        Args:
            parameters: the choices.
            mayAsk: whether the worker may be asked for what is not known.
        """
        if parameters.pet is None or parameters.pet.GetImageData() is None:
            return ""
        try:
            missing = missing_packages()
            if missing:
                # a measurement of before would promise a run that cannot be
                return missing_text(missing)
            return self._estimate(parameters, mayAsk)
        except CSRDError as error:
            return str(error)

    def receive(self, message: "dict[str, Any]") -> bool:
        """Take a message of the worker that belongs to no run; return whether it changes what the panel shows."""
        if message["event"] == "error":
            self._problem = message["message"]
            self._log(self._problem)
            return True
        if message["event"] != "result":
            return False
        self._problem = ""
        if message["id"] == INFO:
            self._onDevices(message["devices"])
        elif message["id"] == CALIBRATE:
            keep_calibration(message["device"], message["model"], calibration_from(message))
        return True

    def forget(self) -> None:
        """The worker ended: the next one may be asked again."""
        self._asked.clear()

    def _estimate(self, parameters: CSRDDenoiseParameterNode, mayAsk: bool) -> str:
        device, model = parameters.settings.device, parameters.model or DEFAULT_MODEL
        calibration = kept_calibration(device, model)
        if mayAsk:
            self._ask({"command": INFO})
            if calibration is None:
                self._ask({"command": CALIBRATE, "device": device, "model": model})
        if calibration is None:
            return self._problem or _("Measuring the speed of this computer...")
        return estimate_sentence(calibration, parameters.pet, settings_of(parameters))

    def _ask(self, request: "dict[str, str]") -> None:
        """Send the worker a question, once."""
        question = tuple(request.values())
        if question not in self._asked:
            self._asked.add(question)
            self._send({**request, "id": request["command"]})


def _doses(metadata: ModelMetadata) -> str:
    low, high = (f"1/{round(1 / dose)}" for dose in metadata.dose_range)
    return low if low == high else f"{low} - {high}"


def _key(device: str, model: str) -> str:
    # a slash in a folder's path would open a further group
    return f"{CALIBRATION_GROUP}/{device}/{model.replace('/', '|')}"
