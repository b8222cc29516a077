"""The choices of the panel, kept in the scene or for each user, and the lists that show them."""

import json
import operator
from typing import TYPE_CHECKING, Annotated, Any, Callable, Optional

import qt
import slicer
from slicer import vtkMRMLDisplayableNode, vtkMRMLLabelMapVolumeNode, vtkMRMLScalarVolumeNode
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper, parameterPack

from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.model.bundle import DEFAULT_MODEL
from CSRDDenoiseLib.settings import (
    DEFAULT_PRESET,
    MAX_OVERLAP,
    PRECISIONS,
    PRESETS,
    SAMPLERS,
    DenoiseSettings,
    settings_from_preset,
)

from .nodes import Outputs
from .volumes import of_frame
from .wording import device_title, precision_title, preset_title, sampler_title
from .worker_process import DASKS_OWN, HERE, save_certificates, save_place, saved_certificates, saved_places

CUSTOM_PRESET = "custom"
AUTOMATIC = "auto"
POSTERIOR_MEAN = "mean"
PRESET_FIELDS = ("sampler", "steps", "samples", "overlap", "patch_size")
INPUTS, REGION = ("pet", "mr", "fullDoseReference"), "region"
RESULTS = ("denoised", "difference", "uncertainty", "support")
DEFAULTS_KEY = "CSRDDenoise/Defaults"
_DEFAULT = PRESETS[DEFAULT_PRESET]
RANGES = {
    "steps": (1, 200),
    "samples": (1, 200),
    "patchSize": (0, 512),
    "overlap": (0.0, MAX_OVERLAP),
    "seed": (0, 2147483647),
}
WORDS = {"sampler": SAMPLERS, "precision": PRECISIONS}
REPLACED = "CSRDDenoise.Replaced"
"""Attribute of the node of the choices: settings that gave way to defaults, until the panel has said so."""
BEFORE_ALL_OTHERS = 1000.0
SETTINGS_WIDGETS = {
    "settings.registerMr": "registerCheckBox",
    "settings.steps": "stepsSpinBox",
    "settings.samples": "samplesSpinBox",
    "settings.patchSize": "patchSizeSpinBox",
    "settings.overlap": "overlapSlider",
    "settings.seed": "seedSpinBox",
    "makeUncertainty": "uncertaintyCheckBox",
    "makeSupport": "supportCheckBox",
}


@parameterPack
class RunSettings:
    """The settings of a run as the panel offers them; ``patchSize`` 0 lets the program choose."""

    sampler: str = _DEFAULT.sampler
    steps: Annotated[int, WithinRange(*RANGES["steps"])] = _DEFAULT.steps
    samples: Annotated[int, WithinRange(*RANGES["samples"])] = _DEFAULT.samples
    patchSize: Annotated[int, WithinRange(*RANGES["patchSize"])] = 0
    overlap: Annotated[float, WithinRange(*RANGES["overlap"])] = _DEFAULT.overlap
    seed: Annotated[int, WithinRange(*RANGES["seed"])] = _DEFAULT.seed
    device: str = AUTOMATIC
    precision: str = AUTOMATIC
    registerMr: bool = False


@parameterNodeWrapper
class CSRDDenoiseParameterNode:
    """The choices of the panel. ``model`` is the name or the folder of a model (empty: the default
    one), ``place`` the address of a Dask scheduler (empty: this computer).
    """

    pet: vtkMRMLScalarVolumeNode
    mr: vtkMRMLScalarVolumeNode
    fullDoseReference: vtkMRMLScalarVolumeNode
    region: vtkMRMLDisplayableNode
    denoised: vtkMRMLScalarVolumeNode
    difference: vtkMRMLScalarVolumeNode
    uncertainty: vtkMRMLScalarVolumeNode
    support: vtkMRMLLabelMapVolumeNode
    makeUncertainty: bool = True
    makeSupport: bool = False
    model: str = ""
    place: str = ""
    settings: RunSettings

    if TYPE_CHECKING:  # what the wrapper adds

        def __init__(self, node: Any = None) -> None: ...

        def __getattr__(self, name: str) -> Any: ...


