"""One HTML page of an evaluation: tables, figures, and how they came about; rendered like the report of a run."""

from __future__ import annotations

import json
import re
from typing import Mapping, Sequence

from ...report import page
from .experiments.bench import Section
from .markdown import Table

DATA_LINE = "All numbers and pictures on this page are from simulated PET/MR scans, not from patients."

_NUMBER = re.compile(r"[-+<>~]?\d|[-\u2013]?$|n/a")


def to_html(title: str, about: Mapping[str, object], sections: Sequence[Section]) -> str:
    """Return a self-contained page; a line at its head states the kind of data.

    Args:
        title: of the page.
        about: model, subjects, versions: how the numbers came about, as JSON types.
        sections: of the experiments, in order.
    """
    record = page.Folded("Model, subjects, settings and versions (JSON)", json.dumps(about, indent=2))
    origin = page.Section("How these numbers came about", (record,))
    shown = (*map(_section, sections), origin)
    return page.render(page.Page(title, title, shown, notice=DATA_LINE, style="evaluation"))


def _section(section: Section) -> page.Section:
    figures = tuple(page.Photo(figure.png, figure.caption) for figure in section.figures)
    return page.Section(section.title, (page.Text(section.text), *figures, *map(table_part, section.tables)))


def table_part(table: Table) -> page.Table:
    """Return a table as part of a page: columns of numbers to the right, a line above each group."""
    columns = list(zip(*table.rows))
    numbers = tuple(i for i, texts in enumerate(columns) if i and all(_NUMBER.match(text.strip()) for text in texts))
    return page.Table(table.header, page.grouped_rows(table.rows), table.caption, numbers)
