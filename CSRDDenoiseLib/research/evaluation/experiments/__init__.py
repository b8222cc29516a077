"""The experiments, each a function that takes a bench and its own options and returns a section of the report."""

from __future__ import annotations

from typing import Callable

from . import alignment, contrast, cost, counts, dose, heads, modality, noise, protocol, signatures, trust
from .bench import Bench, ComparisonModel, Section

EXPERIMENTS: dict[str, Callable[..., Section]] = {
    "dose": dose.run,
    "modality": modality.run,
    "noise": noise.run,
    "cost": cost.run,
    "protocol": protocol.run,
    "trust": trust.run,
    "contrast": contrast.run,
    "alignment": alignment.run,
    "signatures": signatures.run,
    "counts": counts.run,
    "heads": heads.run,
}

__all__ = ["EXPERIMENTS", "Bench", "ComparisonModel", "Section"]
