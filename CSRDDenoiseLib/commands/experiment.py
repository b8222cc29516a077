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
    parser.add_argument("name", choices=("adapt",), help="adapt: what an adaptation to five pairs of a site gains")
    parser.add_argument("config", type=Path, metavar="CONFIG.yaml", help="what to run")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run an experiment and print its table."""
    from ..research.adaptation.experiment import RESULTS, read_experiment, run_experiment

    config = read_experiment(args.config)
    config.output.mkdir(parents=True, exist_ok=True)
    with keeping(lambda: f"What is done is kept in '{config.output}'; the same command goes on from it."):
        results = run_experiment(config)
    print("\n".join(_adapt_table(results)))
    print(f"Results: {config.output / RESULTS}")
    return 0


def _adapt_table(results: Mapping[str, Any]) -> Iterator[str]:
    yield "| site | model | estimate to noise-free (dB) | result (dB) | error (%) | gap closed | worse than start on |"
    yield "|---|---|---|---|---|---|---|"
    for site, found in results.items():
        for name, means in found["summary"]["means"].items():
            closed = found["summary"].get("closed", {}).get(name, {}).get("estimate_db")
            share = f"{closed['closed']} | {closed['worse']}" if closed else "|"
            scores = " | ".join(f"{means[score]:.2f}" for score in ("estimate_db", "result_db", "error_percent"))
            yield f"| {site} | {name} | {scores} | {share} |"
