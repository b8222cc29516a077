"""``csrd-denoise simulate``: write a subject with known truth."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Optional, Sequence

from ..atomic import read_json
from ..configuration import unknown_key
from ..errors import SOME_FAILED, CSRDError, InputError
from .arguments import check_folder, count, doses_of, number
from .interrupts import cancellable
from .options import SCHEDULER, Group, add_groups, option
from .simulate_like import add_like, run_like
from .spreading import spread_of

if TYPE_CHECKING:
    from ..research.simulation.make import SubjectJob
    from ..research.simulation.scanner import Scanner
    from ..research.simulation.subject import SimulationSettings

FACTS = "subject.json"
DOSES = ("1/4", "1/6", "1/8", "1/10")
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_KINDS: dict[type, str] = {bool: "true or false", int: "whole number", float: "number"}
HEADS: Group = (
    "subjects",
    (
        option(
            "--anatomy", type=Path, metavar="FOLDER", help="folder with ixi/ and synthseg/ anatomies; not with --like"
        ),
        option("--output", type=Path, required=True, metavar="FOLDER", help="results, one subfolder per subject"),
        option(
            "--subject",
            action="append",
            metavar="NAME",
            help="such as ixi/IXI012-HH-1211 (repeat for more; default: all)",
        ),
        option("--draws", type=count(1), default=1, metavar="N", help="subjects per anatomy (default: 1)"),
        option(
            "--split",
            type=Path,
            metavar="FILE",
            help="split.json of a training run: take the subjects of --part from it",
        ),
        option("--part", default="test", choices=("train", "validation", "test"), help="of --split (default: test)"),
        option("--tracer", choices=("fdg", "amyloid", "random", "tau", "dopamine"), help="default: drawn"),
        option(
            "--seed", type=count(0), default=0, help="of the first subject; the next has the next number (default: 0)"
        ),
        option("--resume", action="store_true", help="leave out subjects that are complete in --output"),
    ),
)
SCANS: Group = (
    "scans",
    (
        option("--doses", nargs="+", default=DOSES, metavar="1/N", help=f"dose fractions (default: {' '.join(DOSES)})"),
        option("--spacing", type=number(0.5, 10), metavar="MM", help="voxel side in mm (default: drawn)"),
        option(
            "--scanner",
            action="append",
            default=[],
            metavar="FACT=VALUE",
            help="fix a property of the scanner instead of drawing it, inside or outside the drawn range: "
            "resolution_mm, counts, background, iterations, post_filter_mm, ... (repeat for more)",
        ),
        option(
            "--families",
            choices=("training", "validation", "report"),
            help="draw scanners from the families of this part (research/simulation/families.json), not the usual "
            "ones; --spacing and --scanner replace properties of the drawn scanner",
        ),
        option("--noise-free", action="store_true", help="also reconstruct the expected counts"),
        option("--device", default="cpu", help="cpu or cuda (default: cpu)"),
    ),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command and its options."""
    parser.description = (
        "Simulate PET/MR subjects from real or label-map anatomies: T1, activity, full dose, low doses, "
        "labels, as NIfTI files with a subject.json. With --like: low doses of your own full-dose scans."
    )
    add_groups(parser, HEADS, SCANS)
    add_like(parser)
    add_groups(parser, SCHEDULER)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Simulate every chosen subject; an interrupt keeps those that are complete."""
    if args.like:
        _check_like(args)
        return run_like(args)
    from ..research.simulation.make import make_subject

    if args.anatomy is None:
        raise InputError("Choose what to simulate: heads with --anatomy, or low doses of your own scans with --like.")
    settings, planned = _settings(args), list(product(_subjects(args), range(args.draws)))
    check_folder(args.output)
    jobs = _jobs(args, planned, settings)
    done, failed = len(planned) - len(jobs), 0
    with cancellable(lambda: _what_is_left(done, len(planned), args.output)), spread_of(args) as spread:
        for job, line in spread(make_subject, jobs):
            if isinstance(line, CSRDError):
                failed += 1
                print(f"Failed: {job.name}: {line}", file=sys.stderr)
                continue
            done += 1
            print(line)
    return SOME_FAILED if failed else 0


def _check_like(args: argparse.Namespace) -> None:
    """Refuse options of simulated heads beside ``--like``, which would pass over them."""
    for names, how in (*HEADS[1], *SCANS[1], *SCHEDULER[1]):
        unused = names[0] not in ("--output", "--doses", "--seed")
        if unused and (getattr(args, names[0][2:].replace("-", "_")) or None) != (how.get("default") or None):
            raise InputError(f"The option {names[0]} is for simulated heads; leave it out with --like.")


def _jobs(
    args: argparse.Namespace, planned: Sequence[tuple[str, int]], settings: Callable[[int], SimulationSettings]
) -> list[SubjectJob]:
    """The planned subjects (name, number of the draw), without those that are complete if the run resumes."""
    from ..research.simulation.make import SubjectJob

    # a scheduler's workers have other working folders
    anatomy, output = (path.absolute() if args.scheduler else path for path in (args.anatomy, args.output))
    jobs = []
    for index, (name, draw) in enumerate(planned):
        seed = args.seed + index
        folder = output / (name.replace("/", "_") + (f"_{draw}" if args.draws > 1 else ""))
        if not (args.resume and _is_complete(folder, name, seed, settings(seed))):
            jobs.append(SubjectJob(anatomy, name, seed, settings(seed), args.device, folder))
    return jobs


def _what_is_left(done: int, planned: int, output: Path) -> str:
    if not done:
        return "Nothing was written."
    return f"{done} of {planned} subjects are complete in '{output}'; --resume simulates the others."


def _is_complete(folder: Path, name: str, seed: int, settings: SimulationSettings) -> bool:
    """Whether a folder holds this very subject.

    Raises:
        InputError: it holds another one.
    """
    if not (folder / FACTS).is_file():
        return False
    try:
        facts = read_json(folder / FACTS)
        found = {key: facts.get(key) for key in ("anatomy", "seed", "settings")}
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"'{folder / FACTS}' cannot be read: {error}.") from error
    plain = asdict(replace(settings, scanner=None))
    wanted = json.loads(json.dumps({"anatomy": name, "seed": seed, "settings": plain}))
    other_scanner = settings.scanner is not None and facts.get("scanner") != json.loads(
        json.dumps(asdict(settings.scanner))
    )
    if found != wanted or other_scanner:
        raise InputError(
            f"'{folder}' holds a subject of other settings; choose another --output, or leave out --resume."
        )
    return True


def _settings(args: argparse.Namespace) -> Callable[[int], SimulationSettings]:
    from ..research.simulation.subject import SimulationSettings, check_dose_names

    fractions, fixed = doses_of(args.doses), _scanner_facts(args)
    check_dose_names(fractions)
    doses = tuple(map(float, fractions))

    def draw(seed: int) -> SimulationSettings:
        families, scanner = args.families, None
        if args.spacing or fixed:
            families, scanner = _partly_drawn(args, fixed, seed)
        return SimulationSettings(
            doses=doses, tracer=args.tracer, scanner=scanner, noise_free=args.noise_free, families=families
        )

    return draw


def _partly_drawn(args: argparse.Namespace, fixed: dict[str, Any], seed: int) -> tuple[Optional[str], Scanner]:
    """The family that a scanner is drawn from, if any, and the scanner with its fixed facts in place of drawn ones."""
    import numpy as np

    from ..research.simulation.families import draw_from_families
    from ..research.simulation.scanner import draw_scanner

    rng = np.random.default_rng((seed, 1))
    if not args.families:
        return None, replace(draw_scanner(rng, args.spacing or 0.0), **fixed)
    family, scanner = draw_from_families(args.families, rng)
    spacing = {"spacing": args.spacing} if args.spacing else {}
    return f"{args.families}:{family}", replace(scanner, **{**spacing, **fixed})


def _scanner_facts(args: argparse.Namespace) -> dict[str, Any]:
    """The facts given by --scanner, each of the type it has; with any that are drawn they make a scanner."""
    from ..research.simulation.scanner import SUBSETS, Scanner

    usual = Scanner()
    kinds = {name: type(value) for name, value in asdict(usual).items()}
    facts: dict[str, Any] = {}
    for text in args.scanner:
        name, _, value = text.partition("=")
        if name not in kinds:
            raise InputError(unknown_key(name, list(kinds), f"The fact of a scanner in '--scanner {text}'"))
        try:
            facts[name] = _BOOLEANS[value.strip().lower()] if kinds[name] is bool else kinds[name](value)
        except (ValueError, KeyError) as error:
            raise InputError(f"'--scanner {text}' cannot be used: '{value}' is no {_KINDS[kinds[name]]}.") from error
    try:
        for subsets in SUBSETS:
            replace(usual, **{"subsets": subsets, **facts})
    except InputError as error:
        raise InputError(f"'--scanner {' '.join(args.scanner)}' cannot be used. {error}") from error
    return facts


def _subjects(args: argparse.Namespace) -> list[str]:
    from ..research.simulation.anatomy import list_anatomies

    known = list_anatomies(args.anatomy)
    if not known:
        raise InputError(f"'{args.anatomy}' has no anatomies: neither ixi/*_T1.nii.gz nor synthseg/*.nii.gz are there.")
    chosen = list(dict.fromkeys(args.subject or ())) or (_part_of(args.split, args.part) if args.split else known)
    missing = sorted(set(chosen) - set(known))
    if missing:
        raise InputError(f"'{args.anatomy}' has no subject {missing[0]}; it has {len(known)}, the first is {known[0]}.")
    return chosen


def _part_of(split: Path, part: str) -> list[str]:
    try:
        names = read_json(split)[part]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise InputError(f"The split '{split}' has no list of subjects for '{part}': {error}.") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(f"The part '{part}' of the split '{split}' must be a list of names.")
    return names
