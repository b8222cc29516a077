"""Measure the evidence scan by scan; what is done is kept, and the same command continues."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Callable, Iterator, Optional

from ...atomic import read_json, write_json
from ...digests import digest_of_values
from ...io.record import versions
from ...model.bundle import Model, load_model
from ..simulation.families import scanner_families
from ..training.config import load_config
from ..training.curves import make_scene
from ..training.pool import Pool
from .blocks import replace_block
from .config import EvidenceConfig
from .filters import FULL_DOSE, best_filter, filter_image, filter_scan, full_dose_scene, runs
from .ours import measure_ours, measure_uncertainty
from .page import evidence_page
from .quantities import region_biases
from .regions import BEST
from .scenes import brain_of, plain_scene
from .short_runs import report_pool
from .summary import summarise

logger = logging.getLogger(__name__)

RESULTS, FORMAT, BLOCK = "results.json", 3, "evidence"
BEST_FILTER = "best-filter"
Part = tuple[Path, Callable[[], dict[str, Any]]]


@dataclass(frozen=True)
class _Scans:
    """Where the results of scans lie, so that those of other phantoms or other filters are never taken for these.

    Attributes:
        folder: of the phantoms: those of another split, seed, spacing or scheme have another.
        filters_key: what names the results of the filters that are asked for and installed.
    """

    folder: Path
    filters_key: str

    @classmethod
    def of(cls, config: EvidenceConfig, pool: Pool) -> _Scans:
        facts = [pool.spacing, pool.first_seed, list(pool.subjects), pool.settings, pool.normalisation, pool.target]
        asked = sorted(set(config.filters))
        return cls(config.output / "scans" / _key(facts), _key([asked, [name for name in asked if runs(name)]]))

    def filters(self, phantom: int, dose: float) -> Path:
        return self.path(phantom, dose, f"{self.filters_key}-filters")

    def best_filter(self, phantom: int, dose: float) -> Path:
        return self.path(phantom, dose, f"{self.filters_key}-{BEST_FILTER}")

    def path(self, phantom: int, dose: float, what: str) -> Path:
        return self.folder / f"{phantom:05d}-{dose:.4g}-{what}.json"


def run_evidence(config: EvidenceConfig, minutes: Optional[float] = None) -> tuple[dict[str, Any], bool]:
    """Measure what is not done yet, and write ``results.json`` and the page of what there is.

    Args:
        config: what to measure.
        minutes: begin nothing after so long.

    Returns:
        The results, and whether they are complete.

    Raises:
        InputError: model, training configuration or phantoms are not there.
    """
    model, pool = load_model(config.model, "cpu"), report_pool(load_config(config.training))
    deadline = None if minutes is None else time.monotonic() + 60 * minutes
    complete = True
    for path, measure in _parts(config, model, pool):
        if path.is_file():
            continue
        if deadline is not None and time.monotonic() > deadline:
            complete = False
            break
        logger.info("%s", path.stem)
        write_json(path, measure())
    results = collect(config, model, pool)
    write_json(config.output / RESULTS, results, indent=1)
    if config.page is not None and results["scans"]:
        replace_block(config.page, BLOCK, evidence_page(results, config.tried))
    return results, complete


def collect(config: EvidenceConfig, model: Model, pool: Pool) -> dict[str, Any]:
    """Put together ``about``, ``scans`` and their ``summary``; a scan without all its parts is left out."""
    estimate, draws, scans = estimate_key(model), model_key(model), []
    parts = _Scans.of(config, pool)
    for phantom in config.phantoms:
        if not pool.path(phantom).is_file():
            continue
        facts = pool.load(phantom, pool.doses_of(phantom)[0]).phantom.facts
        full = _read(parts.filters(phantom, FULL_DOSE))
        for dose in pool.doses_of(phantom):
            filters, ours = _read(parts.filters(phantom, dose)), _read(parts.path(phantom, dose, estimate))
            if None in (filters, ours, full):
                continue
            about = {"phantom": phantom, "dose": dose, "family": facts["family"], "tracer": facts["tracer"]}
            drawn = _read(parts.path(phantom, dose, f"{draws}-uncertainty"))
            regions = _read(parts.best_filter(phantom, dose))
            parts_of = {"filters": filters, "full_dose_filters": full, "best_filter": regions, "ours": ours}
            scans.append({**about, **parts_of, "uncertainty": drawn})
    return {"format": FORMAT, "about": _about(config, model), "summary": summarise(scans), "scans": scans}


def estimate_key(model: Model) -> str:
    """What names the results of a model's posterior mean: weights of its network, boost, and rule for what is kept."""
    metadata = model.metadata.as_dict()
    digest = hashlib.sha256(json.dumps([FORMAT, metadata["keep"], metadata["boost"]], sort_keys=True).encode())
    for name, value in sorted(model.denoiser.state_dict().items()):
        digest.update(name.encode() + value.cpu().float().numpy().tobytes())
    return digest.hexdigest()[:12]


