"""``csrd-denoise pairs``: check a table of scans and list every problem in it, before any work."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Iterator, Sequence

from ..errors import InputError
from ..findings import Finding, errors_of
from ..sentences import CLI, sentence
from ..subjects.judge import PairFacts, judge_row, judge_together
from ..subjects.table import Table, write_table
from .arguments import check_file
from .tables import add_table, table_of

DESCRIPTION = (
    "Read a table of pairs of a low and a full dose (or a BIDS dataset) and every image, and print one line a scan and "
    "every problem. Exit code 0: the table can be used, perhaps with warnings; 2: it has errors. "
    "Options that a message names are those of denoise, validate and adapt."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command and its options."""
    parser.description = DESCRIPTION
    add_table(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--write", type=Path, metavar="TABLE.tsv", help="write the table, for instance of --bids")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print what was understood; return 2 where there is an error."""
    table = table_of(args)
    if args.write:
        if args.write.exists():
            raise InputError(f"The table '{args.write}' exists already; choose another name.")
        check_file(args.write)
        _write(table, args.write)
    judged = []
    for row in table.rows:
        # a row that names no pair, or a file that is not there, was found already
        if row.lacks or not all(path.exists() for path in row.files.values()):
            continue
        judged.append(judge_row(row))
        if not args.json:
            print("\n".join(_lines(judged[-1])), flush=True)
    findings = (*table.findings, *judge_together((each.row, each.checksums) for each in judged))
    wrong = [*errors_of(findings), *(found for each in judged for found in errors_of(each.findings))]
    if args.json:
        print(json.dumps(_as_dict(judged, findings), indent=1))
    else:
        lines = (f"  {_named(found)}" for found in findings)
        print("\n".join([*lines, _sum(table.subjects, judged, findings, len(wrong))]))
    return InputError.exit_code if wrong else 0


def _write(table: Table, path: Path) -> None:
    """Write the table unless it is wrong: cells that are none would be empty in it, and it would look right."""
    wrong = [found for found in errors_of(table.findings) if found.code.startswith("table.")]
    if wrong:
        print(f"'{path}' was not written: the table has {len(wrong)} error(s).", file=sys.stderr)
    else:
        write_table(table, path)


def _lines(each: PairFacts) -> Iterator[str]:
    yield each.line()
    # what holds for low and full dose alike is said once
    yield from dict.fromkeys(f"  {_named(found)}" for found in each.findings if sentence(found, CLI))


def _named(found: Finding) -> str:
    kind = "note" if not (found.is_warning or errors_of([found])) else found.severity.value
    return f"{kind}: {sentence(found, CLI)}"


def _sum(subjects: Sequence[str], judged: Sequence[PairFacts], findings: Sequence[Finding], wrong: int) -> str:
    warned = sum(found.is_warning for found in (*findings, *(found for each in judged for found in each.findings)))
    return f"{len(subjects)} subject(s), {len(judged)} pair(s) read, {wrong} error(s), {warned} warning(s)"


def _as_dict(judged: Sequence[PairFacts], findings: Sequence[Finding]) -> dict[str, object]:
    entries = [{**found.as_dict(), "sentence": sentence(found, CLI)} for found in findings]
    return {"pairs": [each.as_dict() for each in judged], "findings": entries}
