"""``csrd-denoise``: find the subcommand, run it, turn what went wrong into one sentence and an exit code."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import tempfile
import traceback
from typing import Optional, Sequence

from .. import __version__
from ..errors import NOTHING_WRITTEN, Cancelled, CSRDError, InputError, known_error
from ..extras import missing_package
from ..progress import print_json_line
from ..sentences import CLI, error_sentence
from .effects import check_effects, parser_in_use
from .interrupts import handle_interrupts
from .log import show_log
from .streams import lost_output, steady_streams

PROGRAM = "csrd-denoise"
COMMANDS = {
    "denoise": ("denoise", "denoise a PET with its MR"),
    "demo": ("demo", "denoise the bundled example and compare it with the full dose"),
    "inspect": ("inspect", "print geometry, frames, unit, SUV and head of a file, folder or series"),
    "info": ("info", "print versions, devices and models"),
    "cohort": ("cohort", "denoise many scans, on several processes or machines"),
    "worker": ("worker", "denoise scans that other machines send"),
    "pairs": ("pairs", "check a table of your own scans"),
    "validate": ("validate", "measure models on your own scans"),
    "adapt": ("adapt", "adapt a model to your own scans"),
    "train": ("train", "train a model on simulated subjects or your own pairs"),
    "calibrate": ("calibrate", "fit a model's uncertainty to its error"),
    "simulate": ("simulate", "simulate PET/MR subjects, or low doses of your own scans"),
    "evaluate": ("evaluate", "compare a model with filters on simulated subjects"),
    "experiment": ("experiment", "repeat an experiment of the documentation"),
    "readers": ("readers", "design a reader study, analyse it, compute its power"),
    "benchmark": ("benchmark", "time runs and measure their memory"),
    "import-model": ("import_model", "turn a snapshot of the paper's authors into a model folder"),
}
"""Command -> its module in this package, imported only when the command is used, and one line of help."""

DEBUG = "--debug"
INTERNAL_ERROR = 1
INTERRUPTED = "Cancelled. What was complete before stays."


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the program; return 0 done, 2 bad usage or input, 3 cancelled, 4 some failed, 1 internal error.

    It is 1 too where standard output or standard error, which has the warnings, could not be written.
    """
    # a backend for windows or notebooks may not be installed here, and matplotlib then refuses to be imported
    os.environ["MPLBACKEND"] = "agg"
    words = list(sys.argv[1:] if argv is None else argv)
    with steady_streams() as (output, errors), handle_interrupts() as interrupts, show_log():
        code = _run([word for word in words if word != DEBUG], DEBUG in words, interrupts)
        output.flush()
        lost = lost_output(output)
        if lost:
            print(f"{PROGRAM}: Standard output is incomplete: {lost}. The files are complete.", file=sys.stderr)
        errors.flush()
        return code or int(bool(lost or lost_output(errors)))


def _run(arguments: Sequence[str], debug: bool, interrupts: Sequence[int] = ()) -> int:
    args = argparse.Namespace()
    try:
        _check_words(arguments)
        parser = _parser(arguments)
        args = parser.parse_args(arguments)
        check_effects(parser_in_use(parser, args), args)
        _check_folder()
        return args.run(args)
    except KeyboardInterrupt:
        return _fail(Cancelled(NOTHING_WRITTEN), args)
    except ModuleNotFoundError as error:
        return _fail(missing_package(error.name or str(error)), args)
    except Exception as error:
        known = known_error(error)
        if known is None and interrupts:
            known = Cancelled(INTERRUPTED)
        return _fail_internally(error, args, debug) if known is None else _fail(known, args)


def _check_words(words: Sequence[str]) -> None:
    """Refuse an empty word, which as a path would be the current folder."""
    if "" in words:
        place = words.index("")
        after = f" after '{words[place - 1]}'" if place else ""
        raise InputError(f"Argument {place + 1}{after} is empty; a variable of the shell may not be set. Give a value.")


def _check_folder() -> None:
    """Refuse a current folder that was removed: libraries in C end the process there, and relative paths lead nowhere.

    Raises:
        InputError: it was.
    """
    try:
        os.getcwd()
    except OSError as error:
        raise InputError(
            f"The current folder cannot be used: {error.strerror}. Change to a folder that is there."
        ) from error


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="PET/MR denoising by volumetric conditional score-based residual diffusion. For research only.",
        epilog="Exit codes: 0 done, 1 internal error, 2 bad usage or bad input, 3 cancelled, 4 some of many failed.",
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    parser.add_argument(DEBUG, action="store_true", help="print the details of an internal error (with any command)")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, title="commands")
    chosen = next((word for word in arguments if word in COMMANDS), None)
    for name, (module, summary) in COMMANDS.items():
        # the Slicer extension leaves out what it does not need
        if importlib.util.find_spec(f".{module}", __package__) is None:
            continue
        command = subparsers.add_parser(name, help=summary)
        if name == chosen:
            importlib.import_module(f".{module}", __package__).add_arguments(command)
    return parser


def _fail(error: CSRDError, args: argparse.Namespace) -> int:
    return _report(error_sentence(error, CLI), error.exit_code, args)


def _fail_internally(error: Exception, args: argparse.Namespace, debug: bool) -> int:
    details = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    log = None if debug else _kept(details)
    if log is None:
        print(details, file=sys.stderr)
    where = "The details are above." if log is None else f"The details are in {log}."
    return _report(f"Internal error, {type(error).__name__}: {error}. {where}", INTERNAL_ERROR, args)


def _kept(details: str) -> Optional[str]:
    """Write the details to a file and return its path; None where the folder for temporary files takes none."""
    try:
        with tempfile.NamedTemporaryFile("wb", prefix=f"{PROGRAM}-", suffix=".log", delete=False) as log:
            log.write(details.encode("utf-8", "backslashreplace"))
    except OSError:
        return None
    return log.name


def _report(message: str, exit_code: int, args: argparse.Namespace) -> int:
    if getattr(args, "progress", None) == "json":
        print_json_line({"error": message, "exit_code": exit_code})
    print(f"{PROGRAM}: {message}", file=sys.stderr)
    return exit_code
