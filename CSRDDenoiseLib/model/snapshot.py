"""Turn a snapshot of the paper's authors (a pickled network) into a model folder, without running any of its code."""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import torch

from ..errors import ModelError
from .bundle import build_network, save_model
from .contents import check_weights
from .metadata import CHANNELS, ModelMetadata
from .safe_pickle import StandIn, TensorRecord, read_pickle

# the published sampler and training data; snapshots do not hold them
SIGMA_MIN, SIGMA_MAX, RHO = 0.002, 80.0, 7.0
SIGMA_DATA = 0.5
DOSE_RANGE = (1 / 8, 1 / 4)
_CONDITION = CHANNELS["reference"]

MAX_MODULES = 10_000
MAX_DEPTH = 32

_ENTRIES = ("ema", "net")
_KNOWN = {
    "model_type": ("SongUNet3D", "SongUNet", "DDPMpp"),
    "embedding_type": ("positional", "fourier"),
    "encoder_type": ("standard", "residual"),
    "decoder_type": ("standard",),
    "label_dim": (0,),
}
"""Stored arguments -> the values that can be imported."""
# the preconditioning that our denoiser computes; a snapshot of another one would give other numbers without a warning
_PRECONDITIONERS = ("Patch_EDMPrecond_3D", "Patch_EDMPrecond", "EDMPrecond")
_NETWORKS = ("SongUNet3D", "SongUNet", "DDPMpp3d")
# training-time augmentation labels; at inference they are absent and add nothing
_UNUSED = ("map_augment.",)


@dataclass(frozen=True)
class Snapshot:
    """What a snapshot holds of the network.

    Attributes:
        tensors: parameters and buffers of the U-Net by name, on the CPU.
        options: arguments it was constructed with, as far as they are stored and plain.
        sha256: checksum of the file.
    """

    tensors: dict[str, torch.Tensor]
    options: dict[str, Any]
    sha256: str


def import_snapshot(path: Path, folder: Path, name: str, voxel_spacing_mm: float) -> ModelMetadata:
    """Write the model folder of a published snapshot and return its metadata.

    Args:
        path: ``network-snapshot-*.pkl``, or the same saved by ``torch.save``.
        folder: of the model.
        name: of the model.
        voxel_spacing_mm: voxel edge of the images it was trained on, which a snapshot does not hold.

    Raises:
        ModelError: hostile, damaged, or a network other than the paper's.
    """
    snapshot = read_snapshot(path)
    architecture = architecture_of(snapshot.tensors)
    with torch.device("meta"):
        check_weights(snapshot.tensors, build_network(architecture).state_dict(), path)
    network = build_network(architecture)
    network.load_state_dict(snapshot.tensors)
    metadata = ModelMetadata(
        name=name,
        description="The paper's network, imported from a snapshot of its authors; their licence applies to it.",
        architecture=architecture,
        sigma_data=_positive(snapshot.options.get("sigma_data"), SIGMA_DATA),
        sigma_min=SIGMA_MIN,
        sigma_max=SIGMA_MAX,
        rho=RHO,
        normalisation="reference",
        channels=_CONDITION,
        voxel_spacing_mm=voxel_spacing_mm,
        dose_range=DOSE_RANGE,
        mr_optional=False,
        training={"source": path.name, "source_sha256": snapshot.sha256, "options": snapshot.options},
    )
    save_model(folder, network, metadata)
    return metadata


def read_snapshot(path: Path) -> Snapshot:
    """Read the averaged network's tensors and options out of a snapshot.

    Raises:
        ModelError: hostile, damaged, or without the paper's network in it.
    """
    root = _network_entry(read_pickle(path), path)
    records, options = _collect(root)
    _check_options(options)
    # a network's tensors do not overlap, so together they are no larger than their file
    if sum(record.size_bytes for record in records.values()) > path.stat().st_size:
        raise ModelError(f"The tensors in '{path}' are together larger than the file; it may be hostile.")
    prefix = next((name[: -len("map_layer0.weight")] for name in records if name.endswith("map_layer0.weight")), None)
    if prefix is None:
        raise ModelError(f"'{path}' holds no network of the paper's kind (there is no map_layer0.weight in it).")
    _check_classes(root)
    tensors = {
        name[len(prefix) :]: record.tensor().float()
        for name, record in records.items()
        if name.startswith(prefix) and not name.startswith(tuple(prefix + unused for unused in _UNUSED))
    }
    return Snapshot(tensors, options, hashlib.sha256(path.read_bytes()).hexdigest())


