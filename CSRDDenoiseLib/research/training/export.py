"""From a run to a model folder: averaged weights, and all that belongs to them as metadata."""

from __future__ import annotations

import platform
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Mapping, Optional

import torch
from torch import nn

from ...model.bundle import build_network, load_model, save_model
from ...model.contents import NOISE_RANGE
from ...model.metadata import CHANNELS, DeviationMetadata, ModelMetadata
from ...sentences import as_fraction
from .checkpoint import TrainingState, check_finite, check_held, load_checkpoint
from .config import TrainingConfig
from .noise_range import noise_range
from .pool import Pool, pool_of
from .split import load_split

_SPACING_RANGE_MM = (1.0, 3.0)


@dataclass(frozen=True)
class PairsFacts:
    """Metadata about the pairs that a model was trained on: no names, no paths.

    Attributes:
        pool: the pairs of the training.
        doses: of all of them.
        subjects: how many.
        checksums: SHA-256 of all that was read.
    """

    pool: Pool
    doses: tuple[float, ...]
    subjects: int
    checksums: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return what goes into the metadata, as plain JSON types."""
        return {
            "pairs": self.pool.available(),
            "subjects": self.subjects,
            "doses": sorted({round(dose, 4) for dose in self.doses}),
            "data_sha256": sorted(self.checksums),
        }


def export_model(
    config: TrainingConfig, folder: Path, hardware: str = "", pairs: Optional[PairsFacts] = None
) -> ModelMetadata:
    """Write the averaged weights of a run's last checkpoint as a model folder, stored as float16.

    Args:
        config: of the run.
        folder: of the model.
        hardware: words for the record; by default the processor and its threads.
        pairs: what the run was trained on beside phantoms, or instead of them.

    Raises:
        FileNotFoundError: the run has no checkpoint yet.
        InputError: the checkpoint was trained with another configuration, or its weights are not finite.
    """
    saved = load_checkpoint(config.output)
    if saved is None:
        raise FileNotFoundError(f"There is no checkpoint in '{config.output}' yet.")
    check_held(config, saved)
    state, network = TrainingState(**saved["state"]), _averaged_network(config, saved["average"])
    if config.mean_model is not None:
        return _export_deviation(config, folder, network, _facts(config, state, hardware))
    metadata = ModelMetadata(
        name=config.name,
        description=f"Brain PET with MR, trained on {_data_words(config, pairs)}.",
        architecture=dict(config.architecture),
        sigma_data=state.sigma_data,
        sigma_min=config.sigma_range[0] * state.sigma_data,
        sigma_max=config.sigma_range[1] * state.sigma_data,
        normalisation=config.normalisation,
        channels=CHANNELS[config.normalisation],
        mean_from=config.mean_from,
        boost=config.boost,
        target=config.target,
        voxel_spacing_mm=config.model_spacing,
        spacing_range_mm=_SPACING_RANGE_MM,
        dose_range=_dose_range(config, pairs),
        mr_optional=config.mr_dropout > 0,
        training={**_facts(config, state, hardware), **({"pairs": pairs.as_dict()} if pairs else {})},
        extra={NOISE_RANGE: _noise(config, pairs)},
    )
    save_model(folder, network, metadata)
    return metadata


def _averaged_network(config: TrainingConfig, average: Mapping[str, torch.Tensor]) -> nn.Module:
    """The network with the averaged weights of a checkpoint, in float16."""
    network = build_network(config.architecture)
    network.load_state_dict({key[len("model.") :]: each for key, each in average.items() if key.startswith("model.")})
    # half precision rounds to 1 in 2048, far below what any image could show, and halves the download
    network = network.half()
    check_finite(network.state_dict(), f"The weights of the checkpoint in '{config.output}'")
    return network


def _data_words(config: TrainingConfig, pairs: Optional[PairsFacts]) -> str:
    if config.dose_range:
        doses = " to ".join(as_fraction(dose) for dose in reversed(config.dose_range))
    else:
        doses = ", ".join(as_fraction(dose) for dose in config.doses)
    parts = [f"simulated PET of dose {doses} (several tracers and scanners)"] if config.simulates else []
    parts += [f"{pairs.pool.available()} pairs of a low and a full dose of {pairs.subjects} subjects"] if pairs else []
    return " and ".join(parts)


def _dose_range(config: TrainingConfig, pairs: Optional[PairsFacts]) -> tuple[float, float]:
    doses = [*(config.trained_doses if config.simulates else ()), *(pairs.doses if pairs else ())]
    return min(doses), max(doses)


def _noise(config: TrainingConfig, pairs: Optional[PairsFacts]) -> dict[str, Any]:
    if config.simulates or pairs is None:
        return noise_range(pool_of(config, "train"))
    return noise_range(pairs.pool, trained=sorted(set(pairs.doses)))


def _export_deviation(config: TrainingConfig, folder: Path, network: nn.Module, facts: dict[str, Any]) -> ModelMetadata:
    """Write the model of the posterior mean with a network of the deviation; its metadata stay but for that."""
    mean, sigma_data = load_model(str(config.mean_model)), facts["sigma_data"]
    deviation = DeviationMetadata(
        architecture=dict(config.architecture),
        unit=tuple(facts["unit"]),
        removed=facts["removed"],
        sigma_data=sigma_data,
        sigma_min=config.sigma_range[0] * sigma_data,
        sigma_max=config.sigma_range[1] * sigma_data,
    )
    training = {**mean.metadata.training, "deviation": facts}
    metadata = replace(mean.metadata, name=config.name, draws=True, deviation=deviation, recipes=(), training=training)
    save_model(folder, mean.denoiser.model.half(), metadata, network)
    return metadata


def _facts(config: TrainingConfig, state: TrainingState, hardware: str) -> dict[str, Any]:
    settings = config.settings
    # other models by the names of their folders, whose places mean nothing elsewhere
    others = {key: Path(str(settings[key])).name for key in ("start_from", "mean_model") if settings.get(key)}
    settings.update(others)
    return {
        "steps": state.step,
        "sigma_data": state.sigma_data,
        "unit": list(state.unit),
        "removed": state.removed,
        "hours": round(state.seconds / 3600, 2),
        "phantoms": state.phantoms,
        "hardware": hardware or f"{platform.machine()} CPU, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "settings": settings,
        **({"split": load_split(config.split_file)} if config.simulates else {}),
    }