def choices_in(node: Any) -> CSRDDenoiseParameterNode:
    """Return the choices kept in a node.

    VTK calls the observer that an object got first after all the others of its priority. Were that one the wrapper's,
    its first choice, the PET, would still be that of before when the panel hears of a change.
    """
    # a function in C: the garbage collector takes it from no observer
    node.AddObserver("ModifiedEvent", operator.is_)
    replace_unknown(node)
    node.AddObserver("ModifiedEvent", replace_unknown, BEFORE_ALL_OTHERS)
    return CSRDDenoiseParameterNode(node)


def replace_unknown(node: Any, _event: str = "") -> None:
    """Put the defaults in place of settings that this version does not have, or that an earlier one did not save.

    A wrapper cannot even read a number out of range, so this comes before all that reads.
    """
    if not node.HasParameter("settings.sampler"):
        # a new node: the wrapper writes the defaults
        return
    texts = {name: node.GetParameter(f"settings.{name}") for name in (*WORDS, *RANGES, "device")}
    strange = {name: text for name, text in texts.items() if not _is_known(name, text)}
    if not strange:
        return
    usual, named = RunSettings(), [f"{name} {text}" for name, text in strange.items() if text]
    with slicer.util.NodeModify(node):
        for name in strange:
            node.SetParameter(f"settings.{name}", str(getattr(usual, name)))
        if named:
            node.SetAttribute(REPLACED, ", ".join(named))


def _is_known(name: str, text: str) -> bool:
    if name not in RANGES:
        return text in WORDS.get(name, (text or AUTOMATIC,))
    low, high = RANGES[name]
    try:
        return low <= type(low)(text) <= high
    except ValueError:
        return False


def replaced(parameters: CSRDDenoiseParameterNode) -> str:
    """Return the settings that gave way to defaults and were not reported yet (``sampler unipc``), or nothing."""
    names = parameters.parameterNode.GetAttribute(REPLACED) or ""
    if names:
        parameters.parameterNode.RemoveAttribute(REPLACED)
    return str(names)


def outputs_of(parameters: "CSRDDenoiseParameterNode") -> Outputs:
    """Return the volumes that the panel chose to fill; results of another frame of the PET are left as they are."""
    chosen = (of_frame(getattr(parameters, name), parameters.pet) for name in RESULTS)
    denoised, difference, uncertainty, support = chosen
    return Outputs(denoised, difference, uncertainty, parameters.makeUncertainty, support, parameters.makeSupport)


def settings_of(parameters: CSRDDenoiseParameterNode) -> DenoiseSettings:
    """Return the settings of a run as the panel shows them.

    Raises:
        InputError: a value is out of range.
    """
    chosen = parameters.settings
    return DenoiseSettings(
        sampler=chosen.sampler,
        steps=chosen.steps,
        samples=chosen.samples,
        overlap=chosen.overlap,
        patch_size=chosen.patchSize or None,
        seed=chosen.seed,
        device=chosen.device,
        precision=chosen.precision,
        register=chosen.registerMr,
    )


def apply_preset(parameters: CSRDDenoiseParameterNode, preset: str) -> None:
    """Set the choices that a preset stands for; device, seed and registration stay as they are."""
    wanted = settings_from_preset(preset)
    with slicer.util.NodeModify(parameters.parameterNode):
        parameters.settings.sampler = wanted.sampler
        parameters.settings.steps = wanted.steps
        parameters.settings.samples = wanted.samples
        parameters.settings.overlap = wanted.overlap
        parameters.settings.patchSize = wanted.patch_size if isinstance(wanted.patch_size, int) else 0
        parameters.makeUncertainty = wanted.has_uncertainty


def preset_of(parameters: CSRDDenoiseParameterNode) -> str:
    """Return the preset that the present choices amount to, or ``custom``."""
    try:
        chosen = settings_of(parameters)
    except InputError:
        return CUSTOM_PRESET
    for name, preset in PRESETS.items():
        if all(getattr(chosen, field) == getattr(preset, field) for field in PRESET_FIELDS):
            return name
    return CUSTOM_PRESET


def save_defaults(parameters: CSRDDenoiseParameterNode) -> None:
    """Remember device, preset and registration in Slicer's settings, for scenes to come."""
    chosen, preset = parameters.settings, preset_of(parameters)
    saved = {"device": chosen.device, "registerMr": chosen.registerMr}
    if preset != CUSTOM_PRESET:
        saved["preset"] = preset
    qt.QSettings().setValue(DEFAULTS_KEY, json.dumps({**saved_defaults(), **saved}))


