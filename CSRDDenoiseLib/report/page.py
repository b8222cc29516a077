"""Self-contained HTML pages: one file, nothing to load, readable on a screen and on paper."""

from __future__ import annotations

import base64
from html import escape
from typing import Iterable, Optional, Sequence

STYLE = """
:root { --ink: #22262b; --soft: #5b636d; --line: #dfe3e8; --faint: #f5f6f8; --accent: #0b5fa5; --warn: #b54708; }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { font: 15px/1.5 "Source Sans 3", "Segoe UI", "Helvetica Neue", Arial, sans-serif; color: var(--ink);
  background: #fff; max-width: 1120px; margin: 0 auto; padding: 2rem 1.25rem 3rem; }
h1 { font-size: 1.7rem; line-height: 1.2; font-weight: 600; margin: 0; }
h2 { font-size: 1.15rem; line-height: 1.3; font-weight: 600; margin: 2.2rem 0 .5rem; padding-top: .5rem;
  border-top: 1px solid var(--line); }
p { margin: .4rem 0; max-width: 48rem; }
figure { margin: .8rem 0 0; }
figure img { display: block; width: 100%; height: auto; }
figcaption, caption { color: var(--soft); font-size: .87rem; text-align: left; padding: .35rem 0; max-width: 60rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .87rem; font-variant-numeric: tabular-nums; margin: .3rem 0 .8rem; }
th, td { padding: .22rem .9rem .22rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
thead th { border-bottom: 1.5px solid var(--soft); vertical-align: bottom; font-weight: 600; }
tbody th { font-weight: 400; color: var(--soft); white-space: nowrap; }
tr.new th, tr.new td { border-top: 1px solid var(--soft); }
td.number, th.number { text-align: right; white-space: nowrap; padding: .22rem 0 .22rem 1.1rem; }
.number + :not(.number) { padding-left: 1.1rem; }
details { margin: .6rem 0; }
summary { cursor: pointer; color: var(--accent); }
pre { background: var(--faint); padding: .8rem; overflow-x: auto; font: 12px/1.45 ui-monospace, Menlo, Consolas,
  "DejaVu Sans Mono", monospace; white-space: pre-wrap; overflow-wrap: anywhere; }
"""


def document(title: str, body: str, style: str = "") -> str:
    """Return a whole page; ``body`` is HTML, ``style`` is CSS on top of what all pages share."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<title>{escape(title)}</title>\n<link rel="icon" href="data:,">\n<style>{STYLE}{style}</style>\n</head>\n'
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def section(title: str, *parts: str, css_class: str = "") -> str:
    """Return a titled section; parts are HTML."""
    opening = f'<section class="{css_class}">' if css_class else "<section>"
    return f"{opening}\n<h2>{escape(title)}</h2>\n" + "\n".join(part for part in parts if part) + "\n</section>"


def paragraph(text: str) -> str:
    """Return a paragraph of plain text."""
    return f"<p>{escape(text)}</p>"


def picture(data: bytes, kind: str, caption: str) -> str:
    """Return an embedded picture; ``kind`` is a MIME type such as ``image/png``."""
    source = base64.b64encode(data).decode()
    return (
        f'<figure><img alt="{escape(caption)}" src="data:{kind};base64,{source}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def table(
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    caption: str = "",
    numbers: Sequence[int] = (),
    printed: Optional[int] = None,
    grouped: bool = False,
) -> str:
    """Return a table of plain texts.

    Args:
        header: titles of the columns; none when all are empty.
        rows: texts; the first of each names the row.
        caption: a line above the table.
        numbers: columns that are aligned to the right.
        printed: how many rows go to paper; None: all.
        grouped: a line above each row whose name differs from the one before.
    """
    rows = list(rows)
    head = "".join(f"<th{_number(i in numbers)}>{escape(title)}</th>" for i, title in enumerate(header))
    head = f"<thead><tr>{head}</tr></thead>" if any(header) else ""
    lines = []
    for index, row in enumerate(rows):
        cells = (f"<td{_number(i in numbers)}>{escape(text)}</td>" for i, text in enumerate(row) if i)
        begins = grouped and index > 0 and row[0] != rows[index - 1][0]
        classes = ["screen"] * (printed is not None and index >= printed) + ["new"] * begins
        marks = f' class="{" ".join(classes)}"' if classes else ""
        lines.append(f'<tr{marks}><th scope="row">{escape(row[0])}</th>{"".join(cells)}</tr>')
    told = f"<caption>{escape(caption)}</caption>" if caption else ""
    body = "\n".join(lines)
    hint = ""
    if printed is not None and len(rows) > printed:
        hint = f'<p class="paper">{len(rows) - printed} more rows are on the page itself.</p>'
    return f'<div class="wide"><table>{told}{head}\n<tbody>\n{body}\n</tbody></table></div>{hint}'


def folded(title: str, content: str) -> str:
    """Return HTML that opens when its title is clicked."""
    return f"<details><summary>{escape(title)}</summary>\n{content}\n</details>"


def _number(is_number: bool) -> str:
    return ' class="number"' if is_number else ""
