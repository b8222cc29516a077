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
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Optional, Union

from ..alone import in_turn
from ..atomic import put_in_place
from ..configuration import structure
from ..errors import InputError, ModelError
from ..resources import MODELS, resource_folder
from ..settings import Recipe
from .contents import (
    CALIBRATION,
    check_arguments,
    check_channels,
    check_weights,
    is_regular_file,
    read_json,
    read_weights,
)
from .metadata import FORMAT, OF_UNIT, ModelMetadata, short

if TYPE_CHECKING:
    from torch import Tensor, nn

    from .edm import Preconditioned

WEIGHTS_FILE = "model.safetensors"
METADATA_FILE = "metadata.json"
CARD_FILE = "MODEL_CARD.md"
DEFAULT_MODEL = "brain"
_FORMER_FIELDS = ("position",)
_DEVIATION = "deviation."
_LOCK = ".metadata.lock"

ARCHITECTURES = {
    "ResidualUNet3d": "network",
    "DDPMpp3d": "ddpmpp",
    "MultiViewUNet2d": "multiview",
    "DiffusionTransformer3d": "transformer",
    "NafUNet3d": "naf",
    "SwinUNet3d": "swin",
    "TissueRegression": "regression",
}
"""Class name of each network -> the module of this package that holds it."""


@dataclass(frozen=True)
class Model:
    """A model ready to run.

    Attributes:
        metadata: what it is.
        denoiser: D of the residual, in evaluation mode.
        folder: where it came from.
        deviation: D of the residual's deviation from its posterior mean, if the metadata have one.
    """

    metadata: ModelMetadata
    denoiser: Preconditioned
    folder: Path
    deviation: Optional[Preconditioned] = None

    def of_deviation(self) -> Model:
        """Return the model of the deviation alone: the same scheme, with the posterior mean behind its condition."""
        assert self.deviation is not None and self.metadata.deviation is not None
        own = {name: value for name, value in asdict(self.metadata.deviation).items() if name not in OF_UNIT}
        return Model(replace(self.metadata, deviation=None, boost=None, **own), self.deviation, self.folder)


