"""Options of the commands that take a table of scans, or a BIDS dataset in its place."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import InputError
from ..subjects.bids_table import Series, read_bids
from ..subjects.table import Table, read_table


def add_table(parser: argparse.ArgumentParser) -> None:
    """Add the table, and ``--bids`` with the filters of its two series."""
    parser.add_argument(
        "table",
        nargs="?",
        type=Path,
        metavar="TABLE.tsv",
        help="tab-separated, with the columns subject, low, full (or half_1, half_2) and optionally mr, dose, labels, "
        "lesions, half_1, half_2, session, replicate, split; paths relative to it (docs/own-scans.md)",
    )
    group = parser.add_argument_group("a BIDS dataset in place of a table")
    group.add_argument("--bids", type=Path, metavar="ROOT", help="root of a raw dataset")
    group.add_argument(
        "--low",
        action="append",
        metavar="ENTITIES[=DOSE]",
        help="which PETs are low doses, as in rec-low=1/4 or acq-low,rec-osem (repeat for more doses)",
    )
    group.add_argument("--full", metavar="ENTITIES", help="which PETs are full doses, as in rec-full")
    group.add_argument(
        "--participant-label",
        "--participants",
        dest="participants",
        nargs="+",
        default=(),
        metavar="LABEL",
        help="participants of --bids; default: all",
    )


def table_of(args: argparse.Namespace) -> Table:
    """Return the table that the options name, with what is wrong in it.

    Raises:
        InputError: both or neither are given, or the dataset has no PET.
    """
    if (args.table is None) == (args.bids is None):
        raise InputError("Give either a table of scans, or a BIDS dataset with --bids, --low and --full.")
    if args.bids is None:
        return read_table(args.table)
    if not args.low or not args.full:
        raise InputError("With --bids, name the PETs of low and of full dose with --low and --full.")
    low = [Series.of(text) for text in args.low]
    return read_bids(args.bids.resolve(), low, Series.of(args.full), args.participants)
