"""Score models small enough for tests: random weights, whole metadata."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from CSRDDenoiseLib.model.bundle import Model, build_network, save_model
from CSRDDenoiseLib.model.edm import Preconditioned
from CSRDDenoiseLib.model.metadata import ModelMetadata

TINY = {"type": "ResidualUNet3d", "widths": [8, 8], "blocks": [1, 1], "embedding": 16}


def tiny_metadata(**changes: Any) -> ModelMetadata:
    values = {
        "name": "tiny",
        "description": "Random weights, for tests.",
        "architecture": TINY,
        "sigma_data": 0.3,
        "sigma_min": 0.01,
        "sigma_max": 10.0,
        "mr_optional": True,
    }
    return ModelMetadata(**{**values, **changes})


def tiny_network(seed: int = 0, architecture: dict[str, Any] = TINY) -> nn.Module:
    """A network with every parameter random, also those that training starts at zero."""
    network = build_network(architecture)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            scale = parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.1
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
    return network


def save_tiny_model(folder: Path, seed: int = 0, **changes: Any) -> Path:
    """Write a tiny model folder and return it."""
    metadata = tiny_metadata(**changes)
    of_draws = metadata.deviation and tiny_network(2, metadata.deviation.architecture)
    save_model(folder, tiny_network(seed, metadata.architecture), metadata, of_draws)
    return folder


def change_metadata(folder: Path, **changes: Any) -> None:
    """Write other values into the metadata of a model folder."""
    path = folder / "metadata.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def model_of(network: nn.Module, **changes: Any) -> Model:
    """A model around any network, without a folder."""
    metadata = tiny_metadata(bytes_per_voxel=100.0, **changes)
    return Model(metadata, Preconditioned(network, metadata.sigma_data).eval().requires_grad_(False), Path())
