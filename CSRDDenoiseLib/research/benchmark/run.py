"""The benchmark: every size and preset, beside the paper's setting in the same run, as tables and as JSON."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Iterator, Optional, Sequence

from ...devices import choose_device, processor_name
from ...infer.memory import GIB
from ...io.record import versions
from ...model.bundle import DEFAULT_MODEL, find_model, read_metadata
from ..evaluation.markdown import Table
from .process import measure

STAGES = ("align", "normalise", "sample", "restore")
PROBE_SIDE = 96
PAPER = "paper's setting"

Size = tuple[int, int, int]


@dataclass(frozen=True)
class BenchmarkConfig:
    """What is measured.

    Attributes:
        sizes: voxels of the PET along x, y, z, at the model's spacing.
        presets: names of presets.
        model: name of a bundled model, or a model folder.
        device: as in :class:`~CSRDDenoiseLib.settings.DenoiseSettings`.
        quality: also denoise the bundled example with each preset and in the paper's setting, which takes minutes.
    """

    sizes: Sequence[Size]
    presets: Sequence[str]
    model: str = DEFAULT_MODEL
    device: str = "auto"
    quality: bool = False


def run_benchmark(config: BenchmarkConfig) -> dict[str, Any]:
    """Measure, each case in a process of its own; return plain JSON types.

    The paper's setting is the same weights in float32 and contiguous tensors, the whole volume, Heun's method with 100
    steps. One of its 199 evaluations is timed and multiplied; the other stages take the time that ours took.
    """
    # a name that is wrong fails here, and not in each of the processes
    read_metadata(find_model(config.model))
    choose_device(config.device)
    probe = min((PROBE_SIDE,) * 3, min(config.sizes, key=min))
    machine = {"processor": processor_name(), "versions": versions()}
    results: dict[str, Any] = {"machine": machine, "model": config.model, "sizes": []}
    results["network"] = _measure(config, "network", size=probe)
    for size in config.sizes:
        runs = {preset: _measure(config, "run", size=size, preset=preset) for preset in config.presets}
        paper = _measure(config, "paper", size=size)
        results["sizes"].append({"size": list(size), "voxels": math.prod(size), "runs": runs, "paper": paper})
        _compare(runs, paper)
    if config.quality:
        results["quality"] = {
            preset or PAPER: _measure(config, "quality", preset=preset) for preset in (*config.presets, None)
        }
    return results


def failures(results: dict[str, Any]) -> list[str]:
    """What was not measured because it failed; what was left out for want of memory is no failure."""
    return list(_failures(results, ""))


def _failures(values: Any, path: str) -> Iterator[str]:
    if isinstance(values, list):
        values = dict(enumerate(values))
    if not isinstance(values, dict):
        return
    if values.get("failed"):
        yield f"{path.strip()}: {values['skipped']}"
    for name, each in values.items():
        yield from _failures(each, f"{path} {name}")


def tables(results: dict[str, Any]) -> list[Table]:
    """Return the results as tables of text."""
    parts = [_runs_table(results), _paper_table(results), _network_table(results["network"])]
    return [*parts, _quality_table(results["quality"])] if "quality" in results else parts


def spread_of_time_per_voxel(results: dict[str, Any], preset: str) -> Optional[float]:
    """Return by what share the largest time per voxel exceeds the smallest; None with fewer than two sizes.

    It is the processor's time, which what else the machine does cannot lengthen.
    """
    done = [(entry, entry["runs"][preset]) for entry in results["sizes"] if "seconds" in entry["runs"].get(preset, {})]
    per_voxel = [_per_voxel(entry, run) for entry, run in done]
    return max(per_voxel) / min(per_voxel) - 1 if len(per_voxel) > 1 else None


def _measure(config: BenchmarkConfig, kind: str, **request: Any) -> dict[str, Any]:
    return measure({"kind": kind, "model": config.model, "device": config.device, **request})


def _compare(runs: dict[str, dict[str, Any]], paper: dict[str, Any]) -> None:
    """Add to each run how many times faster than the paper's setting it is, and with what share of its memory."""
    for run in runs.values():
        if "skipped" in run or "skipped" in paper:
            continue
        for clock, once in (("seconds", "evaluation_seconds"), ("processor_seconds", "processor_seconds")):
            seconds = run[clock]["total"] - run[clock]["sample"] + paper["evaluations"] * paper[once]
            run[f"paper_{clock}"] = seconds
            run[f"times_faster_in_{clock}"] = seconds / run[clock]["total"]
        if paper["peak_bytes"] and run["peak_bytes"]["total"]:
            run["share_of_paper_memory"] = run["peak_bytes"]["total"] / paper["peak_bytes"]


