"""The table of a study: one row a case, one column a method, each cell an image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Mapping, Optional, Sequence

from ..errors import InputError, unnameable
from ..io.tsv import read_tsv

CASE, MR, LESION, TRAINING, POINT = "case", "mr", "lesion", "training", "point"
_MEANING = (CASE, MR, LESION, TRAINING, POINT)
_YES, _NO = ("1", "yes", "true"), ("0", "no", "false", "")


@dataclass(frozen=True)
class Case:
    """One row.

    Attributes:
        name: of the case; it goes to the key alone.
        images: method -> path.
        mr: the MR of the same head, shown beside.
        lesion: whether there is one (the truth), None if the table does not state it.
        training: whether it is to be used for training.
        point: where the planes meet at first, x, y, z in mm (L-P-S); None: the centre of the activity.
    """

    name: str
    images: Mapping[str, Path]
    mr: Optional[Path] = None
    lesion: Optional[bool] = None
    training: bool = False
    point: Optional[tuple[float, float, float]] = None


def read_table(path: Path, methods: Sequence[str] = ()) -> tuple[Case, ...]:
    """Read a tab-separated table; paths in it are relative to its folder.

    Columns: ``case``; one a method, by any name; optional ``mr``, ``lesion`` and ``training`` (0 or 1), ``point``.

    Args:
        path: of the table.
        methods: columns to use; empty means every column that is no other thing.

    Raises:
        InputError: unreadable, a column is missing, a name is doubled, a cell is empty or its file does not exist.
    """
    header, rows = read_tsv(path)
    if CASE not in header:
        raise InputError(f"The table '{path}' has no column '{CASE}'; its columns are {', '.join(header)}.")
    chosen = tuple(methods) or tuple(name for name in header if name and name not in _MEANING)
    missing = [name for name in chosen if name not in header]
    if missing or len(chosen) < 2 or len(set(chosen)) < len(chosen):
        raise InputError(
            f"A study compares at least two methods, each a column of '{path}'; asked for "
            f"{', '.join(chosen) or 'none'}, the columns are {', '.join(header)}."
        )
    cases = tuple(_case(row, chosen, path) for row in rows)
    names = [case.name for case in cases]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if not cases or doubled or "" in names:
        where = f"doubled: {', '.join(doubled)}" if doubled else f"{len(cases)} rows"
        raise InputError(f"The table '{path}' needs one row a case, with a name of its own ({where}).")
    return cases


def _case(row: Mapping[str, str], methods: Sequence[str], path: Path) -> Case:
    name = (row[CASE] or "").strip()
    images = {method: _file(row, method, path) for method in methods}
    absent = [method for method, image in images.items() if image is None]
    if absent:
        raise InputError(f"Case '{name}' of '{path}' has no image in column '{absent[0]}'.")
    return Case(
        name,
        {method: image for method, image in images.items() if image is not None},
        _file(row, MR, path),
        _flag(row, LESION, path),
        bool(_flag(row, TRAINING, path)),
        _point(row, path),
    )


def _file(row: Mapping[str, str], column: str, table: Path) -> Optional[Path]:
    text = (row.get(column) or "").strip()
    if not text:
        return None
    path = table.parent / text
    if not path.exists():
        raise unnameable(str(path)) or InputError(f"The {column} image '{path}' of case '{row[CASE]}' does not exist.")
    return path


def _flag(row: Mapping[str, str], column: str, table: Path) -> Optional[bool]:
    if row.get(column) is None or (column == LESION and not row[column].strip()):
        return None
    text = row[column].strip().lower()
    if text not in _YES + _NO:
        raise InputError(f"Column '{column}' of '{table}' has '{text}' at case '{row[CASE]}'; write 0 or 1.")
    return text in _YES


def _point(row: Mapping[str, str], table: Path) -> Optional[tuple[float, float, float]]:
    text = (row.get(POINT) or "").strip()
    if not text:
        return None
    try:
        x, y, z = (float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"Column '{POINT}' of '{table}' has '{text}'; write x,y,z in mm (L-P-S).") from None
    return x, y, z
