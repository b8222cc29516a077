"""Whether a run can start, and how long it takes: Python packages, models, and the speed of this computer.

A package is named when missing and installed after asking once, never forced. PyTorch comes from the PyTorch extension
alone. The others are installed with the versions of what is already there pinned, so that pip either finds versions
that fit or says that there are none; Slicer 5.11 and later show pip's progress (``slicer.packaging``). pip runs on the
main thread only: Slicer's own dialogs need it.
"""

import importlib.util
import json
import os
import tempfile
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any, Callable, Optional

import qt
import slicer
from slicer.i18n import tr as _

from CSRDDenoiseLib import installed
from CSRDDenoiseLib.errors import CSRDError
from CSRDDenoiseLib.infer.cost import DeviceSpeed, seconds_and_bytes, speed_from
from CSRDDenoiseLib.infer.extent import field_voxels, head_voxels, voxels_around
from CSRDDenoiseLib.model.bundle import DEFAULT_MODEL, find_model, list_models, read_metadata
from CSRDDenoiseLib.model.metadata import ModelMetadata
from CSRDDenoiseLib.settings import DenoiseSettings

from .nodes import region_sides
from .parameters import CSRDDenoiseParameterNode, settings_of
from .wording import estimate_text, missing_text
from .worker_process import on_place

TORCH_MINIMUM = "2.1"
TORCH_EXTENSION = "PyTorch"
SIZES = {
    "torch": "200 MB, or 3 GB with CUDA",
    "monai": "2 MB",
    "safetensors": "1 MB",
    "scipy": "35 MB",
    "nibabel": "6 MB",
    "pydicom": "3 MB",
    "jinja2": "1 MB",
    "cattrs": "1 MB",
}
PINNED = ("torch", "torchvision", "numpy", "scipy", "SimpleITK")
REQUIREMENTS_FILE = Path(__file__).resolve().parents[1] / "Resources" / "requirements.txt"
TITLE = "CSRDDenoise"
IMPORTED_KEY, SPEED_GROUP = "CSRDDenoise/ImportedModels", "CSRDDenoise/Speed"
INFO, ESTIMATE, REACH = "info", "estimate", "reach"


# Python packages


class PackagesMissing(CSRDError):
    """A run was asked for, and Python packages that it needs are not installed."""


def requirements() -> "list[installed.Requirement]":
    """Return what a run needs: PyTorch first, then the lines of ``Resources/requirements.txt``."""
    listed = installed.requirements_in(REQUIREMENTS_FILE.read_text(encoding="utf-8"))
    return [installed.Requirement("torch", TORCH_MINIMUM), *listed]


def missing_packages() -> "list[installed.Requirement]":
    """Return the packages that are not installed.

    Raises:
        PackagesMissing: a package is installed, but too old; replacing it could break other modules.
    """
    needed = requirements()
    for requirement in needed:
        if requirement.too_old:
            raise PackagesMissing(
                _(
                    "{name} {version} is installed, but CSRDDenoise needs {minimum} or later. It was not replaced, "
                    "because other modules may depend on it; update it when that suits them."
                ).format(name=requirement.name, version=requirement.installed, minimum=requirement.minimum)
            )
    return [requirement for requirement in needed if requirement.installed is None]


def require_packages() -> None:
    """Raise :class:`PackagesMissing`, naming the packages, unless everything a run needs is installed."""
    missing = missing_packages()
    if missing:
        raise PackagesMissing(
            _(
                "Python packages are missing: {names}. Open the CSRDDenoise module and press Apply to install them."
            ).format(names=", ".join(requirement.name for requirement in missing))
        )


def install_packages() -> bool:
    """Install what is missing after asking the user once; return False if the user declined.

    Raises:
        PackagesMissing: the PyTorch extension is missing, or no versions fit what is installed.
        RuntimeError: called outside the main thread.
    """
    missing = missing_packages()
    if not missing:
        return True
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("Packages are installed on the main thread only.")
    if missing[0].name == "torch" and importlib.util.find_spec("PyTorchUtils") is None:
        raise PackagesMissing(_offer_extension())
    if not slicer.util.confirmOkCancelDisplay(_question(missing), windowTitle=_("CSRDDenoise: install packages")):
        return False
    if missing[0].name == "torch":
        _install_torch()
    others = [str(requirement) for requirement in missing if requirement.name != "torch"]
    if others:
        _install(others)
    importlib.invalidate_caches()
    require_packages()
    return True


def _question(missing: "list[installed.Requirement]") -> str:
    lines = [f"- {requirement.name} ({SIZES.get(requirement.name, '?')})" for requirement in missing]
    return _(
        "CSRDDenoise needs Python packages that are not installed yet:\n\n{packages}\n\n"
        "They are downloaded from the Internet into Slicer's Python, which can take some minutes. Install them now?"
    ).format(packages="\n".join(lines))


