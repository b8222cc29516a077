"""The experiment: on each simulated site the start, the adapted models, and a model trained on the site itself.

All are judged on the same held-out subjects against their noise-free images: the estimate as the network gives it, and
the result as a run returns it, which keeps a part of the measurement.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Mapping, Optional

import numpy as np
import torch

from ...atomic import read_json, write_json
from ...measures import psnr
from ...model.bundle import Model, load_model
from ...restore.keeping import default_keep_mm, kept_image
from ..training.claim import check_facts
from ..training.loop import autocast
from ..training.pool import Example, Pool
from ..training.validation import estimate_residual
from .adapt import Job, adapt
from .fold import fold_config, run_fold
from .settings import AdaptSettings
from .sites import Counts, Site, SiteData, make_site, mean_by, site_facts
from .start import save_mean, with_mean

logger = logging.getLogger(__name__)

RESULTS = "results.json"
START, OWN = "start", "trained on the site"
SCORES = ("estimate_db", "result_db", "full_db", "error_percent")


@dataclass(frozen=True)
class Experiment:
    """The keys of a configuration file.

    Attributes:
        anatomy: folder of anatomies.
        output: folder for what is simulated, trained and found.
        sites: name -> site.
        model: to start from.
        steps: of each adaptation, all folds together, and of each model of a site: the same time on a machine that does
            nothing else.
        variants: name -> settings, their steps and seed aside; every one is adapted.
        own: settings for the model of the site, which has no pull.
        counts: subjects of a site.
        seed: of subjects, folds and patches.
        device: torch device.
    """

    anatomy: Path
    output: Path
    sites: Mapping[str, Site]
    model: str = "brain"
    steps: int = 240
    variants: Mapping[str, AdaptSettings] = field(default_factory=lambda: {"adapted": AdaptSettings()})
    own: AdaptSettings = field(default_factory=AdaptSettings)
    counts: Counts = field(default_factory=Counts)
    seed: int = 0
    device: str = "cpu"


def run_experiment(config: Experiment) -> dict[str, Any]:
    """Run what is not done yet and return the results, which are written after each step to ``results.json``.

    Raises:
        InputError: that file has results of other settings.
    """
    start = load_model(config.model, config.device)
    results = _load(config)
    for number, (name, site) in enumerate(config.sites.items()):
        found = results.setdefault(name, {"site": site_facts(site), "models": {}})
        folder, spacing = config.output / "sites" / name, start.metadata.voxel_spacing_mm
        data = make_site(site, config.counts, folder, config.anatomy, config.seed + number + 1, spacing)
        for model_name in (START, OWN, *config.variants):
            if model_name in found["models"]:
                continue
            logger.info("Site '%s': %s", name, model_name)
            found["models"][model_name] = _of_model(config, start, data, model_name)
            found["summary"] = summarise(found["models"])
            _save(config, results)
    return {name: results[name] for name in config.sites}


def summarise(models: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Mean scores of each model, and of each adapted one what it closes of the gap between start and site.

    The share is that of mean decibels against the noise-free image; ``worse`` counts the held-out subjects whose
    estimate or result is further from it than with the start.
    """
    means: dict[str, dict[str, Any]] = {
        name: {score: mean_by(each["subjects"], score) for score in SCORES} for name, each in models.items()
    }
    if START not in models or OWN not in models:
        return {"means": means}
    closed = {}
    for name in models:
        if name in (START, OWN):
            continue
        closed[name] = {
            score: {
                "gap_db": round(means[OWN][score] - means[START][score], 4),
                "closed": _share(means, name, score),
                "worse": _worse(models, name, score),
            }
            for score in ("estimate_db", "result_db")
        }
    return {"means": means, "closed": closed}


def score_model(model: Model, pool: Pool) -> list[dict[str, float]]:
    """Score the posterior mean on every subject of a pool whose noise-free images are known.

    Returns:
        For each, PSNR in the head in dB: ``estimate_db`` and ``result_db`` of the estimate and of what a run returns,
        against noise-free, ``full_db`` of the predicted full dose; and ``error_percent``, RMS of the estimate's error
        in % of the brain mean.
    """
    return [_score(model, example) for _, _, example in pool.examples(pool.available())]


