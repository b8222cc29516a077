"""Every choice of the panel, kept in the scene so that saving and loading brings it back."""

from typing import Annotated

from slicer import vtkMRMLLabelMapVolumeNode, vtkMRMLScalarVolumeNode
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper

from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.settings import DEFAULT_PRESET, MAX_OVERLAP, PRESETS, DenoiseSettings, settings_from_preset

CUSTOM_PRESET = "custom"
PRESET_FIELDS = ("sampler", "steps", "samples", "overlap", "patch_size")
_DEFAULT = PRESETS[DEFAULT_PRESET]


@parameterNodeWrapper
class CSRDDenoiseParameterNode:
    """The choices of the panel.

    ``model`` is the name or the folder of a model (empty: the default one); ``patchSize`` 0 lets the program choose.
    """

    pet: vtkMRMLScalarVolumeNode
    mr: vtkMRMLScalarVolumeNode
    fullDoseReference: vtkMRMLScalarVolumeNode
    denoised: vtkMRMLScalarVolumeNode
    difference: vtkMRMLScalarVolumeNode
    uncertainty: vtkMRMLScalarVolumeNode
    support: vtkMRMLLabelMapVolumeNode
    registerMr: bool = False
    makeUncertainty: bool = True
    makeSupport: bool = False
    model: str = ""
    preset: str = DEFAULT_PRESET
    sampler: str = _DEFAULT.sampler
    steps: Annotated[int, WithinRange(1, 200)] = _DEFAULT.steps
    samples: Annotated[int, WithinRange(1, 200)] = _DEFAULT.samples
    patchSize: Annotated[int, WithinRange(0, 512)] = 0
    overlap: Annotated[float, WithinRange(0.0, MAX_OVERLAP)] = _DEFAULT.overlap
    seed: Annotated[int, WithinRange(0, 2147483647)] = _DEFAULT.seed
    device: str = "auto"


def settings_of(parameters: CSRDDenoiseParameterNode) -> DenoiseSettings:
    """Return the settings of a run as the panel shows them.

    Raises:
        InputError: a value is out of range.
    """
    return DenoiseSettings(
        sampler=parameters.sampler,
        steps=parameters.steps,
        samples=parameters.samples,
        overlap=parameters.overlap,
        patch_size=parameters.patchSize or None,
        seed=parameters.seed,
        device=parameters.device,
        register=parameters.registerMr,
    )


def apply_preset(parameters: CSRDDenoiseParameterNode, preset: str) -> None:
    """Set the choices that a preset stands for; device and seed stay as they are."""
    settings = settings_from_preset(preset)
    parameters.preset = preset
    parameters.sampler = settings.sampler
    parameters.steps = settings.steps
    parameters.samples = settings.samples
    parameters.overlap = settings.overlap
    parameters.patchSize = settings.patch_size or 0


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
