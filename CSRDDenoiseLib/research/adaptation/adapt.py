"""The whole adaptation: prepare the pairs, train the folds, compare with the start, calibrate, write the model."""

from __future__ import annotations

import copy
import logging
import math
import os
import platform
import shutil
import tempfile
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Iterator, Optional, Sequence

import torch

from ...checks.noise import KEY as NOISE_KEY
from ...errors import InputError
from ...model.bundle import Model, save_model
from ...model.metadata import ModelMetadata
from ...subjects.pair import load_pair
from ...subjects.table import Row
from ..training.config import TrainingConfig
from ..training.measured import MeasuredPool
from ..training.noise_range import noise_range
from .calibration import Voxels, fit_table, recipe_settings, voxels_of
from .card import MODEL_CARD, Comparison, model_card
from .fold import FoldResult, fold_config, run_fold
from .held_out import relative_change
from .prepared import PreparedPairs, prepare_pairs
from .settings import AdaptSettings
from .start import average_of, check_start, save_mean, with_mean
from .subject_folds import Fold, make_folds

logger = logging.getLogger(__name__)

_START = "start"


@dataclass(frozen=True)
class Adaptation:
    """What an adaptation gave.

    Attributes:
        model: the adapted model in memory, calibrated; its folder is where it was or would be written.
        scans: held-out scans, start and adapted.
        change: mean over them of the logarithm of the squared error after over before.
        written: whether the folder was written.
    """

    model: Model
    scans: tuple[Comparison, ...]
    change: float
    written: bool

    @property
    def better(self) -> bool:
        """Whether the held-out scans came out better than with the start."""
        return self.change < 0


@dataclass(frozen=True)
class Job:
    """What an adaptation works on.

    Attributes:
        rows: of the table.
        start: the model.
        output: folder of the adapted model.
        work: folder for what is kept until the model is written.
        settings: how.
        device: torch device of the training.
    """

    rows: Sequence[Row]
    start: Model
    output: Path
    work: Path
    settings: AdaptSettings
    device: str = "cpu"


def adapt(job: Job, keep: bool = False) -> Adaptation:
    """Adapt a model to pairs and write it, where it is better than the start on held-out subjects.

    An adaptation that was interrupted goes on from ``job.work``, which is removed when the model is written.

    Args:
        job: what to adapt to what.
        keep: write the model also where it is no better.

    Raises:
        InputError: a pair, the model or the number of subjects does not allow it; or ``work`` holds another one's.
    """
    check_start(job.start.metadata)
    folds = make_folds([row.subject for row in job.rows], job.settings.seed)
    prepared = prepare_pairs(job.rows, job.work, job.start.metadata.voxel_spacing_mm)
    if not (job.work / _START).is_dir():
        save_mean(job.start, job.work / _START)
    results = [_run(job, prepared, fold, number) for number, fold in enumerate(folds)]
    scans = tuple(sorted(_compared(prepared, folds, results), key=lambda scan: scan.subject))
    change = sum(math.log(scan.after.full / scan.before.full) for scan in scans) / len(scans)
    model = with_mean(job.start, average_of([result.weights for result in results]))
    metadata = replace(model.metadata, training=_facts(job, prepared, folds, results, change), recipes=())
    metadata = replace(metadata, **_about_data(job, prepared, metadata))
    if change < 0 or keep:
        metadata = _calibrated(job, prepared, folds, results, metadata)
    model = replace(model, metadata=metadata, folder=job.output)
    written = change < 0 or keep
    if written:
        _write(model, model_card(metadata, scans, prepared.rows), job.output)
        shutil.rmtree(job.work)
    return Adaptation(model, scans, change, written)


def _run(job: Job, prepared: PreparedPairs, fold: Fold, number: int) -> FoldResult:
    metadata, folder = job.start.metadata, job.work / f"fold-{number}"
    pools = tuple(_pool(prepared, names, metadata) for names in (fold.trained, fold.held_out))
    config = fold_config(metadata, job.settings, job.work / _START, folder)
    count = len(make_folds([row.subject for row in job.rows], job.settings.seed))
    logger.info("Fold %d of %d: %d subjects, %d held out", number + 1, count, len(fold.trained), len(fold.held_out))
    result = run_fold(config, (pools[0], pools[1]), job.settings.share(count), job.device)
    percent = 100 * (math.exp(relative_change(result.before, result.after)) - 1)
    logger.info("Fold %d: squared error of held-out scans %+.2f %% at step %d", number + 1, percent, result.step)
    return result


def _pool(prepared: PreparedPairs, subjects: Sequence[str], metadata: ModelMetadata) -> MeasuredPool:
    members = prepared.members(subjects)
    spacing = metadata.voxel_spacing_mm
    return MeasuredPool(prepared.folder, members, spacing, metadata.normalisation, metadata.target)


