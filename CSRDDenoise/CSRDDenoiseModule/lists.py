"""The panel's lists to choose from: models, presets, samplers and devices."""

from typing import Any, Optional

import qt
import slicer
from slicer.i18n import tr as _

from CSRDDenoiseLib.model.bundle import DEFAULT_MODEL
from CSRDDenoiseLib.settings import PRESETS, SAMPLERS

from .models import model_choices
from .parameters import CUSTOM_PRESET, CSRDDenoiseParameterNode, apply_preset, preset_of
from .wording import device_title, preset_title, sampler_title

AUTOMATIC = "auto"


class Lists:
    """Fills the lists and keeps them in step with the parameters, which their own connectors cannot do.

    Args:
        ui: the widgets by their object names.
    """

    def __init__(self, ui: Any):
        self._ui = ui
        self._parameters: Optional[CSRDDenoiseParameterNode] = None
        self._updating = False
        self.fillModels()
        self._fill(ui.presetComboBox, {**{name: preset_title(name) for name in PRESETS}, CUSTOM_PRESET: _("Custom")})
        self._fill(ui.samplerComboBox, {name: sampler_title(name) for name in SAMPLERS})
        self.fillDevices([])
        ui.presetComboBox.currentIndexChanged.connect(self.onPresetChosen)
        ui.modelComboBox.currentIndexChanged.connect(self.onModelChosen)
        ui.samplerComboBox.currentIndexChanged.connect(self.onSamplerChosen)
        ui.deviceComboBox.currentIndexChanged.connect(self.onDeviceChosen)

    def fillModels(self) -> None:
        """Offer the models there are now."""
        self._fill(self._ui.modelComboBox, {choice.value: choice.title for choice in model_choices()})

    def fillDevices(self, devices: "list[dict[str, Any]]") -> None:
        """Offer the devices that the worker found; the processor alone while none is known."""
        known = devices or [{"name": "cpu", "description": "", "memory_bytes": None}]
        titles = {device["name"]: device_title(device) for device in known}
        self._fill(self._ui.deviceComboBox, {AUTOMATIC: _("Automatic"), **titles})

    def show(self, parameters: CSRDDenoiseParameterNode) -> None:
        """Show these parameters; what the user chooses from now on goes there."""
        self._parameters = parameters
        self._updating = True
        try:
            _select(self._ui.modelComboBox, parameters.model or DEFAULT_MODEL)
            _select(self._ui.presetComboBox, preset_of(parameters))
            _select(self._ui.samplerComboBox, parameters.sampler)
            _select(self._ui.deviceComboBox, parameters.device)
        finally:
            self._updating = False

    def onPresetChosen(self, *_arguments: Any) -> None:
        """A preset was chosen: set what it stands for."""
        preset = self._chosen(self._ui.presetComboBox)
        if preset in PRESETS:
            with slicer.util.NodeModify(self._parameters):
                apply_preset(self._parameters, preset)

    def onModelChosen(self, *_arguments: Any) -> None:
        """A model was chosen."""
        value = self._chosen(self._ui.modelComboBox)
        if value is not None:
            self._parameters.model = value

    def onSamplerChosen(self, *_arguments: Any) -> None:
        """A sampler was chosen."""
        value = self._chosen(self._ui.samplerComboBox)
        if value is not None:
            self._parameters.sampler = value

    def onDeviceChosen(self, *_arguments: Any) -> None:
        """A device was chosen."""
        value = self._chosen(self._ui.deviceComboBox)
        if value is not None:
            self._parameters.device = value

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