def _offer_extension() -> str:
    """Offer to install the PyTorch extension and return what remains to be done, one sentence."""
    # a Slicer that was built without extensions has no manager of them
    manager = getattr(slicer.app, "extensionsManagerModel", lambda: None)()
    needed = _("PyTorch is not installed. It comes from Slicer's extension 'PyTorch', which is not installed either.")
    by_hand = _("Open the Extensions Manager, install the extension 'PyTorch', restart Slicer, and press Apply again.")
    if manager is None:
        slicer.util.errorDisplay(f"{needed}\n\n{by_hand}", windowTitle=TITLE)
        return f"{needed} {by_hand}"
    question = _("{needed}\n\nInstall the extension now? Slicer has to be restarted afterwards; save your data first.")
    if not slicer.util.confirmOkCancelDisplay(question.format(needed=needed), windowTitle=TITLE):
        return f"{needed} {by_hand}"
    if not _installed_from_server(manager):
        return _("The extension 'PyTorch' could not be installed. {by_hand}").format(by_hand=by_hand)
    if slicer.util.confirmOkCancelDisplay(_("The extension 'PyTorch' is installed. Restart Slicer now?"), TITLE):
        slicer.util.restart()
    return _("The extension 'PyTorch' is installed. Restart Slicer, and press Apply again.")


def _installed_from_server(manager: Any) -> bool:
    before, manager.interactive = manager.interactive, False
    try:
        return bool(manager.installExtensionFromServer(TORCH_EXTENSION, False))
    finally:
        manager.interactive = before


def _install_torch() -> None:
    import PyTorchUtils

    advice = _("PyTorch was not installed. Install it with the PyTorch Utils module, then try again.")
    try:
        torch = PyTorchUtils.PyTorchUtilsLogic().installTorch(torchVersionRequirement=f">={TORCH_MINIMUM}")
    except Exception as error:
        # without the Internet its pip fails; a half-installed PyTorch cannot be imported
        raise PackagesMissing(_("{advice} The reason: {error}").format(advice=advice, error=error)) from error
    if torch is None:
        raise PackagesMissing(advice)


def _install(names: "list[str]") -> None:
    from subprocess import CalledProcessError

    with tempfile.TemporaryDirectory(prefix="CSRDDenoise-") as folder:
        constraints = Path(folder) / "constraints.txt"
        constraints.write_text("".join(f"{pin}\n" for pin in installed.pins(PINNED)), encoding="utf-8")
        try:
            _pip(names, constraints)
        except (CalledProcessError, RuntimeError) as error:
            raise PackagesMissing(
                _("{names} could not be installed beside what is there ({pins}): {error}").format(
                    names=", ".join(names), pins=", ".join(installed.pins(PINNED)), error=error
                )
            ) from error


def _pip(names: "list[str]", constraints: Path) -> None:
    """Run pip, with Slicer's progress dialog where there is one (5.11 and later)."""
    try:
        packaging = importlib.import_module("slicer.packaging")
    except ImportError:
        packaging = None
    if hasattr(packaging, "pip_install"):
        packaging.pip_install(names, constraints=constraints, show_progress=True, requester=TITLE)
    else:
        slicer.util.pip_install([*names, "--constraint", str(constraints)])


# Models


def model_choices() -> "dict[str, str]":
    """Return the models as value -> title: the bundled ones, the default first, then imported folders still there.

    A value is what a run is given: a bundled model's name, or a folder.
    """
    bundled = sorted((folder.name for folder in list_models()), key=lambda name: (name != DEFAULT_MODEL, name))
    added = {folder: _("{name} (imported)").format(name=Path(folder).name) for folder in imported_folders()}
    return {**dict(zip(bundled, bundled)), **{value: added[value] for value in added if os.path.isdir(value)}}


def imported_folders() -> "list[str]":
    """Return the folders that were imported before."""
    try:
        return [str(folder) for folder in json.loads(qt.QSettings().value(IMPORTED_KEY) or "[]")]
    except (TypeError, ValueError):
        return []


def import_model(folder: str) -> str:
    """Remember a model folder and return it as a choice's value; raises what it cannot be read for."""
    _metadata(folder)
    others = [known for known in imported_folders() if known != folder]
    qt.QSettings().setValue(IMPORTED_KEY, json.dumps([*others, folder]))
    return folder


def card(value: str) -> str:
    """Return what a model is for in two sentences, or why it cannot be used."""
    try:
        metadata = _metadata(value)
    except CSRDError as error:
        return str(error)
    return _("{description} Trained for {doses} of the full dose and voxels of {low:g} to {high:g} mm; {mr}.").format(
        description=metadata.description,
        doses=metadata.doses,
        low=metadata.spacing_range_mm[0],
        high=metadata.spacing_range_mm[1],
        mr=_("runs without an MR too") if metadata.mr_optional else _("needs an MR"),
    )


