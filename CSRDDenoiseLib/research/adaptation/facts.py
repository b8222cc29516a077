"""Metadata of an adapted model about its training and its scans, without names and paths of people."""

from __future__ import annotations

import math
import platform
from dataclasses import dataclass
from typing import Any, Sequence

import torch

from ...model.contents import NOISE_RANGE
from ...model.metadata import ModelMetadata
from ..training.measured import MeasuredPool
from ..training.noise_range import noise_range
from .fold import FoldResult, fold_config
from .prepared import PreparedPairs
from .settings import AdaptSettings


@dataclass(frozen=True)
class Changes:
    """Mean over scans of the logarithm of the squared error after over before; below 0 is better.

    Attributes:
        held_out: of the scans that were held out of a fold, by the model of that fold.
        check: of the scans that no fold used, by the model that is written.
    """

    held_out: float
    check: float

    @property
    def better(self) -> bool:
        """Whether both came out better."""
        return self.held_out < 0 and self.check < 0


def training_facts(
    start: ModelMetadata,
    settings: AdaptSettings,
    prepared: PreparedPairs,
    results: Sequence[FoldResult],
    changes: Changes,
    device: str,
) -> dict[str, Any]:
    """The metadata about the training; data by checksum only."""
    adapted = {
        "start": {"name": start.name, "weights_sha256": start.weights_sha256},
        "subjects": len({row.subject for row in prepared.rows}),
        "pairs": len(prepared.rows),
        "doses": [round(row.dose, 4) for row in prepared.rows],
        "folds": len(results),
        "steps": [result.step for result in results],
        "minutes": None if settings.steps else settings.minutes,
        "held_out_change_percent": percent(changes.held_out),
        "check_change_percent": percent(changes.check),
        "settings": {**settings.as_dict(), "train_only": list(settings.train_only)},
        "hardware": f"{platform.machine()} {device}, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        # with those of an adaptation before this one, which is named no more
        "data_sha256": sorted(start.data_sha256.union(*(row.checksums for row in prepared.rows))),
    }
    return {**start.training, "adapted": adapted}


def about_data(start: ModelMetadata, settings: AdaptSettings, prepared: PreparedPairs, name: str) -> dict[str, Any]:
    """The metadata about the scans: a name, a sentence, the doses and the noise range."""
    doses = [row.dose for row in prepared.rows]
    pool = MeasuredPool(
        prepared.folder, range(len(prepared.rows)), start.voxel_spacing_mm, start.normalisation, start.target
    )
    config = fold_config(start, settings, prepared.folder, prepared.folder)
    found = noise_range(pool, len(prepared.rows), _trained_doses(doses, config.noise_scale))
    known = start.extra.get(NOISE_RANGE, {})
    # too few scans for a fit of the dose of their own: that of the start stays
    fit = {"dose_fit": known["dose_fit"]} if "dose_fit" in known and "dose_fit" not in found else {}
    name = "".join(letter for letter in name if letter.isprintable() and letter not in "/\\:")[:64]
    count = len({row.subject for row in prepared.rows})
    return {
        "name": name or "adapted",
        "description": f"{start.name}, adapted to pairs of a low and a full dose of {count} subjects of one site.",
        "dose_range": (min(*start.dose_range, *doses), max(*start.dose_range, *doses)),
        "extra": {**start.extra, NOISE_RANGE: {**found, **fit}} if found else start.extra,
    }


def percent(change: float) -> float:
    """A change of the squared error, from its logarithm to %."""
    return round(100 * (math.exp(change) - 1), 3)


def _trained_doses(doses: Sequence[float], noise_scale: float) -> list[float]:
    """Doses of the pairs, and the ends of what their noise is scaled to in training, to two digits."""
    scales = {1 / noise_scale, noise_scale} - {1.0}
    ends = (1 / (1 + scale**2 * (1 / dose - 1)) for dose in doses for scale in scales)
    return sorted({*map(float, doses), *(float(f"{dose:.2g}") for dose in ends)} - {1.0})
