"""``csrd-denoise adapt``: fit a model further to your own pairs of a low and a full dose."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from .arguments import add_device, check_folder, count, number
from .interrupts import resumable
from .tables import add_table, table_of

if TYPE_CHECKING:
    from ..research.adaptation.adapt import Adaptation

DESCRIPTION = (
    "Fit the network for the posterior mean of a model to a table of pairs (docs/own-scans.md), compare it with the "
    "start on held-out subjects, fit its uncertainty to them, and write a model folder with a card. A "
    "model that is no better than the start is not written. The same command continues an interrupted adaptation."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command and its options."""
    parser.description = DESCRIPTION
    add_table(parser)
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="the adapted model")
    parser.add_argument("--start", default="brain", metavar="NAME|FOLDER", help="model to adapt (default: %(default)s)")
    parser.add_argument(
        "--minutes",
        type=number(0.01, 1e5),
        help="of the whole run, from reading pairs to writing the model (default: 30)",
    )
    parser.add_argument("--register", action="store_true", help="register each MR to its low dose first")
    parser.add_argument("--work", type=Path, metavar="FOLDER", help="for intermediate results; removed at the end")
    parser.add_argument("--keep", action="store_true", help="write the model even if it is no better than the start")
    parser.add_argument("--no-calibration", action="store_true", help="do not fit the uncertainty to the error")
    parser.add_argument("--seed", type=count(0), default=0, help="for folds and patches (default: 0)")
    add_device(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Adapt, print the table of held-out scans, and write the model."""
    from ..devices import choose_device
    from ..model.bundle import load_model
    from ..research.adaptation.adapt import Job, adapt, check_output
    from ..research.adaptation.card import held_out_table
    from ..research.adaptation.settings import AdaptSettings

    chosen = {} if args.minutes is None else {"minutes": args.minutes}
    settings = AdaptSettings(seed=args.seed, register=args.register, calibrate=not args.no_calibration, **chosen)
    if settings.calibrate:
        _check_scipy()
    work = check_output(args.output, args.work)
    check_folder(args.output)
    check_folder(work)
    table = table_of(args).checked()
    device = str(choose_device(args.device))
    job = Job(table.rows, load_model(args.start, device), args.output, work, settings, device)
    with resumable(work):
        adaptation = adapt(job, args.keep)
    print(held_out_table(adaptation.scans, adaptation.model.metadata.target))
    print(_sum(adaptation, args.start))
    if not adaptation.written:
        raise InputError(
            f"No model was written, because it is no better than '{args.start}' on held-out subjects, those of the "
            f"folds or those of the check. --keep writes it all the same. To train longer, remove '{work}', where what "
            "is done is kept, and give more --minutes."
        )
    print(f"Model '{adaptation.model.metadata.name}': {args.output}")
    return 0


def _sum(adaptation: Adaptation, start: str) -> str:
    from ..research.adaptation.facts import percent

    worse = sum(scan.after.full > scan.before.full for scan in adaptation.scans)
    changes = adaptation.changes
    return (
        f"Squared error against the full dose, relative to '{start}': {percent(changes.held_out):+.2f} % on scans held "
        f"out of the folds, {percent(changes.check):+.2f} % on those of the check by the model as it is written (worse "
        f"on {worse} of {len(adaptation.scans)} scans)."
    )


def _check_scipy() -> None:
    try:
        from scipy.optimize import isotonic_regression  # noqa: F401
    except ImportError as error:
        raise InputError(
            "The calibration needs SciPy 1.12 or later: pip install 'csrd-denoise[evaluate]', or --no-calibration."
        ) from error
