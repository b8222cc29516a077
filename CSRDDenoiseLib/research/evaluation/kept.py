"""Experiments that an output folder has from a former evaluation: they stay beside those of a new one."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Collection, Mapping

from ...atomic import read_json
from ...errors import InputError
from .experiments.bench import Figure, Section
from .markdown import Table
from .measure import Measurement

RESULTS = "results.json"


@dataclass(frozen=True)
class Kept:
    """What a folder has; both in the order in which the experiments ran.

    Attributes:
        sections: experiment -> its part of the report.
        options: experiment -> the options that it ran with.
    """

    sections: Mapping[str, Section] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


def read_kept(folder: Path, about: Mapping[str, Any], repeated: Collection[str]) -> Kept:
    """Read the experiments of a folder; nothing where all of them are repeated and were of something else.

    Args:
        folder: with ``results.json``, or without.
        about: what the new evaluation is of, its experiments aside.
        repeated: experiments of the new evaluation.

    Raises:
        InputError: one that is not repeated is of something else, or the file cannot be read.
    """
    path = folder / RESULTS
    if not path.is_file():
        return Kept()
    try:
        saved = read_json(path)
        had, parts, options = saved["about"], saved.get("sections", {}), saved["about"]["experiments"]
        lost = [name for name in saved["measurements"] if name not in repeated]
        differs = _difference(had, about)
        if differs or set(parts) != set(saved["measurements"]):
            _check_nothing_lost(path, lost, differs or "without the tables of its experiments, as earlier versions did")
            return Kept()
        sections = {name: _section(part, saved["measurements"][name], folder) for name, part in parts.items()}
        return Kept(sections, {name: options[name] for name in sections})
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(
            f"The results '{path}' cannot be read ({type(error).__name__}: {error}), and the new ones belong beside "
            "them; remove the file, or choose another output folder."
        ) from error


def section_facts(section: Section) -> dict[str, Any]:
    """Return what :func:`read_kept` needs of a section beside its measurements and pictures, as plain JSON types."""
    return {
        "title": section.title,
        "text": section.text,
        "tables": [asdict(table) for table in section.tables],
        "figures": [{"name": figure.name, "caption": figure.caption} for figure in section.figures],
    }


def _check_nothing_lost(path: Path, lost: Collection[str], how: str) -> None:
    if lost:
        raise InputError(
            f"'{path}' has the experiment {', '.join(lost)}, which this run does not repeat, {how}; choose another "
            "output folder."
        )


def _section(part: Mapping[str, Any], records: list[dict[str, Any]], folder: Path) -> Section:
    tables = (Table(each["caption"], tuple(each["header"]), tuple(map(tuple, each["rows"]))) for each in part["tables"])
    figures = (Figure(**each, png=(folder / f"{each['name']}.png").read_bytes()) for each in part["figures"])
    measurements = tuple(Measurement(**record) for record in records)
    return Section(part["title"], part["text"], tuple(tables), tuple(figures), measurements)


def _difference(had: Mapping[str, Any], about: Mapping[str, Any]) -> str:
    """What two evaluations differ in, the experiments aside; empty where they are of the same."""
    before, now = (
        {k: v for k, v in _flat(each).items() if k.partition(".")[0] != "experiments"} for each in (had, about)
    )
    for name in {**before, **now}:
        if before.get(name) != now.get(name):
            return f"with {name} {before.get(name)}, and this run has {now.get(name)}"
    return ""


def _flat(values: Any, name: str = "") -> dict[str, Any]:
    """Nested mappings as one, keys joined by dots; as JSON has them."""
    values = json.loads(json.dumps(values))
    if not isinstance(values, dict):
        return {name: values}
    return {k: v for key, value in values.items() for k, v in _flat(value, f"{name}.{key}" if name else key).items()}
