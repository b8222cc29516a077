"""A trained model as a folder: ``model.safetensors``, and ``metadata.json`` with everything that belongs to it.

What a model needs besides its weights (noise levels, normalisation, voxel spacing, architecture, ...) is data in its
metadata, never a constant in code. Bundled models lie in the resource folder under ``Models``.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import tempfile
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Union

from ..configuration import structure
from ..errors import InputError, ModelError
from ..limits import Between, Length, OneOf, check_limits
from ..resources import MODELS, resource_folder
from ..settings import Recipe
from .contents import (
    CALIBRATION,
    check_arguments,
    check_channels,
    check_extra,
    check_keep,
    check_recipes,
    check_weights,
    is_regular_file,
    read_json,
    read_weights,
)

if TYPE_CHECKING:
    from torch import nn

    from .edm import Preconditioned

FORMAT = 1
WEIGHTS_FILE = "model.safetensors"
METADATA_FILE = "metadata.json"
DEFAULT_MODEL = "brain"
_PUBLISHED = ("mr", "low_dose", "position_x", "position_y", "position_z")
CHANNELS = {
    "noise-bands": (*_PUBLISHED, "log_unit", "log_fine", "log_mid", "tissue_0", "tissue_1", "tissue_2"),
    "noise-level": (*_PUBLISHED, "log_noise_level"),
    "reference": _PUBLISHED,
    "tissue": ("mr", "low_dose", "tissue_0", "tissue_1", "tissue_2"),
}
"""Normalisation scheme -> the condition's channels in order."""
TARGETS = ("full-dose", "noise-free")
_FORMER_FIELDS = ("position",)

ARCHITECTURES = {
    "ResidualUNet3d": "network",
    "DDPMpp3d": "ddpmpp",
    "MultiViewUNet2d": "multiview",
    "PairedUNet3d": "paired",
    "DiffusionTransformer3d": "transformer",
    "TissueRegression": "regression",
}
"""Class name of each network -> the module of this package that holds it."""

_Level = Annotated[float, Between(0, 1e4, above=True)]
_Millimetres = Between(0.5, 10)


