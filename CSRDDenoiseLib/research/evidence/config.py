"""The keys of a configuration for the evidence."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Mapping, Optional

from ...configuration import read_placed, unknown_key
from ...errors import InputError
from ..evaluation.baselines import baseline

TRIED = ("error", "gain", "psnr", "contrast", "lesions", "regions", "imprint", "blobs", "uncertainty")
"""Names of the tables, in their order."""


@dataclass(frozen=True)
class EvidenceConfig:
    """The keys of a configuration file; paths are relative to it.

    Attributes:
        training: configuration of a training run, with the place of split and phantoms; missing ones are simulated.
        output: folder for ``results.json`` and files from which a run continues.
        page: Markdown page that the tables go into, or None.
        model: name of a bundled model, or a model folder.
        phantoms: their numbers in the pool of the report families.
        filters: of :data:`~CSRDDenoiseLib.research.evaluation.baselines.BASELINES`, beside Gaussian, MR-guided filter
            and tissue regression, which are always there. One whose package is missing is left out, and the page states
            so.
        uncertainty: phantoms on which the draws of the preset ``balanced`` are measured, at each dose of
            ``uncertainty_doses``.
        uncertainty_doses: dose fractions.
        tried: name of a table -> what was tried, shown where its goal is not reached.
    """

    training: Path
    output: Path
    page: Optional[Path] = None
    model: str = "brain"
    phantoms: tuple[int, ...] = (0, 1, 2, 4, 5, 8)
    filters: tuple[str, ...] = ("Non-local means", "Total variation", "MR-guided filter")
    uncertainty: tuple[int, ...] = (0, 2)
    uncertainty_doses: tuple[float, ...] = (1 / 10,)
    tried: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.filters:
            baseline(name)
        unknown = next((name for name in self.tried if name not in TRIED), None)
        if unknown is not None:
            raise InputError(unknown_key(unknown, list(TRIED), "What was tried"))


def read_evidence_config(path: Path) -> EvidenceConfig:
    """Read a YAML configuration.

    Raises:
        InputError: it cannot be read, or a key or value is wrong.
    """
    config = read_placed(path, EvidenceConfig)
    folder = path.parent / config.model
    return replace(config, model=str(folder)) if folder.is_dir() else config
