"""The model that an adaptation starts from: its network for the posterior mean, and how that is put back.

What is adapted is the posterior mean alone, the image that a run returns. The network that draws the deviation from it
stays as it is; the spread is calibrated anew. A model of one network for both comes out without draws.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Mapping, Sequence

import torch
from torch import Tensor

from ...errors import InputError
from ...model.bundle import Model, build_network, save_model
from ...model.edm import Preconditioned, in_memory_format
from ...model.metadata import ModelMetadata
from ...subjects.table import Row

ADAPTED = "ResidualUNet3d"

Weights = Mapping[str, Tensor]


def check_start(metadata: ModelMetadata, rows: Sequence[Row]) -> None:
    """Check that a model can be adapted to the rows of a table.

    Raises:
        InputError: its network is of another kind, it needs noise to give the posterior mean, or it needs an MR and a
            row has none.
    """
    kind = metadata.architecture.get("type")
    if kind != ADAPTED:
        raise InputError(f"The model '{metadata.name}' is a {kind}; an adaptation takes {ADAPTED}.")
    if metadata.mean_from != "zero":
        raise InputError(f"The model '{metadata.name}' gives no posterior mean without noise, so it cannot be adapted.")
    without = next((row for row in rows if row.mr is None), None)
    if without is not None and not metadata.mr_optional:
        raise InputError(
            f"The model '{metadata.name}' needs an MR, and {without.name} has none; name one in the column 'mr', leave "
            "the row out, or start from another model."
        )


def save_mean(model: Model, folder: Path) -> None:
    """Write the network for the mean as a model folder of its own, to start a training run from."""
    network = build_network(model.metadata.architecture)
    network.load_state_dict(model.denoiser.model.state_dict())
    save_model(folder, network, replace(model.metadata, deviation=None, recipes=()))


def with_mean(model: Model, mean: Weights) -> Model:
    """Return a model with other weights for the mean, rounded to the half precision that they are stored in."""
    network = build_network(model.metadata.architecture)
    network.load_state_dict(dict(mean))
    denoiser = Preconditioned(network.half().float(), model.metadata.sigma_data).eval().requires_grad_(False)
    device = next(model.denoiser.parameters()).device
    metadata = replace(model.metadata, draws=model.deviation is not None)
    return replace(model, metadata=metadata, denoiser=in_memory_format(denoiser.to(device)))


def average_of(parts: Sequence[Weights]) -> dict[str, Tensor]:
    """The mean of the weights of several networks that began as one (model soup, Wortsman et al. 2022)."""
    return {name: torch.stack([part[name].float().cpu() for part in parts]).mean(0) for name in parts[0]}
