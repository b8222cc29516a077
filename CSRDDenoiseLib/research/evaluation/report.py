"""One HTML page that carries everything: tables, figures, and how they came about."""

from __future__ import annotations

import json
import re
from html import escape
from typing import Mapping, Sequence

from ...report.page import document, folded, paragraph, picture, section, table
from .experiments.bench import Figure, Section
from .table import Table

DATA_LINE = "All numbers and pictures on this page are from simulated PET/MR scans, not from patients."

_NUMBER = re.compile(r"[-+<>~]?\d|[-\u2013]?$|n/a")
_STYLE = """
body { max-width: 1240px; }
p.data { border-left: 3px solid var(--warn); padding-left: .8rem; font-weight: 600; max-width: none; }
thead th, thead th.number { white-space: normal; } td { white-space: nowrap; } figure { margin-bottom: 1.4rem; }
table { font-size: .8rem; } td.number, th.number { padding-left: .8rem; }
figure img { width: auto; max-width: 100%; }
@page { margin: 12mm; }
@media print {
  body { font-size: 9pt; max-width: none; padding: 0; } table { font-size: 7.5pt; } td { white-space: normal; }
  th, td, td.number, th.number { padding: .3mm 2mm .3mm 0; } figure, tr { break-inside: avoid; }
  h2 { break-after: avoid; } .wide { overflow: visible; }
}
"""


def to_html(title: str, about: Mapping[str, object], sections: Sequence[Section]) -> str:
    """A self-contained page; the first line says what data it is.

    Args:
        title: of the page.
        about: model, subjects, versions: how the numbers came about, as JSON types.
        sections: of the experiments, in order.
    """
    record = f"<pre>{escape(json.dumps(about, indent=2))}</pre>"
    parts = [f'<p class="data">{DATA_LINE}</p>', f"<h1>{escape(title)}</h1>", *map(_section, sections)]
    origin = section("How these numbers came about", folded("Model, subjects, settings and versions (JSON)", record))
    return document(title, "\n".join([*parts, origin]), _STYLE)


def _section(told: Section) -> str:
    return section(told.title, paragraph(told.text), *map(_figure, told.figures), *map(_table, told.tables))


def _figure(figure: Figure) -> str:
    return picture(figure.png, "image/png", figure.caption)


def _table(told: Table) -> str:
    columns = list(zip(*told.rows))
    numbers = [i for i, texts in enumerate(columns) if i and all(_NUMBER.match(text.strip()) for text in texts)]
    return table(told.header, told.rows, told.caption, numbers, grouped=True)
