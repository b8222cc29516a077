"""Run an evaluation: from a configuration to a folder of tables, figures, ``results.json`` and ``report.html``."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from glob import glob
from pathlib import Path
from typing import Any, Callable, Mapping, Optional

from ...errors import InputError
from ...io.record import versions
from ...io.write import all_or_nothing
from ...model.bundle import Model, load_model
from ...settings import settings_from_preset
from .experiments import EXPERIMENTS, Bench, Rival, Section
from .report import DATA_LINE, to_html
from .table import to_csv, to_markdown

RESULTS_FORMAT = 1


@dataclass(frozen=True)
class EvaluationConfig:
    """What to evaluate; the keys of a configuration file.

    Attributes:
        subjects: folders of simulated subjects that the model never saw.
        model: name of a bundled model, or a model folder.
        output: folder for the results, made if it is missing.
        rivals: name in the tables -> ``model`` and the settings it is run with, to be compared with in experiment
            ``dose``; without settings as preset ``fast``.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        experiments: name -> options of that experiment, in the order to run them.
    """

    subjects: tuple[Path, ...]
    model: str
    output: Path
    device: str = "auto"
    rivals: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    experiments: Mapping[str, Optional[Mapping[str, Any]]] = field(default_factory=lambda: {"dose": {}})

    def __post_init__(self) -> None:
        unknown = [name for name in self.experiments if name not in EXPERIMENTS]
        if unknown:
            raise InputError(f"The experiment '{unknown[0]}' is not known; choose from {', '.join(EXPERIMENTS)}.")
        if not self.subjects:
            raise InputError("There is no subject to evaluate on; name at least one folder of a simulated subject.")


def read_config(path: Path) -> EvaluationConfig:
    """Read a YAML (or JSON) configuration; paths are relative to its folder, and ``*`` finds several subjects.

    Raises:
        InputError: the file is missing, is not YAML, lacks a key, or has one that is not known; or no subject is found.
    """
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"The configuration '{path}' cannot be read: {error.strerror}.") from error
    except yaml.YAMLError as error:
        raise InputError(f"The configuration '{path}' is not YAML: {error}.") from error
    known, required = {item.name for item in fields(EvaluationConfig)}, {"subjects", "model", "output"}
    keys = set(values) if isinstance(values, dict) else set()
    if not required <= keys <= known:
        raise InputError(
            f"The configuration '{path}' must have the keys {', '.join(sorted(required))} and may have "
            f"{', '.join(sorted(known - required))}; it has {', '.join(sorted(map(str, keys))) or 'none'}."
        )
    found = [Path(name) for pattern in values["subjects"] for name in sorted(glob(str(path.parent / pattern)))]
    values["subjects"] = tuple(folder for folder in found if folder.is_dir())
    values["output"] = path.parent / values["output"]
    rivals = list(values.get("rivals", {}).values())
    if not all(isinstance(rival, dict) and "model" in rival for rival in rivals):
        raise InputError(f"Every rival in '{path}' needs a model, as in 'Name: {{model: runs/name/model}}'.")
    for chosen in (values, *rivals):
        chosen["model"] = _model(path.parent, str(chosen["model"]))
    return EvaluationConfig(**values)


def _model(folder: Path, name: str) -> str:
    """A model folder beside the configuration, or else the name of a bundled model."""
    return str(folder / name) if (folder / name).is_dir() else name


def run_evaluation(config: EvaluationConfig, report: Callable[[str], None] = print) -> tuple[Section, ...]:
    """Run every experiment and write the results after each, so that a long run that is stopped keeps what it has.

    Raises:
        InputError: a subject or a model cannot be loaded, or an option is not one of its experiment.
    """
    rivals = {name: _rival(name, options, config.device) for name, options in config.rivals.items()}
    bench = Bench(config.subjects, load_model(config.model, config.device), config.device, report, rivals)
    config.output.mkdir(parents=True, exist_ok=True)
    sections: tuple[Section, ...] = ()
    for name, options in config.experiments.items():
        report(f"Experiment: {name}")
        try:
            section = EXPERIMENTS[name](bench, **(options or {}))
        except TypeError as error:
            raise InputError(f"The experiment '{name}' does not take these options: {error}.") from error
        sections = (*sections, section)
        _write(config, bench, dict(zip(config.experiments, sections)))
    return sections


def _rival(name: str, options: Mapping[str, Any], device: str) -> Rival:
    settings = dict(options)
    try:
        model = load_model(settings.pop("model"), device)
        return Rival(model, settings_from_preset("fast", device=device, **settings))
    except TypeError as error:
        raise InputError(f"The rival '{name}' takes a model and the settings of a run: {error}.") from error


def _write(config: EvaluationConfig, bench: Bench, sections: Mapping[str, Section]) -> None:
    files = {config.output / name: content for name, content in _files(config, bench, sections).items()}
    with all_or_nothing(files) as temporary:
        for path, content in files.items():
            temporary[path].write_bytes(content)


def _files(config: EvaluationConfig, bench: Bench, sections: Mapping[str, Section]) -> dict[str, bytes]:
    """Name of each file of the results -> what is in it."""
    about = _about(config, bench)
    records = {name: [m.as_dict() for m in section.measurements] for name, section in sections.items()}
    results = {"format": RESULTS_FORMAT, "about": about, "measurements": records}
    title = f"Evaluation of {bench.model.metadata.name}"
    files = {
        "results.json": json.dumps(results, indent=1) + "\n",
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
        "model": _told(bench.model),
        "rivals": {name: {**_told(r.model), "settings": r.settings.as_dict()} for name, r in bench.rivals.items()},
        "device": config.device,
        "experiments": dict(config.experiments),
        "versions": versions(),
    }


def _told(model: Model) -> dict[str, Any]:
    metadata = model.metadata
    kept = ("steps", "hours", "phantoms")
    trained: dict[str, Any] = {key: metadata.training[key] for key in kept if key in metadata.training}
    return {"name": metadata.name, "weights_sha256": metadata.weights_sha256, **trained}