def needs_mr(value: str) -> bool:
    """Return whether a model cannot run without an MR; False where the model cannot be read."""
    return (found := _readable(value)) is not None and not found.mr_optional


def settings_for(value: Optional[str], settings: DenoiseSettings) -> DenoiseSettings:
    """Return settings as a run of a model has them; as they are where it cannot be read, which the run reports."""
    found = _readable(value)
    return settings if found is None else found.settings_of(settings)


def _readable(value: Optional[str]) -> Optional[ModelMetadata]:
    try:
        return _metadata(value)
    except CSRDError:
        return None


def _metadata(value: Optional[str]) -> ModelMetadata:
    try:
        return read_metadata(find_model(value or DEFAULT_MODEL))
    except ImportError:
        require_packages()
        raise


# The speed of this computer


def save_speed(device: str, model: str, speed: DeviceSpeed, place: str = "") -> None:
    """Keep the speed of a device of a place with a model in Slicer's settings."""
    qt.QSettings().setValue(_key(device, model, place), json.dumps(asdict(speed)))


def saved_speed(device: str, model: str, place: str = "") -> Optional[DeviceSpeed]:
    """Return the saved speed of a device of a place and a model, or None."""
    try:
        return speed_from(json.loads(qt.QSettings().value(_key(device, model, place)) or "null"))
    except (KeyError, OverflowError, TypeError, ValueError):
        return None


def estimate_sentence(
    speed: DeviceSpeed, pet: slicer.vtkMRMLScalarVolumeNode, settings: DenoiseSettings, region: Optional[Any] = None
) -> str:
    """Return time and memory of a run as the panel shows them."""
    values, spacing = slicer.util.arrayFromVolume(pet), pet.GetSpacing()[::-1]
    head = head_voxels(values, spacing, speed.voxel_spacing_mm)
    if region is not None:
        head = min(head, voxels_around(region_sides(region), speed.voxel_spacing_mm))
    field = field_voxels(values.shape, spacing, speed.voxel_spacing_mm)
    return estimate_text(*seconds_and_bytes(speed, head, field, settings))


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
        self._reached: dict[str, str] = {}
        self._asked: set[str] = set()

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

    def reached(self, place: str, mayAsk: bool) -> str:
        """Return who works at a place, or why nobody does; nothing for this computer."""
        if not place:
            return ""
        there = on_place(place)
        try:
            if mayAsk:
                self._ask({"command": REACH, **there}, json.dumps(there["on"]))
        except CSRDError as error:
            return str(error)
        return self._reached.get(json.dumps(there["on"]), _("Asking {address}...").format(address=place))

    def receive(self, message: "dict[str, Any]") -> bool:
        """Take a message of the worker that belongs to no run; return whether it changes what the panel shows."""
        question, _at, place = str(message.get("id") or "").partition("@")
        if message["event"] == "error" and question == REACH:
            self._reached[place] = message["message"]
            return True
        if message["event"] == "error" and question in ("", INFO, ESTIMATE):
            self._problem = message["message"]
            self._log(self._problem)
            return True
        if message["event"] != "result":
            return False
        self._problem = ""
        if question == INFO:
            self._onDevices(message["devices"])
        elif question == ESTIMATE:
            save_speed(message["device"], message["model"], speed_from(message), place)
        elif question == REACH:
            self._reached[place] = message["sentence"]
        return True

    def forget(self) -> None:
        """The worker ended: the next one may be asked again."""
        self._asked.clear()
        self._reached.clear()

    def _estimate(self, parameters: CSRDDenoiseParameterNode, mayAsk: bool) -> str:
        device, model, place = parameters.settings.device, parameters.model or DEFAULT_MODEL, parameters.place
        speed = saved_speed(device, model, place)
        if mayAsk:
            self._ask({"command": INFO})
            if speed is None:
                request = {"command": ESTIMATE, "device": device, "model": model, **on_place(place)}
                self._ask(request, place, _key(device, model, place))
        if speed is None:
            return self._problem or _("Measuring the speed of {place}...").format(place=place or _("this computer"))
        settings = settings_for(model, settings_of(parameters))
        return estimate_sentence(speed, parameters.pet, settings, parameters.region)

    def _ask(self, request: "dict[str, Any]", place: str = "", about: str = "") -> None:
        """Send the worker a question, once about the same."""
        question = json.dumps([request, about])
        if question not in self._asked:
            self._send({**request, "id": f"{request['command']}@{place}" if place else request["command"]})
            self._asked.add(question)


def _key(device: str, model: str, place: str) -> str:
    """Return the name of a speed in the settings: with other weights, or another PyTorch, there is another speed."""
    weights = getattr(_readable(model), "weights_sha256", "")
    timed = f"{device}{'@' * bool(place)}{place}", f"{model} {weights} {installed.version_of('torch')}"
    # a slash in a folder's path would open a further group
    return "/".join([SPEED_GROUP, *(part.replace("/", "|") for part in timed)])
