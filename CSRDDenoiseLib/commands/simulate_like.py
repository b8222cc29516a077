"""``csrd-denoise simulate --like``: low doses of your own full-dose scans, with the noise measured in them."""

from __future__ import annotations

import argparse
from pathlib import Path

from .arguments import check_folder, doses_of
from .interrupts import cancellable


def add_like(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    group = parser.add_argument_group("low doses of your own full-dose scans (docs/own-scans.md)")
    group.add_argument(
        "--like",
        type=Path,
        metavar="SCANS.tsv",
        help="table with the columns subject, full and optionally mr, half_1, half_2; writes the --doses of each scan, "
        "pairs.tsv and scanner.json into --output",
    )
    # no network separates noise from structure any more; scripts that name one still work
    group.add_argument("--model", help=argparse.SUPPRESS)


def run_like(args: argparse.Namespace) -> int:
    """Measure the noise, write the low doses, and print the noise and what full doses do not show."""
    from ..research.likeness.scans import FACTS, simulate_like
    from ..research.simulation.subject import check_dose_names
    from ..subjects.table import read_table

    doses = doses_of(args.doses)
    check_dose_names(doses)
    check_folder(args.output)
    rows = read_table(args.like, needs=("full",)).checked().rows
    with cancellable(lambda: "Nothing was written."):
        found = simulate_like(rows, args.output, doses, args.seed)
    noise, scanner = found.noise, found.facts["scanner"]
    fine = f"{noise.resolution_mm:.1f} mm by the MR (rough)" if noise.resolution_mm else "not known without an MR"
    errors = ", ".join(f"{100 * error:.0f}" for error in noise.errors)
    source = "two halves of the counts" if noise.from_halves else "similar simulated scans"
    print(f"{len(rows) * len(set(doses))} low doses and the table of pairs: {found.table}")
    print(f"Noise: from {source}, variance as activity^{noise.exponent:.2f}")
    print(f"Expected error of its amplitude, by band, coarse to fine: {errors} %")
    print(f"Resolution: {fine}")
    facts = ("resolution_mm", "counts", "iterations", "subsets", "model_resolution", "post_filter_mm")
    options = [
        f"--spacing {_plain(scanner['spacing'])}",
        *(f"--scanner {name}={_plain(scanner[name])}" for name in facts),
    ]
    print(f"Scanner: {' '.join(options)}")
    print(f"Not known from full doses alone: {'; '.join(found.facts['not_known'])}.")
    for warning in found.warnings:
        print(f"Warning: {warning}")
    print(f"Details: {args.output / FACTS}")
    return 0


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:.4g}" if isinstance(value, float) else str(value)