@dataclass(frozen=True)
class ModelMetadata:
    """What a model is and how it must be used; the fields of ``metadata.json``.

    Attributes:
        name: how the command line and the Slicer panel call it.
        description: one sentence for a user.
        architecture: ``type``, a key of :data:`ARCHITECTURES`, and the arguments of its constructor.
        sigma_data: standard deviation of the training residuals in normalised units.
        sigma_min: smallest noise level of a sampler, normalised units.
        sigma_max: largest noise level of a sampler, normalised units.
        rho: spacing of the noise levels between them (Karras et al. 2022, eq. 5).
        normalisation: name of the scheme that turns PET and MR into network input.
        voxel_spacing_mm: edge of the cubic voxels the network works on.
        spacing_range_mm: smallest and largest PET voxel edge the model was trained for.
        dose_range: smallest and largest dose fraction of the training data.
        mean_from: input of the evaluation that gives the posterior mean: ``noise`` of sigma_max, or ``zero`` for models
            trained to give it without any.
        target: what PET plus residual estimates, ``full-dose`` or ``noise-free``.
        draws: whether the model can draw samples for the uncertainty; else every run gives the one estimate.
        mr_optional: trained with MR dropout, so that it may run without MR.
        channels: the condition's channels in order.
        weights_sha256: checksum of the weights file, set by :func:`save_model`.
        bytes_per_voxel: memory one evaluation needs beside the weights, set by :func:`save_model`.
        keep: what the result keeps of the measured PET, a rule of :func:`CSRDDenoiseLib.restore.default_keep_mm`.
        recipes: settings that the model was calibrated with (:class:`~CSRDDenoiseLib.settings.Recipe`), each with the
            ``calibration`` that was fitted; the first is the one it is meant for.
        training: how it was trained, for the record.
        extra: anything else, for the record.
        format: version of this layout.
    """

    name: Annotated[str, Length(1, 64)]
    description: Annotated[str, Length(0, 1000)]
    architecture: dict[str, Any]
    sigma_data: _Level
    sigma_min: _Level
    sigma_max: _Level
    rho: Annotated[float, Between(1, 100)] = 7.0
    normalisation: Annotated[str, OneOf(tuple(CHANNELS))] = "noise-level"
    voxel_spacing_mm: Annotated[float, _Millimetres] = 2.0
    spacing_range_mm: Annotated[tuple[float, float], Between(0.1, 50)] = (1.0, 4.0)
    dose_range: Annotated[tuple[float, float], Between(0, 1, above=True)] = (0.01, 0.5)
    mean_from: Annotated[str, OneOf(("noise", "zero"))] = "noise"
    target: Annotated[str, OneOf(TARGETS)] = "full-dose"
    draws: bool = True
    mr_optional: bool = False
    channels: Annotated[tuple[str, ...], Length(1, 64)] = CHANNELS["noise-level"]
    weights_sha256: str = ""
    bytes_per_voxel: Annotated[float, Between(0, 1e6)] = 0.0
    keep: dict[str, Any] = field(default_factory=dict)
    recipes: tuple[dict[str, Any], ...] = ()
    training: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
    format: Annotated[int, Between(1, FORMAT)] = FORMAT

    def __post_init__(self) -> None:
        for name in ("spacing_range_mm", "dose_range", "channels", "recipes"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        check_limits(self, f"Model '{_short(self.name)}'", ModelError)
        if not self.name.isprintable() or set("/\\:") & set(self.name):
            raise ModelError(f"The model's name {self.name!r} must be printable and have no slash or colon.")
        if not self.sigma_min < self.sigma_max:
            raise ModelError(
                f"Model '{self.name}' has noise levels from {self.sigma_min:g} to {self.sigma_max:g}; they must rise."
            )
        for name in ("spacing_range_mm", "dose_range"):
            low, high = getattr(self, name)
            if low > high:
                raise ModelError(f"Model '{self.name}': '{name}' goes from {low:g} to {high:g}; it must rise.")
        known = CHANNELS[self.normalisation]
        if self.channels != known:
            raise ModelError(f"Model '{self.name}' wants the channels {self.channels}; known are {known}.")
        check_extra(self.extra, f"Model '{self.name}'")
        check_keep(self.keep, f"Model '{self.name}'")
        check_recipes(self.recipes, f"Model '{self.name}'")

    @property
    def calibrated_recipes(self) -> tuple[dict[str, Any], ...]:
        """The recipes; models of before they were kept have one, whose table stands in ``extra``."""
        table = self.extra.get(CALIBRATION)
        if self.recipes or not table or not {"steps", "samples"} <= set(table):
            return self.recipes
        return ({**Recipe("dpmpp", table["steps"], table["samples"]).as_dict(), CALIBRATION: table},)

    def as_dict(self) -> dict[str, Any]:
        """Return the metadata as JSON types (tuples become lists in the file)."""
        return asdict(self)


@dataclass(frozen=True)
class Model:
    """A model ready to run: its metadata, its denoiser in evaluation mode, and the folder it came from."""

    metadata: ModelMetadata
    denoiser: Preconditioned
    folder: Path


def list_models() -> list[Path]:
    """Return the folders of the bundled models, sorted by name."""
    try:
        root = resource_folder() / MODELS
    except InputError:
        return []
    return sorted(path.parent for path in root.glob(f"*/{METADATA_FILE}"))


def find_model(name_or_folder: Union[str, Path]) -> Path:
    """Return the folder of a bundled model by its name, or a model folder given by its path.

    Raises:
        ModelError: there is no such model.
    """
    bundled = {path.name: path for path in list_models()}
    if str(name_or_folder) in bundled:
        return bundled[str(name_or_folder)]
    folder = Path(name_or_folder)
    if str(name_or_folder) and is_regular_file(folder / METADATA_FILE):
        return folder
    known = ", ".join(bundled) or "none"
    raise ModelError(
        f"Model '{_short(name_or_folder)}' is not known: it is neither a bundled model ({known}) "
        f"nor a folder with a {METADATA_FILE}."
    )


def read_metadata(folder: Path) -> ModelMetadata:
    """Read a model folder's metadata.

    Raises:
        ModelError: the file is damaged, incomplete, or of a newer format.
    """
    path = Path(folder) / METADATA_FILE
    values = read_json(path)
    version = values.get("format") if isinstance(values, dict) else None
    if isinstance(version, (int, float)) and version > FORMAT:
        raise ModelError(
            f"{path} was written by a newer version (format {version:g}, this version knows {FORMAT}). "
            "Update CSRDDenoise."
        )
    if version is None:
        raise ModelError(f"{path} is damaged or incomplete: it has no format. Get the model again.")
    for name in _FORMER_FIELDS:
        values.pop(name, None)
    return structure(values, ModelMetadata, f"{path} is damaged or incomplete", ModelError)


def build_network(architecture: dict[str, Any]) -> nn.Module:
    """Construct an untrained network from a metadata's ``architecture``.

    Raises:
        ModelError: its type is not known, or its arguments do not fit or are beyond the limits.
    """
    arguments = dict(architecture)
    kind = arguments.pop("type", None)
    if not isinstance(kind, str) or kind not in ARCHITECTURES:
        raise ModelError(f"The architecture {kind!r} is not known; known are {', '.join(ARCHITECTURES)}.")
    check_arguments(kind, arguments)
    module = importlib.import_module(f".{ARCHITECTURES[kind]}", __package__)
    try:
        return getattr(module, kind)(**arguments)
    except (TypeError, ValueError, RuntimeError, ArithmeticError, LookupError) as error:
        raise ModelError(f"The architecture {kind} cannot be built with {arguments}: {error}.") from error


def load_model(name_or_folder: Union[str, Path], device: str = "cpu") -> Model:
    """Load a bundled model by name, or any model folder by path, to a device (``auto``, ``cpu``, ``cuda``, ...).

    Raises:
        InputError: the device is not there.
        ModelError: unknown, damaged (checksum or contents), or written by a newer version.
    """
    import torch

    from ..devices import choose_device
    from .edm import Preconditioned, in_memory_format

    folder = find_model(name_or_folder)
    metadata = read_metadata(folder)
    weights = read_weights(folder / WEIGHTS_FILE, metadata.weights_sha256)
    with torch.device("meta"):
        check_weights(weights, build_network(metadata.architecture), folder / WEIGHTS_FILE)
    network = build_network(metadata.architecture)
    check_channels(network, 1 + len(metadata.channels), metadata.name)
    network.load_state_dict(weights)
    denoiser = Preconditioned(network, metadata.sigma_data).eval().requires_grad_(False)
    return Model(metadata, in_memory_format(denoiser.to(choose_device(device))), folder)


def save_model(folder: Union[str, Path], network: nn.Module, metadata: ModelMetadata) -> None:
    """Write a model folder, its checksum and need of memory filled in; other files of the folder are left alone.

    Both files are complete before either takes its place; the checksum detects a crash between the two.
    """
    from safetensors.torch import save

    from .activations import activation_bytes_per_voxel

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    weights = save({name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()})
    metadata = replace(
        metadata,
        weights_sha256=hashlib.sha256(weights).hexdigest(),
        bytes_per_voxel=round(activation_bytes_per_voxel(network), 1),
    )
    text = _as_text(metadata)
    with tempfile.TemporaryDirectory(prefix=".saving-", dir=folder) as staging:
        for name, content in ((WEIGHTS_FILE, weights), (METADATA_FILE, text.encode())):
            (Path(staging) / name).write_bytes(content)
        for name in (WEIGHTS_FILE, METADATA_FILE):
            os.replace(Path(staging) / name, folder / name)


def add_extra(folder: Union[str, Path], extra: dict[str, Any]) -> None:
    """Add to the ``extra`` of a model folder's metadata, in one step; the weights stay as they are.

    Raises:
        ModelError: the metadata is damaged, incomplete, or of a newer format.
    """
    folder = Path(folder)
    metadata = read_metadata(folder)
    _rewrite(folder, replace(metadata, extra={**metadata.extra, **extra}))


def add_recipe(folder: Union[str, Path], recipe: Recipe, calibration: dict[str, Any]) -> None:
    """Add a calibration to a model folder's metadata, in place of one for the same settings; the weights stay.

    Raises:
        ModelError: the metadata is damaged, incomplete, or of a newer format.
    """
    folder = Path(folder)
    metadata = read_metadata(folder)
    settings = recipe.as_dict()
    others = [each for each in metadata.recipes if {**each, **settings} != each]
    extra = {name: value for name, value in metadata.extra.items() if name != CALIBRATION}
    recipes = (*others, {**settings, CALIBRATION: calibration})
    _rewrite(folder, replace(metadata, recipes=recipes, extra=extra))


def set_keep(folder: Union[str, Path], rule: dict[str, Any]) -> None:
    """Set what results of a model folder keep of the measured PET (``keep`` of the metadata); the weights stay.

    Raises:
        ModelError: the metadata is damaged, incomplete, or of a newer format.
    """
    _rewrite(Path(folder), replace(read_metadata(Path(folder)), keep=rule))


def _rewrite(folder: Path, metadata: ModelMetadata) -> None:
    with tempfile.TemporaryDirectory(prefix=".saving-", dir=folder) as staging:
        staged = Path(staging) / METADATA_FILE
        staged.write_text(_as_text(metadata), encoding="utf-8")
        os.replace(staged, folder / METADATA_FILE)


def _short(name: Union[str, Path]) -> str:
    text = repr(str(name))[1:-1]
    return text if len(text) <= 200 else f"{text[:100]}...{text[-97:]}"


def _as_text(metadata: ModelMetadata) -> str:
    return json.dumps(metadata.as_dict(), indent=2) + "\n"
