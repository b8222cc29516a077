"""The choices of the panel, kept in the scene, and what a user chose last as defaults."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Iterable, Optional, Protocol

import qt
import slicer
from slicer import vtkMRMLDisplayableNode, vtkMRMLLabelMapVolumeNode, vtkMRMLScalarVolumeNode
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper, parameterPack

from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.settings import (
    DEFAULT_PRESET,
    MAX_OVERLAP,
    PRESETS,
    DenoiseSettings,
    settings_from_preset,
)

Volume = Any  # a vtkMRMLScalarVolumeNode; Slicer has no types
CUSTOM_PRESET = "custom"
AUTOMATIC = "auto"
POSTERIOR_MEAN = "mean"
PRESET_FIELDS = ("sampler", "steps", "samples", "overlap", "patch_size")
INPUTS, REGION = ("pet", "mr", "fullDoseReference"), "region"
RESULTS = ("denoised", "difference", "uncertainty", "support")
DEFAULTS_KEY = "CSRDDenoise/Defaults"
ESTIMATE_REFERENCE = "CSRDDenoise.Estimate"
"""From a result to the model's bare estimate for its PET, a hidden volume."""
_DEFAULT = PRESETS[DEFAULT_PRESET]


@parameterPack
class RunSettings:
    """The settings of a run as the panel offers them; ``patchSize`` 0 lets the program choose."""

    sampler: str = _DEFAULT.sampler
    steps: Annotated[int, WithinRange(1, 200)] = _DEFAULT.steps
    samples: Annotated[int, WithinRange(1, 200)] = _DEFAULT.samples
    patchSize: Annotated[int, WithinRange(0, 512)] = 0
    overlap: Annotated[float, WithinRange(0.0, MAX_OVERLAP)] = _DEFAULT.overlap
    seed: Annotated[int, WithinRange(0, 2147483647)] = _DEFAULT.seed
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


@dataclass(frozen=True)
class Outputs:
    """Volumes to fill with the results; where there is None a new one is made.

    ``makeUncertainty`` False leaves the uncertainty out; it also is where fewer than two samples are drawn.
    ``makeSupport`` True asks for the label map of what the PET's counts do not support.
    """

    denoisedVolume: Optional[Volume] = None
    differenceVolume: Optional[Volume] = None
    uncertaintyVolume: Optional[Volume] = None
    makeUncertainty: bool = True
    supportVolume: Optional[slicer.vtkMRMLLabelMapVolumeNode] = None
    makeSupport: bool = False

    @property
    def chosen(self) -> "dict[str, Optional[Volume]]":
        """Kind of result -> volume to fill, or None."""
        return {
            "output": self.denoisedVolume,
            "difference": self.differenceVolume,
            "uncertainty": self.uncertaintyVolume,
            "support": self.supportVolume,
            "bare": self.denoisedVolume and self.denoisedVolume.GetNodeReference(ESTIMATE_REFERENCE),
        }


def outputs_of(parameters: "CSRDDenoiseParameterNode") -> Outputs:
    """Return the volumes that the panel chose to fill."""
    chosen = (parameters.denoised, parameters.difference, parameters.uncertainty, parameters.makeUncertainty)
    return Outputs(*chosen, parameters.support, parameters.makeSupport)


def check_outputs(outputs: Outputs, inputs: "Iterable[Optional[Volume]]") -> None:
    """Refuse to write over an input, or two results into one volume.

    Raises:
        InputError: a volume is chosen twice.
    """
    taken = list(inputs)
    for node in list(outputs.chosen.values())[:-1]:
        if node is not None and node in taken:
            raise InputError(f"The volume '{node.GetName()}' is chosen twice. Choose another output, or a new volume.")
        taken.append(node)


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


class LogicProtocol(Protocol):
    """What the panel needs of the logic; a test may give it another."""

    busy: bool
    worker: Any
    onWorkerMessage: Any

    def getParameterNode(self) -> CSRDDenoiseParameterNode: ...
    def start(self, petVolume: Any, mrVolume: Any = None, **options: Any) -> Any: ...
    def startReport(self, denoisedVolume: Any, uncertaintyVolume: Any = None, **options: Any) -> Any: ...
    def startInspect(self, volume: Any, what: str = "PET", **options: Any) -> Any: ...
    def startKeep(self, denoisedVolume: Any, keepAboveMm: float, **options: Any) -> Any: ...
    def ask(self, request: "dict[str, Any]") -> None: ...
    def close(self) -> None: ...


def keep_defaults(parameters: CSRDDenoiseParameterNode) -> None:
    """Remember device, preset and registration in Slicer's settings, for scenes to come."""
    chosen, preset = parameters.settings, preset_of(parameters)
    kept = {"device": chosen.device, "registerMr": chosen.registerMr}
    if preset != CUSTOM_PRESET:
        kept["preset"] = preset
    qt.QSettings().setValue(DEFAULTS_KEY, json.dumps({**kept_defaults(), **kept}))


def kept_defaults() -> "dict[str, Any]":
    """Return what :func:`keep_defaults` remembered, as far as it still makes sense."""
    try:
        kept = json.loads(qt.QSettings().value(DEFAULTS_KEY) or "{}")
    except ValueError:
        return {}
    kinds = {"device": str, "registerMr": bool, "preset": str}
    good = {name: kept[name] for name, kind in kinds.items() if isinstance(kept.get(name), kind)}
    return {name: value for name, value in good.items() if name != "preset" or value in PRESETS}


def apply_defaults(parameters: CSRDDenoiseParameterNode) -> None:
    """Set what the user chose last, in a scene that has no choices of its own."""
    kept = kept_defaults()
    with slicer.util.NodeModify(parameters.parameterNode):
        for name in ("device", "registerMr"):
            if name in kept:
                setattr(parameters.settings, name, kept[name])
        if "preset" in kept:
            apply_preset(parameters, kept["preset"])
