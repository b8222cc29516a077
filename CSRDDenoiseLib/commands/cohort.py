"""``csrd-denoise cohort``: many scans, on this machine's cores and GPUs, a Dask scheduler, or a queueing system."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Iterator, Sequence

from ..alone import alone
from ..errors import SOME_FAILED, InputError, NotComplete, reason_of
from ..extras import require
from ..settings import MAPS, OUTPUT_FORMATS, OUTPUT_UNITS, SAME
from .arguments import GIB, check_folder, count, number
from .denoise import settings_from_args
from .effects import check_effects, facts_of_model
from .interrupts import cancellable
from .options import HOW, PREPARATION, SECRETS, Group, add_groups, option

if TYPE_CHECKING:
    from ..cluster.cohort.scans import Choices, Scan
    from ..cluster.cohort.state import Cohort, State
    from ..cluster.open import Where

WHERE: Group = (
    "where (docs/cluster.md; default: one process a GPU, else as many as cores and memory allow)",
    (
        option("--workers", type=count(1), metavar="N", help="processes on this machine"),
        option(
            "--memory", type=number(0.5, 1e5), metavar="GIB", help="for all processes together; default: what is free"
        ),
        option("--scheduler", metavar="tls://HOST:PORT", help="address of a running Dask scheduler"),
        option("--cluster", type=Path, metavar="QUEUE.yaml", help="start jobs of a queueing system with dask-jobqueue"),
        option("--send", action="store_true", help="send the files, if the workers cannot read them at their paths"),
        *SECRETS,
    ),
)
FILES: Group = (
    "outputs",
    (
        option("--output", type=Path, required=True, metavar="FOLDER", help="results, one subfolder per scan"),
        option(
            "--maps",
            nargs="*",
            choices=MAPS,
            default=("difference", "uncertainty"),
            help="maps beside the denoised PET, without a name none; uncertainty only where the settings give one; "
            "default: difference uncertainty",
        ),
        option("--report", action="store_true", help="write a quality report for each scan"),
        option("--output-unit", choices=OUTPUT_UNITS, default=SAME, help="suv: by body weight; default: %(default)s"),
        option("--format", choices=OUTPUT_FORMATS, help="write DICOM series to folders"),
        option("--overwrite", action="store_true", help="replace outputs of other inputs, settings or models"),
        option("--frames", metavar="5-", help="time frames of dynamic PETs to denoise; default: all"),
    ),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command and its options."""
    parser.description = (
        "Denoise every scan of a table or of a BIDS dataset. A scan that is done is left as it is, so the "
        "same command resumes. Ends with cohort.html and cohort.tsv. Exit code 4: some scans failed."
    )
    parser.add_argument(
        "table",
        nargs="?",
        type=Path,
        metavar="TABLE.tsv",
        help="columns subject, low (the PET), optional mr, session, replicate, dose, labels, and settings of denoise "
        "that hold for their row (preset, steps, seed, register, ...)",
    )
    parser.add_argument("--bids", type=Path, metavar="ROOT", help="every PET of a raw BIDS dataset, with its T1w")
    parser.add_argument("--participant-label", nargs="+", default=(), metavar="LABEL", help="of --bids; default: all")
    add_groups(parser, FILES, PREPARATION, WHERE, *HOW)
    parser.set_defaults(run=run, parser=parser)


def run(args: argparse.Namespace) -> int:
    """Denoise the cohort; return 4 where scans failed."""
    require("distributed", "rich")
    from ..cluster.open import Where

    where = Where(args.scheduler, args.cluster, args.tls, args.insecure)
    where.read()
    cohort = _cohort(args)
    with _only_one(args):
        return _run(args, cohort, where)


@contextmanager
def _only_one(args: argparse.Namespace) -> Iterator[None]:
    """Refuse a second cohort in the folder; the jobs of an array, each with its participants, share one."""
    from ..cluster.cohort.rows import LOCK

    whole, what = args.output / LOCK, "Another cohort"
    labels = sorted({label.removeprefix("sub-") for label in args.participant_label})
    with ExitStack() as locks:
        for label in labels:
            own = whole.with_name(f"{whole.name}-{label}")
            locks.enter_context(alone(own, what, args.output, lambda: (whole,)))
        if not labels:
            locks.enter_context(alone(whole, what, args.output, lambda: whole.parent.glob(f"{whole.name}-*")))
        yield


