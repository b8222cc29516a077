"""Run an evaluation: from a configuration to a folder of tables, figures, ``results.json`` and ``report.html``."""

from __future__ import annotations

import inspect
import json
import logging
from dataclasses import dataclass, field, fields, make_dataclass
from glob import glob
from pathlib import Path
from typing import Any, Mapping, Optional, Sequence, get_type_hints

from ...configuration import read_yaml, structure, unknown_key
from ...errors import InputError, NotComplete, reason_of
from ...io.record import versions
from ...io.write import all_or_nothing
from ...limits import check_limits
from ...model.bundle import Model, load_model
from ...settings import DenoiseSettings, settings_from_preset
from ...spread import Spread, in_turn
from .experiments import EXPERIMENTS, Bench, ComparisonModel, Section
from .experiments.bench import as_fraction
from .kept import RESULTS, read_kept, section_facts
from .markdown import to_markdown
from .report import DATA_LINE, to_html
from .study import check_doses, checksum_of
from .table import to_csv

logger = logging.getLogger(__name__)

RESULTS_FORMAT = 1
OLD_NAME = "rivals"
"""What configuration files of version 0.1 call the comparison models."""
EMULATED = ("counts",)
"""Experiments that make their doses themselves, so that no subject needs to have them."""
SELF_SUPPLIED = ("heads",)
"""Experiments that simulate their heads themselves, so that no subject is needed."""


@dataclass(frozen=True)
class EvaluationConfig:
    """What to evaluate; the keys of a configuration file.

    Attributes:
        subjects: folders of simulated subjects that the model never saw; none where every experiment simulates its own.
        model: name of a bundled model, or a model folder.
        output: folder for the results, made if it is missing.
        comparison_models: name in the tables -> ``model`` and the settings it is run with (default: preset ``fast``),
            to be compared with in experiment ``dose``.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        experiments: name -> options of that experiment, in the order to run them.
    """

    subjects: tuple[Path, ...]
    model: str
    output: Path
    device: str = "auto"
    comparison_models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    experiments: Mapping[str, Optional[Mapping[str, Any]]] = field(default_factory=lambda: {"dose": {}})

    def __post_init__(self) -> None:
        unknown = next((name for name in self.experiments if name not in EXPERIMENTS), None)
        if unknown is not None:
            raise InputError(unknown_key(unknown, list(EXPERIMENTS), "The experiments"))
        if not self.subjects and set(self.experiments) - set(SELF_SUPPLIED):
            raise InputError("There is no subject to evaluate on; name at least one folder of a simulated subject.")
        _check_names(self.subjects)


def _check_names(folders: Sequence[Path]) -> None:
    named: dict[str, Path] = {}
    for folder in folders:
        if folder.name in named:
            raise InputError(
                f"The subjects '{named[folder.name]}' and '{folder}' have the same name, which names their results "
                "too; rename one of the folders, or leave it out."
            )
        named[folder.name] = folder


@dataclass(frozen=True)
class _File:
    """The keys of a configuration file, as they stand there."""

    model: str
    output: str
    subjects: Optional[tuple[str, ...]] = None
    device: str = "auto"
    comparison_models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    experiments: Mapping[str, Optional[Mapping[str, Any]]] = field(default_factory=lambda: {"dose": {}})


def read_config(path: Path) -> EvaluationConfig:
    """Read a YAML (or JSON) configuration; paths are relative to its folder, and ``*`` finds several subjects.

    Raises:
        InputError: the file is missing, is not YAML, lacks a key, or has one that is not known; or no subject is found.
    """
    values, where = read_yaml(path), f"The configuration '{path}'"
    if OLD_NAME in values:
        values = {"comparison_models": values[OLD_NAME], **{k: v for k, v in values.items() if k != OLD_NAME}}
    file = structure(values, _File, where, text=True)
    if file.subjects is None and set(file.experiments) - set(SELF_SUPPLIED):
        raise InputError(f"{where}: 'subjects' is missing; it must be a list of folders of simulated subjects.")
    patterns = file.subjects or ()
    found = [Path(name) for pattern in patterns for name in sorted(glob(str(path.parent / pattern)))]
    subjects = tuple(folder for folder in found if folder.is_dir())
    if file.subjects is not None and not subjects:
        raise InputError(f"{where}: no subject is there; 'subjects' finds no folder for {list(patterns)}.")
    models = {name: dict(options) for name, options in file.comparison_models.items()}
    for name, options in models.items():
        if not isinstance(options.get("model"), str):
            raise InputError(f"{where}: '{name}' needs a model, as in '{name}: {{model: runs/name/model}}'.")
        options["model"] = _model(path.parent, options["model"])
    return EvaluationConfig(
        subjects=subjects,
        model=_model(path.parent, file.model),
        output=path.parent / file.output,
        device=file.device,
        comparison_models=models,
        experiments=file.experiments,
    )


def _model(folder: Path, name: str) -> str:
    """A model folder beside the configuration, or else the name of a bundled model."""
    return str(folder / name) if (folder / name).is_dir() else name


