"""Self-contained HTML pages: what a page consists of, as data, and the one template that renders it.

A page has a head, facts at a glance, warnings and sections; a section holds parts: text, tables, pictures, folded text.
All of it is plain text, which the template escapes; only the drawings are markup.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Optional, Sequence, Union

if TYPE_CHECKING:
    from jinja2 import Template

TEMPLATE = "page.html.j2"


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    kind: ClassVar[str] = "text"
    text: str


@dataclass(frozen=True)
class Folded:
    """Preformatted text that opens when its title is clicked."""

    kind: ClassVar[str] = "folded"
    title: str
    text: str


@dataclass(frozen=True)
class Drawing:
    """An SVG that becomes part of the page, so that its lines take the colours of the page's theme.

    Attributes:
        svg: one ``<svg>`` element, made by this package; it is not escaped.
        caption: of the drawing.
    """

    kind: ClassVar[str] = "drawing"
    svg: str
    caption: str


@dataclass(frozen=True)
class Photo:
    """An embedded PNG with its caption."""

    kind: ClassVar[str] = "photo"
    png: bytes
    caption: str

    @property
    def source(self) -> str:
        """The picture as a data address."""
        return f"data:image/png;base64,{base64.b64encode(self.png).decode()}"


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        cells: texts; the first names the row.
        on_paper: False keeps it on the screen.
        begins_group: draws a line above it.
    """

    cells: tuple[str, ...]
    on_paper: bool = True
    begins_group: bool = False

    @property
    def style(self) -> str:
        """Classes of the row in the template's style sheet."""
        return " ".join(["screen"] * (not self.on_paper) + ["new"] * self.begins_group)


@dataclass(frozen=True)
class Table:
    """Rows of text under a caption.

    Attributes:
        header: titles of the columns; none when all are empty.
        rows: of the table.
        caption: a line above it.
        numbers: columns that are aligned to the right.
    """

    kind: ClassVar[str] = "table"
    header: tuple[str, ...]
    rows: tuple[Row, ...]
    caption: str = ""
    numbers: tuple[int, ...] = ()

    @property
    def has_header(self) -> bool:
        """Whether any column has a title."""
        return any(self.header)

    @property
    def left_on_screen(self) -> int:
        """How many rows are not printed."""
        return sum(not row.on_paper for row in self.rows)


@dataclass(frozen=True)
class Columns:
    """Tables beside each other where there is room, or else (``side_by_side`` False) below each other."""

    kind: ClassVar[str] = "columns"
    parts: tuple[Table, ...]
    side_by_side: bool = True


Part = Union[Text, Folded, Drawing, Photo, Table, Columns]


@dataclass(frozen=True)
class Section:
    """A titled part of a page.

    Attributes:
        title: of the section.
        parts: in their order.
        style: class of the section in the template's style sheet.
    """

    title: str
    parts: tuple[Part, ...]
    style: str = ""


@dataclass(frozen=True)
class Fact:
    """One of the facts at a glance; ``is_warning`` marks it."""

    name: str
    value: str
    is_warning: bool = False


@dataclass(frozen=True)
class Page:
    """A whole page.

    Attributes:
        title: of the window.
        heading: of the page.
        sections: in their order.
        subtitle: a line below the heading.
        notice: a highlighted line.
        facts: at a glance.
        warnings: sentences.
        style: class of the page in the template's style sheet.
        print_less_mm: by how much the first picture is lower on paper.
    """

    title: str
    heading: str
    sections: tuple[Section, ...]
    subtitle: str = ""
    notice: str = ""
    facts: tuple[Fact, ...] = ()
    warnings: tuple[str, ...] = ()
    style: str = ""
    print_less_mm: int = 0


def render(page: Page) -> str:
    """Return a page as HTML that needs no other file and no network."""
    return _template().render(page=page)


def plain_rows(rows: Sequence[Sequence[str]], printed: Optional[int] = None) -> tuple[Row, ...]:
    """Return rows of texts as rows of a table, of which the first ``printed`` (None: all) go to paper."""
    return tuple(Row(tuple(cells), printed is None or index < printed) for index, cells in enumerate(rows))


def grouped_rows(rows: Sequence[Sequence[str]]) -> tuple[Row, ...]:
    """Return rows of texts as rows of a table, with a line above each whose name differs from the one before."""
    names = [cells[0] for cells in rows]
    begins = [index > 0 and name != names[index - 1] for index, name in enumerate(names)]
    return tuple(Row(tuple(cells), begins_group=begin) for cells, begin in zip(rows, begins))


@lru_cache(maxsize=1)
def _template() -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(TEMPLATE)
