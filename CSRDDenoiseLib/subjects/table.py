"""The table of scans: one row a scan, tab-separated UTF-8 with a header; every problem is found before any work.

Columns: ``subject`` and ``low``, for pairs ``full`` too, or two halves in place of them; optional ``mr``, ``dose``
(1/4 or 0.25), ``labels`` (label map of regions), ``lesions`` (label map of lesions), ``half_1`` and ``half_2`` (two
halves of the full dose's counts),
``session``, ``replicate``, ``split`` (train, validation, test). Paths are relative to the table's folder.
"""

from __future__ import annotations

import csv
import difflib
import io
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Callable, Collection, Iterable, Iterator, Mapping, Optional, Sequence, TypeVar

from ..atomic import complete_file
from ..configuration import parse_dose
from ..errors import InputError, unnameable
from ..findings import Finding, error, errors_of
from ..io.names import located
from ..sentences import CLI, sentence

PAIR = ("low", "full")
"""Columns that a table of pairs needs beside ``subject``, where it has no :data:`HALVES`."""
HALVES = ("half_1", "half_2")
"""Columns of two images, each of half of the full dose's counts."""
HALF = Fraction(1, 2)
FILES = ("low", "full", "mr", "labels", "lesions", *HALVES)
SPLITS = ("train", "validation", "test")
COLUMNS = ("subject", *FILES, "dose", "session", "replicate", "split")
OWN = ("low", "full", *HALVES)
"""Columns whose file belongs to one subject alone."""
_EMPTY = ("", "n/a")
"""Texts of an empty cell; BIDS writes n/a."""
_COMMENT = "#"

Value = TypeVar("Value")


@dataclass(frozen=True)
class Row:
    """One scan of a subject.

    Attributes:
        subject: name of the subject; every scan of it has the same.
        low: the PET to be denoised; None only in a table that does not need it.
        full: the full dose of the same scan, or None.
        mr: MR of the same head, or None.
        dose: counts of ``low`` over those of ``full``; None if the table does not state it.
        labels: label map of regions, or None.
        lesions: label map of lesions, or None.
        halves: two images, each of half of the full dose's counts, or empty.
        session: name, empty without.
        replicate: name that distinguishes repeated scans, empty without.
        split: one of :data:`SPLITS`, empty without.
        settings: further columns that the caller allowed, name -> text; empty cells are absent.
        line: in the file, from 1 (the header); 0 for a row that comes from no file.
    """

    subject: str
    low: Optional[Path] = None
    full: Optional[Path] = None
    mr: Optional[Path] = None
    dose: Optional[Fraction] = None
    labels: Optional[Path] = None
    lesions: Optional[Path] = None
    halves: tuple[Path, ...] = ()
    session: str = ""
    replicate: str = ""
    split: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    line: int = 0

    @property
    def key(self) -> tuple[str, str, Optional[Fraction], str]:
        """What distinguishes one row from another: subject, session, dose, replicate."""
        return self.subject, self.session, self.dose, self.replicate

    @property
    def name(self) -> str:
        """The row in words, for instance ``07, session 1, dose 1/4``."""
        parts = [f"session {self.session}"] if self.session else []
        parts += [f"dose {self.dose}"] if self.dose is not None else []
        parts += [f"replicate {self.replicate}"] if self.replicate else []
        return ", ".join([self.subject, *parts])

    @property
    def lacks(self) -> tuple[str, ...]:
        """Which of :data:`PAIR` the row does not name; the mean of two halves replaces a full dose."""
        named = {"low": self.low, "full": self.full or self.halves}
        return tuple(name for name in PAIR if not named[name])

    @property
    def files(self) -> dict[str, Path]:
        """Column -> file, of those that the row names."""
        named = {name: getattr(self, name) for name in FILES if not name.startswith("half")}
        halves = {f"half_{number}": path for number, path in enumerate(self.halves, 1)}
        return {**{name: path for name, path in named.items() if path is not None}, **halves}


@dataclass(frozen=True)
class Table:
    """Rows in the order of the file, and what was found wrong; a row with an error is there as far as it was read."""

    path: Path
    rows: tuple[Row, ...]
    findings: tuple[Finding, ...] = ()

    @property
    def subjects(self) -> tuple[str, ...]:
        """Names, each once, in the order of the file."""
        return tuple(dict.fromkeys(row.subject for row in self.rows))

    def of(self, subject: str) -> tuple[Row, ...]:
        """Return the rows of a subject."""
        return tuple(row for row in self.rows if row.subject == subject)

    def checked(self) -> Table:
        """Return the table.

        Raises:
            InputError: it has errors; the message has them all, one a line.
        """
        wrong = [sentence(finding, CLI) for finding in errors_of(self.findings)]
        if wrong:
            head = f"The table '{self.path}' has {len(wrong)} error(s):" if len(wrong) > 1 else ""
            raise InputError("\n".join(filter(None, [head, *wrong])))
        return self


