"""``csrd-denoise train``: fit a model to simulated subjects."""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "train",
        help="train a model on simulated subjects",
        description="Train a model as a YAML configuration says (see docs/training.md). A run goes on from its last "
        "checkpoint; the model is written to OUTPUT/model when it stops. Start several processes with torchrun.",
    )
    parser.add_argument("config", type=Path, help="YAML file with the fields of TrainingConfig")
    parser.add_argument("--minutes", type=float, help="stop after this long; the next call goes on")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--export-only", action="store_true", help="only write the model of the last checkpoint")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train, then write the model."""
    from ..errors import InputError
    from ..research.training.config import load_config
    from ..research.training.export import export_model
    from ..research.training.loop import TrainingRun

    config = load_config(args.config)
    if not args.export_only:
        run_ = TrainingRun(config, args.device, log=lambda line: print(json.dumps(line), flush=True))
        run_.run(args.minutes)
        if run_.rank:
            return 0
    try:
        metadata = export_model(config, config.output / "model")
    except FileNotFoundError as error:
        raise InputError(str(error)) from error
    print(f"Model '{metadata.name}' after {metadata.training['steps']} steps: {config.output / 'model'}")
    return 0
