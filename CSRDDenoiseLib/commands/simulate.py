"""``csrd-denoise simulate``: write a subject with known truth."""

from __future__ import annotations

import argparse
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

if TYPE_CHECKING:
    from ..research.simulation.subject import SimulationSettings


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "simulate",
        help="simulate a PET/MR subject",
        description="Simulate PET/MR subjects from real or label-map anatomies: T1, activity, full dose, low doses, "
        "labels, as NIfTI files with a subject.json.",
    )
    parser.add_argument("--anatomy", type=Path, required=True, help="folder with ixi/ and synthseg/ anatomies")
    parser.add_argument("--output", type=Path, required=True, help="folder to write into, one folder a subject")
    parser.add_argument(
        "--subject", action="append", help="name such as ixi/IXI012-HH-1211 (repeat for more; default: all)"
    )
    parser.add_argument("--draws", type=int, default=1, help="subjects to draw from every anatomy (default: 1)")
    parser.add_argument("--split", type=Path, help="split.json of a training run: take the subjects of --part from it")
    parser.add_argument("--part", default="test", choices=("train", "validation", "test"))
    parser.add_argument("--tracer", choices=("fdg", "amyloid", "random"), help="default: drawn")
    parser.add_argument("--doses", default="1/4,1/6,1/8,1/10", help="dose fractions (default: %(default)s)")
    parser.add_argument("--spacing", type=float, help="voxel side in mm (default: drawn)")
    parser.add_argument(
        "--scanner",
        action="append",
        default=[],
        metavar="FACT=VALUE",
        help="fix a fact of the scanner that is drawn otherwise, inside or outside of what is drawn: "
        "resolution_mm, counts, background, iterations, post_filter_mm ... (repeat for more)",
    )
    parser.add_argument("--noise-free", action="store_true", help="also reconstruct the expected counts")
    parser.add_argument("--seed", type=int, default=0, help="of the first subject; the next ones count on")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Simulate every chosen subject."""
    from ..research.simulation.anatomy import load_anatomy
    from ..research.simulation.subject import save_subject, simulate_subject

    settings = _settings(args)
    for number, (name, draw) in enumerate(product(_subjects(args), range(args.draws))):
        seed = args.seed + number
        subject = simulate_subject(load_anatomy(args.anatomy, name), settings(seed), seed, args.device)
        folder = args.output / (name.replace("/", "_") + (f"_{draw}" if args.draws > 1 else ""))
        save_subject(subject, folder)
        print(f"{name}: {subject.facts['tracer']}, {'x'.join(map(str, subject.activity.shape[::-1]))} -> {folder}")
    return 0


def _settings(args: argparse.Namespace) -> Callable[[int], SimulationSettings]:
    import numpy as np

    from ..errors import InputError
    from ..research.simulation.scanner import draw_scanner
    from ..research.simulation.subject import SimulationSettings

    try:
        doses = tuple(
            float(top) / float(bottom or 1) for top, _, bottom in (d.partition("/") for d in args.doses.split(","))
        )
    except (ValueError, ZeroDivisionError) as error:
        raise InputError(f"'{args.doses}' is no list of dose fractions such as 1/4,1/10.") from error
    if not all(0 < dose < 1 for dose in doses):
        raise InputError(f"The dose fractions {args.doses} must lie between 0 and 1.")
    fixed = _scanner_facts(args)

    def draw(seed: int) -> SimulationSettings:
        scanner = None
        if args.spacing or fixed:
            scanner = replace(draw_scanner(np.random.default_rng((seed, 1)), args.spacing or 0.0), **fixed)
        return SimulationSettings(doses=doses, tracer=args.tracer, scanner=scanner, noise_free=args.noise_free)

    return draw


def _scanner_facts(args: argparse.Namespace) -> dict[str, Any]:
    """The facts given by --scanner, each of the type it has."""
    from dataclasses import asdict

    from ..errors import InputError
    from ..research.simulation.scanner import Scanner

    kinds = {name: type(value) for name, value in asdict(Scanner()).items()}
    facts = {}
    for text in args.scanner:
        name, _, value = text.partition("=")
        try:
            facts[name] = kinds[name](float(value))
        except (KeyError, ValueError) as error:
            raise InputError(f"'{text}' is no fact of a scanner such as {', '.join(kinds)}.") from error
    return facts


def _subjects(args: argparse.Namespace) -> list[str]:
    import json

    from ..errors import InputError
    from ..research.simulation.anatomy import list_anatomies

    known = list_anatomies(args.anatomy)
    if not known:
        raise InputError(f"'{args.anatomy}' has no anatomies: neither ixi/*_T1.nii.gz nor synthseg/*.nii.gz are there.")
    chosen = args.subject or (json.loads(args.split.read_text(encoding="utf-8"))[args.part] if args.split else known)
    missing = sorted(set(chosen) - set(known))
    if missing:
        raise InputError(f"'{args.anatomy}' has no subject {missing[0]}; it has {len(known)}, the first is {known[0]}.")
    return chosen