def _runs_table(results: dict[str, Any]) -> Table:
    header = ("size", "preset", "device", "precision", "patches", *(f"{s} (s, GiB)" for s in STAGES))
    rows = []
    for entry in results["sizes"]:
        for preset, run in entry["runs"].items():
            if "skipped" in run:
                rows.append((_size_in_words(entry["size"]), preset, run["skipped"], *[""] * len(header)))
                continue
            seconds, peak = run["seconds"], run["peak_bytes"]
            stages = [f"{seconds[s]:.2f}, {_gib(peak.get(s))}" for s in STAGES]
            per_voxel = f"{1e6 * seconds['total'] / entry['voxels']:.2f}"
            patches = "whole" if run["patch_size"] is None else _size_in_words(run["patch_size"])
            total = f"{seconds['total']:.2f}, {_gib(peak['total'])}"
            where = (_size_in_words(entry["size"]), preset, run["device"], run["precision"], patches)
            rows.append((*where, *stages, total, per_voxel, f"{_per_voxel(entry, run):.2f}"))
    return Table(
        "Time and peak memory of a run, by stage",
        (*header, "total (s, GiB)", "µs per voxel", "of the processor"),
        tuple(map(tuple, rows)),
    )


def _paper_table(results: dict[str, Any]) -> Table:
    header = (
        *("size", "one evaluation (s)", "199 evaluations, multiplied (s)", "peak (GiB)", "preset"),
        *("times faster", "times less of the processor"),
    )
    rows = []
    for entry in results["sizes"]:
        paper, size = entry["paper"], _size_in_words(entry["size"])
        if "skipped" in paper:
            rows.append((size, f"not measured: {paper['skipped']}", *[""] * (len(header) - 2)))
            continue
        one = paper["evaluation_seconds"]
        measured = (size, f"{one:.2f}", f"{paper['evaluations'] * one:.0f}", _gib(paper["peak_bytes"]))
        for preset, run in entry["runs"].items():
            clocks = ("seconds", "processor_seconds")
            faster = (run.get(f"times_faster_in_{clock}") for clock in clocks)
            rows.append((*measured, preset, *("" if times is None else f"{times:.0f}" for times in faster)))
    caption = "The paper's setting: same weights, float32, contiguous, whole volume, Heun 100 steps"
    return Table(caption, header, tuple(rows))


def _network_table(probe: dict[str, Any]) -> Table:
    if "skipped" in probe:
        return Table("One evaluation", ("not measured",), ((probe["skipped"],),))
    rows = (
        ("one evaluation", f"{probe['evaluation_seconds']:.3f} s"),
        ("the condition, once a run", f"{probe['preparation_seconds']:.3f} s"),
        ("plain float32 contiguous evaluation", f"{probe['plain_seconds']:.3f} s ({probe['times_plain']:.2f} times)"),
        (
            "its convolutions alone",
            f"{probe['lone_convolutions_seconds']:.3f} s ({probe['share_of_lone_convolutions']:.0%} of the evaluation)",
        ),
        (
            "floor: operations",
            f"{probe['convolution_operations'] / 1e9:.0f} G at {probe['matrix_peak_per_second'] / 1e9:.0f} G/s, "
            f"{probe['floor_of_operations_seconds']:.3f} s ({probe['share_of_peak']:.0%} of the evaluation)",
        ),
        (
            "floor: bytes",
            f"{probe['convolution_bytes'] / 1e9:.2f} GB at {probe['copy_bytes_per_second'] / 1e9:.1f} GB/s, "
            f"{probe['floor_of_bytes_seconds']:.3f} s",
        ),
    )
    caption = f"One evaluation of the network on {probe['side']}^3 voxels, {probe['precision']}, "
    return Table(f"{caption}{probe['threads']} threads", ("what", "measured"), rows)


def _quality_table(runs: dict[str, dict[str, Any]]) -> Table:
    slowest = runs[PAPER].get("seconds")
    rows = [
        (name, run["skipped"], "", "", "")
        if "skipped" in run
        else (
            name,
            str(run["evaluations"]),
            f"{run['seconds']:.1f}",
            "" if slowest is None else f"{slowest / run['seconds']:.0f}",
            f"{run['psnr_db']:.2f} (input {run['psnr_of_input_db']:.2f})",
        )
        for name, run in runs.items()
    ]
    header = ("setting", "evaluations", "seconds", "times faster", "PSNR against the full dose (dB)")
    return Table("The bundled example, every evaluation run, n = 1", header, tuple(rows))


def _per_voxel(entry: dict[str, Any], run: dict[str, Any]) -> float:
    """Microseconds of the processor."""
    return 1e6 * run["processor_seconds"]["total"] / entry["voxels"]


def _gib(size: Optional[int]) -> str:
    return "?" if size is None else f"{size / GIB:.2f}"


def _size_in_words(size: Sequence[int]) -> str:
    return " x ".join(str(side) for side in size)
