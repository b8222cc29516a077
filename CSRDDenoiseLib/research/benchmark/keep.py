"""The slider "keep measured above": what a new width costs, beside the plain filter of the whole volume."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Mapping, Sequence

import numpy as np
import SimpleITK as sitk

from ...report.summary import head_and_mean
from ...restore.canvas import keep_above
from ...run.recombine import Quick
from ...worker.finished_run import FinishedRun
from ...worker.messages import KeepMessage
from ..evaluation.markdown import Table
from .head import synthetic_head
from .process import measure

WIDTHS_MM = (4.0, 8.0, 20.0)


def run_keep(sizes: Sequence[Sequence[int]]) -> dict[str, Any]:
    """Measure each size in a process of its own; return plain JSON types."""
    return {"kind": "keep measured above", "runs": [measure({"kind": "keep", "size": list(size)}) for size in sizes]}


def keep_case(request: Mapping[str, Any]) -> dict[str, Any]:
    """Time the slider on a head of voxels of 1 mm: the preparation after a run, and the answer to each width.

    Two processes take part: the worker computes the part that changes and writes it; Slicer reads it and puts it into
    its volumes, which is all that its user waits for without being able to do something else.
    """
    pet, _mr = synthetic_head(request["size"], 1.0)
    brain_mean = head_and_mean(pet)[1]
    bare = sitk.Median(pet, [1] * 3)
    began = time.perf_counter()
    run = FinishedRun("case", None, Quick(pet, bare))
    prepared = time.perf_counter() - began
    shown = {name: sitk.GetArrayFromImage(pet) for name in ("output", "difference")}
    top = float(np.quantile(shown["output"], 0.999))
    widths = []
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: Path(folder, f"{name}.nrrd") for name in shown}
        for width in WIDTHS_MM:
            message = KeepMessage(paths["output"], paths["difference"], keep_above_mm=width, exact=False)
            worker, answer = _timed(run.quick, message)
            box = tuple(slice(*ends) for ends in answer["box"])
            slicer, _ = _timed(_show, shown, paths, box)
            plain, wanted = _timed(keep_above, pet, bare, width, brain_mean)
            off = np.sqrt(np.mean(np.square(shown["output"] - sitk.GetArrayViewFromImage(wanted))[box])) / top
            widths.append({"mm": width, "worker": worker, "slicer": slicer, "plain": plain, "off": float(off)})
    return {"size": list(request["size"]), "box": answer["box"], "prepare_seconds": prepared, "widths": widths}


def keep_table(results: Mapping[str, Any]) -> Table:
    """Return the results as a table of text."""
    header = (
        *("voxels", "width (mm)", "until it is shown (s)", "of it in Slicer (s)", "processor (s)"),
        *("processor, plain filter (s)", "times less", "off by (root mean square, % of the brightest)"),
    )
    rows = []
    for run in results["runs"]:
        for each in run.get("widths", ()):
            mine = [sum(each[who][clock] for who in ("worker", "slicer")) for clock in ("seconds", "processor")]
            plain = each["plain"]["processor"]
            numbers = [*mine[:1], each["slicer"]["seconds"], mine[1], plain]
            texts = [f"{number:.2f}" for number in numbers]
            size = " x ".join(str(side) for side in run["size"])
            rows.append((size, f"{each['mm']:g}", *texts, f"{plain / mine[1]:.0f}", f"{100 * each['off']:.2f}"))
    return Table("Another width of 'keep measured above'", header, tuple(rows))


def _show(shown: Mapping[str, np.ndarray], paths: Mapping[str, Path], box: tuple[slice, ...]) -> None:
    for name, path in paths.items():
        shown[name][box] = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def _timed(call: Callable[..., Any], *arguments: Any) -> tuple[dict[str, float], Any]:
    """Return the seconds of the clock and of the processor, and the answer."""
    began, busy = time.perf_counter(), time.process_time()
    answer = call(*arguments)
    return {"seconds": time.perf_counter() - began, "processor": time.process_time() - busy}, answer
