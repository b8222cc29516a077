"""``csrd-denoise validate``: how good models are on your own pairs of a low and a full dose, against tuned filters."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import SOME_FAILED, InputError
from ..extras import require
from ..model.bundle import DEFAULT_MODEL, list_models
from ..settings import DEFAULT_PRESET, PRESETS, settings_from_preset
from .arguments import add_device, check_folder, count
from .interrupts import cancellable
from .options import SCHEDULER, add_groups
from .progress import PROGRESS_KINDS, progress_callback
from .spreading import spread_of
from .tables import add_table, table_of

DESCRIPTION = (
    "Denoise the low doses of a table of pairs, compare the results with the full doses and with tuned filters, and "
    "write report.html, tables (CSV, Markdown) and results.json. The same command continues a stopped run. Exit code "
    "4: some subjects could not be measured; they are named. See docs/own-scans.md."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command and its options."""
    from ..research.evaluation.baselines import BASELINES
    from ..research.validation.subject import FILTERS

    parser.description = DESCRIPTION
    add_table(parser)
    parser.add_argument("--subjects", nargs="+", type=Path, default=(), metavar="FOLDER", help="simulated subjects")
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="where the results go")
    parser.add_argument(
        "--model",
        action="append",
        metavar="NAME|FOLDER",
        help=f"a bundled model or a model folder (repeat for more; default: {DEFAULT_MODEL})",
    )
    parser.add_argument(
        "--filter",
        action="append",
        choices=[each.name for each in BASELINES],
        help=f"to compare with (repeat for more; default: {', '.join(FILTERS)})",
    )
    parser.add_argument("--preset", choices=PRESETS, default=DEFAULT_PRESET, help="of the runs (default: %(default)s)")
    parser.add_argument("--register", action="store_true", help="register each MR to its low dose first")
    parser.add_argument(
        "--reference-labels",
        nargs="+",
        type=count(1),
        default=(),
        metavar="LABEL",
        help="labels of the reference region of SUVR, for instance of the cerebellum (default: the brain)",
    )
    parser.add_argument(
        "--separate-scans",
        action="store_true",
        help="the low doses were measured by themselves, and are no part of the full doses' counts",
    )
    parser.add_argument("--seed", type=count(0), default=0, help="of the samples (default: %(default)s)")
    add_device(parser)
    parser.add_argument("--progress", choices=PROGRESS_KINDS, default="bar", help="default: %(default)s")
    add_groups(parser, SCHEDULER)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Validate and print the path of the report; return 4 if some subjects failed."""
    require("skimage", "matplotlib")
    from ..research.evaluation.markdown import to_markdown
    from ..research.validation.report import REPORT
    from ..research.validation.run import STORE, ValidationConfig, run_validation
    from ..research.validation.subject import FILTERS

    has_table = args.table is not None or args.bids is not None
    if has_table == bool(args.subjects):
        raise InputError("Give a table of pairs (or --bids), or folders of simulated subjects with --subjects.")
    check_folder(args.output)
    if args.scheduler:
        _make_absolute(args)
    config = ValidationConfig(
        output=args.output.absolute(),
        models=tuple(args.model or [DEFAULT_MODEL]),
        settings=settings_from_preset(args.preset, seed=args.seed, device=args.device, register=args.register),
        table=table_of(args).checked() if has_table else None,
        folders=tuple(args.subjects),
        filters=tuple(args.filter or FILTERS),
        reference=tuple(args.reference_labels),
        nested=not args.separate_scans,
    )
    left = f"Finished subjects are kept in '{args.output / STORE}'; the same command continues."
    with cancellable(lambda: left), spread_of(args) as spread:
        found = run_validation(config, progress_callback(args.progress), spread if args.scheduler else None)
    if args.progress != "json":
        print(to_markdown(found.gains))
        print(f"{len(found.results)} subject(s) measured, {len(found.failed)} failed: {args.output / REPORT}")
    return SOME_FAILED if found.failed else 0


def _make_absolute(args: argparse.Namespace) -> None:
    """A scheduler's workers have other working folders."""
    args.table, args.bids = (path and path.absolute() for path in (args.table, args.bids))
    args.subjects = [folder.absolute() for folder in args.subjects]
    bundled = {folder.name for folder in list_models()}
    args.model = [name if name in bundled else str(Path(name).absolute()) for name in args.model or [DEFAULT_MODEL]]
