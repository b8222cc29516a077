"""Cohorts: how much faster than single commands, and what one scan costs as the cohort grows."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Mapping, Optional, Sequence

import SimpleITK as sitk

from ...cluster.local import THREAD_VARIABLES
from ...errors import InputError
from ...model.bundle import DEFAULT_MODEL, ModelMetadata, build_network, save_model
from ..evaluation.markdown import Table
from .head import synthetic_head
from .process import peak_since

SPACING_MM = 2.0
SMALL = (48, 56, 48)
"""Voxels of a small scan."""
LEAST = (20, 22, 20)
"""Voxels of a scan that takes as little time as can be, so that the cohort's own cost shows."""
_NETWORK = {"type": "ResidualUNet3d", "widths": [8, 8], "blocks": [1, 1], "embedding": 16}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CohortConfig:
    """What is measured.

    Attributes:
        counts: numbers of scans.
        workers: of the cohort, with a core each.
        model: name of a bundled model, or a model folder.
        preset: of the runs.
        device: as in :class:`~CSRDDenoiseLib.settings.DenoiseSettings`.
    """

    counts: Sequence[int]
    workers: int = 2
    model: str = DEFAULT_MODEL
    preset: str = "fast"
    device: str = "cpu"


def run_against_single(config: CohortConfig) -> dict[str, Any]:
    """Denoise small scans by single commands of one core, one after another, and as a cohort; return plain types."""
    results: dict[str, Any] = {"kind": "cohort against single commands", "workers": config.workers, "runs": []}
    for count in config.counts:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            table = write_scans(folder, count, SMALL)
            load = os.getloadavg() if hasattr(os, "getloadavg") else None
            single = _single_commands(folder, count, config)
            logger.info("%d single commands: %.1f s", count, single)
            cohort = _cohort(table, folder / "cohort", config, config.model)
            logger.info("The same as a cohort: %.1f s", cohort["seconds"])
            ratio = single / cohort["seconds"]
            results["runs"].append({"scans": count, "single_seconds": single, "ratio": ratio, "load": load, **cohort})
    return results


def run_overhead(config: CohortConfig) -> dict[str, Any]:
    """Run cohorts of several sizes with an untrained network of least size; return plain JSON types."""
    results: dict[str, Any] = {"kind": "cost of a scan by the cohort's size", "workers": config.workers, "runs": []}
    for count in config.counts:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            table, model = write_scans(folder, count, LEAST, with_mr=False), untrained_model(folder / "untrained")
            load = os.getloadavg() if hasattr(os, "getloadavg") else None
            cohort = _cohort(table, folder / "cohort", config, str(model), "--maps")
            logger.info("%d scans: %.1f s", count, cohort["seconds"])
            results["runs"].append({"scans": count, "load": load, **cohort})
    return results


def cohort_table(results: Mapping[str, Any]) -> Table:
    """Return the results as a table of text."""
    header = (
        *("scans", "single commands (s)", "cohort (s)", "times faster", "until the first result (s)"),
        *("ms a scan after that", "processor (s)", "processor ms per further scan, against the row above"),
        *("peak memory of client and scheduler (MiB)", "load before"),
    )
    rows = []
    for run, more in zip(results["runs"], more_a_scan(results)):
        shown = (
            f"{run['scans']}",
            f"{run['single_seconds']:.1f}" if "single_seconds" in run else "",
            f"{run['seconds']:.1f}",
            f"{run['ratio']:.2f}" if "ratio" in run else "",
            f"{run['first_seconds']:.1f}",
            f"{run['milliseconds_a_scan']:.0f}",
            f"{run['processor_seconds']:.1f}",
            "" if more is None else f"{1000 * more:.0f}",
            f"{run['peak_bytes'] / 2**20:.0f}" if run["peak_bytes"] else "?",
            f"{run['load'][0]:.1f}" if run["load"] else "?",
        )
        rows.append(shown)
    title = f"{str(results['kind']).capitalize()}, {results['workers']} workers of one core"
    return Table(title, header, tuple(rows))


