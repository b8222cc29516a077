"""Run an evaluation: from a configuration to a folder of tables, figures, ``results.json`` and ``report.html``."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from glob import glob
from pathlib import Path
from typing import Any, Callable, Mapping, Optional

from ..errors import InputError
from ..model.bundle import load_model
from ..provenance import versions
from .experiments import EXPERIMENTS, Bench, Section
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
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        experiments: name -> options of that experiment, in the order to run them.
    """

    subjects: tuple[Path, ...]
    model: str
    output: Path
    device: str = "auto"
    experiments: Mapping[str, Optional[Mapping[str, Any]]] = field(default_factory=lambda: {"dose": {}})

    def __post_init__(self) -> None:
        unknown = [name for name in self.experiments if name not in EXPERIMENTS]
        if unknown:
            raise InputError(f"The experiment '{unknown[0]}' is not known; choose from {', '.join(EXPERIMENTS)}.")
        if not self.subjects:
            raise InputError("There is no subject to evaluate on; name at least one folder of a simulated subject.")


def read_config(path: Path) -> EvaluationConfig:
    """Read a YAML (or JSON) configuration; relative paths are relative to its folder, and ``*`` finds several subjects.

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
    return EvaluationConfig(**values)


def run_evaluation(config: EvaluationConfig, report: Callable[[str], None] = print) -> tuple[Section, ...]:
    """Run every experiment and write the results after each, so that a long run that is stopped keeps what it has.

    Raises:
        InputError: a subject or the model cannot be loaded, or an option is not one of its experiment.
    """
    model = load_model(config.model, config.device)
    bench = Bench(config.subjects, model, config.device, report)
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


def _write(config: EvaluationConfig, bench: Bench, sections: Mapping[str, Section]) -> None:
    about = _about(config, bench)
    records = {name: [m.as_dict() for m in section.measurements] for name, section in sections.items()}
    results = {"format": RESULTS_FORMAT, "about": about, "measurements": records}
    (config.output / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    for name, section in sections.items():
        tables = "\n".join(to_markdown(table) for table in section.tables)
        (config.output / f"{name}.md").write_text(f"{DATA_LINE}\n\n{tables}", encoding="utf-8")
        (config.output / f"{name}.csv").write_text(to_csv(section.measurements), encoding="utf-8")
        for figure in section.figures:
            (config.output / f"{figure.name}.png").write_bytes(figure.png)
    title = f"Evaluation of {bench.model.metadata.name}"
    (config.output / "report.html").write_text(to_html(title, about, list(sections.values())), encoding="utf-8")


def _about(config: EvaluationConfig, bench: Bench) -> dict[str, Any]:
    metadata = bench.model.metadata
    return {
        "data": DATA_LINE,
        "subjects": [folder.name for folder in config.subjects],
        "model": {"name": metadata.name, "weights_sha256": metadata.weights_sha256},
        "device": config.device,
        "experiments": dict(config.experiments),
        "versions": versions(),
    }
