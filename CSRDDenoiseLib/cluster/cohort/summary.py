"""What a cohort ends with: ``cohort.tsv``, a row a scan; ``cohort.html``, the same with pictures, outliers first."""

from __future__ import annotations

import base64
import csv
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Mapping, Optional, Sequence

import numpy as np

from ... import __version__
from ...errors import InputError
from ...io.names import located
from ...io.write import all_or_nothing
from .rows import FAILED, Row, thumbnail_path

TABLE, PAGE = "cohort.tsv", "cohort.html"
OUTLIER = 3.5
"""Modified z-score above which a scan is an outlier (Iglewicz and Hoaglin 1993)."""
LEAST_SCANS = 8
"""With fewer scans nothing is called an outlier."""
MEASURES = ("noise_before_percent", "noise_after_percent", "mean_change_percent", "offset_mm")
COLUMNS = (
    *("name", "status", "outlier", *MEASURES, "alignment", "codes", "seconds", "worker", "denoised", "report"),
    *("record", "error"),
)
_TO_SIGMA = 0.6745
_OWN = {TABLE: "\t".join(COLUMNS[:2]), PAGE: "<title>Denoised cohort of "}
"""Text by which a table and a page that a cohort wrote are known again."""
_BEGINNING = 4096
_ODD = "backslashreplace"
"""A path in an error need not be UTF-8."""


@dataclass(frozen=True)
class Line:
    """A scan in the table.

    Attributes:
        row: of the scan.
        outlier: largest modified z-score of its measures; None with too few scans, or where it failed.
        measure: which of them it is.
    """

    row: Row
    outlier: Optional[float] = None
    measure: str = ""

    @property
    def is_outlier(self) -> bool:
        """Whether a measure is far from those of the others."""
        return self.outlier is not None and self.outlier > OUTLIER


def lines_of(rows: Sequence[Row]) -> tuple[Line, ...]:
    """Return the scans in the order to look at them: failed, outliers, those with warnings, the rest by name."""
    scores = {name: _scores([getattr(row, name) for row in rows]) for name in MEASURES}
    lines = []
    for index, row in enumerate(rows):
        found = {name: score[index] for name, score in scores.items() if score[index] is not None}
        measure = max(found, key=lambda name: found[name] or 0.0) if found and row.status != FAILED else ""
        lines.append(Line(row, found.get(measure), measure))

    def order(line: Line) -> tuple[Any, ...]:
        outlier = line.outlier if line.is_outlier and line.outlier else 0.0
        return line.row.status != FAILED, -outlier, -len(line.row.codes), line.row.name

    return tuple(sorted(lines, key=order))


def check_summary(folder: Path) -> None:
    """Refuse a folder where table or page would replace something that no cohort wrote.

    Raises:
        InputError: a file of the user's, the table of scans for instance, or a folder has that name.
    """
    for name, text in _OWN.items():
        path = folder / name
        if path.exists() and text.encode() not in _beginning(path):
            raise InputError(
                f"The cohort writes its {path.suffix[1:]} file to '{path}', and what is there was not written by a "
                "cohort. Rename it, or give another output folder."
            )


def _beginning(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(_BEGINNING)
    except OSError:
        return b""


def write_summary(rows: Sequence[Row], folder: Path, about: Mapping[str, str]) -> tuple[Path, Path]:
    """Write the table and the page; return their paths.

    Args:
        rows: of all scans.
        folder: of the cohort.
        about: name -> value, shown on the page about the whole cohort.
    """
    lines, paths = lines_of(rows), (folder / TABLE, folder / PAGE)
    with all_or_nothing(paths) as temporary:
        with temporary[paths[0]].open("w", encoding="utf-8", errors=_ODD, newline="") as stream:
            writer = csv.writer(stream, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE, escapechar="\\")
            writer.writerow(COLUMNS)
            writer.writerows([_cell(line, column, folder) for column in COLUMNS] for line in lines)
        temporary[paths[1]].write_text(_page(lines, folder, about), encoding="utf-8", errors=_ODD)
    return paths


def _scores(values: Sequence[Optional[float]]) -> list[Optional[float]]:
    """Return how far each value is from the median, in units of the median deviation."""
    known = np.array([value for value in values if value is not None], float)
    if known.size < LEAST_SCANS:
        return [None] * len(values)
    middle = float(np.median(known))
    spread = float(np.median(np.abs(known - middle)))
    # values that are nearly equal have no meaningful outliers
    spread = max(spread, 1e-3 * abs(middle), 1e-9)
    return [None if value is None else _TO_SIGMA * abs(value - middle) / spread for value in values]


def _cell(line: Line, column: str, folder: Path, digits: int = 6) -> str:
    row = line.row
    if column == "outlier":
        return line.measure if line.is_outlier else ""
    if column in ("denoised", "report"):
        return _relative(row.outputs.get(column, ""), folder)
    if column == "record":
        return _relative(row.record, folder)
    value = getattr(row, column)
    if value is None:
        return "n/a"
    if isinstance(value, float):
        return f"{value:.{digits}g}"
    text = ",".join(value) if isinstance(value, tuple) else str(value)
    return " ".join(text.split())


def _relative(path: str, folder: Path) -> str:
    # a row has the place of a file, and the folder may be a link to it
    return Path(os.path.relpath(located(Path(path)), folder.resolve())).as_posix() if path else ""


def _page(lines: Sequence[Line], folder: Path, about: Mapping[str, str]) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("cohort.html.j2").render(
        lines=[_shown(line, folder) for line in lines],
        about=about,
        counts={
            "scans": len(lines),
            "failed": sum(line.row.status == FAILED for line in lines),
            "outliers": sum(line.is_outlier for line in lines),
            "with warnings": sum(bool(line.row.codes) for line in lines),
        },
        version=__version__,
    )


def _shown(line: Line, folder: Path) -> dict[str, Any]:
    cells = {column: _cell(line, column, folder, digits=3) for column in COLUMNS}
    return {**cells, "warnings": line.row.warnings, "picture": _picture(thumbnail_path(folder, line.row.name))}


def _picture(path: Path) -> str:
    try:
        return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"
    except OSError:
        return ""
