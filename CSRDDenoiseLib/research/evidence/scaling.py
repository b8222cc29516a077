"""The scaling curve of a training: quality on the report families against the voxels that it has seen."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Callable, Mapping, Optional, Sequence

from ...atomic import read_json, write_json
from ...digests import digest_of_files
from ...errors import InputError
from ...model.bundle import Model, build_network, load_model
from ...model.edm import Preconditioned, in_memory_format
from ..evaluation.markdown import Table, to_markdown
from ..training.checkpoint import milestones_in
from ..training.config import load_config
from ..training.pool import Pool
from ..training.simulators import simulate_phantoms
from .blocks import replace_block
from .rows import at_dose, dose_text, doses_of
from .short_runs import ERRORS_ALONG, SCORES, Estimator, mean_scores, report_pool, score_scan

logger = logging.getLogger(__name__)

RESULTS, BLOCK = "results.json", "scaling"
WORDS = """## Scaling

Written by `csrd-denoise experiment scaling configs/scaling.yaml`: the training of the model `{name}`, its averaged
weights after so many steps, and the model itself; each scored by one evaluation on the scanner families for the report,
test subjects {phantoms}. Voxels seen are steps times patches a step times voxels of a patch. The learning rate falls to
zero at the end of the whole training, so an earlier point is not what a training that ended there would
give. No choice followed from it.

{table}"""


@dataclass(frozen=True)
class Scaling:
    """The keys of a configuration file; paths are relative to it.

    Attributes:
        training: configuration of the training, with the place of its pool for the report.
        output: folder for ``results.json``.
        page: Markdown page that the table goes into, or None.
        milestones: folder of ``average-STEP.safetensors``; None takes the training's output.
        model: the end of the curve, the name of a bundled model, or a model folder, relative to this file with a
            slash; None takes the model in the training's output.
        phantoms: numbers of the phantoms of the report families.
    """

    training: Path
    output: Path
    page: Optional[Path] = None
    milestones: Optional[Path] = None
    model: Optional[str] = None
    phantoms: tuple[int, ...] = (0, 1, 2, 4, 5, 8)


@dataclass(frozen=True)
class _Point:
    """One state of a training: steps done, a checksum of its weights, and how to load it."""

    step: int
    weights: str
    load: Callable[[], Estimator]


def run_scaling(config: Scaling, minutes: Optional[float] = None, device: str = "cpu") -> tuple[dict[str, Any], bool]:
    """Score what is not scored yet; ``results.json`` is written after each scan, and the same call continues.

    Args:
        config: what to score.
        minutes: begin nothing after so long.
        device: torch device to simulate and score on.

    Returns:
        ``model``, its name, and ``points``, by step: ``voxels`` seen, ``weights`` (their checksum), ``rows`` (one a
        scan); and whether they are complete.

    Raises:
        InputError: model, milestones or phantoms are not there, or a milestone is of another architecture.
    """
    training = load_config(config.training)
    pool, model = report_pool(training), load_model(config.model or training.output / "model", device)
    simulate_phantoms([(pool, phantom) for phantom in config.phantoms], device, training.simulators)
    path, end = config.output / RESULTS, float("inf") if minutes is None else time.monotonic() + 60 * minutes
    points = _points(model, config.milestones or training.output, device)
    results = _begun(path, model, points)
    scans = _scans(pool, config.phantoms)
    for point in points:
        rows = results["points"][str(point.step)]["rows"]
        missing = [scan for scan in scans if scan not in _scored(rows)]
        estimator = point.load() if missing and time.monotonic() < end else None
        for phantom, dose in missing:
            if estimator is None or time.monotonic() > end:
                break
            logger.info("Step %d: phantom %d, %s", point.step, phantom, dose_text(dose))
            rows.append(score_scan(estimator, pool, phantom, dose))
            write_json(path, results, indent=1)
    complete = all(set(scans) <= set(_scored(found["rows"])) for found in results["points"].values())
    if config.page is not None and complete:
        replace_block(config.page, BLOCK, scaling_page(config, results))
    return results, complete


def scaling_page(config: Scaling, results: Mapping[str, Any]) -> str:
    """Return the curve as Markdown, by dose; a step that is not scored at all yet is left out."""
    points = {int(step): found for step, found in results["points"].items() if found["rows"]}
    lines = []
    for dose in doses_of([row for found in points.values() for row in found["rows"]]):
        for step, found in sorted(points.items()):
            rows = at_dose(found["rows"], dose)
            means = [f"{value:.2f}" for value in mean_scores(rows).values()] if rows else [""] * len(SCORES)
            lines.append((dose_text(dose), f"{found['voxels'] / 1e6:.0f}", str(step), *means, str(len(rows))))
    titles = ("PSNR to noise-free (dB)", "to full dose (dB)", "error at 0.8 (%)", "at 0.9 (%)")
    header = ("dose", "voxels seen (M)", "steps", *titles, "n")
    table = to_markdown(Table(f"Mean over scans, bare estimate; {ERRORS_ALONG}", header, tuple(lines)))
    return WORDS.format(table=table, name=results["model"], phantoms=", ".join(map(str, config.phantoms)))


def _points(model: Model, folder: Path, device: str) -> list[_Point]:
    """The milestones before the model's last step, and the model."""
    metadata = model.metadata
    last = metadata.training.get("steps")
    if last is None or not {"batch", "patch"} <= set(metadata.training.get("settings", {})):
        raise InputError(f"The metadata of the model '{metadata.name}' do not state 'steps', 'batch' and 'patch'.")
    earlier = {step: path for step, path in milestones_in(folder).items() if step < last}
    if not earlier:
        raise InputError(
            f"The folder '{folder}' has no average-STEP.safetensors of a step before the model's last, {last}; list "
            "steps as 'milestones' in the configuration of the training."
        )
    points = [
        _Point(step, digest_of_files(path), partial(_milestone, path, model, device)) for step, path in earlier.items()
    ]
    whole = Estimator(model.denoiser, metadata.schedule, metadata.mean_from)
    return [*points, _Point(last, metadata.weights_sha256, lambda: whole)]