def run_evaluation(config: EvaluationConfig, spread: Spread = in_turn) -> tuple[Section, ...]:
    """Run every experiment and write the results after each, so that a long run that is stopped keeps what it has.

    Experiments that the output folder has from a former run of the same stay beside them.

    Args:
        config: what to evaluate.
        spread: where the subjects are measured, in experiments that compare methods.

    Raises:
        InputError: before anything is measured, where a subject or a model cannot be loaded, an option is not one of
            its experiment, or no subject has a dose that is asked for; or the output folder has experiments of another
            model, or of others, that are not repeated.
        NotComplete: the results of an experiment cannot be written; those of the experiments before it are kept.
    """
    options = {name: _checked(name, given or {}, config.subjects) for name, given in config.experiments.items()}
    others = {name: _comparison(name, given, config.device) for name, given in config.comparison_models.items()}
    bench = Bench(config.subjects, load_model(config.model, config.device), config.device, others, spread)
    about = _about(config, bench)
    read_kept(config.output, about, config.experiments)
    config.output.mkdir(parents=True, exist_ok=True)
    done: dict[str, Section] = {}
    for name, given in config.experiments.items():
        logger.info("Experiment: %s", name)
        done[name] = EXPERIMENTS[name](bench, **options[name])
        # read again: another run may have written in the meantime
        kept = read_kept(config.output, about, config.experiments)
        used = {**about, "experiments": {**kept.options, name: given}}
        try:
            _write(config.output, used, {**kept.sections, name: done[name]})
        except InputError as error:
            before = ", ".join(list(done)[:-1])
            if not before:
                raise
            raise NotComplete(
                f"The results of the experiment '{name}' cannot be written to '{config.output}': "
                f"{reason_of(error.__cause__ or error)}. Those of {before} are kept there; free some space or allow "
                "writing there, and run the others with --experiment."
            ) from error
    return tuple(done.values())


def _checked(name: str, options: Mapping[str, Any], folders: Sequence[Path]) -> dict[str, Any]:
    """Return the options of an experiment in the types that its function declares, within its limits; check doses."""
    hints, where = get_type_hints(EXPERIMENTS[name], include_extras=True), f"The experiment '{name}'"
    parameters = list(inspect.signature(EXPERIMENTS[name]).parameters.values())[1:]
    kind = make_dataclass(name, [(each.name, hints[each.name], _default(each)) for each in parameters])
    checked: Any = structure(options, kind, where, text=True)
    check_limits(checked, where)
    asked = [*(getattr(checked, "doses", None) or ()), *filter(None, [getattr(checked, "dose", None)])]
    fractions = [as_fraction(dose) for dose in asked]
    check_doses(folders, [] if name in EMULATED else fractions)
    return {given: getattr(checked, given) for given in options}


def _default(parameter: inspect.Parameter) -> Any:
    return field() if parameter.default is parameter.empty else field(default=parameter.default)


def _comparison(name: str, options: Mapping[str, Any], device: str) -> ComparisonModel:
    settings = {"device": device, **options}
    model = load_model(settings.pop("model"), device)
    known = [each.name for each in fields(DenoiseSettings)]
    unknown = next((key for key in settings if key not in known), None)
    if unknown is not None:
        raise InputError(unknown_key(unknown, ["model", *known], f"The comparison model '{name}'"))
    return ComparisonModel(model, settings_from_preset("fast", **settings))


def _write(output: Path, about: Mapping[str, Any], sections: Mapping[str, Section]) -> None:
    files = {output / name: content for name, content in _files(about, sections).items()}
    with all_or_nothing(files) as temporary:
        for path, content in files.items():
            temporary[path].write_bytes(content)


def _files(about: Mapping[str, Any], sections: Mapping[str, Section]) -> dict[str, bytes]:
    """Name of each file of the results -> what is in it."""
    records = {name: [m.as_dict() for m in section.measurements] for name, section in sections.items()}
    shown = {name: section_facts(section) for name, section in sections.items()}
    results = {"format": RESULTS_FORMAT, "about": about, "measurements": records, "sections": shown}
    title = f"Evaluation of {about['model']['name']}"
    files = {
        RESULTS: json.dumps(results, indent=1) + "\n",
        "report.html": to_html(title, about, list(sections.values())),
    }
    for name, section in sections.items():
        tables = "\n".join(to_markdown(table) for table in section.tables)
        files |= {f"{name}.md": f"{DATA_LINE}\n\n{tables}", f"{name}.csv": to_csv(section.measurements)}
    figures = {f"{figure.name}.png": figure.png for section in sections.values() for figure in section.figures}
    return {**{name: text.encode() for name, text in files.items()}, **figures}


def _about(config: EvaluationConfig, bench: Bench) -> dict[str, Any]:
    return {
        "data": DATA_LINE,
        "subjects": [folder.name for folder in config.subjects],
        "subjects_sha256": {folder.name: checksum_of(folder) for folder in config.subjects},
        "model": _facts_of(bench.model),
        "comparison_models": {
            name: {**_facts_of(other.model), "settings": other.settings.as_dict()}
            for name, other in bench.comparisons.items()
        },
        "device": config.device,
        "versions": versions(),
    }


def _facts_of(model: Model) -> dict[str, Any]:
    metadata = model.metadata
    kept = ("steps", "hours", "phantoms")
    trained: dict[str, Any] = {key: metadata.training[key] for key in kept if key in metadata.training}
    return {"name": metadata.name, "weights_sha256": metadata.weights_sha256, **trained}
