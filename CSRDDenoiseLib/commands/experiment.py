"""``csrd-denoise experiment``: the experiments behind the claims of docs/own-scans.md, on simulated sites."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Iterator, Mapping

from .interrupts import keeping

DESCRIPTION = (
    "Runs an experiment as a YAML configuration says (configs/experiment-*.yaml) and writes results.json into its "
    "output folder. What is done is kept, and the same command goes on."
)


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Register the command."""
    parser = subparsers.add_parser("experiment", help="run an experiment on simulated sites", description=DESCRIPTION)
    parser.add_argument(
        "name",
        choices=("adapt", "like"),
        help="adapt: what an adaptation to five pairs of a site gains; like: low doses made of full doses alone, "
        "against known ones",
    )
    parser.add_argument("config", type=Path, metavar="CONFIG.yaml", help="what to run")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run an experiment and print its table."""
    lines, output = (_adapt if args.name == "adapt" else _like)(args.config)
    print("\n".join(lines))
    print(f"Results: {output}")
    return 0


def _adapt(path: Path) -> tuple[list[str], Path]:
    from ..research.adaptation.experiment import RESULTS, read_experiment, run_experiment

    config = read_experiment(path)
    config.output.mkdir(parents=True, exist_ok=True)
    with keeping(lambda: _kept(config.output)):
        return list(_adapt_table(run_experiment(config))), config.output / RESULTS


def _like(path: Path) -> tuple[list[str], Path]:
    from ..research.likeness.experiment import RESULTS, read_like_experiment, run_like_experiment

    config = read_like_experiment(path)
    with keeping(lambda: _kept(config.output)):
        return list(_like_table(run_like_experiment(config))), config.output / RESULTS


def _kept(output: Path) -> str:
    return f"What is done is kept in '{output}'; the same command goes on from it."


def _like_table(results: Mapping[str, Any]) -> Iterator[str]:
    yield "| site | learned from | noise made over known, by band | worst (%) | dose shown over known |"
    yield "|---|---|---|---|---|"
    for site, found in results.items():
        for way in ("full doses", "halves"):
            if way in found:
                each = found[way]
                ratios, shown = each["amplitude_ratio"], each["dose_over_known"]
                bands, doses = (", ".join(f"{value:.2f}" for value in values) for values in (ratios, shown))
                yield f"| {site} | {way} | {bands} | {each['worst_percent']} | {doses} |"


def _adapt_table(results: Mapping[str, Any]) -> Iterator[str]:
    yield "| site | model | estimate to noise-free (dB) | result (dB) | error (%) | gap closed | worse than start on |"
    yield "|---|---|---|---|---|---|---|"
    for site, found in results.items():
        for name, means in found["summary"]["means"].items():
            closed = found["summary"].get("closed", {}).get(name, {}).get("estimate_db")
            share = f"{closed['closed']} | {closed['worse']}" if closed else "|"
            scores = " | ".join(f"{means[score]:.2f}" for score in ("estimate_db", "result_db", "error_percent"))
            yield f"| {site} | {name} | {scores} | {share} |"
