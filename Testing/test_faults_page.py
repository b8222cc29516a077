"""docs/faults.md names a test for every fault, and each of them exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def rows_of_faults(text: str) -> list[str]:
    """The rows of the tables whose last column is the test."""
    rows, named = [], False
    for line, after in zip(text.splitlines(), [*text.splitlines()[1:], ""]):
        if line.startswith("| ") and after.startswith("|---"):
            named = line.endswith("| test |")
        elif line.startswith("| ") and named:
            rows.append(line)
    return rows


ROWS = rows_of_faults((ROOT / "docs" / "faults.md").read_text(encoding="utf-8"))
NAMED = re.compile(r"`(test_\w+\.py)::(test_\w+)`")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip()[:50])
def test_every_fault_has_its_test(row):
    named = NAMED.findall(row)
    assert named or "the same test" in row
    for file, name in named:
        path = ROOT / "Testing" / file
        assert path.is_file() and re.search(rf"^def {name}\(", path.read_text(encoding="utf-8"), re.M), (file, name)


def test_the_rows_of_every_part_are_looked_at():
    assert len(ROWS) > 80
