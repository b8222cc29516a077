"""Tables of text, and their Markdown."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """Texts under a caption."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def to_markdown(table: Table) -> str:
    """A Markdown table under its caption."""
    lines = [table.header, ["---"] * len(table.header), *table.rows]
    rows = ("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
    return "\n".join([table.caption, "", *rows]) + "\n"