def _of_model(config: Experiment, start: Model, data: SiteData, name: str) -> dict[str, Any]:
    metadata = start.metadata
    pool = data.pool("held_out", metadata.normalisation, metadata.target)
    if name == START:
        return {"subjects": score_model(start, pool)}
    if name == OWN:
        model, facts = _own_model(config, start, data)
        return {"subjects": score_model(model, pool), **facts}
    settings = replace(config.variants[name], steps=config.steps, seed=config.seed, calibrate=False)
    folder = data.folder / "models" / name.replace(" ", "-")
    result = adapt(
        Job(data.rows, start, folder, folder.with_name(f"{folder.name}-work"), settings, config.device), True
    )
    facts = result.model.metadata.training["adapted"]
    kept = {key: facts[key] for key in ("held_out_change_percent", "check_change_percent", "steps", "folds")}
    # what is no better on its own held-out pairs is not written for a user, who stays with the start
    model = result.model if result.better else start
    return {"subjects": score_model(model, pool), "refused": not result.better, **kept}


def _own_model(config: Experiment, start: Model, data: SiteData) -> tuple[Model, dict[str, Any]]:
    settings = replace(config.own, pull=0.0, steps=config.steps, seed=config.seed)
    begin, folder = data.folder / "start", data.folder / "own"
    if not begin.is_dir():
        save_mean(start, begin)
    metadata = start.metadata
    training, stopping = (data.pool(each, metadata.normalisation, metadata.target) for each in ("training", "stopping"))
    settings_of_run = fold_config(metadata, settings, begin, folder)
    result = run_fold(settings_of_run, (training, stopping), settings, config.device)
    return with_mean(start, result.weights), {"steps": result.step}


@torch.no_grad()
def _score(model: Model, example: Example) -> dict[str, float]:
    device = str(next(model.denoiser.parameters()).device)
    with autocast(device):
        residual = estimate_residual(model.denoiser, example, torch.zeros(example.mask.shape), model.metadata.sigma_max)
    low, clean, full, mask = example.low_dose, example.noise_free, example.full_dose, example.mask
    spacing = (model.metadata.voxel_spacing_mm,) * 3
    estimate, dose = low + residual, np.float32(example.dose)
    width = default_keep_mm(model.metadata.keep, example.terms.constants)
    error = float(np.sqrt(np.mean((estimate - clean)[mask] ** 2, dtype=np.float64)))
    return {
        "estimate_db": psnr(estimate, clean, mask),
        "result_db": psnr(kept_image(estimate, low, spacing, width), clean, mask),
        "full_db": psnr(dose * low + (1 - dose) * estimate, full, mask),
        "error_percent": 100 * error,
    }


def _share(means: Mapping[str, Mapping[str, Any]], name: str, score: str) -> Optional[float]:
    gap = means[OWN][score] - means[START][score]
    return round((means[name][score] - means[START][score]) / gap, 3) if gap > 0 else None


def _worse(models: Mapping[str, Mapping[str, Any]], name: str, score: str) -> int:
    pairs = zip(models[START]["subjects"], models[name]["subjects"])
    return sum(after[score] < before[score] for before, after in pairs)


def _load(config: Experiment) -> dict[str, Any]:
    path = config.output / RESULTS
    if not path.is_file():
        return {}
    saved: dict[str, Any] = read_json(path)
    whose, advice = f"'{path}' has results of", "choose another output folder"
    check_facts(saved["about"], _about(config), whose, advice)
    sites = {name: site_facts(site) for name, site in config.sites.items()}
    for had, facts in (
        (saved["about"]["variants"], {name: each.as_dict() for name, each in config.variants.items()}),
        ({name: each["site"] for name, each in saved["sites"].items()}, sites),
    ):
        # others may come on top
        check_facts(had, {name: value for name, value in facts.items() if name in had}, whose, advice)
    return saved["sites"]


def _about(config: Experiment) -> dict[str, Any]:
    about = {"model": config.model, "steps": config.steps, "seed": config.seed, "counts": vars(config.counts)}
    return {**about, "own": config.own.as_dict()}


def _save(config: Experiment, results: Mapping[str, Any]) -> None:
    variants = {name: each.as_dict() for name, each in config.variants.items()}
    write_json(config.output / RESULTS, {"about": {**_about(config), "variants": variants}, "sites": results}, indent=1)
