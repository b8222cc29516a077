"""The pairs of a table for a training from scratch: divided by subject, prepared, as pools."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, replace
from typing import Mapping, Optional, Sequence

import numpy as np

from ...errors import InputError
from ...subjects.table import Row, read_table
from ..training.checkpoint import NAME as CHECKPOINT
from ..training.claim import check_claim, record_claim
from ..training.config import TrainingConfig
from ..training.export import PairsFacts
from ..training.loop import TrainingRun
from ..training.measured import MeasuredPool

logger = logging.getLogger(__name__)

_TRAIN, _VALIDATION = "train", "validation"
_RECORD = "pairs.json"


@dataclass(frozen=True)
class TrainingPairs:
    """Pools to train on and to validate on, and the model's metadata about them."""

    pools: tuple[MeasuredPool, MeasuredPool]
    facts: PairsFacts


def training_pairs(config: TrainingConfig) -> TrainingPairs:
    """Read the table of a configuration, divide it by subject and prepare its pairs below the run's data.

    Raises:
        InputError: the table has errors, a pair cannot be used, a part is left without subjects, or the run's
            checkpoint was trained on other pairs.
    """
    # a training on phantoms alone runs without the libraries that read files
    from .prepared import prepare_pairs

    if config.pairs is None:
        raise InputError("The configuration names no table of 'pairs'.")
    rows = read_table(config.pairs).checked().rows
    parts = divide(rows, config.subjects, config.seed, config.validation_phantoms > 0)
    prepared = prepare_pairs(rows, config.data_folder / "own-scans", config.model_spacing, config.register)
    pools = [
        MeasuredPool(
            prepared.folder, prepared.members(names), config.model_spacing, config.normalisation, config.target
        )
        for names in (parts[_TRAIN], parts[_VALIDATION])
    ]
    logger.info("Pairs: %d to train on, %d to validate on", *(pool.available() for pool in pools))
    used = [row for row in prepared.rows if row.subject in parts[_TRAIN]]
    checksums = tuple({checksum for row in used for checksum in row.checksums})
    _claim(config, parts, checksums)
    facts = PairsFacts(pools[0], tuple(row.dose for row in used), len(parts[_TRAIN]), checksums)
    return TrainingPairs((pools[0], pools[1]), facts)


def _claim(config: TrainingConfig, parts: Mapping[str, Sequence[str]], checksums: Sequence[str]) -> None:
    """Record what a run trains on, or compare a run that continues from a checkpoint with the record.

    Raises:
        InputError: other subjects are: one that was trained on could be validated on, and the model would name others.
    """
    record = config.output / _RECORD
    facts = {
        "subjects to train on": sorted(parts[_TRAIN]),
        "subjects to validate on": sorted(parts[_VALIDATION]),
        "scans of SHA-256": hashlib.sha256("".join(sorted(checksums)).encode()).hexdigest()[:16],
    }
    if record.is_file() and (config.output / CHECKPOINT).is_file():
        whose = f"The checkpoint in '{config.output}' was trained with"
        check_claim(record, facts, whose, "set the table and 'subjects' back, or name another folder 'output'")
    else:
        record_claim(record, facts)


def run_on(config: TrainingConfig, device: str, pairs: Optional[TrainingPairs]) -> TrainingRun:
    """Return the run of a configuration: on phantoms, on pairs, or on both."""
    if pairs is None or config.simulates:
        return TrainingRun(config, device, pairs=None if pairs is None else pairs.pools)
    train, validation = pairs.pools
    # every pair is there from the start
    count = train.available()
    counted = replace(config, pool_start=count, pool_size=count, validation_phantoms=validation.available())
    return TrainingRun(counted, device, pairs.pools)


def divide(rows: Sequence[Row], shares: Sequence[float], seed: int, validates: bool) -> dict[str, tuple[str, ...]]:
    """Return the subjects of each part: by the table's column ``split``, or else drawn.

    Drawn are at least one subject for validation, where it is asked for, and the shares of the others; none is drawn
    for the test, which is ``validate``'s on a table of its own.

    Raises:
        InputError: only some rows have a split, or a part that is needed is empty.
    """
    subjects = tuple(dict.fromkeys(row.subject for row in rows))
    stated = {row.subject: row.split for row in rows if row.split}
    if stated and len(stated) < len(subjects):
        missing = next(name for name in subjects if name not in stated)
        raise InputError(f"Subject {missing} has no split, and others have; fill the column 'split', or leave it out.")
    if stated:
        parts = {part: tuple(name for name in subjects if stated[name] == part) for part in (_TRAIN, _VALIDATION)}
    else:
        order = [subjects[index] for index in np.random.default_rng(seed).permutation(len(subjects))]
        share = shares[1] / ((shares[0] + shares[1]) or 1)
        held_out = max(round(share * len(order)), 1) if validates else 0
        parts = {_TRAIN: tuple(order[held_out:]), _VALIDATION: tuple(order[:held_out])}
    empty = next((part for part in (_TRAIN, _VALIDATION)[: 1 + validates] if not parts[part]), None)
    if empty is not None:
        raise InputError(
            f"The table's {len(subjects)} subject(s) leave none for '{empty}'; add subjects, or set "
            "'validation_phantoms' to 0."
        )
    return parts