def read_table(path: Path, needs: Sequence[str] = PAIR, extra: Collection[str] = ()) -> Table:
    """Read a table of scans and collect everything that is wrong with it; nothing is raised.

    Args:
        path: of the file; UTF-8 with or without a byte order mark.
        needs: columns that every row must fill, beside ``subject``; pairs need ``low`` and ``full``, or two halves:
            their mean replaces a missing full dose, and a row without a low dose becomes two
            (:func:`each_half`).
        extra: further columns that are allowed; they go to :attr:`Row.settings` as text.

    Returns:
        The table with its findings; :meth:`Table.checked` raises where one is an error.
    """
    needs = ("subject", *needs)
    header, lines, findings = _cells(path)
    findings += _judge_header(header, needs, [*COLUMNS, *extra]) if header else []
    if errors_of(findings):
        return Table(path, (), tuple(findings))
    rows = []
    for line, cells in lines:
        row, found = _Line(path.parent, line, dict(zip(header, cells)), needs).row(extra)
        if row.subject.startswith(_COMMENT):
            found = [error("table.comment", where=where(row))]
        elif len(cells) != len(header):
            found.append(error("table.row_length", where=where(row), cells=len(cells), columns=len(header)))
        rows.append(row)
        findings += found
    pairs = tuple(pair for row in rows for pair in each_half(row)) if _pairs(needs) else tuple(rows)
    return Table(path, pairs, (*findings, *judge_rows(rows)))


def each_half(row: Row) -> tuple[Row, ...]:
    """Return the two pairs of a row that has two halves and no low dose; any other row as it is.

    Each half is a low dose of half of the counts, and the mean of both is its full dose, so that what the full dose has
    beyond the low dose is the other half.
    """
    if row.low is not None or len(row.halves) < len(HALVES):
        return (row,)
    names = [", ".join(filter(None, [row.replicate, f"half {number}"])) for number in (1, 2)]
    return tuple(replace(row, low=half, full=None, dose=HALF, replicate=name) for half, name in zip(row.halves, names))


def where(row: Row) -> str:
    """Return where a row stands, for sentences."""
    return f"line {row.line} (subject {row.subject})" if row.line else f"subject {row.name}"


def judge_rows(rows: Sequence[Row]) -> Iterator[Finding]:
    """Yield what is wrong between rows: doubled rows, files of two subjects or scans, a subject in two splits."""
    seen: dict[tuple, Row] = {}
    lows: dict[tuple, Row] = {}
    owners: dict[tuple[str, Path], Row] = {}
    for row in rows:
        if row.key in seen:
            yield _doubled(row, seen[row.key])
        seen.setdefault(row.key, row)
        for column, path in row.files.items():
            owner = owners.setdefault((column, _place(path)), row) if column in OWN else row
            if owner.subject != row.subject:
                values = {"column": column, "path": str(path), "other": owner.subject, "first": owner.line}
                yield error("table.same_file", where=where(row), **values)
        if row.low is not None and not row.lacks:
            # a cohort, which needs no full dose, may denoise one scan with several settings
            first = lows.setdefault((row.subject, _place(row.low)), row)
            if first.key != row.key:
                yield error("table.low_twice", where=where(row), path=str(row.low), first=where(first))
        if row.low is not None and row.full is not None and _place(row.low) == _place(row.full):
            yield error("table.low_is_full", where=where(row), path=str(row.low))
    for subject in dict.fromkeys(row.subject for row in rows):
        splits = sorted({row.split for row in rows if row.subject == subject and row.split})
        if len(splits) > 1:
            yield error("table.two_splits", subject=subject, splits=" and ".join(splits))


def _doubled(row: Row, first: Row) -> Finding:
    if row.line:
        return error("table.doubled_row", where=where(row), first=first.line)
    low, other = ("none" if each.low is None else each.low.name for each in (row, first))
    return error("bids.doubled", low=low, other=other)


def write_table(table: Table, path: Path) -> None:
    """Write a table with the columns that are used; paths relative to the new file where they lie below its folder."""
    names = [name for name in COLUMNS if any(_text(row, name, path.parent) for row in table.rows)]
    names += sorted({name for row in table.rows for name in row.settings})
    rows = ([_text(row, name, path.parent) for name in names] for row in table.rows)
    # without quotes, which have no meaning where a table is read
    text = "".join("\t".join(cells) + "\n" for cells in (names, *rows))
    with complete_file(path) as partial:
        partial.write_bytes(text.encode())


def _text(row: Row, name: str, folder: Path) -> str:
    if name in FILES:
        path = row.files.get(name)
        if path is None:
            return ""
        place, root = located(path), folder.resolve()
        return str(place.relative_to(root) if root in place.parents else place)
    value = row.settings.get(name, "") if name not in COLUMNS else getattr(row, name)
    return "" if value is None else str(value)