def more_a_scan(results: Mapping[str, Any]) -> list[Optional[float]]:
    """Return the processor's seconds of each scan that a run has more than the one before; None for the first."""
    runs = results["runs"]
    found: list[Optional[float]] = [None]
    for before, run in zip(runs, runs[1:]):
        scans = run["scans"] - before["scans"]
        found.append((run["processor_seconds"] - before["processor_seconds"]) / scans if scans else None)
    return found


def write_scans(folder: Path, count: int, size: Sequence[int], with_mr: bool = True) -> Path:
    """Write a table of scans, each a file of its own with the same content; return the table."""
    pet, mr = synthetic_head(size, SPACING_MM)
    sitk.WriteImage(pet, str(folder / "pet.nii.gz"), True)
    sitk.WriteImage(mr, str(folder / "mr.nii.gz"), True)
    rows = ["subject\tlow\tmr\tseed"]
    for number in range(count):
        shutil.copyfile(folder / "pet.nii.gz", folder / f"pet{number:05d}.nii.gz")
        rows.append(f"{number:05d}\tpet{number:05d}.nii.gz\t{'mr.nii.gz' if with_mr else ''}\t{number}")
    table = folder / "scans.tsv"
    table.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return table


def untrained_model(folder: Path) -> Path:
    """Write the smallest model, whose result is nearly the input."""
    metadata = ModelMetadata(
        name="untrained",
        description="For timing.",
        architecture=_NETWORK,
        sigma_data=1e-4,
        sigma_min=0.01,
        sigma_max=2.0,
        mr_optional=True,
    )
    save_model(folder, build_network(_NETWORK), metadata)
    return folder


def _single_commands(folder: Path, count: int, config: CohortConfig) -> float:
    """Return the seconds that single commands take, one after another, each with one thread."""
    began = time.perf_counter()
    for number in range(count):
        out = folder / "single" / f"{number:05d}"
        out.mkdir(parents=True)
        files = ["--pet", folder / f"pet{number:05d}.nii.gz", "--mr", folder / "mr.nii.gz"]
        outputs = ["--output", out / "denoised.nii.gz", "--difference", out / "difference.nii.gz"]
        Command("denoise", *files, *outputs, "--model", config.model, "--seed", number, *_how(config)).check()
    return time.perf_counter() - began


def _cohort(table: Path, output: Path, config: CohortConfig, model: str, *more: str) -> dict[str, Any]:
    """Run a cohort; return its seconds, those before its first scan ended, and the peak memory of its process."""
    words = ("cohort", table, "--output", output, "--model", model, "--workers", config.workers, *_how(config), *more)
    began, busy = time.perf_counter(), _processor_seconds()
    command = Command(*words)
    ends: list[float] = []
    peak = 0
    assert command.process.stdout is not None
    for _ in command.process.stdout:
        ends.append(time.perf_counter() - began)
        peak = max(peak, peak_since(command.process.pid) or 0)
    command.check()
    return {
        "seconds": time.perf_counter() - began,
        "first_seconds": ends[0],
        "processor_seconds": _processor_seconds() - busy,
        "milliseconds_a_scan": 1000 * (ends[-1] - ends[0]) / max(len(ends) - 1, 1),
        "peak_bytes": peak,
    }


def _processor_seconds() -> float:
    """Return what the processes that this one started, and theirs, have taken of the processor once they ended."""
    times = os.times()
    return times.children_user + times.children_system


def _how(config: CohortConfig) -> list[str]:
    return ["--preset", config.preset, "--device", config.device, "--progress", "json"]


class Command:
    """A command of this package as a process whose libraries have one thread each."""

    def __init__(self, *words: Any):
        environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, "1")}
        command = [sys.executable, "-m", "CSRDDenoiseLib", *map(str, words)]
        # a file, because a pipe of errors would not be read while the lines are read
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115
        self.process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=self._errors, text=True
        )

    def check(self) -> None:
        """Wait for the end.

        Raises:
            InputError: it failed.
        """
        self.process.communicate()
        self._errors.seek(0)
        said = self._errors.read().strip().splitlines()
        self._errors.close()
        if self.process.returncode:
            raise InputError(f"A command of the measurement failed: {' '.join(said[-1:])}")
