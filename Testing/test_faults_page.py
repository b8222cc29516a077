"""docs/faults.md names a test for every fault, and each of them exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROWS = [
    line
    for line in (ROOT / "docs" / "faults.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.startswith("| input")
]
NAMED = re.compile(r"`(test_\w+\.py)::(test_\w+)`")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip()[:50])
def test_every_fault_has_its_test(row):
    named = NAMED.findall(row)
    assert named or "the same test" in row
    for file, name in named:
        path = ROOT / "Testing" / file
        assert path.is_file() and re.search(rf"^def {name}\(", path.read_text(encoding="utf-8"), re.M), (file, name)