def _compared(prepared: PreparedPairs, folds: Sequence[Fold], results: Sequence[FoldResult]) -> Iterator[Comparison]:
    numbers = {name: number for number, name in enumerate(dict.fromkeys(row.subject for row in prepared.rows), 1)}
    for fold, result in zip(folds, results):
        members = prepared.members(fold.held_out)
        for place, before in result.before.items():
            row = prepared.rows[members[place]]
            yield Comparison(numbers[row.subject], row, before, result.after[place])


def _facts(
    job: Job, prepared: PreparedPairs, folds: Sequence[Fold], results: Sequence[FoldResult], change: float
) -> dict[str, Any]:
    start = job.start.metadata
    adapted = {
        "start": {"name": start.name, "weights_sha256": start.weights_sha256},
        "subjects": len({row.subject for row in prepared.rows}),
        "pairs": len(prepared.rows),
        "doses": [round(row.dose, 4) for row in prepared.rows],
        "folds": len(folds),
        "steps": [result.step for result in results],
        "minutes": None if job.settings.steps else job.settings.minutes,
        "held_out_change_percent": round(100 * (math.exp(change) - 1), 3),
        "settings": {**job.settings.as_dict(), "train_only": list(job.settings.train_only)},
        "hardware": f"{platform.machine()} {job.device}, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "data_sha256": sorted({checksum for row in prepared.rows for checksum in row.checksums}),
    }
    return {**start.training, "adapted": adapted}


def _about_data(job: Job, prepared: PreparedPairs, metadata: ModelMetadata) -> dict[str, Any]:
    """What the metadata says of the scans: a name, a sentence, the doses and the noise range."""
    doses = [row.dose for row in prepared.rows]
    pool = MeasuredPool(
        prepared.folder, range(len(prepared.rows)), metadata.voxel_spacing_mm, metadata.normalisation, metadata.target
    )
    start = job.start.metadata
    config = fold_config(start, job.settings, job.work, job.work)
    found = noise_range(pool, len(prepared.rows), _trained_doses(doses, config))
    known = start.extra.get(NOISE_KEY, {})
    # too few scans for a fit of the dose of their own: that of the start stays
    fit = {"dose_fit": known["dose_fit"]} if "dose_fit" in known and "dose_fit" not in found else {}
    name = "".join(letter for letter in job.output.name if letter.isprintable() and letter not in "/\\:")[:64]
    count = len({row.subject for row in prepared.rows})
    return {
        "name": name or "adapted",
        "description": f"{start.name}, adapted to pairs of a low and a full dose of {count} subjects of one site.",
        "dose_range": (min(*start.dose_range, *doses), max(*start.dose_range, *doses)),
        "extra": {**start.extra, NOISE_KEY: {**found, **fit}} if found else start.extra,
    }


def _trained_doses(doses: Sequence[float], config: TrainingConfig) -> list[float]:
    """Doses of the pairs, and the ends of what their noise is scaled to in training, as simple fractions."""
    scales = {1 / config.noise_scale, 1.0, config.noise_scale}
    wanted = (1 / (1 + scale**2 * (1 / dose - 1)) for dose in doses for scale in scales)
    return sorted({float(Fraction(dose).limit_denominator(20)) for dose in wanted} - {0.0, 1.0})


def _calibrated(
    job: Job,
    prepared: PreparedPairs,
    folds: Sequence[Fold],
    results: Sequence[FoldResult],
    metadata: ModelMetadata,
) -> ModelMetadata:
    settings = recipe_settings(job.start) if metadata.draws else None
    if settings is None or not job.settings.calibrate:
        return metadata

    def voxels() -> Iterator[Voxels]:
        for fold, result in zip(folds, results):
            model = with_mean(job.start, result.weights)
            for number in prepared.members(fold.held_out):
                logger.info("Calibrating on held-out scan %d of %d", number + 1, len(prepared.rows))
                pair = load_pair(job.rows[number])
                yield voxels_of(pair, prepared.rows[number].dose, model, replace(settings, device=job.device))

    table = fit_table(voxels())
    return replace(metadata, recipes=({**settings.recipe.as_dict(), "calibration": table},))


def _write(model: Model, card: str, output: Path) -> None:
    """Write the folder complete, or not at all; a folder that is there is replaced file by file."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".saving-", dir=output.parent) as staging:
        made = Path(staging) / "model"
        network = copy.deepcopy(model.denoiser.model).half()
        deviation = None if model.deviation is None else copy.deepcopy(model.deviation.model).half()
        save_model(made, network, model.metadata, deviation)
        (made / MODEL_CARD).write_text(card, encoding="utf-8")
        if not output.exists():
            made.replace(output)
            return
        for path in sorted(made.iterdir()):
            os.replace(path, output / path.name)


def check_output(output: Path, work: Optional[Path]) -> Path:
    """Return the folder for what is kept until the model is written, and check that both can be.

    Raises:
        InputError: the output is a file, or a folder with something else than a model in it.
    """
    if output.exists() and not output.is_dir():
        raise InputError(f"The output '{output}' is a file; give the folder of the new model.")
    if output.is_dir() and any(output.iterdir()):
        raise InputError(f"The output folder '{output}' is not empty; choose another, so that no model is lost.")
    return work or output.parent / f".adapting-{output.name}"
