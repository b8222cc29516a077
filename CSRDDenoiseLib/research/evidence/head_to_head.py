"""Recipes and networks against one another, each with the same minutes on the same phantoms."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Mapping, Optional

from ...atomic import write_json
from ...errors import InputError
from ..evaluation.markdown import Table, to_markdown
from ..training.config import TrainingConfig
from ..training.loop import TrainingRun
from ..training.pool import pool_of
from ..training.split import load_split
from .blocks import replace_block
from .rows import at_dose, dose_text, doses_of
from .short_runs import SCORES, changed_config, mean_scores, score_run

logger = logging.getLogger(__name__)

RESULTS, BLOCK = "results.json", "head-to-head"
WORDS = """## Head to head

Written by `csrd-denoise experiment head-to-head configs/head-to-head.yaml --minutes {minutes:g}`: each network trained
for {minutes:g} minutes on the same phantoms, with as many steps as fit into them on this machine; scored on the scanner
families for the report, test subjects {phantoms}. One evaluation gives the estimate, also of a recipe that was trained
for draws. No choice followed from it. st-DTPM predicts delayed scans and is no denoiser, so it is not among them.

{table}"""


@dataclass(frozen=True)
class HeadToHead:
    """The keys of a configuration file; paths are relative to it.

    Attributes:
        training: training configuration that all have in common.
        output: folder for the runs and ``results.json``.
        page: Markdown page that the table goes into, or None.
        common: changed fields of that configuration.
        networks: name in the table -> fields that it changes further.
        phantoms: numbers of the phantoms of the report families.
        timed_steps: steps from which the speed of each is measured.
    """

    training: Path
    output: Path
    page: Optional[Path] = None
    common: Mapping[str, Any] = field(default_factory=dict)
    networks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    phantoms: tuple[int, ...] = (0, 1, 2, 4, 5, 8)
    timed_steps: int = 20


def run_head_to_head(config: HeadToHead, minutes: float) -> dict[str, Any]:
    """Train and score each network that is not done yet; a training that was stopped goes on from its checkpoint.

    Args:
        config: what to train.
        minutes: for each.

    Returns:
        Name -> ``steps``, ``minutes``, ``parameters``, ``voxels`` seen, ``rows`` (one a scan).

    Raises:
        InputError: a training cannot be run, or was begun with other minutes.
    """
    # what cannot be read is reported before the first training
    runs = {name: _config_of(config, number, name) for number, name in enumerate(config.networks)}
    path = config.output / RESULTS
    results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    for name, own in runs.items():
        if name in results:
            continue
        logger.info("Network: %s", name)
        run = TrainingRun(replace(own, steps=_steps(config, own, minutes)))
        run.run()
        results[name] = _measured(config, run)
        write_json(path, results, indent=1)
        if config.page is not None:
            replace_block(config.page, BLOCK, head_to_head_page(config, results, minutes))
    return results


def head_to_head_page(config: HeadToHead, results: Mapping[str, Any], minutes: float) -> str:
    """Return the table as Markdown."""
    lines = []
    for name, found in results.items():
        about = (name, f"{found['parameters'] / 1e6:.1f}", str(found["steps"]), f"{found['voxels'] / 1e6:.0f}")
        for dose in doses_of(found["rows"]):
            means = mean_scores(at_dose(found["rows"], dose))
            lines.append((*about, f"{found['minutes']:.0f}", dose_text(dose), *(f"{means[key]:.2f}" for key in SCORES)))
    titles = ("PSNR to noise-free (dB)", "to full dose (dB)", "error at 0.8 (%)", "at 0.9 (%)")
    header = ("network", "parameters (M)", "steps", "voxels seen (M)", "minutes", "dose", *titles)
    table = to_markdown(Table("Mean over scans, bare estimate; errors along what is kept", header, tuple(lines)))
    return WORDS.format(table=table, minutes=minutes, phantoms=", ".join(map(str, config.phantoms)))


def _config_of(config: HeadToHead, number: int, name: str) -> TrainingConfig:
    changes = {**config.common, **config.networks[name]}
    return replace(
        changed_config(config.training, changes), output=config.output / "runs" / str(number), start_from=None
    )


def _steps(config: HeadToHead, own: TrainingConfig, minutes: float) -> int:
    """Steps that fit into the minutes on this machine, measured once."""
    path = own.output / "budget.json"
    if path.is_file():
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["minutes"] != minutes:
            raise InputError(
                f"The run '{own.output}' was begun with {found['minutes']:g} minutes, and now {minutes:g} are asked "
                "for; name the same, or another folder as 'output'."
            )
        return found["steps"]
    trial = replace(own, output=own.output / "timed", steps=config.timed_steps, validation_phantoms=0)
    seconds = TrainingRun(trial).run().seconds / config.timed_steps
    steps = max(round(60 * minutes / seconds), 1)
    write_json(path, {"minutes": minutes, "steps": steps, "seconds_per_step": round(seconds, 4)}, indent=1)
    return steps


def _measured(config: HeadToHead, run: TrainingRun) -> dict[str, Any]:
    own = run.config
    pool = pool_of(own, "test", load_split(own.split_file)["test"])
    for phantom in config.phantoms:
        pool.simulate(phantom)
    return {
        "steps": run.state.step,
        "minutes": round(run.state.seconds / 60, 2),
        "parameters": sum(each.numel() for each in run.denoiser.parameters()),
        "voxels": run.state.step * own.batch * own.patch**3,
        "architecture": dict(own.architecture),
        "rows": score_run(run, pool, config.phantoms),
    }
