"""``csrd-denoise readers``: a blinded study for readers: design it, analyse its answers, plan its size."""

from __future__ import annotations

import argparse
import secrets
from pathlib import Path

from ..readers.scales import RATINGS, scales_of
from ..readers.study import KINDS, PAGE_FILE, RATING, read_study
from .arguments import count, number

DESCRIPTION = "Make a blinded reader study, analyse what readers answered, and compute the power of a planned study."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command and its own subcommands."""
    parser.description = DESCRIPTION
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, title="actions")
    _add_design(actions)
    _add_page(actions)
    _add_analyse(actions)
    _add_power(actions)


def _add_design(actions: argparse._SubParsersAction) -> None:
    parser = actions.add_parser(
        "design",
        help="make a blinded study folder and its key",
        description="Make a blinded study folder and its key. Each row of TABLE.tsv is a case: its name in column "
        "'case', one column a method with an image, optionally 'mr', 'lesion' (0 or 1), 'training' (0 or 1), 'point' "
        "(x,y,z in mm, L-P-S).",
    )
    parser.add_argument("table", type=Path, metavar="TABLE.tsv", help="cases and their images")
    parser.add_argument("--output", type=Path, required=True, metavar="STUDY", help="folder to give to the readers")
    parser.add_argument("--key", type=Path, metavar="FILE", help="where the key goes (default: STUDY-key.json)")
    parser.add_argument("--kind", choices=KINDS, default=RATING, help="pairs or ratings (default: %(default)s)")
    parser.add_argument("--methods", nargs="+", default=(), metavar="COLUMN", help="columns to compare (default: all)")
    scales = f"of ratings: {', '.join(RATINGS)} (default: all but lesion)"
    parser.add_argument("--scales", nargs="+", default=(), metavar="SCALE", help=scales)
    parser.add_argument("--question", default="", help="of pairs, for instance: Which image shows the lesion better?")
    parser.add_argument("--ties", action="store_true", help="allow 'no difference' for pairs")
    title = "what readers see; name no method in it (default: %(default)s)"
    parser.add_argument("--title", default="Reader study", help=title)
    parser.add_argument("--readers", type=int, default=3, metavar="N", help="number of readers (default: %(default)s)")
    drawn = "training cases to draw, beside those that the table marks (default: 2 if it marks none, else 0)"
    parser.add_argument("--training", type=int, metavar="N", help=drawn)
    parser.add_argument(
        "--repeats", type=float, default=0.2, metavar="SHARE", help="of trials shown twice (default: %(default)s)"
    )
    parser.add_argument("--blocks", type=int, default=0, metavar="N", help="blocks (default: ways to show a case)")
    parser.add_argument(
        "--washout-days", type=float, default=14, metavar="DAYS", help="pause between blocks (default: %(default)s)"
    )
    parser.add_argument("--seed", type=count(0), help="of the order, sides and names (default: drawn, kept in the key)")
    parser.set_defaults(run=run_design)


def _add_page(actions: argparse._SubParsersAction) -> None:
    parser = actions.add_parser(
        "page",
        help="write the page for readers without Slicer into a study",
        description="Write reader.html into the study folder: one file that works offline. It holds the images if "
        "they take at most 150 MiB; else readers choose the study folder when they open it.",
    )
    images = "where images come from; auto: the page if they fit, else the folder (default: %(default)s)"
    parser.add_argument("study", type=Path, metavar="STUDY", help="a study folder")
    parser.add_argument("--viewer", type=Path, metavar="TGZ", help="NiiVue as npm packs it (default: installed one)")
    parser.add_argument("--images", choices=("auto", "inside", "folder"), default="auto", help=images)
    parser.set_defaults(run=run_page)


def _add_analyse(actions: argparse._SubParsersAction) -> None:
    parser = actions.add_parser(
        "analyse",
        help="analyse the answers of a study",
        description="Compare the methods by the answers of all readers; write report.html, tables and figures.",
    )
    parser.add_argument("study", type=Path, metavar="STUDY", help="the study folder")
    parser.add_argument("answers", type=Path, nargs="+", metavar="ANSWERS", help="answers files, one a reader")
    parser.add_argument("--key", type=Path, metavar="FILE", help="the key (default: STUDY-key.json)")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="where report and tables go")
    parser.add_argument(
        "--margin", type=float, default=0.05, help="of non-inferiority in ROC area (default: %(default)s)"
    )
    parser.add_argument("--reference", metavar="METHOD", help="to compare with (default: the first method)")
    parser.set_defaults(run=run_analyse)


def _add_power(actions: argparse._SubParsersAction) -> None:
    parser = actions.add_parser(
        "power",
        help="power of a planned study, by simulation",
        description="Simulate studies and print the share that finds the effect, and the cases that are needed.",
    )
    parser.add_argument(
        "--endpoint",
        choices=("preference", "roc", "noninferiority"),
        default="preference",
        help="what the study is to show (default: %(default)s)",
    )
    parser.add_argument(
        "--cases", type=int, nargs="+", default=(20, 40, 80), metavar="N", help="numbers of cases (default: 20 40 80)"
    )
    parser.add_argument(
        "--readers", type=int, nargs="+", default=(3, 5), metavar="N", help="numbers of readers (default: 3 5)"
    )
    parser.add_argument("--preference", type=float, default=0.65, help="share that prefers one (default: %(default)s)")
    parser.add_argument("--area", type=float, default=0.85, help="ROC area of the reference (default: %(default)s)")
    parser.add_argument("--difference", type=float, default=0.0, help="in ROC area (default: %(default)s)")
    parser.add_argument("--margin", type=float, default=0.05, help="of non-inferiority, in area (default: %(default)s)")
    parser.add_argument(
        "--reader-variance",
        type=float,
        default=0.011,
        help="of ratings; 0.0055 is low, 0.03 high in Roe and Metz 1997 (default: %(default)s)",
    )
    parser.add_argument("--simulations", type=int, default=400, metavar="N", help="studies (default: %(default)s)")
    parser.add_argument("--target", type=number(0, 1), default=0.8, help="power to reach (default: %(default)s)")
    parser.add_argument("--seed", type=count(0), default=0, help="of the simulation (default: %(default)s)")
    parser.set_defaults(run=run_power)


def run_design(args: argparse.Namespace) -> int:
    """Make a study and print its path."""
    from ..readers.design import DesignOptions, design
    from ..readers.key import key_path_of
    from ..readers.plan import PlanOptions
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


def run_page(args: argparse.Namespace) -> int:
    """Write the page of a study."""
    from ..readers.page import write_page

    embed = {"auto": None, "inside": True, "folder": False}[args.images]
    inside = write_page(args.study, args.viewer, embed)
    how = "It holds the images." if inside else "Readers choose the study folder when they open it."
    print(f"Wrote {args.study / PAGE_FILE}. {how}")
    return 0


def run_analyse(args: argparse.Namespace) -> int:
    """Analyse a study and print what it shows."""
    from ..extras import require
    from ..readers.analysis.analyse import Options, analyse
    from ..readers.analysis.join import check_key
    from ..readers.answers import read_answers
    from ..readers.key import key_path_of, read_key
    from ..readers.report.words import findings, limits
    from ..readers.report.write import write_report

    require("matplotlib")
    study = read_study(args.study)
    key = read_key(args.key or key_path_of(args.study))
    check_key(args.study, study, key)
    answers = [read_answers(path, study) for path in args.answers]
    result = analyse(study, key, answers, Options(args.reference, args.margin))
    page = write_report(result, key, args.output)
    print("\n".join(findings(result)))
    print("\n".join(["", *limits(result), "", f"Report: {page}"]))
    return 0


def run_power(args: argparse.Namespace) -> int:
    """Print the power of planned studies, a row a number of readers, a column a number of cases."""
    from ..readers.power import Components, Plan, least_cases, power_table

    plan = Plan(
        args.endpoint,
        args.preference,
        args.area,
        args.difference,
        args.margin,
        args.simulations,
        args.seed,
        Components(reader=args.reader_variance),
    )
    table = power_table(plan, args.readers, args.cases)
    cases = sorted({each.cases for each in table})
    print("\t".join(["readers", *(f"{count} cases" for count in cases)]))
    for readers in sorted({each.readers for each in table}):
        cells = [f"{100 * each.power:.0f} % (+-{196 * each.se:.0f})" for each in table if each.readers == readers]
        print("\t".join([str(readers), *cells]))
        least = least_cases(table, readers, args.target)
        needed = f"{least} cases reach" if least else "no number of cases above reaches"
        print(f"  {readers} reader(s): {needed} a power of {100 * args.target:.0f} %.")
    return 0
