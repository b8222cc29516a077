"""What would end a run after hours of work, found before its first step."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

import torch
from torch import nn

from ...digests import digest_of_values
from ...errors import InputError
from ...limits import Between
from ...model.bundle import build_network, find_model, read_metadata
from ...model.metadata import CHANNELS, ModelMetadata
from ..simulation.anatomy import list_anatomies
from .claim import check_claim, check_facts, record_claim
from .config import TrainingConfig
from .pool import Pool

RECORD = "pool.json"
REGION_CLASSES = "ixi_labels.csv"
LIMITS = {
    "share": Between(0, 1, above=True),
    "doses": Between(0, 0.999, above=True),
    "unseen_doses": Between(0, 0.999, above=True),
    "subjects": Between(0, 1),
    "lesions": Between(0, 1000),
    "lesion_share": Between(0, 1),
    "lesion_weight": Between(0, 1000),
    "noise_scale": Between(1, 2),
    "keep_mm": Between(0, 100),
    "coarse_weight": Between(0, 1),
    "quantities": Between(0, 1000),
    "pull": Between(0, 1e4),
    "sigma_data": Between(0, 1e4, above=True),
    "sigma_range": Between(0, 1e6, above=True),
    "repeats": Between(1, 1e6),
    "pool_size": Between(1, 1e6),
    "pool_start": Between(1, 1e6),
    "validation_phantoms": Between(0, 1e4),
    "simulators": Between(0, 1024),
    "model_spacing": Between(0.5, 10),
    "patch": Between(4, 512),
    "batch": Between(1, 4096),
    "steps": Between(1, 1e9),
    "learning_rate": Between(0, 1, above=True),
    "warmup": Between(0, 1e9),
    "decay_share": Between(0, 1),
    "sigma_centre": Between(0, 1e4, above=True),
    "sigma_spread": Between(0, 10),
    "regression_share": Between(0, 1),
    "mr_dropout": Between(0, 1),
    "ema_decay": Between(0, 0.999999),
    "clip_norm": Between(0, 1e6, above=True),
    "checkpoint_minutes": Between(0, 1e6),
    "validation_minutes": Between(0, 1e6),
    "seed": Between(0, 2**31),
}
"""Field of :class:`TrainingConfig` -> what it must be within."""


def check_values(config: TrainingConfig) -> None:
    """Check a configuration's numbers against their limits.

    Raises:
        InputError: one is outside, or there is no dose.
    """
    for name, limit in LIMITS.items():
        value = getattr(config, name)
        if value is not None and not limit.holds(value):
            raise InputError(f"The training setting '{name}' is {_plain(value)}; it {limit}.")
    if not config.doses:
        raise InputError("The training setting 'doses' is empty; give one dose fraction or more.")
    if not sum(config.subjects) > 0:
        raise InputError("The training setting 'subjects' is zero for every part.")
    if config.pool_start > config.pool_size:
        raise InputError(
            f"Training waits for {config.pool_start} phantoms ('pool_start'), and only {config.pool_size} are "
            "simulated ('pool_size')."
        )


def anatomies(folder: Optional[Path]) -> list[str]:
    """The names of the anatomies of a folder.

    Raises:
        InputError: there is none, or the file that names their regions is missing.
    """
    if folder is None:
        raise InputError("The training needs 'anatomy', a folder of anatomies to simulate phantoms of.")
    names = list_anatomies(folder)
    if not names:
        raise InputError(
            f"The folder 'anatomy', '{folder}', has no anatomies: there is neither ixi/*_T1.nii.gz nor "
            "synthseg/*.nii.gz in it."
        )
    if any(name.startswith("ixi/") for name in names) and not (folder / REGION_CLASSES).is_file():
        raise InputError(f"The folder 'anatomy', '{folder}', lacks {REGION_CLASSES}, which names the regions of ixi/.")
    return names


def check_network(config: TrainingConfig) -> None:
    """Build the network without memory for its weights, and check that the run's patches and model fit it.

    Raises:
        InputError: it cannot be built, takes other channels or patches, has no parameter that 'train_only' names, or
            the model to start from or of the mean is not there or is of another kind.
    """
    with torch.device("meta"):
        network: Any = build_network(config.architecture)
    channels = 1 + len(CHANNELS[config.normalisation]) + (config.mean_model is not None)
    if network.in_channels != channels:
        mean = " with the posterior mean" if config.mean_model else ""
        raise InputError(
            f"The network takes {network.in_channels} channels; the normalisation '{config.normalisation}'{mean} gives "
            f"{channels}. Set 'in_channels' in 'architecture'."
        )
    if config.patch % network.multiple:
        raise InputError(f"The setting 'patch' is {config.patch}; it must be a multiple of {network.multiple}.")
    names = [name for name, _ in network.named_parameters()]
    for beginning in config.train_only:
        if not any(name.startswith(beginning) for name in names):
            raise InputError(
                f"The setting 'train_only' has '{beginning}', with which no parameter of the network begins; they "
                f"begin with {', '.join(dict.fromkeys(name.partition('.')[0] for name in names))}."
            )
    for model in (config.start_from, config.mean_model):
        if model is not None:
            _check_model(config, model, read_metadata(find_model(model)))
    if config.start_from is not None:
        _check_start(network, config.start_from)


def _check_model(config: TrainingConfig, model: str, metadata: ModelMetadata) -> None:
    """Compare a run with the model that it begins with."""
    had = {
        "normalisation": metadata.normalisation,
        "target": metadata.target,
        "model_spacing": metadata.voxel_spacing_mm,
    }
    facts = {name: getattr(config, name) for name in had}
    check_facts(had, facts, f"The model '{model}' has", "set it to the model's, or name another model")


def _check_start(network: nn.Module, model: str) -> None:
    """Compare the parameters of a network with those of the model whose weights it takes."""
    with torch.device("meta"):
        start = build_network(read_metadata(find_model(model)).architecture)
    had, wanted = ({name: tuple(value.shape) for name, value in each.state_dict().items()} for each in (start, network))
    wrong = next((name for name in {**wanted, **had} if wanted.get(name) != had.get(name)), None)
    if wrong is not None:
        here, there = (shapes.get(wrong, "absent") for shapes in (wanted, had))
        raise InputError(
            f"The network differs from that of 'start_from', '{model}': '{wrong}' is {here} here, and {there} there; "
            "set 'architecture' to the model's, or start from another."
        )


def claim_pool(pool: Pool, rank: int = 0) -> None:
    """Record what shapes the phantoms of a pool, or check that they were made so.

    Raises:
        InputError: the pool's folder holds phantoms of other settings or subjects, or such without a record.
    """
    path, shape = pool.folder / RECORD, _shape_of(pool)
    advice = "choose another folder 'data', or remove the pool"
    if path.is_file():
        check_claim(path, shape, f"The pool '{pool.folder}' was simulated with", advice)
    elif rank == 0:
        old = next(pool.folder.glob("*.npy"), None)
        if old is not None:
            raise InputError(
                f"The pool '{pool.folder}' has phantoms, such as '{old.name}', and no {RECORD}, so it is not known "
                f"with which settings they were simulated; {advice}."
            )
        record_claim(path, shape)


def claim_scored(pool: Pool) -> None:
    """:func:`claim_pool` of a pool that is scored; one without a record is read where there are no anatomies.

    Raises:
        InputError: as of :func:`claim_pool`.
    """
    folder = pool.anatomy_folder
    if (pool.folder / RECORD).is_file() or (folder is not None and list_anatomies(folder)):
        claim_pool(pool)


def _shape_of(pool: Pool) -> dict[str, Any]:
    subjects = digest_of_values(pool.subjects)[:16]
    return {
        "model_spacing": pool.spacing,
        "first_seed": pool.first_seed,
        "dose_range": pool.dose_range,
        "subjects": f"{len(pool.subjects)} ({subjects})",
        **getattr(pool, "settings", {}),
    }


def _plain(value: Any) -> str:
    return ", ".join(f"{each:g}" for each in value) if isinstance(value, tuple) else str(value)