def model_key(model: Model) -> str:
    """What names the results of a model's draws: all that the estimate depends on, and its calibrations."""
    metadata = model.metadata.as_dict()
    return digest_of_values([FORMAT, *(metadata[name] for name in ("weights_sha256", "keep", "boost", "recipes"))])[:12]


def _parts(config: EvidenceConfig, model: Model, pool: Pool) -> Iterator[Part]:
    """Files of the results and what makes each, phantom by phantom, so that a run that is stopped has whole ones."""
    parts, estimate, draws = _Scans.of(config, pool), estimate_key(model), model_key(model)
    for phantom in config.phantoms:
        pool.simulate(phantom)
        doses = pool.doses_of(phantom)
        for dose in doses:
            yield parts.path(phantom, dose, estimate), partial(_ours, model, pool, phantom, dose)
        for dose in (*doses, FULL_DOSE):
            yield parts.filters(phantom, dose), partial(_filters, config, pool, phantom, dose)
        for dose in doses:
            yield parts.best_filter(phantom, dose), partial(_best_filter, parts, pool, phantom, dose)
        for dose in doses:
            if phantom in config.uncertainty and dose in config.uncertainty_doses:
                path = parts.path(phantom, dose, f"{draws}-uncertainty")
                yield path, partial(_uncertainty, model, pool, phantom, dose)


def _ours(model: Model, pool: Pool, phantom: int, dose: float) -> dict[str, Any]:
    return measure_ours(model, pool.load(phantom, dose), dose, pool.spacing, phantom)


def _uncertainty(model: Model, pool: Pool, phantom: int, dose: float) -> dict[str, Any]:
    return measure_uncertainty(model, pool.load(phantom, dose), dose, pool.spacing)


def _filters(config: EvidenceConfig, pool: Pool, phantom: int, dose: float) -> dict[str, Any]:
    stored = pool.doses_of(phantom)
    given = dose if dose in stored else stored[0]
    scene = make_scene(pool.load(phantom, given), given, pool.spacing, phantom)
    return filter_scan(full_dose_scene(scene) if dose == FULL_DOSE else scene, config.filters)


def _best_filter(parts: _Scans, pool: Pool, phantom: int, dose: float) -> dict[str, Any]:
    """The regions of the best filter's image, without lesions as those of the model are."""
    curve, at = best_filter(_read(parts.filters(phantom, dose)))
    example = pool.load(phantom, dose)
    brain = brain_of(example, pool.spacing)
    scene = plain_scene(example, dose, brain)
    found = region_biases({BEST: filter_image(scene, curve, at)}, scene, brain)
    return {"curve": curve, "at": at, "regions": found[BEST]}


def _about(config: EvidenceConfig, model: Model) -> dict[str, Any]:
    metadata = model.metadata
    families = {part: sorted(each) for part, each in scanner_families().items()}
    return {
        "model": {"name": metadata.name, "weights_sha256": metadata.weights_sha256, "keep": dict(metadata.keep)},
        "steps": metadata.training.get("steps"),
        "phantoms": list(config.phantoms),
        "families": families,
        "versions": versions(),
    }


def _key(facts: Any) -> str:
    return digest_of_values(facts)[:8]


def _read(path: Path) -> Any:
    return read_json(path) if path.is_file() else None
