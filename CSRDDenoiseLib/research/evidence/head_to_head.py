"""Recipes and networks against one another, each with the same minutes on the same phantoms."""

from __future__ import annotations

import json
import logging
import shutil
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Mapping, Optional

import numpy as np
import torch

from ...atomic import write_json
from ...errors import InputError
from ..evaluation.markdown import Table, to_markdown
from ..training.config import TrainingConfig
from ..training.loop import TrainingRun
from ..training.pool import pool_of
from ..training.readiness import check_network
from ..training.simulators import simulate_phantoms
from ..training.split import load_split
from .blocks import replace_block
from .rows import at_dose, dose_text, doses_of
from .short_runs import SCORES, changed_config, hardware, mean_scores, score_run

logger = logging.getLogger(__name__)

RESULTS, BLOCK = "results.json", "head-to-head"
WORDS = """## Head to head

Written by `csrd-denoise experiment head-to-head configs/head-to-head.yaml --minutes {minutes:g}`: each network trained
on the same phantoms, with as many steps as fit into {minutes:g} minutes of {hardware}; scored on the scanner families
for the report, test subjects {phantoms}. One evaluation gives the estimate, also of a recipe that was trained
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
        timed_steps: steps from whose second half the speed of each is measured.
    """

    training: Path
    output: Path
    page: Optional[Path] = None
    common: Mapping[str, Any] = field(default_factory=dict)
    networks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    phantoms: tuple[int, ...] = (0, 1, 2, 4, 5, 8)
    timed_steps: int = 20

    def __post_init__(self) -> None:
        if self.timed_steps < 2:
            raise InputError(f"'timed_steps' is {self.timed_steps}; the speed is measured from 2 steps or more.")


def run_head_to_head(config: HeadToHead, minutes: float, device: str = "cpu") -> dict[str, Any]:
    """Train and score each network that is not done yet; a stopped training continues from its checkpoint.

    Args:
        config: what to train.
        minutes: for each.
        device: torch device to simulate, train and score on.

    Returns:
        Name -> ``steps``, ``minutes`` of them, ``hardware``, ``parameters``, ``voxels`` seen, ``rows`` (one a scan).

    Raises:
        InputError: a training cannot be run, or was begun with other minutes.
    """
    # what cannot be read or built is reported before the first training
    runs = {name: _config_of(config, number, name) for number, name in enumerate(config.networks)}
    for own in runs.values():
        check_network(own)
    path = config.output / RESULTS
    results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    for name, own in runs.items():
        if name in results:
            continue
        logger.info("Network: %s", name)
        results[name] = _train(config, own, _budget(config, own, minutes, device), device)
        write_json(path, results, indent=1)
    if config.page is not None:
        replace_block(config.page, BLOCK, head_to_head_page(config, results, minutes))
    return results


def head_to_head_page(config: HeadToHead, results: Mapping[str, Any], minutes: float) -> str:
    """Return the table as Markdown, of the networks that are done, in the order of the configuration."""
    done, lines = {name: results[name] for name in config.networks if name in results}, []
    for name, found in done.items():
        about = (name, f"{found['parameters'] / 1e6:.1f}", str(found["steps"]), f"{found['voxels'] / 1e6:.0f}")
        for dose in doses_of(found["rows"]):
            means = mean_scores(at_dose(found["rows"], dose))
            lines.append((*about, f"{found['minutes']:.3g}", dose_text(dose), *(f"{means[key]:.2f}" for key in SCORES)))
    titles = ("PSNR to noise-free (dB)", "to full dose (dB)", "error at 0.8 (%)", "at 0.9 (%)")
    header = ("network", "parameters (M)", "steps", "voxels seen (M)", "minutes", "dose", *titles)
    table = to_markdown(Table("Mean over scans, bare estimate; errors along what is kept", header, tuple(lines)))
    used = " and ".join(sorted({found["hardware"] for found in done.values()}))
    return WORDS.format(table=table, minutes=minutes, hardware=used, phantoms=", ".join(map(str, config.phantoms)))


def _config_of(config: HeadToHead, number: int, name: str) -> TrainingConfig:
    changes = {**config.common, **config.networks[name]}
    return replace(
        changed_config(config.training, changes), output=config.output / "runs" / str(number), start_from=None
    )


class _Timed(TrainingRun):
    """A run that notes when each of its steps ended."""

    def __init__(self, config: TrainingConfig, device: str):
        super().__init__(config, device)
        self._ends: list[float] = []

    def _step(self, *args: Any) -> float:
        loss = super()._step(*args)
        self._ends.append(self._now())
        return loss

    def _now(self) -> float:
        """Seconds: on a processor those that it worked, a thread, which other programs do not lengthen."""
        if torch.device(self.device).type == "cpu":
            return time.process_time() / torch.get_num_threads()
        return time.monotonic()

    @property
    def seconds_per_step(self) -> float:
        """Median over the second half: the first steps of a GPU, and those that fetch phantoms, take longer."""
        return float(np.median(np.diff(self._ends[len(self._ends) // 2 - 1 :])))


@dataclass(frozen=True)
class _Budget:
    """Steps that fit into minutes on a device.

    Attributes:
        minutes: that were asked for.
        steps: that fit into them.
        seconds_per_step: as it was measured.
    """

    minutes: float
    steps: int
    seconds_per_step: float


def _budget(config: HeadToHead, own: TrainingConfig, minutes: float, device: str) -> _Budget:
    """Measure once how many steps fit into the minutes on this device."""
    path = own.output / "budget.json"
    if path.is_file():
        budget = _Budget(**json.loads(path.read_text(encoding="utf-8")))
        if budget.minutes != minutes:
            raise InputError(
                f"The run '{own.output}' was begun with {budget.minutes:g} minutes, and now {minutes:g} are asked "
                "for; name the same, or another folder as 'output'."
            )
        return budget
    folder = own.output / "timed"
    # a trial that was stopped begins anew
    shutil.rmtree(folder, ignore_errors=True)
    trial = _Timed(replace(own, output=folder, steps=config.timed_steps, validation_phantoms=0), device)
    trial.run()
    seconds = trial.seconds_per_step
    budget = _Budget(minutes, max(round(60 * minutes / seconds), 1), round(seconds, 4))
    write_json(path, asdict(budget), indent=1)
    return budget


def _train(config: HeadToHead, own: TrainingConfig, budget: _Budget, device: str) -> dict[str, Any]:
    run = TrainingRun(replace(own, steps=budget.steps), device)
    run.run()
    pool = pool_of(own, "test", load_split(own.split_file)["test"])
    simulate_phantoms([(pool, phantom) for phantom in config.phantoms], device, own.simulators)
    return {
        "steps": run.state.step,
        "minutes": round(budget.steps * budget.seconds_per_step / 60, 2),
        "hardware": hardware(device, own.precision),
        "parameters": sum(each.numel() for each in run.denoiser.parameters()),
        "voxels": run.state.step * own.batch * own.patch**3,
        "architecture": dict(own.architecture),
        "rows": score_run(run, pool, config.phantoms),
    }
