"""``csrd-denoise evaluate``: how good a model is, against tuned filters, on simulated subjects it never saw."""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

from ..errors import InputError
from ..extras import require
from ..research.evaluation.experiments import EXPERIMENTS
from ..research.evaluation.kept import RESULTS
from ..research.evaluation.markdown import to_markdown
from ..research.evaluation.run import EvaluationConfig, read_config, run_evaluation
from .arguments import check_folder
from .interrupts import cancellable
from .options import SCHEDULER, add_groups
from .spreading import spread_of

DESCRIPTION = (
    "Run the experiments of a configuration (docs/evaluation.md); or, with --subjects, --model and --output, make the "
    "dose table of a model card. Writes results.json, tables (Markdown, CSV), figures and report.html."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command and its options."""
    parser.description = DESCRIPTION
    parser.add_argument("config", nargs="?", type=Path, metavar="CONFIG.yaml", help="what to run")
    parser.add_argument(
        "--subjects",
        nargs="+",
        type=Path,
        metavar="FOLDER",
        help="folders of simulated subjects, in place of a configuration",
    )
    parser.add_argument("--model", metavar="NAME|FOLDER", help="a bundled model or a model folder")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="where the results go")
    parser.add_argument(
        "--experiment",
        action="append",
        choices=EXPERIMENTS,
        help="run this one alone; results of others in the output folder are kept (repeat for more; default: all)",
    )
    parser.add_argument(
        "--device", help="auto, cpu, cuda, cuda:N or mps (default: that of the configuration, else auto)"
    )
    add_groups(parser, SCHEDULER)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Evaluate and print the tables."""
    require("skimage", "matplotlib")
    config = _config(args)
    if args.experiment:
        options = {name: config.experiments.get(name) for name in args.experiment}
        config = replace(config, experiments=options)
    if args.scheduler:
        config = replace(config, subjects=tuple(folder.absolute() for folder in config.subjects))
    check_folder(config.output)
    began = time.time()
    with cancellable(lambda: _what_is_left(config.output, began)), spread_of(args) as spread:
        sections = run_evaluation(config, spread)
    for section in sections:
        print("\n".join(to_markdown(table) for table in section.tables))
    return 0


def _what_is_left(output: Path, began: float) -> str:
    results = output / RESULTS
    if not results.is_file() or results.stat().st_mtime < began - 1:
        return "Nothing was written."
    return f"The results of the experiments that were complete are in '{output}'; --experiment runs the others."


def _config(args: argparse.Namespace) -> EvaluationConfig:
    by_hand = (args.subjects, args.model, args.output)
    if args.config and not any(by_hand):
        config = read_config(args.config)
        return config if args.device is None else replace(config, device=args.device)
    if args.config or not all(by_hand):
        raise InputError("Give either a configuration file, or --subjects, --model and --output together.")
    return EvaluationConfig(
        subjects=tuple(args.subjects), model=args.model, output=args.output, device=args.device or "auto"
    )
