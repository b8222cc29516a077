"""What a family of scanners costs that the training has not seen: trained with all families, and with each left out."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Mapping, Optional

from ...atomic import read_json, write_json
from ...errors import InputError
from ..evaluation.markdown import Table, to_markdown
from ..simulation.families import scanner_families
from ..training.claim import check_claim, record_claim
from ..training.config import TrainingConfig
from ..training.loop import TrainingRun
from ..training.pool import Pool, pool_of
from ..training.readiness import anatomies, claim_pool
from ..training.simulators import simulate_phantoms
from ..training.split import load_or_make_split
from .blocks import replace_block
from .short_runs import Estimator, Joined, changed_config, mean_scores, recipe_checksum, score_scans

logger = logging.getLogger(__name__)

RESULTS, FACTS, BLOCK, ALL = "results.json", "made-with.json", "scanners", "all families"
_SEED, _SEEDS_EACH, _TEST = 60_000_000, 10_000, 5_000
WORDS = """## A family of scanners left out

Written by `csrd-denoise experiment scanners configs/scanners.yaml`: the recipe of the posterior mean, {steps} steps
from random weights, {phantoms} phantoms of each family; once with all families, and once without each. Scored on
{test_phantoms} phantoms of the family, of other subjects, at every dose. The loss is what it costs that the family was
not seen; so short a training shows the order of the losses, not their size after a long one. These models are for this
table alone.

{table}"""


@dataclass(frozen=True)
class LeftOut:
    """The keys of a configuration file; paths are relative to it.

    Attributes:
        training: training configuration whose recipe is taken.
        output: folder for phantoms, runs and ``results.json``.
        page: Markdown page that the table goes into, or None.
        families: ``PART:NAME`` of ``families.json``, two or more.
        phantoms: of each family, to train on.
        test_phantoms: of each family, to score on.
        steps: of each training.
        changes: further fields of the training configuration.
    """

    training: Path
    output: Path
    page: Optional[Path] = None
    families: tuple[str, ...] = ()
    phantoms: int = 4
    test_phantoms: int = 2
    steps: int = 300
    changes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        known = [f"{part}:{name}" for part, names in scanner_families().items() for name in names]
        unknown = next((each for each in self.families if each not in known), None)
        if unknown is not None:
            raise InputError(f"The family '{unknown}' is not known; known are {', '.join(known)}.")
        if len(self.families) < 2:
            raise InputError("Name two families or more, so that one can be left out.")


def run_left_out(config: LeftOut, device: str = "cpu") -> dict[str, Any]:
    """Train and score what is not done yet; writes ``results.json`` after each model; a stopped training continues.

    Args:
        config: what to train.
        device: torch device to simulate, train and score on.

    Returns:
        Name of a model (``all families``, or the family that it has not seen) -> family -> mean scores.

    Raises:
        InputError: the output folder has phantoms, models or results of other settings, or it is not known of which.
    """
    base = changed_config(config.training, config.changes)
    pools = {family: _pools(config, base, number) for number, family in enumerate(config.families)}
    path = config.output / RESULTS
    _claim(config, base)
    for pool in (each for pair in pools.values() for each in pair):
        claim_pool(pool)
    counts = config.phantoms, config.test_phantoms
    jobs = [(pool, phantom) for pair in pools.values() for pool, n in zip(pair, counts) for phantom in range(n)]
    simulate_phantoms(jobs, device, base.simulators)
    results: dict[str, Any] = read_json(path) if path.is_file() else {}
    for number, name in enumerate((ALL, *config.families)):
        if name in results:
            continue
        logger.info("Model: %s", name if name == ALL else f"without {name}")
        run = _train(config, base, [pools[each][0] for each in config.families if each != name], number, device)
        scored = config.families if name == ALL else (name,)
        found, phantoms = Estimator.of(run), range(config.test_phantoms)
        tested = {family: score_scans(found, pools[family][1], phantoms) for family in scored}
        results[name] = {family: mean_scores(rows) for family, rows in tested.items()}
        write_json(path, results, indent=1)
    if config.page is not None:
        replace_block(config.page, BLOCK, left_out_page(config, results))
    return results


def _claim(config: LeftOut, base: TrainingConfig) -> None:
    """Record what phantoms, models and results of the output folder are made with, or check that it is this."""
    path, results = config.output / FACTS, config.output / RESULTS
    facts = {
        "families": config.families,
        "phantoms": config.phantoms,
        "test_phantoms": config.test_phantoms,
        "steps": config.steps,
        "changes": dict(config.changes),
        "recipe_sha256": recipe_checksum(base),
    }
    if path.is_file():
        check_claim(path, facts, f"'{config.output}' was begun with", "choose another output folder")
    elif results.is_file():
        raise InputError(
            f"'{results}' has results, and there is no {FACTS} beside it, so it is not known what they were made with; "
            "remove this file, or choose another output folder."
        )
    else:
        record_claim(path, facts)


def left_out_page(config: LeftOut, results: Mapping[str, Any]) -> str:
    """Return the table as Markdown."""
    rows = []
    for family in config.families:
        seen, unseen = results[ALL][family], results[family][family]
        psnr = (f"{seen['psnr_clean']:.2f}", f"{unseen['psnr_clean']:.2f}")
        loss = f"{seen['psnr_clean'] - unseen['psnr_clean']:+.2f}"
        errors = [f"{seen[key]:.1f}, {unseen[key]:.1f}" for key in ("error_0.8", "error_0.9")]
        rows.append((family.partition(":")[2], *psnr, loss, *errors))
    header = (
        "family",
        "PSNR with all (dB)",
        "without it (dB)",
        "loss (dB)",
        "error at 0.8, with and without (%)",
        "at 0.9",
    )
    table = to_markdown(
        Table(
            "PSNR to noise-free, error in calm brain at equal contrast, details as the network gives them",
            header,
            tuple(rows),
        )
    )
    return WORDS.format(table=table, **vars(config))


def _pools(config: LeftOut, base: TrainingConfig, number: int) -> tuple[Pool, Pool]:
    """The phantoms of a family to train on and to score on, of subjects for training and for validation."""
    split = load_or_make_split(base.split_file, _names(base), base.subjects, base.seed, ("train", "validation"))
    settings = {"families": config.families[number], "varied": True}
    made = [
        replace(
            pool_of(base, part, split[part]),
            folder=config.output / "pools" / f"{number}-{part}",
            first_seed=_SEED + _SEEDS_EACH * number + first,
            settings=settings,
        )
        for part, first in (("train", 0), ("validation", _TEST))
    ]
    return made[0], made[1]


def _names(base: TrainingConfig) -> list[str]:
    return [] if base.split_file.is_file() else anatomies(base.anatomy)


def _train(config: LeftOut, base: TrainingConfig, pools: list[Pool], number: int, device: str) -> TrainingRun:
    joined = Joined(pools, config.phantoms)
    own = replace(
        base,
        output=config.output / "models" / str(number),
        steps=config.steps,
        pool_size=joined.available(),
        pool_start=joined.available(),
        validation_phantoms=0,
        simulators=0,
        start_from=None,
    )
    run = TrainingRun(own, device, pools=(joined, joined))
    run.run()
    return run
