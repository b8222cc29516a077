"""The whole adaptation: prepare the pairs, train the folds, compare with the start, calibrate, write the model."""

from __future__ import annotations

import copy
import logging
import math
import shutil
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Iterator, Optional, Sequence

import numpy as np

from ...atomic import put_in_place
from ...errors import InputError
from ...model.bundle import CARD_FILE, METADATA_FILE, Model, save_model
from ...model.metadata import ModelMetadata
from ...subjects.table import Row
from ..training.claim import check_claim, record_claim
from ..training.measured import MeasuredPool
from .calibration import Voxels, cost_of_draws, fit_table, recipe_settings, voxels_of
from .card import Comparison, model_card
from .facts import Changes, about_data, percent, training_facts
from .fold import FoldResult, FoldTime, fold_config, run_fold
from .held_out import HeldOut, judge, relative_change
from .prepared import PreparedPairs, pair_of, prepare_pairs
from .settings import AdaptSettings
from .start import average_of, check_start, save_mean, with_mean
from .subject_folds import Division, Fold, divide_subjects
from .time_plan import LAST_SECONDS, Clock, Needs, TimePlan, plan_time

logger = logging.getLogger(__name__)

_START, _JOB, _TEST = "start", "job.json", "test"
_OF_TIME = ("minutes", "validations", "calibrate")
"""Settings that may differ when an interrupted adaptation continues."""


