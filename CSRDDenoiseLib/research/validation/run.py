"""Run a validation: from a table of pairs, or folders of simulated subjects, to tables, figures and a report."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Iterator, Mapping, Optional, Sequence, Union

from ...alone import alone
from ...atomic import complete_file
from ...errors import Cancelled, CSRDError, InputError, NotComplete, PlaceError, is_disk_full, reason_of
from ...findings import Finding, errors_of, warning, warnings_of
from ...io.record import versions
from ...io.write import all_or_nothing
from ...model.bundle import Model, load_model
from ...progress import ProgressCallback, Reporter
from ...sentences import CLI, sentence
from ...settings import DenoiseSettings
from ...spread import Spread
from ...subjects.checksum import checksum, checksums
from ...subjects.judge import judge_pair, judge_together
from ...subjects.pair import Pair, load_pair
from ...subjects.table import OWN, Row, Table
from ..evaluation.baselines import BASELINES, baseline
from ..evaluation.markdown import Table as GainTable
from ..evaluation.measure import CEILING
from ..evaluation.methods import INPUT
from .choice import choose
from .figures import example_png
from .report import Evaluated, files_of
from .result import SubjectResult
from .scans import OwnScan, scan_of_pair, scans_of_folder
from .store import Store, key_of
from .subject import FILTERS, Plan, measure_subject
from .tables import gain_table

logger = logging.getLogger(__name__)

STORE, LOCK = "subjects", ".lock"
_OF_A_SUBJECT = (CSRDError, ValueError, MemoryError, RuntimeError, OSError)
"""What may be wrong with one subject and does not stop the others."""


@dataclass(frozen=True)
class ValidationConfig:
    """What to validate on what.

    Attributes:
        output: folder for the results; finished subjects are kept there in ``subjects``.
        models: names of bundled models, or model folders.
        settings: of the runs.
        table: of pairs, without errors; or None.
        folders: of simulated subjects.
        filters: to compare with.
        reference: labels of the reference region of SUVR; none takes the brain.
        nested: whether the low doses' counts are a part of the full doses'.
    """

    output: Path
    models: tuple[str, ...]
    settings: DenoiseSettings
    table: Optional[Table] = None
    folders: tuple[Path, ...] = ()
    filters: tuple[str, ...] = FILTERS
    reference: tuple[int, ...] = ()
    nested: bool = True


@dataclass(frozen=True)
class Subject:
    """What is measured at once: the rows of one subject, or one folder."""

    name: str
    rows: tuple[Row, ...] = ()
    folder: Optional[Path] = None

    def load(self, plan: Plan) -> list[OwnScan]:
        """Read and judge the scans.

        Raises:
            InputError: one cannot be used.
        """
        if self.folder is not None:
            return list(scans_of_folder(self.folder))
        return [_load(row, plan) for row in self.rows]

    def checksums(self) -> tuple[Mapping[str, str], ...]:
        """Return column -> SHA-256 of the files of each row; of a folder of all of them."""
        if self.folder is not None:
            return ({"folder": checksum(self.folder)},)
        return tuple(checksums(row) for row in self.rows)


@dataclass(frozen=True)
class Validation:
    """What came out.

    Attributes:
        results: of the subjects that could be measured.
        failed: name of a subject that could not -> why.
        gains: of the models, paired by subject.
    """

    results: tuple[SubjectResult, ...]
    failed: Mapping[str, str]
    gains: GainTable


def run_validation(
    config: ValidationConfig, progress: Optional[ProgressCallback] = None, spread: Optional[Spread] = None
) -> Validation:
    """Measure every subject, those that were finished before aside, and write the results.

    Args:
        config: what on what.
        progress: receives the reports; returning False cancels.
        spread: measures the subjects elsewhere, on the same files; None here, one after another.

    Raises:
        InputError: nothing can be measured: no subject, no model, a filter is not known, or every subject fails; or
            another validation is at work in the folder.
        Cancelled: ``progress`` returned False; finished subjects are kept.
        NotComplete: results cannot be written; finished subjects are kept.
    """
    subjects, plan = _subjects(config), _plan(config)
    with alone(config.output / STORE / LOCK, "Another validation", config.output):
        return _run(config, subjects, plan, progress, spread)


def _run(
    config: ValidationConfig,
    subjects: Sequence[Subject],
    plan: Plan,
    progress: Optional[ProgressCallback],
    spread: Optional[Spread],
) -> Validation:
    store = Store(config.output / STORE)
    failed: dict[str, str] = {}
    files = dict(_checksums(subjects, failed))
    _check_together(subjects, files)
    keys = {each.name: _key(each, files[each.name], config, plan) for each in subjects if each.name in files}
    found = {name: store.load(key) for name, key in keys.items()}
    todo = [each for each in subjects if each.name in keys and found[each.name] is None]
    report = Reporter(progress, {each.name: 1.0 for each in todo} or {"report": 1.0})
    tasks = [MeasureTask(each, config, keys[each.name]) for each in todo]
    outcomes = spread(measure_task, tasks) if spread else _in_turn(tasks, plan, store, report)
    with _finished_kept(store):
        for number, (task, outcome) in enumerate(outcomes, 1):
            name = task.subject.name
            if spread:
                report(todo[number - 1].name, 1, 1, f"{number} of {len(todo)} subjects")
            if isinstance(outcome, Exception):
                _note(name, outcome, failed)
            else:
                found[name] = outcome
        results = tuple(result for result in found.values() if result is not None)
        if not results:
            raise InputError(f"No subject could be measured. {next(iter(failed.values()))}")
        _write(config, plan, results, failed, {name: store.folder / f"{key}.png" for name, key in keys.items()})
    return Validation(results, failed, gain_table(choose(results), list(plan.models)))


@contextmanager
def _finished_kept(store: Store) -> Iterator[None]:
    """Report what cannot be written together with what is kept, once a subject is finished."""
    try:
        yield
    except PlaceError:
        # lost, whatever the cause: nothing was to be written there
        raise
    except (InputError, OSError) as error:
        cause = error.__cause__ or error
        if not isinstance(cause, OSError) or not any(store.folder.glob("*.json")):
            raise
        raise NotComplete(
            f"The results cannot be written to '{store.folder.parent}': {reason_of(cause)}. Finished subjects are kept "
            f"in '{store.folder}'; free some space or allow writing there, and repeat the command."
        ) from error


@dataclass(frozen=True)
class MeasureTask:
    """A subject to be measured, perhaps on another machine; the result is kept under its key."""

    subject: Subject
    config: ValidationConfig
    key: str


def measure_task(task: MeasureTask) -> SubjectResult:
    """Measure one subject where this runs, on the same files, and keep the result.

    Raises:
        InputError: it cannot be measured.
    """
    silent = Reporter(None, {task.subject.name: 1.0})
    try:
        return _measure(task.subject, _plan(task.config), Store(task.config.output / STORE), task.key, silent)
    except _OF_A_SUBJECT as error:
        raise InputError(" ".join(str(error).split()) or type(error).__name__) from error


def _in_turn(
    tasks: Sequence[MeasureTask], plan: Plan, store: Store, report: Reporter
) -> Iterator[tuple[MeasureTask, Union[SubjectResult, Exception]]]:
    for task in tasks:
        try:
            outcome: Union[SubjectResult, Exception] = _measure(task.subject, plan, store, task.key, report)
        except Cancelled:
            raise
        except _OF_A_SUBJECT as error:
            if is_disk_full(error):
                raise
            outcome = error
        yield task, outcome


def _subjects(config: ValidationConfig) -> list[Subject]:
    found = [Subject(folder.name, folder=folder) for folder in config.folders]
    if config.table is not None:
        found += [Subject(name, rows=config.table.of(name)) for name in config.table.subjects]
    names = [each.name for each in found]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if not found or doubled:
        raise InputError(
            f"Two subjects have the name '{doubled[0]}'." if doubled else "There is no subject to measure."
        )
    rows = [row for each in found for row in each.rows]
    if config.reference and not config.folders and not any(row.labels for row in rows):
        raise InputError(
            f"The reference region of SUVR needs a label map, and none of the {len(rows)} rows has one in the column "
            "'labels'; add it, or leave the reference labels out."
        )
    return found


def _plan(config: ValidationConfig) -> Plan:
    for name in config.filters:
        baseline(name)
    models: dict[str, Model] = {}
    taken = {INPUT, CEILING, *(each.name for each in BASELINES)}
    for name in config.models:
        model = load_model(name, config.settings.device)
        title = model.metadata.name
        models[title if title not in {*models, *taken} else f"{title} ({name})"] = model
    if len({model.folder.resolve() for model in models.values()}) < len(config.models) or not models:
        raise InputError("Name at least one model, and each once.")
    settings = config.settings
    # measured twice, the regions of a filter would count twice
    filters = tuple(dict.fromkeys(config.filters))
    return Plan(models, settings, filters, config.reference, config.nested)


def _checksums(
    subjects: Sequence[Subject], failed: dict[str, str]
) -> Iterator[tuple[str, tuple[Mapping[str, str], ...]]]:
    """Yield name and checksums of every subject whose files can be read, and note the others."""
    for each in subjects:
        try:
            yield each.name, each.checksums()
        except OSError as error:
            _note(each.name, error, failed)


def _check_together(subjects: Sequence[Subject], files: Mapping[str, Sequence[Mapping[str, str]]]) -> None:
    """Refuse one head under two names, which would count twice in every mean and interval."""
    pairs = (pair for each in subjects for pair in zip(each.rows, files.get(each.name, ())))
    together = tuple(judge_together(pairs))
    for found in warnings_of(together):
        logger.warning("Warning: %s", sentence(found, CLI))
    for found in errors_of(together):
        raise InputError(sentence(found, CLI))


def _note(subject: str, error: Exception, failed: dict[str, str]) -> None:
    failed[subject] = " ".join(str(error).split()) or type(error).__name__
    logger.warning("%s cannot be measured: %s", subject, failed[subject])


def _key(subject: Subject, files: Sequence[Mapping[str, str]], config: ValidationConfig, plan: Plan) -> str:
    return key_of(
        subject=subject.name,
        files=[[row.name for row in subject.rows], list(files)],
        models={name: [model.metadata.weights_sha256, model.metadata.as_dict()] for name, model in plan.models.items()},
        settings=config.settings.as_dict(),
        filters=config.filters,
        reference=config.reference,
        nested=config.nested,
        version=versions()["csrd-denoise"],
    )


def _load(row: Row, plan: Plan) -> OwnScan:
    pair, register = load_pair(row), plan.settings.register
    judged = judge_pair(pair)
    wrong = [sentence(finding, CLI) for finding in errors_of(judged.findings)]
    if wrong:
        raise InputError(f"{row.name}: {' '.join(wrong)}")
    # what the registration is to mend need not be warned of
    findings = [each for each in judged.findings if not (register and each.check == "alignment")]
    known = list(_judge_models(pair, plan.models))
    for each in known:
        logger.warning("Warning: %s: %s", row.name, sentence(each, CLI))
    findings += known
    return scan_of_pair(pair, findings, register)


def _judge_models(pair: Pair, models: Mapping[str, Model]) -> Iterator[Finding]:
    """Yield the models that know this head, by the SHA-256 of what they were made with."""
    for name, model in models.items():
        made_with = model.metadata.data_sha256
        columns = [column for column in (*OWN, "mr") if pair.checksums.get(column) in made_with]
        if columns:
            yield warning("pair.trained_on", model=name, columns=", ".join(columns))


def _measure(subject: Subject, plan: Plan, store: Store, key: str, report: Reporter) -> SubjectResult:
    report(subject.name, 0, 1)
    scans = subject.load(plan)
    pictures: list[bytes] = []

    def draw(scan: OwnScan, outcome: Any) -> None:
        if not pictures:
            pictures.append(example_png(scan, outcome))

    result = measure_subject(subject.name, scans, plan, partial(report, subject.name), draw)
    store.folder.mkdir(parents=True, exist_ok=True)
    for png in pictures:
        with complete_file(store.folder / f"{key}.png") as unfinished:
            unfinished.write_bytes(png)
    store.save(key, result)
    return result


def _write(
    config: ValidationConfig,
    plan: Plan,
    results: Sequence[SubjectResult],
    failed: Mapping[str, str],
    pictures: Mapping[str, Path],
) -> None:
    about = {
        "models": {name: _facts_of(model) for name, model in plan.models.items()},
        "settings": config.settings.as_dict(),
        "filters": list(config.filters),
        "reference_labels": list(config.reference),
        "low_dose_is_part_of_full_dose": config.nested,
        "simulated": [folder.name for folder in config.folders],
        "subjects": [result.subject for result in results],
        "failed": dict(failed),
        "versions": versions(),
    }
    files = files_of(Evaluated(choose(results), results, list(plan.models), about, pictures))
    config.output.mkdir(parents=True, exist_ok=True)
    paths = {config.output / name: content for name, content in files.items()}
    with all_or_nothing(paths) as temporary:
        for path, content in paths.items():
            temporary[path].write_bytes(content)


def _facts_of(model: Model) -> dict[str, Any]:
    metadata = model.metadata
    return {"name": metadata.name, "weights_sha256": metadata.weights_sha256, "folder": str(model.folder)}
