"""``csrd-denoise train``: fit a model to simulated subjects, to your own pairs, or to both."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Sequence

from ..atomic import write_json
from ..errors import InputError
from .arguments import check_folder, number
from .interrupts import cancellable

if TYPE_CHECKING:
    from ..model.bundle import Model
    from ..research.training.config import TrainingConfig
    from ..research.training.pool import Pool
    from ..research.training.scoring import Row

PHANTOMS = 8
"""Phantoms that ``--score`` takes where none are named."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command and its options."""
    parser.description = (
        "Train a model by a YAML configuration. A run continues from its last "
        "checkpoint; the model is written to OUTPUT/model when it stops. Start several processes with torchrun."
    )
    parser.add_argument("config", type=Path, metavar="CONFIG.yaml", help="fields of TrainingConfig (docs/training.md)")
    parser.add_argument(
        "--minutes",
        type=number(0, 1e7),
        help="longest time of the call, the wait for the first phantoms included; the last validation and the model "
        "come after it; default: no limit",
    )
    parser.add_argument("--device", default="cpu", help="cpu, or cuda: under torchrun one GPU a process (default: cpu)")
    parser.add_argument("--export-only", action="store_true", help="only write the model of the last checkpoint")
    parser.add_argument(
        "--score",
        choices=("validation", "test"),
        help="do not train: score a model on phantoms of the scanner families of this part (test: those for the "
        "report) and write OUTPUT/scores-PART.json; validation also writes the rule for --keep-above to OUTPUT/model",
    )
    parser.add_argument("--model", metavar="NAME|FOLDER", help="with --score: the model; default: OUTPUT/model")
    parser.add_argument(
        "--phantoms",
        type=_phantoms,
        metavar="N|I,J,K",
        help="with --score: how many phantoms, or their numbers (default: 8)",
    )
    parser.add_argument(
        "--draws",
        type=_plan,
        metavar="STEPS:DRAWS[,...]",
        help="with --score: instead compare the spread of so many draws of so many steps with the error, on the "
        "processor; writes OUTPUT/draws-PART.json",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train, then write the model; an interrupt keeps the last checkpoint."""
    from ..devices import choose_device
    from ..research.adaptation.training_pairs import run_on, training_pairs
    from ..research.training.config import load_config
    from ..research.training.export import export_model
    from ..research.training.loop import device_of_process
    from ..research.training.readiness import check_network, check_values

    config = load_config(args.config)
    check_values(config)
    check_folder(config.output)
    if args.score:
        return _score(config, args)
    if not args.export_only:
        # before the pairs are prepared
        check_network(config)
    pairs = training_pairs(config) if config.pairs is not None else None
    if not args.export_only:
        with cancellable(lambda: _what_is_left(config.output)):
            run_ = run_on(config, str(choose_device(device_of_process(args.device, os.environ))), pairs)
            run_.run(args.minutes)
        if run_.rank:
            return 0
    try:
        metadata = export_model(config, config.output / "model", pairs=pairs.facts if pairs else None)
    except FileNotFoundError as error:
        raise InputError(str(error)) from error
    print(f"Model '{metadata.name}' after {metadata.training['steps']} steps: {config.output / 'model'}")
    return 0


def _score(config: TrainingConfig, args: argparse.Namespace) -> int:
    """Score a model and write the scores; on validation the run's own model takes the rule for what to keep."""
    from ..devices import choose_device
    from ..model.bundle import load_model, set_keep
    from ..research.training.pool import pool_of
    from ..research.training.readiness import claim_scored
    from ..research.training.scoring import keep_rule, score_pool, summarise, write_rows
    from ..research.training.split import load_split

    if not config.simulates:
        raise InputError("Scores are of simulated phantoms, and this run has none; use 'csrd-denoise validate'.")
    folder = args.model or str(config.output / "model")
    # draws are scored on the processor
    model = load_model(folder, "cpu" if args.draws else args.device)
    pool = pool_of(config, args.score, load_split(config.split_file)[args.score])
    claim_scored(pool)
    config.output.mkdir(parents=True, exist_ok=True)
    phantoms = args.phantoms or range(PHANTOMS)
    if args.draws:
        return _score_draws(config, args, model, [(pool, phantom) for phantom in phantoms])
    rows: list[Row] = []
    for phantom in phantoms:
        pool.simulate(phantom, str(choose_device(args.device)))
        rows += score_pool(model, pool, [phantom])
        print(json.dumps(summarise(rows[-len(pool.doses_of(phantom)) :], model.metadata.keep)), flush=True)
    rule = keep_rule(rows) if args.score == "validation" else model.metadata.keep
    path = config.output / f"scores-{args.score}.json"
    write_rows(rows, rule, path)
    print(f"Scores of {len(rows)} scans: {path}")
    if args.score == "validation":
        own = config.output / "model"
        if model.folder.resolve() == own.resolve():
            set_keep(own, rule)
        else:
            print(f"The rule for --keep-above is in that file alone; only '{own}' takes it, and this is '{folder}'.")
    return 0


def _score_draws(
    config: TrainingConfig, args: argparse.Namespace, model: Model, scans: Sequence[tuple[Pool, int]]
) -> int:
    from ..research.training.draws import score_draws

    if model.deviation is None:
        raise InputError(f"The model '{model.metadata.name}' has no network that draws a deviation.")
    rows = []
    for pool, phantom in scans:
        pool.simulate(phantom)
        for row in score_draws(model, pool, [phantom], args.draws):
            rows.append(row.as_dict())
            print(json.dumps(rows[-1]), flush=True)
    path = config.output / f"draws-{args.score}.json"
    write_json(path, {"rows": rows}, indent=1)
    print(f"Agreement of spread and error of {len(rows)} runs: {path}")
    return 0


def _phantoms(text: str) -> Sequence[int]:
    """Parse ``N`` or ``I,J,K``; one that is named twice would count twice in the rule."""
    if not all(map(_is_number, text.split(","))):
        raise argparse.ArgumentTypeError(f"'{text}' is neither a number of phantoms nor numbers such as 0,3,5")
    found = [int(part) for part in text.split(",")] if "," in text else range(int(text))
    if not found or len(set(found)) < len(found):
        raise argparse.ArgumentTypeError(f"'{text}' names no phantom, or one twice")
    return found


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _plan(text: str) -> dict[int, int]:
    """Parse ``STEPS:DRAWS[,...]``."""
    pairs = [part.split(":") for part in text.split(",")]
    if not all(len(pair) == 2 and all(_is_number(each) and int(each) > 0 for each in pair) for pair in pairs):
        raise argparse.ArgumentTypeError(f"'{text}' is not STEPS:DRAWS[,...], as in 3:2,8:2")
    return {int(steps): int(draws) for steps, draws in pairs}


def _what_is_left(output: Path) -> str:
    from ..research.training.checkpoint import load_checkpoint

    saved = load_checkpoint(output)
    if saved is None:
        return f"There is no checkpoint yet; simulated subjects are kept in '{output}' and are used by the next call."
    return f"The checkpoint of step {saved['state']['step']} is kept in '{output}'; the same command continues from it."