def _run(args: argparse.Namespace, cohort: Cohort, where: Where) -> int:
    from ..bids import describe_derivatives
    from ..cluster.cohort.run import run_cohort
    from ..cluster.cohort.show import shown
    from ..cluster.cohort.state import State

    state = State(len(cohort.scans))
    try:
        with cancellable(lambda: _what_is_left(state, args.output)), shown(args.progress, sys.stderr) as show:
            run_cohort(cohort, where, lambda: _plan(args, cohort), state, show)
    finally:
        if state.rows:
            _end(state, cohort, where)
            if args.bids:
                describe_derivatives(args.bids.resolve(), cohort.folder)
    return SOME_FAILED if state.failed else 0


def _cohort(args: argparse.Namespace) -> Cohort:
    """Return what to do, everything about it checked."""
    from ..bids import check_derivatives
    from ..cluster.cohort.sizes import extent_of, planned_bytes
    from ..cluster.cohort.state import Cohort
    from ..cluster.cohort.summary import check_summary
    from ..cluster.model_key import key_of_model
    from ..model.bundle import find_model, read_metadata
    from ..run.request import check_model

    metadata = read_metadata(find_model(args.model))
    check_effects(args.parser, args, facts_of_model(args.model))
    scans = _scans(args, metadata.draws)
    for with_mr in {scan.request.mr is not None for scan in scans}:
        check_model(metadata, with_mr)
    check_folder(args.output)
    check_summary(args.output)
    if args.bids:
        check_derivatives(args.bids, args.output)
    sizes = [planned_bytes(extent_of(scan.request.pet), metadata, scan.settings) for scan in scans]
    return Cohort(args.output.absolute(), scans, key_of_model(args.model), sizes, args.send)


def _scans(args: argparse.Namespace, draws: bool) -> Sequence[Scan]:
    from ..cluster.cohort.scans import scans_of_bids, scans_of_table

    if (args.table is None) == (args.bids is None):
        raise InputError("Give either a table of scans, or a BIDS dataset with --bids.")
    if args.bids and (args.report or args.format or args.output_unit != SAME):
        raise InputError("With --bids the outputs are named by BIDS: leave out --report, --format, --output-unit.")
    unnamed = [name for name in args.maps if name not in ("difference", "uncertainty")]
    if args.bids and unnamed:
        raise InputError(
            f"With --bids the outputs are named by BIDS, which has no name for '{unnamed[0]}'; leave it out of --maps."
        )
    choices = _choices(args, draws)
    if args.bids:
        return scans_of_bids(args.bids, args.participant_label, choices)
    return scans_of_table(args.table, choices)


def _choices(args: argparse.Namespace, draws: bool) -> Choices:
    from ..cluster.cohort.scans import Choices

    return Choices(
        args.output,
        settings_from_args(args),
        tuple(args.maps),
        args.report,
        args.output_unit,
        args.format,
        args.overwrite,
        args.frames,
        draws,
    )


def _plan(args: argparse.Namespace, cohort: Cohort) -> Sequence:
    from dataclasses import replace

    from ..cluster.local import plan_workers, this_machine

    machine = this_machine(cohort.scans[0].settings.device)
    if args.memory:
        machine = replace(machine, memory=int(args.memory * GIB))
    return plan_workers(machine, cohort.sizes, args.workers)


def _what_is_left(state: State, output: Path) -> str:
    done = len(state.rows) - len(state.failed)
    return f"{done} of {state.total} scans are complete in '{output}'; the same command continues with the others."


def _end(state: State, cohort: Cohort, where: Where) -> None:
    """Report what failed, and write table and page."""
    from ..cluster.cohort.summary import write_summary

    # first, because the disk may be full
    for row in state.failed:
        print(f"Failed: {row.name}: {row.error}", file=sys.stderr)
    made = len(state.rows) - len(state.failed)
    print(f"{made} of {state.total} scans are denoised ({len(state.done_before)} before).", file=sys.stderr)
    rows = [state.rows[scan.name] for scan in cohort.scans if scan.name in state.rows]
    about = {"model": cohort.model.name, "on": where.scheduler or ("a queue" if where.queue else "this machine")}
    try:
        table, page = write_summary(rows, cohort.folder, about)
    except InputError as error:
        raise NotComplete(
            f"The table and the page of the cohort cannot be written to '{cohort.folder}': "
            f"{reason_of(error.__cause__ or error)}. The scans that are denoised are kept; free some space or allow "
            "writing there, and run the same command again."
        ) from error
    print(f"See {page}, {table}.", file=sys.stderr)