def saved_defaults() -> "dict[str, Any]":
    """Return what :func:`save_defaults` remembered, as far as it still makes sense."""
    try:
        saved = dict(json.loads(qt.QSettings().value(DEFAULTS_KEY) or "{}"))
    except (TypeError, ValueError):
        # the file of the settings can be edited, and another program may have
        return {}
    kinds = {"device": str, "registerMr": bool, "preset": str}
    good = {name: saved[name] for name, kind in kinds.items() if isinstance(saved.get(name), kind)}
    return {name: value for name, value in good.items() if name != "preset" or value in PRESETS}


def apply_defaults(parameters: CSRDDenoiseParameterNode) -> None:
    """Set what the user chose last, in a scene that has no choices of its own."""
    saved = saved_defaults()
    with slicer.util.NodeModify(parameters.parameterNode):
        for name in ("device", "registerMr"):
            if name in saved:
                setattr(parameters.settings, name, saved[name])
        if "preset" in saved:
            apply_preset(parameters, saved["preset"])


class Lists:
    """Fills the lists and keeps them in step with the parameters, which their own connectors cannot do.

    Args:
        ui: the widgets by their object names.
        models: returns the models to choose from, value -> title.
    """

    def __init__(self, ui: Any, models: "Callable[[], dict[str, str]]"):
        self._ui = ui
        self._models = models
        self._parameters: Optional[CSRDDenoiseParameterNode] = None
        self._updating = False
        self.fillModels()
        self._fill(ui.presetComboBox, {**{name: preset_title(name) for name in PRESETS}, CUSTOM_PRESET: _("Custom")})
        self._fill(ui.samplerComboBox, {name: sampler_title(name) for name in SAMPLERS})
        self.fillDevices([])
        ui.presetComboBox.currentIndexChanged.connect(self.onPresetChosen)
        # the wrapper's own connector makes a node of the type, and the common base of both is abstract
        ui.regionSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.onRegionChosen)
        ui.modelComboBox.currentIndexChanged.connect(self.onModelChosen)
        ui.samplerComboBox.currentIndexChanged.connect(self.onSamplerChosen)
        self._fill(ui.precisionComboBox, {name: precision_title(name) for name in PRECISIONS})
        ui.deviceComboBox.currentIndexChanged.connect(self.onDeviceChosen)
        ui.precisionComboBox.currentIndexChanged.connect(self.onPrecisionChosen)
        self._fill(ui.placeComboBox, {HERE: _("This computer"), **{address: address for address in saved_places()}})
        self._fillCertificates()
        ui.placeComboBox.currentIndexChanged.connect(self.onPlaceChosen)
        ui.certificatesComboBox.currentIndexChanged.connect(self.onCertificatesChosen)
        ui.certificatesButton.clicked.connect(self.onChooseFolder)

    def fillModels(self) -> None:
        """Offer the models there are now."""
        self._fill(self._ui.modelComboBox, self._models())

    def fillDevices(self, devices: "list[dict[str, Any]]") -> None:
        """Offer the devices that the worker found; the processor alone while none is known."""
        known = devices or [{"name": "cpu", "description": "", "memory_bytes": None}]
        titles = {device["name"]: device_title(device) for device in known}
        self._fill(self._ui.deviceComboBox, {AUTOMATIC: _("Automatic"), **titles})

    def show(self, parameters: CSRDDenoiseParameterNode, used: DenoiseSettings) -> None:
        """Show these parameters, of which a run uses ``used``; what the user chooses from now on goes there."""
        self._parameters, chosen = parameters, parameters.settings
        self._updating = True
        try:
            self._ui.regionSelector.setCurrentNode(parameters.region)
            _select(self._ui.modelComboBox, parameters.model or DEFAULT_MODEL)
            _select(self._ui.presetComboBox, preset_of(parameters))
            _select(self._ui.samplerComboBox, chosen.sampler)
            _select(self._ui.deviceComboBox, chosen.device)
            _select(self._ui.precisionComboBox, chosen.precision)
            _select(self._ui.placeComboBox, parameters.place)
        finally:
            self._updating = False
        # the posterior mean alone has neither steps nor samples, and no spread of them
        for widget in (self._ui.stepsSpinBox, self._ui.samplesSpinBox, self._ui.uncertaintyCheckBox):
            widget.setEnabled(used.sampler != POSTERIOR_MEAN)

    def onPresetChosen(self, *_arguments: Any) -> None:
        """A preset was chosen: set what it stands for."""
        preset = self._chosen(self._ui.presetComboBox)
        if preset in PRESETS:
            apply_preset(self._parameters, preset)

    def onRegionChosen(self, node: Any) -> None:
        """Another region was chosen, or none."""
        if not self._updating and self._parameters is not None:
            self._parameters.region = node

    def onModelChosen(self, *_arguments: Any) -> None:
        """A model was chosen."""
        value = self._chosen(self._ui.modelComboBox)
        if value is not None:
            self._parameters.model = value

    def onSamplerChosen(self, *_arguments: Any) -> None:
        """A sampler was chosen; the uncertainty comes and goes with the samples."""
        value = self._chosen(self._ui.samplerComboBox)
        if value is None:
            return
        before = self._parameters.settings.sampler
        with slicer.util.NodeModify(self._parameters.parameterNode):
            self._parameters.settings.sampler = value
            if POSTERIOR_MEAN in (before, value):
                self._parameters.makeUncertainty = value != POSTERIOR_MEAN

    def onDeviceChosen(self, *_arguments: Any) -> None:
        """A device was chosen."""
        value = self._chosen(self._ui.deviceComboBox)
        if value is not None:
            self._parameters.settings.device = value

    def onPrecisionChosen(self, *_arguments: Any) -> None:
        """A precision was chosen."""
        value = self._chosen(self._ui.precisionComboBox)
        if value is not None:
            self._parameters.settings.precision = value

    def onPlaceChosen(self, *_arguments: Any) -> None:
        """A place to run was chosen, or an address was typed, which Qt has made an entry without a value."""
        combo = self._ui.placeComboBox
        if self._updating or self._parameters is None or combo.currentIndex < 0:
            return
        value = combo.itemData(combo.currentIndex)
        address = str(combo.currentText).strip() if value is None else str(value)
        combo.setItemData(combo.currentIndex, address)
        save_place(address)
        self._parameters.place = address

    def onCertificatesChosen(self, *_arguments: Any) -> None:
        """Another folder of certificates was chosen: the place is asked anew."""
        combo = self._ui.certificatesComboBox
        if not self._updating and combo.currentIndex >= 0:
            # the list itself is left alone: it is in the middle of its own change
            save_certificates(str(combo.itemData(combo.currentIndex)))
            self._askPlace()

    def onChooseFolder(self, *_arguments: Any) -> None:
        """Ask for a folder of certificates and use it."""
        folder = qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), _("Folder of the certificates"))
        if folder:
            save_certificates(str(folder))
            self._fillCertificates()
            self._askPlace()

    def _askPlace(self) -> None:
        if self._parameters is not None:
            self._parameters.parameterNode.Modified()

    def _fillCertificates(self) -> None:
        """Offer Dask's own and the folders used before, in the order of their names; the one that is used is chosen."""
        used = next(iter(saved_certificates()), DASKS_OWN)
        folders = sorted(folder for folder in saved_certificates() if folder != DASKS_OWN)
        titles = {DASKS_OWN: _("Those of Dask's configuration"), **{folder: folder for folder in folders}}
        self._fill(self._ui.certificatesComboBox, titles)
        self._updating = True
        _select(self._ui.certificatesComboBox, used)
        self._updating = False

    def _chosen(self, combo: qt.QComboBox) -> Optional[str]:
        """Return the value that the user chose in a list, or None while the program itself changes it."""
        if self._updating or self._parameters is None or combo.currentIndex < 0:
            return None
        return str(combo.itemData(combo.currentIndex))

    def _fill(self, combo: qt.QComboBox, titles: "dict[str, str]") -> None:
        self._updating = True
        combo.clear()
        for value, title in titles.items():
            combo.addItem(title, value)
        self._updating = False


def _select(combo: qt.QComboBox, value: str) -> None:
    """Choose a value in a list; one that is not in it (a scene from elsewhere) is added."""
    index = combo.findData(value)
    if index < 0:
        combo.addItem(_("{value} (not here)").format(value=value), value)
        index = combo.findData(value)
    combo.setCurrentIndex(index)