def _cells(path: Path) -> tuple[list[str], list[tuple[int, list[str]]], list[Finding]]:
    """Return the header, each line that is not blank with its number, and the findings."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as problem:
        return [], [], [error("table.unreadable", path=str(path), reason=problem.strerror or str(problem))]
    except UnicodeDecodeError as problem:
        return [], [], [error("table.not_text", path=str(path), position=problem.start)]
    try:
        # quotes are kept as they are: a path may hold one
        reader = csv.reader(io.StringIO(text, newline=""), delimiter="\t", quoting=csv.QUOTE_NONE)
        lines = list(enumerate(reader, 1))
    except csv.Error as problem:
        return [], [], [error("table.unreadable", path=str(path), reason=str(problem))]
    lines = [(number, [cell.strip() for cell in cells]) for number, cells in lines if any(map(str.strip, cells))]
    if not lines:
        return [], [], [error("table.unreadable", path=str(path), reason="it is empty")]
    header = _without_end(lines[0][1], 0)
    other = next((mark for mark in ",;" if len(header) == 1 and mark in header[0]), None)
    if other:
        return [], [], [error("table.other_separator", path=str(path), separator=other)]
    rows = [(number, _without_end(cells, len(header))) for number, cells in lines[1:]]
    return header, rows, [] if rows else [error("table.empty", path=str(path))]


def _without_end(cells: Sequence[str], least: int) -> list[str]:
    """The cells without empty ones at their end, which spreadsheets write; so many are left at least."""
    count = max((number for number, cell in enumerate(cells, 1) if cell), default=0)
    return list(cells[: max(count, least)])


def _judge_header(header: Sequence[str], needs: Sequence[str], known: Sequence[str]) -> list[Finding]:
    columns = ", ".join(name or "(without a name)" for name in header)
    halves = _pairs(needs) and set(HALVES) <= set(header)
    needed = [name for name in needs if not (halves and name in PAIR)]
    found = [error("table.missing_column", column=name, columns=columns) for name in needed if name not in header]
    for name in dict.fromkeys(header):
        if header.count(name) > 1:
            found.append(error("table.doubled_column", column=name, count=header.count(name)))
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = {"near": "did_you_mean", "nearest": near[0]} if near else {"near": "known_are"}
            found.append(error("table.unknown_column", column=name, known=", ".join(known), **hint))
    return found


@dataclass(frozen=True)
class _Line:
    """One line of the table as text: column -> cell."""

    folder: Path
    number: int
    cells: Mapping[str, str]
    needs: Sequence[str]

    def row(self, extra: Iterable[str]) -> tuple[Row, list[Finding]]:
        """Return the values of the line, and the findings about it."""
        files = {name: self.folder / self.cells[name] for name in FILES if self._cell(name)}
        halves = tuple(files.pop(name) for name in HALVES if name in files)
        row = Row(
            subject=self._cell("subject"),
            low=files.get("low"),
            full=files.get("full"),
            mr=files.get("mr"),
            dose=self._parsed("dose", parse_dose),
            labels=files.get("labels"),
            lesions=files.get("lesions"),
            halves=halves,
            session=self._cell("session"),
            replicate=self._cell("replicate"),
            split=self._parsed("split", _split) or "",
            settings={name: self._cell(name) for name in extra if self._cell(name)},
            line=self.number,
        )
        return row, list(self._judge(row))

    def _judge(self, row: Row) -> Iterator[Finding]:
        place = where(row)
        halves = row.halves and _pairs(self.needs)
        needs = [*(name for name in self.needs if not (halves and name in PAIR)), *(HALVES if row.halves else ())]
        yield from (error("table.empty_cell", where=place, column=name) for name in needs if not self._cell(name))
        for name, path in row.files.items():
            strange = unnameable(str(path))
            if strange:
                yield error("table.unnameable", where=place, column=name, reason=str(strange).rstrip("."))
            elif not _exists(path):
                yield error("table.missing_file", where=place, column=name, path=str(path))
        if self._cell("dose") and row.dose is None:
            yield error("table.bad_dose", where=place, text=self._cell("dose"))
        if self._cell("split") and not row.split:
            yield error("table.bad_split", where=place, text=self._cell("split"), splits=", ".join(SPLITS))

    def _cell(self, name: str) -> str:
        text = self.cells.get(name, "")
        return "" if text.lower() in _EMPTY else text

    def _parsed(self, name: str, parse: Callable[[str], Value]) -> Optional[Value]:
        try:
            return parse(self._cell(name)) if self._cell(name) else None
        except ValueError:
            return None


def _pairs(needs: Collection[str]) -> bool:
    return set(PAIR) <= set(needs)


def _place(path: Path) -> Path:
    """The file that a path leads to, whichever way it is spelled."""
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError):
        return path


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _split(text: str) -> str:
    if text.lower() not in SPLITS:
        raise ValueError(text)
    return text.lower()
