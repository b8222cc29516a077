"""One HTML page that carries everything: tables, figures, and how they came about."""

from __future__ import annotations

import base64
import json
from html import escape
from typing import Mapping, Sequence

from .experiments.bench import Figure, Section
from .table import Table

DATA_LINE = "All numbers and pictures on this page are from simulated PET/MR scans, not from patients."

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2 { font-weight: 600; line-height: 1.2; } h2 { margin-top: 2.5rem; }
p.data { border-left: 4px solid #b0413e; padding-left: .8rem; font-weight: 600; }
div.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; margin: .5rem 0 1.5rem; }
caption, figcaption { text-align: left; color: #555; padding: .3rem 0; }
th, td { padding: .25rem .6rem; text-align: left; border-bottom: 1px solid #e4e4e4; white-space: nowrap; }
th { border-bottom: 2px solid #888; white-space: normal; vertical-align: bottom; }
tr.new td { border-top: 1px solid #888; }
figure { margin: 1rem 0 2rem; } img { max-width: 100%; }
pre { background: #f6f6f6; padding: .8rem; overflow-x: auto; font-size: 12px; }
@media print { h2 { break-before: page; } div.wide { overflow: visible; } }
"""


def to_html(title: str, about: Mapping[str, object], sections: Sequence[Section]) -> str:
    """A self-contained page; the first line says what data it is.

    Args:
        title: of the page.
        about: model, subjects, versions: how the numbers came about, as JSON types.
        sections: of the experiments, in order.
    """
    body = "\n".join(_section(section) for section in sections)
    record = escape(json.dumps(about, indent=2))
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<style>{_STYLE}</style></head>\n<body><p class="data">{DATA_LINE}</p>\n<h1>{escape(title)}</h1>\n{body}\n'
        f"<h2>How these numbers came about</h2>\n<pre>{record}</pre>\n</body></html>\n"
    )


def _section(section: Section) -> str:
    figures = "\n".join(_figure(figure) for figure in section.figures)
    tables = "\n".join(_table(table) for table in section.tables)
    return f"<h2>{escape(section.title)}</h2>\n<p>{escape(section.text)}</p>\n{figures}\n{tables}"


def _figure(figure: Figure) -> str:
    data, caption = base64.b64encode(figure.png).decode(), escape(figure.caption)
    image = f'<img alt="{caption}" src="data:image/png;base64,{data}">'
    return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(title)}</th>" for title in table.header)
    rows, before = [], None
    for row in table.rows:
        mark = ' class="new"' if row[0] != before else ""
        rows.append(f"<tr{mark}>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>")
        before = row[0]
    caption = f"<caption>{escape(table.caption)}</caption>"
    return f'<div class="wide"><table>{caption}<tr>{head}</tr>\n' + "\n".join(rows) + "</table></div>"