def _milestone(path: Path, model: Model, device: str) -> Estimator:
    """The network of a model with the weights of a milestone."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    metadata = model.metadata
    network = build_network(metadata.architecture)
    try:
        network.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError) as error:
        raise InputError(f"The milestone '{path}' does not fit the model '{metadata.name}': {error}") from error
    denoiser = Preconditioned(network, metadata.sigma_data).eval().requires_grad_(False)
    return Estimator(in_memory_format(denoiser.to(device)), metadata.schedule, metadata.mean_from)


def _begun(path: Path, model: Model, points: Sequence[_Point]) -> dict[str, Any]:
    """What is kept of an earlier call, of the same weights; a place for each point."""
    kept = read_json(path)["points"] if path.is_file() else {}
    training = model.metadata.training
    settings, found = training["settings"], {}
    # a training in parts of unlike batches states what it saw in all
    seen = {training["steps"]: training["voxels"]} if "voxels" in training else {}
    for point in points:
        before = kept.get(str(point.step), {})
        rows = before["rows"] if before.get("weights") == point.weights else []
        voxels = seen.get(point.step, point.step * settings["batch"] * settings["patch"] ** 3)
        found[str(point.step)] = {"voxels": voxels, "weights": point.weights, "rows": rows}
    return {"model": model.metadata.name, "points": found}


def _scans(pool: Pool, phantoms: Sequence[int]) -> list[tuple[int, float]]:
    return [(phantom, dose) for phantom in phantoms for dose in pool.doses_of(phantom)]


def _scored(rows: Sequence[Mapping[str, Any]]) -> list[tuple[int, float]]:
    return [(row["phantom"], row["dose"]) for row in rows]
