"""``csrd-denoise experiment``: the experiments behind the claims of the documentation, on simulated scans."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping

from ..configuration import read_placed
from ..errors import InputError
from .arguments import number
from .interrupts import resumable, what_is_kept

MINUTES_EACH = 120.0
Outcome = tuple[list[str], Path]
DESCRIPTION = (
    "Run an experiment by a YAML configuration (configs/*.yaml, docs/evaluation.md) and write results.json into its "
    "output folder. The same command continues a stopped experiment."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command and its options."""
    parser.description = DESCRIPTION
    parser.add_argument(
        "name",
        choices=tuple(_EXPERIMENTS),
        help="adapt: what an adaptation to five pairs of a site gains; like: low doses made from full doses alone, "
        "against known ones; like-regression: learns the noise that those are made with; evidence: a model against its "
        "goals, on scanner families on which no choice was made; projector: the simulator against the projector of "
        "pytomography; other-simulator: a model on scans of a simulator that it was not trained with; scanners: "
        "trainings with a scanner family left out; head-to-head: networks trained for equal minutes; scaling: a "
        "training's quality against the voxels that it has seen",
    )
    parser.add_argument("config", type=Path, metavar="CONFIG.yaml", help="what to run")
    parser.add_argument(
        "--minutes",
        type=number(0, 1e7),
        help="evidence, scaling: start nothing new after this time (default: no limit); head-to-head: time of each "
        "training (default: 120)",
    )
    parser.add_argument(
        "--device",
        help="scanners, head-to-head, scaling: where to simulate, train and score (default: cpu)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run an experiment and print its table."""
    for option, names in _TAKEN_BY.items():
        if getattr(args, option) is not None and args.name not in names:
            raise InputError(f"The option --{option} is for {', '.join(names)}; leave it out with {args.name}.")
    lines, output = _EXPERIMENTS[args.name](args)
    print("\n".join(lines))
    print(f"Results: {output}")
    return 0


def _evidence(args: argparse.Namespace) -> Outcome:
    from ..extras import require
    from ..research.evidence.config import read_evidence_config
    from ..research.evidence.run import RESULTS, run_evidence

    require("skimage")
    config = read_evidence_config(args.config)
    with resumable(config.output):
        results, complete = run_evidence(config, args.minutes)
    lines = ["| measure | aim | measured | reached |", "|---|---|---|---|"]
    for goal in results["summary"]["goals"]:
        reached = "yes" if goal["reached"] else "no"
        lines.append(f"| {goal['what']} | {goal['aim']} | {goal['value']} | {reached} |")
    return lines if complete else [*lines, f"Not complete. {what_is_kept(config.output)}"], config.output / RESULTS


def _projector(args: argparse.Namespace) -> Outcome:
    from ..research.evidence.projector_check import RESULTS, ProjectorCheck, projector_page, run_projector_check

    config = read_placed(args.config, ProjectorCheck)
    return [projector_page(run_projector_check(config))], config.output / RESULTS


def _other_simulator(args: argparse.Namespace) -> Outcome:
    from ..research.evidence.carried_over import RESULTS, CarriedOver, carried_over_page, run_carried_over

    config = read_placed(args.config, CarriedOver)
    with resumable(config.output):
        return [carried_over_page(run_carried_over(config))], config.output / RESULTS


def _scanners(args: argparse.Namespace) -> Outcome:
    from ..research.evidence.left_out import RESULTS, LeftOut, left_out_page, run_left_out

    config = read_placed(args.config, LeftOut)
    with resumable(config.output):
        return [left_out_page(config, run_left_out(config, _device(args)))], config.output / RESULTS


def _head_to_head(args: argparse.Namespace) -> Outcome:
    from ..research.evidence.head_to_head import RESULTS, HeadToHead, head_to_head_page, run_head_to_head

    config, minutes = read_placed(args.config, HeadToHead), args.minutes
    minutes = MINUTES_EACH if minutes is None else minutes
    if not minutes:
        raise InputError("The option --minutes is 0; give each training some, such as 120.")
    with resumable(config.output):
        results = run_head_to_head(config, minutes, _device(args))
        return [head_to_head_page(config, results, minutes)], config.output / RESULTS


def _scaling(args: argparse.Namespace) -> Outcome:
    from ..research.evidence.scaling import RESULTS, Scaling, run_scaling, scaling_page

    config = read_placed(args.config, Scaling)
    with resumable(config.output):
        results, complete = run_scaling(config, args.minutes, _device(args))
    lines = [scaling_page(config, results)]
    return lines if complete else [*lines, f"Not complete. {what_is_kept(config.output)}"], config.output / RESULTS


def _adapt(args: argparse.Namespace) -> Outcome:
    from ..research.adaptation.experiment import RESULTS, Experiment, run_experiment

    config = read_placed(args.config, Experiment)
    config.output.mkdir(parents=True, exist_ok=True)
    with resumable(config.output):
        return list(_adapt_table(run_experiment(config))), config.output / RESULTS


def _like(args: argparse.Namespace) -> Outcome:
    from ..research.likeness.experiment import RESULTS, LikeExperiment, run_like_experiment

    config = read_placed(args.config, LikeExperiment)
    with resumable(config.output):
        return list(_like_table(run_like_experiment(config))), config.output / RESULTS


def _device(args: argparse.Namespace) -> str:
    """The device of that name; only an experiment that trains loads torch for it."""
    from ..devices import choose_device

    return str(choose_device(args.device or "cpu"))


def _like_regression(args: argparse.Namespace) -> Outcome:
    from ..research.likeness.examples import LikeRegression, run_like_regression

    config = read_placed(args.config, LikeRegression)
    with resumable(config.output):
        path = run_like_regression(config)
    return [f"To use it: copy it to CSRDDenoiseLib/research/likeness/{path.name}"], path


def _like_table(results: Mapping[str, Any]) -> Iterator[str]:
    yield "| site | learned from | noise made over known, by band | worst (%) | expected (%) | dose shown over known |"
    yield "|---|---|---|---|---|---|"
    for site, found in results.items():
        for way in ("full doses", "halves"):
            if way in found:
                each = found[way]
                ratios, shown = each["amplitude_ratio"], each["dose_over_known"]
                bands, doses = (", ".join(f"{value:.2f}" for value in values) for values in (ratios, shown))
                expected = f"{min(each['expected_error_percent']):.0f} to {max(each['expected_error_percent']):.0f}"
                expected += "" if each["supported"] else ", unlike all examples"
                yield f"| {site} | {way} | {bands} | {each['worst_percent']} | {expected} | {doses} |"


def _adapt_table(results: Mapping[str, Any]) -> Iterator[str]:
    yield "| site | model | estimate to noise-free (dB) | result (dB) | error (%) | gap closed | worse than start on |"
    yield "|---|---|---|---|---|---|---|"
    for site, found in results.items():
        for name, means in found["summary"]["means"].items():
            closed = found["summary"].get("closed", {}).get(name, {}).get("estimate_db")
            share = f"{closed['closed']} | {closed['worse']}" if closed else "|"
            scores = " | ".join(f"{means[score]:.2f}" for score in ("estimate_db", "result_db", "error_percent"))
            yield f"| {site} | {name} | {scores} | {share} |"


_TAKEN_BY = {
    "minutes": ("evidence", "head-to-head", "scaling"),
    "device": ("scanners", "head-to-head", "scaling"),
}
"""Option -> experiments that it is for; the others would pass over it."""

_EXPERIMENTS: Mapping[str, Callable[[argparse.Namespace], Outcome]] = {
    "adapt": _adapt,
    "like": _like,
    "like-regression": _like_regression,
    "evidence": _evidence,
    "projector": _projector,
    "other-simulator": _other_simulator,
    "scanners": _scanners,
    "head-to-head": _head_to_head,
    "scaling": _scaling,
}
