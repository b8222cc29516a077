"""``csrd-denoise readers``: a blinded study for readers."""

from __future__ import annotations

import argparse
import secrets
from pathlib import Path

from ..readers.scales import RATINGS
from ..readers.study import KINDS, RATING

DESCRIPTION = "Make a blinded reader study."


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the subcommand and its own subcommands."""
    parser = subparsers.add_parser("readers", help="design and analyse a reader study", description=DESCRIPTION)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, title="actions")
    _add_design(actions)


def _add_design(actions: argparse._SubParsersAction) -> None:
    parser = actions.add_parser(
        "design",
        help="make a blinded study folder and its key",
        description="Each row of TABLE.tsv is a case: its name in column 'case', one column a method with an image, "
        "optionally 'mr', 'lesion' (0 or 1), 'training' (0 or 1), 'point' (x,y,z in mm, L-P-S).",
    )
    parser.add_argument("table", type=Path, metavar="TABLE.tsv", help="cases and their images")
    parser.add_argument("--output", type=Path, required=True, metavar="STUDY", help="folder to give to the readers")
    parser.add_argument("--key", type=Path, metavar="FILE", help="where the key goes (default: STUDY-key.json)")
    parser.add_argument("--kind", choices=KINDS, default=RATING, help="pairs or ratings (default: %(default)s)")
    parser.add_argument("--methods", nargs="+", default=(), metavar="COLUMN", help="columns to compare (default: all)")
    parser.add_argument("--scales", nargs="+", default=(), metavar="SCALE", help=f"of ratings: {', '.join(RATINGS)}")
    parser.add_argument("--question", default="", help="of pairs, for instance: Which image shows the lesion better?")
    parser.add_argument("--ties", action="store_true", help="allow 'no difference' for pairs")
    parser.add_argument("--title", default="Reader study", help="what readers see; name no method in it")
    parser.add_argument("--readers", type=int, default=3, metavar="N", help="number of readers (default: %(default)s)")
    parser.add_argument("--training", type=int, default=2, metavar="N", help="training cases (default: %(default)s)")
    parser.add_argument("--repeats", type=float, default=0.2, metavar="SHARE", help="shown twice (%(default)s)")
    parser.add_argument("--blocks", type=int, default=0, metavar="N", help="blocks (default: ways to show a case)")
    parser.add_argument(
        "--washout-days", type=float, default=14, metavar="DAYS", help="pause between blocks (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, help="of the order, sides and names (default: drawn, kept in the key)")
    parser.set_defaults(run=run_design)


def run_design(args: argparse.Namespace) -> int:
    """Make a study and print where it lies."""
    from ..readers.design import DesignOptions, design
    from ..readers.key import key_path_of
    from ..readers.plan import PlanOptions
    from ..readers.scales import scales_of
    from ..readers.table import read_table

    seed = secrets.randbits(32) if args.seed is None else args.seed
    plan = PlanOptions(args.kind, args.readers, args.repeats, args.blocks, seed)
    scales = scales_of(args.kind, args.scales, args.question, args.ties)
    options = DesignOptions(plan, scales, args.title, args.training, args.washout_days)
    key = args.key or key_path_of(args.output)
    study, warnings = design(args.table, read_table(args.table, args.methods), args.output, key, options)
    for sentence in warnings:
        print(f"Warning: {sentence}")
    for reading in study.readings:
        print(f"{reading.reader}: {len(reading.trials)} trials in {reading.trials[-1].block} blocks")
    print(f"Give '{args.output}' to the readers. Keep '{key}'.")
    return 0
