"""The lists of the panel: models, presets, samplers, devices, precisions; in step with the choices in the scene."""

from typing import Any, Callable, Optional

import qt
import slicer
from slicer.i18n import tr as _

from CSRDDenoiseLib.model.bundle import DEFAULT_MODEL
from CSRDDenoiseLib.settings import PRECISIONS, PRESETS, SAMPLERS

from ..parameters import (
    AUTOMATIC,
    CUSTOM_PRESET,
    POSTERIOR_MEAN,
    CSRDDenoiseParameterNode,
    apply_preset,
    preset_of,
)
from .places import Places, fill_list, select_in


def preset_title(name: str) -> str:
    """Return the title of a preset."""
    return {"fast": _("Fast"), "balanced": _("Balanced"), "quality": _("Quality")}.get(name, name)


def sampler_title(name: str) -> str:
    """Return the title of a sampler."""
    titles = {"dpmpp": _("DPM-Solver++ (2M)"), "heun": _("Heun (EDM)"), "mean": _("Posterior mean")}
    return titles.get(name, name)


def precision_title(name: str) -> str:
    """Return the title of a precision."""
    titles = {"auto": _("Automatic"), "float32": _("32 bit"), "bfloat16": _("16 bit (bfloat16)")}
    return {**titles, "float16": _("16 bit (float16)")}.get(name, name)


def device_title(device: "dict[str, Any]") -> str:
    """Return the title of a device: its name, what it is, and its memory."""
    title = f"{device['name']}: {device['description']}" if device["description"] else device["name"]
    if device["memory_bytes"]:
        title = f"{title}, {device['memory_bytes'] / 2**30:.0f} GiB"
    return title


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
        self._places = Places(ui)

    def fillModels(self) -> None:
        """Offer the models there are now."""
        self._fill(self._ui.modelComboBox, self._models())

    def fillDevices(self, devices: "list[dict[str, Any]]") -> None:
        """Offer the devices that the worker found; the processor alone while none is known."""
        known = devices or [{"name": "cpu", "description": "", "memory_bytes": None}]
        titles = {device["name"]: device_title(device) for device in known}
        self._fill(self._ui.deviceComboBox, {AUTOMATIC: _("Automatic"), **titles})

    def show(self, parameters: CSRDDenoiseParameterNode) -> None:
        """Show these parameters; what the user chooses from now on goes there."""
        self._parameters = parameters
        chosen, draws = parameters.settings, parameters.settings.sampler != POSTERIOR_MEAN
        self._updating = True
        try:
            self._ui.regionSelector.setCurrentNode(parameters.region)
            select_in(self._ui.modelComboBox, parameters.model or DEFAULT_MODEL)
            select_in(self._ui.presetComboBox, preset_of(parameters))
            select_in(self._ui.samplerComboBox, chosen.sampler)
            select_in(self._ui.deviceComboBox, chosen.device)
            select_in(self._ui.precisionComboBox, chosen.precision)
        finally:
            self._updating = False
        self._places.show(parameters)
        # the posterior mean is one evaluation: there are neither steps nor samples, and no spread of them
        for widget in (self._ui.stepsSpinBox, self._ui.samplesSpinBox, self._ui.uncertaintyCheckBox):
            widget.setEnabled(draws)

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

    def _chosen(self, combo: qt.QComboBox) -> Optional[str]:
        """Return the value that the user chose in a list, or None while the program itself changes it."""
        if self._updating or self._parameters is None or combo.currentIndex < 0:
            return None
        return str(combo.itemData(combo.currentIndex))

    def _fill(self, combo: qt.QComboBox, titles: "dict[str, str]") -> None:
        self._updating = True
        fill_list(combo, titles)
        self._updating = False