def list_models() -> list[Path]:
    """Return the folders of the bundled models, sorted by name.

    Example:
        >>> [folder.name for folder in list_models()]
        ['brain', 'brain-0.2', 'tissue']
    """
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
    folder = Path(str(name_or_folder))
    if str(name_or_folder) and is_regular_file(folder / METADATA_FILE):
        return folder
    known = ", ".join(bundled) or "none"
    raise ModelError(
        f"Model '{short(name_or_folder)}' is not known: it is neither a bundled model ({known}) "
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
    return structure(values, ModelMetadata, f"{path} is damaged, incomplete or of another version", ModelError)


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
    """Load a model to a device.

    Args:
        name_or_folder: name of a bundled model, or path of a model folder.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.

    Returns:
        The model in evaluation mode; one can be given to many runs.

    Raises:
        InputError: the device is not there.
        ModelError: unknown, damaged (checksum or contents), or written by a newer version.

    Example:
        >>> metadata = load_model("tissue").metadata
        >>> metadata.voxel_spacing_mm, metadata.mr_optional
        (2.0, True)
    """
    import torch

    from ..devices import choose_device
    from .edm import Preconditioned, in_memory_format

    folder = find_model(name_or_folder)
    metadata = read_metadata(folder)
    weights = read_weights(folder / WEIGHTS_FILE, metadata.weights_sha256)
    with torch.device("meta"):
        check_weights(weights, _all_weights(*_networks(metadata)), folder / WEIGHTS_FILE)
    network, deviation = _networks(metadata)
    own = {name: value for name, value in weights.items() if not name.startswith(_DEVIATION)}
    network.load_state_dict(own)
    where = choose_device(device)

    def ready(network: nn.Module, sigma_data: float) -> Preconditioned:
        return in_memory_format(Preconditioned(network, sigma_data).eval().requires_grad_(False).to(where))

    model = Model(metadata, ready(network, metadata.sigma_data), folder)
    if deviation is None or metadata.deviation is None:
        return model
    deviation.load_state_dict({name[len(_DEVIATION) :]: weights[name] for name in weights if name not in own})
    return replace(model, deviation=ready(deviation, metadata.deviation.sigma_data))


def _networks(metadata: ModelMetadata) -> tuple[nn.Module, Optional[nn.Module]]:
    """The untrained networks of a model: its own, and that of the deviation if it has one."""
    network, channels = build_network(metadata.architecture), 1 + len(metadata.channels)
    check_channels(network, channels, metadata.name)
    if metadata.deviation is None:
        return network, None
    deviation = build_network(metadata.deviation.architecture)
    check_channels(deviation, channels + 1, f"{metadata.name}, deviation")
    return network, deviation


def _all_weights(network: nn.Module, deviation: Optional[nn.Module]) -> dict[str, Tensor]:
    """The tensors of a weights file by name."""
    more = {} if deviation is None else deviation.state_dict()
    return {**network.state_dict(), **{_DEVIATION + name: value for name, value in more.items()}}


def save_model(
    folder: Union[str, Path], network: nn.Module, metadata: ModelMetadata, deviation: Optional[nn.Module] = None
) -> None:
    """Write a model folder, its checksum and need of memory filled in; other files of the folder are left alone.

    Both files are complete before either takes its place; the checksum detects a crash between the two.

    Args:
        folder: where to; made where it is missing.
        network: of the posterior mean, ``(channels, c_noise) -> F``.
        metadata: what the model is.
        deviation: network of the draws, for metadata with a ``deviation``.

    Raises:
        OSError: the folder cannot be written.
    """
    from safetensors.torch import save

    from .activations import activation_bytes_per_voxel

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = _all_weights(network, deviation)
    weights = save({name: value.detach().cpu().contiguous() for name, value in tensors.items()})
    both = [network] if deviation is None else [network, deviation]
    metadata = replace(
        metadata,
        weights_sha256=hashlib.sha256(weights).hexdigest(),
        bytes_per_voxel=round(max(activation_bytes_per_voxel(each) for each in both), 1),
    )
    text = _as_text(metadata)
    with tempfile.TemporaryDirectory(prefix=".saving-", dir=folder) as staging:
        for name, content in ((WEIGHTS_FILE, weights), (METADATA_FILE, text.encode())):
            (Path(staging) / name).write_bytes(content)
        put_in_place(Path(staging), folder)


def add_recipe(folder: Union[str, Path], recipe: Recipe, calibration: dict[str, Any]) -> None:
    """Add a calibration to a model folder's metadata, in place of one for the same settings; the weights stay.

    Raises:
        ModelError: the metadata is damaged, incomplete, or of a newer format.
    """

    def with_recipe(metadata: ModelMetadata) -> ModelMetadata:
        settings = recipe.as_dict()
        others = [each for each in metadata.recipes if {**each, **settings} != each]
        extra = {name: value for name, value in metadata.extra.items() if name != CALIBRATION}
        return replace(metadata, recipes=(*others, {**settings, CALIBRATION: calibration}), extra=extra)

    _rewrite(Path(folder), with_recipe)


def set_keep(folder: Union[str, Path], rule: dict[str, Any]) -> None:
    """Set what results of a model folder keep of the measured PET (``keep`` of the metadata); the weights stay.

    Raises:
        ModelError: the metadata is damaged, incomplete, or of a newer format.
    """
    _rewrite(Path(folder), lambda metadata: replace(metadata, keep=rule))


def _rewrite(folder: Path, change: Callable[[ModelMetadata], ModelMetadata]) -> None:
    """Change metadata, one process at a time: two that read the same would each drop what the other added."""
    lock = in_turn(folder / _LOCK, "Another command that changes the model", folder)
    with lock, tempfile.TemporaryDirectory(prefix=".saving-", dir=folder) as staging:
        staged = Path(staging) / METADATA_FILE
        staged.write_text(_as_text(change(read_metadata(folder))), encoding="utf-8")
        os.replace(staged, folder / METADATA_FILE)


def _as_text(metadata: ModelMetadata) -> str:
    return json.dumps(metadata.as_dict(), indent=2) + "\n"
