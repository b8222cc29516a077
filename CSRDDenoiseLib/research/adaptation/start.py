"""The model that an adaptation starts from: its network for the posterior mean, and how that is put back.

What is adapted is the posterior mean alone, the image that a run returns. The network for the draws stays as it is;
their spread is calibrated anew. A model of one network for both becomes a pair: the adapted one for the mean, and the
one it was for the draws.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any, Mapping, Sequence

import torch
from torch import Tensor

from ...errors import InputError
from ...model.bundle import Model, ModelMetadata, build_network, save_model

SINGLE, PAIRED = "ResidualUNet3d", "PairedUNet3d"
_SWITCH = 5.0
_MEAN, _DRAWS = "mean.", "draws."

Weights = Mapping[str, Tensor]


def check_start(metadata: ModelMetadata) -> None:
    """Check that a model can be adapted.

    Raises:
        InputError: its network is of another kind, or it needs noise to give the posterior mean.
    """
    kind = metadata.architecture.get("type")
    if kind not in (SINGLE, PAIRED):
        raise InputError(f"The model '{metadata.name}' is a {kind}; an adaptation takes {SINGLE} or {PAIRED}.")
    if metadata.mean_from != "zero":
        raise InputError(f"The model '{metadata.name}' gives no posterior mean without noise, so it cannot be adapted.")


def mean_architecture(metadata: ModelMetadata) -> dict[str, Any]:
    """The architecture of the network for the mean."""
    arguments = {name: value for name, value in metadata.architecture.items() if name != "switch"}
    return {**arguments, "type": SINGLE}


def mean_weights(model: Model) -> dict[str, Tensor]:
    """The weights of the network for the mean."""
    weights = model.denoiser.model.state_dict()
    if model.metadata.architecture["type"] == SINGLE:
        return weights
    return {name[len(_MEAN) :]: value for name, value in weights.items() if name.startswith(_MEAN)}


def save_mean(model: Model, folder: Path) -> None:
    """Write the network for the mean as a model folder of its own, to start a training run from."""
    network = build_network(mean_architecture(model.metadata))
    network.load_state_dict(mean_weights(model))
    save_model(folder, network, replace(model.metadata, architecture=mean_architecture(model.metadata), recipes=()))


def with_mean(model: Model, mean: Weights) -> tuple[torch.nn.Module, ModelMetadata]:
    """Return the network of a model with other weights for the mean, on the CPU, and the metadata that it needs."""
    metadata, weights = model.metadata, model.denoiser.model.state_dict()
    if metadata.architecture["type"] == PAIRED:
        architecture, draws = metadata.architecture, {n: w for n, w in weights.items() if n.startswith(_DRAWS)}
    else:
        switch = round(math.log(_SWITCH * metadata.sigma_data) / 4, 6)
        architecture = {**metadata.architecture, "type": PAIRED, "switch": switch}
        draws = {f"{_DRAWS}{name}": value for name, value in weights.items()}
    network = build_network(architecture)
    network.load_state_dict({**draws, **{f"{_MEAN}{name}": value for name, value in mean.items()}})
    return network, replace(metadata, architecture=architecture)


def average_of(parts: Sequence[Weights]) -> dict[str, Tensor]:
    """The mean of the weights of several networks that began as one (model soup, Wortsman et al. 2022)."""
    return {name: torch.stack([part[name].float().cpu() for part in parts]).mean(0) for name in parts[0]}
