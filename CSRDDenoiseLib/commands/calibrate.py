"""``csrd-denoise calibrate``: learn what error to expect from a model's spread, and store it with the model."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from ..errors import InputError
from ..settings import DEFAULT_PRESET, PRESETS, settings_from_preset
from .arguments import check_folder, doses

DESCRIPTION = (
    "Run a model on simulated subjects that it was not trained on, compare the spread of its samples with its error, "
    "and store the table in the model's metadata: from then on the uncertainty is the error to expect. The error is "
    "against what the model estimates: the noise-free image (subjects simulated with --noise-free) or the full dose. "
    "Every subject takes one run of the model for each dose."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command and its options."""
    parser.description = DESCRIPTION
    parser.add_argument("model", type=Path, metavar="FOLDER", help="the model; its metadata.json is changed")
    parser.add_argument("--subjects", nargs="+", type=Path, required=True, metavar="FOLDER", help="simulated subjects")
    parser.add_argument("--doses", nargs="+", type=doses, metavar="1/N", help="default: all that each subject has")
    presets = [name for name, each in PRESETS.items() if each.has_uncertainty]
    parser.add_argument("--preset", choices=presets, help="whose uncertainty is calibrated (default: %(default)s)")
    parser.add_argument("--device", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    parser.add_argument("--dry-run", action="store_true", help="print the numbers without changing the model")
    parser.set_defaults(run=run, preset=DEFAULT_PRESET)


def run(args: argparse.Namespace) -> int:
    """Calibrate, print the numbers of heads left out of the fit, and store the table."""
    from ..model.bundle import add_recipe, load_model
    from ..research.evaluation.calibrate import calibrate_model, describe_scores
    from ..research.evaluation.study import check_doses
    from ..restore.uncertainty import uncalibrated

    try:
        from scipy.optimize import isotonic_regression  # noqa: F401
    except ImportError as error:
        raise InputError("The calibration needs SciPy 1.12 or later: pip install 'csrd-denoise[evaluate]'.") from error
    settings = settings_from_preset(args.preset, device=args.device)
    wanted = [each for some in args.doses or () for each in some]
    check_doses(args.subjects, wanted)
    model = load_model(args.model, settings.device)
    if not model.metadata.draws:
        raise InputError(f"The model '{model.metadata.name}' draws no samples, so it has no uncertainty to calibrate.")
    if not args.dry_run:
        check_folder(model.folder)
    model = replace(model, metadata=uncalibrated(model.metadata))
    table, scores = calibrate_model(model, args.subjects, wanted or None, settings)
    print(describe_scores(scores))
    if not args.dry_run:
        add_recipe(model.folder, settings.recipe, table)
        print(f"Stored in {model.folder}.")
    return 0