@dataclass(frozen=True)
class Adaptation:
    """What an adaptation gave.

    Attributes:
        model: the adapted model in memory, calibrated; its folder is where it was or would be written.
        scans: held-out scans, start and adapted.
        changes: of their error.
        written: whether the folder was written.
    """

    model: Model
    scans: tuple[Comparison, ...]
    changes: Changes
    written: bool

    @property
    def better(self) -> bool:
        """Whether the held-out scans came out better than with the start, those of the folds and of the check."""
        return self.changes.better


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

    An adaptation that was interrupted continues from ``job.work``, which is removed when the model is written.

    Args:
        job: what to adapt to what.
        keep: write the model also where it is no better.

    Raises:
        InputError: a pair, the model, the number of subjects or the time does not allow it; or ``work`` holds another
            one's.
    """
    clock = Clock(60 * job.settings.minutes)
    job = _without_test(job)
    check_start(job.start.metadata, job.rows)
    division = divide_subjects([row.subject for row in job.rows], job.settings.seed)
    with _none_if_refused(job.work):
        _claim(job)
        prepared = prepare_pairs(job.rows, job.work, job.start.metadata.voxel_spacing_mm, job.settings.register)
        _warn_of_known(job.start.metadata, prepared)
        if not (job.work / _START / METADATA_FILE).is_file():
            save_mean(job.start, job.work / _START)
        start, settings = job.start.metadata, job.settings
        # of the scans alone; here, because it takes time that is planned with
        about = about_data(start, settings, prepared, job.output.name)
        began = time.monotonic()
        before = _judged(job.start, prepared, division.check)
        look = (time.monotonic() - began) / len(before)
        plan = _planned(job, prepared, division, look, clock)
    results = _run_folds(job, prepared, division.folds, plan, look, clock)
    model = with_mean(job.start, average_of([result.weights for result in results]))
    checked = before, _judged(model, prepared, division.check)
    scans = tuple(sorted(_compared(prepared, division, results, checked), key=lambda scan: (scan.final, scan.subject)))
    changes = _changes(scans)
    training = training_facts(start, settings, prepared, results, changes, job.device)
    model = replace(model, metadata=replace(model.metadata, training=training, recipes=(), **about), folder=job.output)
    written = changes.better or keep
    if written:
        model = replace(model, metadata=_calibrated(job, prepared, division, results, model, clock))
        _write(model, model_card(model.metadata, scans, prepared.rows), job.output)
        shutil.rmtree(job.work)
    return Adaptation(model, scans, changes, written)


@contextmanager
def _none_if_refused(work: Path) -> Iterator[None]:
    """Remove the folder, and those above it that were made for it, where the body refuses and it was not there."""
    made = [each for each in (work, *work.parents) if not each.exists()]
    try:
        yield
    except InputError:
        if made:
            shutil.rmtree(work, ignore_errors=True)
        for folder in made[1:]:
            with suppress(OSError):
                folder.rmdir()
        raise


def _claim(job: Job) -> None:
    """Record in the work folder what is adapted and how, time aside, or compare the job with what is recorded there.

    Raises:
        InputError: another start or other settings are: subjects that were trained on could be taken for held-out ones.
    """
    settings = {name: value for name, value in job.settings.as_dict().items() if name not in _OF_TIME}
    record, facts = job.work / _JOB, {"start": job.start.metadata.weights_sha256, **settings}
    if record.is_file():
        whose = f"The adaptation in '{job.work}' was begun with"
        check_claim(record, facts, whose, "remove that folder, or choose another")
    else:
        record_claim(record, facts)


def _without_test(job: Job) -> Job:
    """Leave out the subjects that the table keeps for a test; the other splits are those of ``train``."""
    tested = {row.subject for row in job.rows if row.split == _TEST}
    if tested:
        logger.info("%d subject(s) of the split '%s' are left out", len(tested), _TEST)
    return replace(job, rows=tuple(row for row in job.rows if row.subject not in tested))


def _warn_of_known(start: ModelMetadata, prepared: PreparedPairs) -> None:
    """Warn of subjects that the start was trained with: held out of the folds, they are still no new heads."""
    subjects = {row.subject for row in prepared.rows}
    known = {row.subject for row in prepared.rows if start.data_sha256.intersection(row.checksums)}
    if known:
        logger.warning(
            "Warning: '%s' was trained with scans of %d of the %d subjects, so on these the comparison with it and the "
            "uncertainty are not those of new heads; start from a model that was not, or leave them out.",
            start.name,
            len(known),
            len(subjects),
        )


def _planned(job: Job, prepared: PreparedPairs, division: Division, look: float, clock: Clock) -> Optional[TimePlan]:
    """How the time is spent; None where steps are asked for, whatever time they take."""
    if job.settings.steps:
        return None
    recipe = recipe_settings(job.start) if job.settings.calibrate else None
    held_out = sum(len(prepared.members(fold.held_out)) for fold in division.folds)
    calibration = look * cost_of_draws(job.start, recipe) if recipe else 0.0
    needs = Needs(look, held_out, len(prepared.members(division.check)), calibration)
    return plan_time(needs, clock, job.settings.validations)


def _run_folds(
    job: Job,
    prepared: PreparedPairs,
    folds: Sequence[Fold],
    plan: Optional[TimePlan],
    look: float,
    clock: Clock,
) -> list[FoldResult]:
    results = []
    settings = job.settings.share(len(folds))
    if plan is not None:
        settings = replace(settings, validations=plan.looks)
    for number, fold in enumerate(folds):
        pools = _pool(job.start, prepared, fold.trained), _pool(job.start, prepared, fold.held_out)
        config = fold_config(job.start.metadata, settings, job.work / _START, job.work / f"fold-{number}")
        logger.info(
            "Fold %d of %d: %d subjects, %d held out", number + 1, len(folds), len(fold.trained), len(fold.held_out)
        )
        limit = None
        if plan is not None:
            limit = FoldTime(plan.fold_seconds(clock, len(folds) - number), look * pools[1].available())
        result = run_fold(config, pools, settings, job.device, limit)
        change = percent(relative_change(result.before, result.after))
        logger.info("Fold %d: squared error of held-out scans %+.2f %% at step %d", number + 1, change, result.step)
        results.append(result)
    return results


def _pool(model: Model, prepared: PreparedPairs, subjects: Sequence[str]) -> MeasuredPool:
    metadata = model.metadata
    members = prepared.members(subjects)
    return MeasuredPool(prepared.folder, members, metadata.voxel_spacing_mm, metadata.normalisation, metadata.target)


def _judged(model: Model, prepared: PreparedPairs, subjects: Sequence[str]) -> dict[int, HeldOut]:
    """Errors of a model on the scans of subjects: number of the row -> errors."""
    found = judge(model.denoiser, _pool(model, prepared, subjects), model.metadata.sigma_max)
    members = prepared.members(subjects)
    return {members[place]: errors for place, errors in found.items()}


def _compared(
    prepared: PreparedPairs,
    division: Division,
    results: Sequence[FoldResult],
    checked: tuple[dict[int, HeldOut], dict[int, HeldOut]],
) -> Iterator[Comparison]:
    numbers = {name: number for number, name in enumerate(dict.fromkeys(row.subject for row in prepared.rows), 1)}
    for fold, result in zip(division.folds, results):
        members = prepared.members(fold.held_out)
        for place, before in result.before.items():
            row = prepared.rows[members[place]]
            yield Comparison(numbers[row.subject], row, before, result.after[place], final=False)
    for member, before in checked[0].items():
        row = prepared.rows[member]
        yield Comparison(numbers[row.subject], row, before, checked[1][member], final=True)


def _changes(scans: Sequence[Comparison]) -> Changes:
    def change(final: bool) -> float:
        return float(np.mean([math.log(scan.after.full / scan.before.full) for scan in scans if scan.final is final]))

    return Changes(held_out=change(final=False), check=change(final=True))


def _calibrated(
    job: Job,
    prepared: PreparedPairs,
    division: Division,
    results: Sequence[FoldResult],
    model: Model,
    clock: Clock,
) -> ModelMetadata:
    """The metadata with the uncertainty fitted to as many held-out scans as there is time for, one at least.

    Each is denoised by a model that did not see it; scans of the check, by what is written, come first.
    """
    settings = recipe_settings(job.start) if model.metadata.draws else None
    if settings is None or not job.settings.calibrate:
        return model.metadata
    settings = replace(settings, device=job.device)
    judges = [(model, division.check)]
    judges += [(with_mean(job.start, each.weights), fold.held_out) for fold, each in zip(division.folds, results)]
    queues = [[(judge_of, number) for number in prepared.members(names)] for judge_of, names in judges]
    turns = [each for turn in zip_longest(*queues) for each in turn if each is not None]
    voxels: list[Voxels] = []
    longest = 0.0
    for judge_of, number in turns:
        if voxels and not job.settings.steps and clock.left() < longest + LAST_SECONDS:
            logger.info("No time for the other %d held-out scans", len(turns) - len(voxels))
            break
        began = time.monotonic()
        logger.info("Calibrating on held-out scan %d of %d", len(voxels) + 1, len(turns))
        pair = pair_of(job.rows[number], job.settings.register)
        voxels.append(voxels_of(pair, prepared.rows[number].dose, judge_of, settings))
        longest = max(longest, time.monotonic() - began)
    recipe = {**settings.recipe.as_dict(), "calibration": fit_table(voxels)}
    return replace(model.metadata, recipes=(recipe,))


def _write(model: Model, card: str, output: Path) -> None:
    """Write the folder complete, or not at all; a folder that is there is replaced file by file."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".saving-", dir=output.parent) as staging:
        made = Path(staging) / "model"
        network = copy.deepcopy(model.denoiser.model).half()
        deviation = None if model.deviation is None else copy.deepcopy(model.deviation.model).half()
        save_model(made, network, model.metadata, deviation)
        (made / CARD_FILE).write_text(card, encoding="utf-8")
        if not output.exists():
            made.replace(output)
            return
        put_in_place(made, output)


def check_output(output: Path, work: Optional[Path]) -> Path:
    """Return the folder for what is kept until the model is written, and check that both can be.

    Raises:
        InputError: the output is a file, or a folder with something in it; or ``work`` has what no adaptation made, or
            holds the output, which would be removed with it; or it lies in the output.
    """
    if output.exists() and not output.is_dir():
        raise InputError(f"The output '{output}' is a file; give the folder of the new model.")
    if output.is_dir() and any(output.iterdir()):
        raise InputError(f"The output folder '{output}' is not empty; choose another, so that no model is lost.")
    if work is not None and work.is_dir() and any(work.iterdir()) and not (work / _JOB).is_file():
        raise InputError(
            f"The folder '{work}' for what is kept until the model is written is not empty, and is removed then; give "
            "one of its own."
        )
    if work is not None and _nested(output.resolve(), work.resolve()):
        raise InputError(
            f"The folder '{work}' for what is kept until the model is written is removed then; it must neither hold "
            f"the output '{output}' nor lie in it."
        )
    return work or output.parent / f".adapting-{output.name}"


def _nested(one: Path, other: Path) -> bool:
    return one == other or one in other.parents or other in one.parents