def architecture_of(tensors: dict[str, torch.Tensor]) -> dict[str, Any]:
    """Recover the arguments of :class:`~.ddpmpp.DDPMpp3d` from names and shapes of its tensors.

    Raises:
        ModelError: they are not those of such a network, or it takes other channels than this pipeline gives.
    """
    try:
        levels = sorted({int(found[1]) for found in map(re.compile(r"enc\.(\d+)x").match, tensors) if found})[::-1]
        top = f"{levels[0]}x{levels[0]}"
        implicit = f"enc.{top}_conv.0.weight" in tensors
        entry = tensors[f"enc.{top}_conv.{'0.' if implicit else ''}weight"]
        _check_three_dimensions(entry, tensors)
        width, channels = entry.shape[:2]
        outputs = tensors[f"dec.{top}_aux_conv.weight"].shape[0]
        widths = [tensors[f"enc.{level}x{level}_block0.conv1.weight"].shape[0] for level in levels]
        embedding, noise = tensors["map_layer0.weight"].shape
        filters = [value for name, value in tensors.items() if name.endswith("resample_filter")]
    except (KeyError, IndexError, ValueError) as error:
        raise ModelError(f"The network is not the paper's DDPM++ U-Net ({error} is missing).") from error
    if (channels, outputs) != (1 + len(_CONDITION), 1):
        raise ModelError(
            f"The network takes {channels} channels and gives {outputs}; this pipeline needs one that takes "
            f"{1 + len(_CONDITION)} (noisy residual, {', '.join(_CONDITION)}) and gives 1."
        )
    return {
        "type": "DDPMpp3d",
        "model_channels": width,
        "channel_mult": [level_width // width for level_width in widths],
        "num_blocks": sum(bool(re.match(rf"enc\.{top}_block\d+\.conv0\.weight", name)) for name in tensors),
        "channel_mult_emb": embedding // width,
        "channel_mult_noise": noise // width,
        "attn_resolutions": [level for level in levels if f"enc.{level}x{level}_block0.qkv.weight" in tensors],
        "img_resolution": levels[0],
        "resample_filter": _filter_taps(filters[0]) if filters else [1.0, 1.0, 1.0],
        "embedding_type": "fourier" if "map_noise.freqs" in tensors else "positional",
        "encoder_type": "residual" if any("_aux_residual." in name for name in tensors) else "standard",
        "implicit_mlp": implicit,
    }


def _check_three_dimensions(entry: torch.Tensor, tensors: dict[str, torch.Tensor]) -> None:
    filters = (value for name, value in tensors.items() if name.endswith("resample_filter"))
    if entry.ndim == 4:
        raise ModelError("The network's convolutions have two dimensions; only networks of three can be imported.")
    if any(each.ndim != 5 or not each.numel() for each in (entry, *filters)):
        raise ModelError("The network's convolutions or filters do not have three dimensions; it may be damaged.")


def _filter_taps(cube: torch.Tensor) -> list[float]:
    line = cube.double().sum(dim=(0, 1, 2, 3))
    return [round(value, 6) for value in (line / line.sum()).tolist()]


def _network_entry(content: Any, path: Path) -> dict:
    """Return the averaged network of a training snapshot, or the content itself where that is the network."""
    entries = content if isinstance(content, dict) else {}
    chosen = next((entries[name] for name in _ENTRIES if name in entries), content)
    if not isinstance(chosen, dict):
        raise ModelError(f"'{path}' holds no network: neither an entry '{_ENTRIES[0]}' nor a network by itself.")
    return chosen


def _collect(root: dict) -> tuple[dict[str, TensorRecord], dict[str, Any]]:
    """Walk a module and its children: their tensors by dotted name, and the arguments they were constructed with."""
    tensors: dict[str, TensorRecord] = {}
    options: dict[str, Any] = {}
    waiting, visited = [("", root, 0)], 0
    while waiting:
        prefix, module, depth = waiting.pop()
        visited += 1
        if visited > MAX_MODULES or depth > MAX_DEPTH:
            raise ModelError("The network in the snapshot is nested too deeply or has too many parts.")
        state = module.state if isinstance(module, StandIn) and module.state is not None else module
        if not isinstance(state, dict):
            continue
        if depth <= 1:
            options = {**_plain_options(state), **options}
        for group in (state, state.get("_parameters"), state.get("_buffers")):
            tensors.update(_tensors_of(group, prefix))
        children = state.get("_modules")
        if isinstance(children, dict):
            waiting += [(f"{prefix}{name}.", child, depth + 1) for name, child in children.items()]
    return tensors, options


def _tensors_of(group: Optional[Any], prefix: str) -> dict[str, TensorRecord]:
    if not isinstance(group, dict):
        return {}
    return {f"{prefix}{name}": value for name, value in group.items() if isinstance(value, TensorRecord)}


def _plain_options(state: dict) -> dict[str, Any]:
    """Return the stored constructor arguments, and sigma_data as an attribute, where they are plain values."""
    stored = state.get("_init_kwargs")
    options = {"sigma_data": state.get("sigma_data"), **(stored if isinstance(stored, dict) else {})}
    return {str(name): value for name, value in options.items() if _is_simple(value)}


def _is_simple(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return len(value) <= 16 and all(_is_simple(item) and not isinstance(item, (list, tuple)) for item in value)
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, (bool, int)) or (isinstance(value, str) and len(value) <= 64)


def _check_options(options: dict[str, Any]) -> None:
    for name, known in _KNOWN.items():
        if name in options and options[name] not in known:
            choices = " or ".join(map(repr, known))
            raise ModelError(f"The network was built with {name}={options[name]!r}; only {choices} can be imported.")


def _check_classes(root: dict) -> None:
    """Refuse a network or a preconditioning of another class, by the name that a snapshot gives it."""
    outer = _class_of(root)
    state = root.state if isinstance(root, StandIn) and isinstance(root.state, dict) else {}
    children = state.get("_modules")
    inner = _class_of(children.get("model")) if isinstance(children, dict) else ""
    if inner and outer not in _PRECONDITIONERS:
        raise ModelError(f"The network is preconditioned by '{outer}'; only {_PRECONDITIONERS[0]} can be imported.")
    network = inner or outer
    if network and network not in (*_NETWORKS, *_PRECONDITIONERS):
        raise ModelError(f"The network's class is '{network}'; only {' and '.join(_NETWORKS[:2])} can be imported.")


def _class_of(value: Any) -> str:
    return value.origin.rpartition(".")[2][:80] if isinstance(value, StandIn) else ""


def _positive(value: Any, otherwise: float) -> float:
    return float(value) if isinstance(value, (int, float)) and value > 0 else otherwise
