"""``csrd-denoise benchmark``: seconds and memory of a run on this machine, beside the paper's setting."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, Optional

from ..errors import InputError
from ..extras import require
from ..io.write import all_or_nothing
from ..model.bundle import DEFAULT_MODEL, load_model
from ..research.benchmark.cohort import CohortConfig, cohort_table, run_against_single, run_overhead
from ..research.benchmark.dynamic import FramesConfig, frames_table, run_frames
from ..research.benchmark.keep import keep_table, run_keep
from ..research.benchmark.need import measure_cost, need_table
from ..research.benchmark.run import BenchmarkConfig, Size, failures, run_benchmark, spread_of_time_per_voxel, tables
from ..research.evaluation.markdown import to_markdown
from ..settings import PRESETS
from .arguments import check_file, count
from .options import Group, add_groups, option

DESCRIPTION = (
    "Time synthetic heads of several sizes, stage by stage, and one evaluation of the paper's setting (same weights, "
    "float32, contiguous, whole volume), which is multiplied by the 199 evaluations of Heun's method with 100 steps."
)
SIZES = ((96, 96, 96), (160, 160, 160), (256, 256, 208))


def _size(text: str) -> Size:
    """Turn ``96`` or ``256x256x208`` into sides along x, y, z."""
    sides = [count(8, 1024)(side) for side in text.split("x")]
    if len(sides) not in (1, 3):
        raise argparse.ArgumentTypeError(f"'{text}' is neither one number of voxels nor three, as in 256x256x208")
    x, y, z = sides * 3 if len(sides) == 1 else sides
    return x, y, z


RUNS: Group = (
    "runs",
    (
        option(
            "--size",
            nargs="+",
            type=_size,
            default=SIZES,
            metavar="N|XxYxZ",
            help="voxels; default: 96 160 256x256x208",
        ),
        option(
            "--preset", nargs="+", choices=PRESETS, default=["fast", "balanced"], help="runs; default: fast balanced"
        ),
        option("--model", default=DEFAULT_MODEL, metavar="NAME|FOLDER", help="model to measure; default: %(default)s"),
        option("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: %(default)s)"),
        option(
            "--quality",
            action="store_true",
            help="also measure the PSNR of each preset and of the paper's setting on the bundled example (minutes)",
        ),
        option("--output", type=Path, metavar="results.json", help="JSON file for the numbers"),
    ),
)
INSTEAD: Group = (
    "instead of these runs (one of)",
    (
        option(
            "--frames",
            type=count(2, 1000),
            metavar="N",
            help="time and memory of a dynamic study of N frames, as ratios to one of its frames, from files to files",
        ),
        option(
            "--cohort",
            nargs="+",
            type=count(1, 10_000),
            metavar="N",
            help="time of N small scans as a cohort of two workers, and as N single commands of one core",
        ),
        option(
            "--overhead",
            nargs="+",
            type=count(1, 100_000),
            metavar="N",
            help="cost of each scan in cohorts of N scans, with the smallest network",
        ),
        option(
            "--keep",
            nargs="+",
            type=_size,
            metavar="N|XxYxZ",
            help="time of another width of 'keep measured above' after a run, and of the plain filter",
        ),
        option(
            "--gpus-for",
            type=count(1, 10_000_000),
            metavar="N",
            help="estimate how many GPUs a cohort of N scans needs, from the cost model",
        ),
    ),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command and its options."""
    parser.description = DESCRIPTION
    add_groups(parser, RUNS, INSTEAD)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure, print the tables, write the numbers; 1 where a measurement failed."""
    given = [names[0] for names, _ in INSTEAD[1] if getattr(args, names[0][2:].replace("-", "_"))]
    given += ["--quality"] if args.quality else []
    if len(given) > 1:
        raise InputError(f"Give one of {' and '.join(given)}; each is measured by a call of its own.")
    if args.output:
        check_file(args.output)
    if args.frames:
        results = run_frames(FramesConfig(args.frames, args.size, args.preset, args.model, args.device))
        print(to_markdown(frames_table(results)))
        return _finish(results, args.output)
    if args.keep:
        results = run_keep(args.keep)
        print(to_markdown(keep_table(results)))
        return _finish(results, args.output)
    if args.gpus_for:
        model = load_model(args.model, "cpu")
        cost = measure_cost(model)
        table = need_table(model, cost, args.gpus_for, args.preset)
        print(to_markdown(table))
        return _finish({"cost": asdict(cost), "header": table.header, "rows": table.rows}, args.output)
    if args.cohort or args.overhead:
        require("distributed", "rich")
        config = CohortConfig(args.cohort or args.overhead, model=args.model)
        results = run_against_single(config) if args.cohort else run_overhead(config)
        print(to_markdown(cohort_table(results)))
        return _finish(results, args.output)
    results = run_benchmark(BenchmarkConfig(args.size, args.preset, args.model, args.device, args.quality))
    print("\n".join(to_markdown(table) for table in tables(results)))
    for preset in args.preset:
        spread = spread_of_time_per_voxel(results, preset)
        if spread is not None:
            print(f"{preset}: the time per voxel differs by {spread:.0%} between sizes.")
    return _finish(results, args.output)


def _finish(results: dict[str, Any], output: Optional[Path]) -> int:
    if output:
        with all_or_nothing([output]) as temporary:
            temporary[output].write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    failed = failures(results)
    for what in failed:
        print(f"Failed: {what}", file=sys.stderr)
    return int(bool(failed))
