"""Recipes and networks against one another, each with the same minutes on the same phantoms."""

from __future__ import annotations

import logging
import shutil
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Iterator, Mapping, Optional, Sequence

import numpy as np
import torch

from ...atomic import read_json, write_json
from ...errors import InputError
from ..evaluation.markdown import Table, to_markdown
from ..training.claim import check_facts
from ..training.config import TrainingConfig
from ..training.loop import TrainingRun
from ..training.readiness import check_network
from ..training.simulators import simulate_phantoms
from .blocks import replace_block
from .rows import at_dose, dose_text, doses_of
from .short_runs import (
    ERRORS_ALONG,
    SCORES,
    Estimator,
    changed_config,
    folder_name,
    hardware,
    mean_scores,
    recipe_checksum,
    report_pool,
    score_scans,
)

logger = logging.getLogger(__name__)

RESULTS, BUDGET, BLOCK = "results.json", "budget.json", "head-to-head"
WORDS = """## Head to head

Written by `csrd-denoise experiment head-to-head configs/head-to-head.yaml --minutes {minutes:g}`: each network trained
on the same phantoms, with as many steps as fit into {minutes:g} minutes of {hardware}; scored on the scanner families
for the report, test subjects {phantoms}. One evaluation at the largest noise level gives the estimate, also of a
recipe that was trained for draws; rows with "Heun" are of one draw each, by Heun's method of that many steps. The
paper's recipe is made for such draws and seldom trains at the largest level. No choice followed from the table.
st-DTPM predicts delayed scans and is no denoiser, so it is not among them.

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
        heun_steps: name in the table -> steps of Heun's method to one draw, which is scored as well.
        phantoms: numbers of the phantoms of the report families.
        timed_steps: steps from whose second half the speed of each is measured.
    """

    training: Path
    output: Path
    page: Optional[Path] = None
    common: Mapping[str, Any] = field(default_factory=dict)
    networks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    heun_steps: Mapping[str, int] = field(default_factory=dict)
    phantoms: tuple[int, ...] = (0, 1, 2, 4, 5, 8)
    timed_steps: int = 20

    def __post_init__(self) -> None:
        if self.timed_steps < 2:
            raise InputError(f"'timed_steps' is {self.timed_steps}; the speed is measured from 2 steps or more.")
        for name, steps in self.heun_steps.items():
            if name not in self.networks or steps < 1:
                raise InputError(
                    f"'heun_steps' has '{name}' with {steps} steps; it takes names of 'networks' and 1 step or more."
                )


def run_head_to_head(config: HeadToHead, minutes: float, device: str = "cpu") -> dict[str, Any]:
    """Train and score each network that is not done yet; a stopped training continues from its checkpoint.

    Args:
        config: what to train.
        minutes: for each.
        device: torch device to simulate, train and score on.

    Returns:
        Name -> ``steps``, ``minutes`` of them, ``hardware``, ``parameters``, ``voxels`` seen, ``rows`` (one a scan),
        ``heun_rows`` of a draw, and what it was made with: ``recipe``, the changed fields of the training
        configuration, ``recipe_sha256`` of all of them, ``budget_minutes``, ``test_phantoms``, ``heun_steps``.

    Raises:
        InputError: a training cannot be run, or was done or begun with another recipe, other minutes or phantoms.
    """
    # what cannot be read or built is reported before the first training
    runs = {name: _config_of(config, name) for name in config.networks}
    path = config.output / RESULTS
    results: dict[str, Any] = read_json(path) if path.is_file() else {}
    for name, own in runs.items():
        check_network(own)
        report_pool(own)
        begun, made_with = own.output / BUDGET, _made_with(config, name, own, minutes)
        if name in results:
            _check_made_with(path, name, results[name], made_with)
        elif begun.is_file():
            _check_made_with(begun, name, read_json(begun), made_with)
    for name, own in runs.items():
        if name in results:
            continue
        logger.info("Network: %s", name)
        made_with = _made_with(config, name, own, minutes)
        found = _train(config, own, _budget(config, own, made_with, device), device, config.heun_steps.get(name, 0))
        results[name] = {**found, **made_with}
        write_json(path, results, indent=1)
    if config.page is not None:
        replace_block(config.page, BLOCK, head_to_head_page(config, results, minutes))
    return results


def head_to_head_page(config: HeadToHead, results: Mapping[str, Any], minutes: float) -> str:
    """Return the table as Markdown, of the networks that are done, in the order of the configuration."""
    done = {name: results[name] for name in config.networks if name in results}
    lines: list[tuple[str, ...]] = []
    for name, found in done.items():
        trained = (f"{found['parameters'] / 1e6:.1f}", str(found["steps"]), f"{found['voxels'] / 1e6:.0f}")
        about = (*trained, f"{found['minutes']:.3g}")
        lines += _lines((name, *about), found["rows"])
        lines += _lines((f"{name}, Heun, {found['heun_steps']} steps", *about), found["heun_rows"])
    titles = ("PSNR to noise-free (dB)", "to full dose (dB)", "error at 0.8 (%)", "at 0.9 (%)")
    header = ("network", "parameters (M)", "steps", "voxels seen (M)", "minutes", "dose", *titles)
    table = to_markdown(Table(f"Mean over scans, bare estimate; {ERRORS_ALONG}", header, tuple(lines)))
    used = " and ".join(sorted({found["hardware"] for found in done.values()}))
    return WORDS.format(table=table, minutes=minutes, hardware=used, phantoms=", ".join(map(str, config.phantoms)))


def _lines(about: tuple[str, ...], rows: Sequence[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    """A line of the table for each dose."""
    for dose in doses_of(rows):
        means = mean_scores(at_dose(rows, dose))
        yield (*about, dose_text(dose), *(f"{means[key]:.2f}" for key in SCORES))


def _recipe(config: HeadToHead, name: str) -> dict[str, Any]:
    return {**config.common, **config.networks[name]}


def _made_with(config: HeadToHead, name: str, own: TrainingConfig, minutes: float) -> dict[str, Any]:
    """What another run of a network must have in common with this one, so that its result is that of this one."""
    return {
        "recipe": _recipe(config, name),
        "recipe_sha256": recipe_checksum(own),
        "budget_minutes": minutes,
        "test_phantoms": list(config.phantoms),
        "heun_steps": config.heun_steps.get(name, 0),
    }


def _check_made_with(path: Path, name: str, had: Mapping[str, Any], made_with: Mapping[str, Any]) -> None:
    """Refuse what a file has of a network, where that was made with something else, or it is not known with what."""
    unknown = next((key for key in made_with if key not in had), None)
    if unknown is not None:
        # beside a budget lies a checkpoint of that training
        remove = path.parent if path.name == BUDGET else path
        raise InputError(
            f"'{path}' has '{name}' without '{unknown}', so it is not known what that was made with; remove "
            f"'{remove}', or choose another output folder."
        )
    whose, advice = f"'{path}' has '{name}' with", "choose another output folder"
    # a field that only one of the two changes is None in the other
    fields = dict.fromkeys([*made_with["recipe"], *had["recipe"]])
    check_facts({**fields, **had["recipe"]}, {**fields, **made_with["recipe"]}, whose, advice)
    check_facts(had, made_with, whose, advice)


def _config_of(config: HeadToHead, name: str) -> TrainingConfig:
    changed = changed_config(config.training, _recipe(config, name))
    return replace(changed, output=config.output / "runs" / folder_name(name), start_from=None)


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
        steps: that fit into them.
        seconds_per_step: as it was measured.
    """

    steps: int
    seconds_per_step: float


def _budget(config: HeadToHead, own: TrainingConfig, made_with: Mapping[str, Any], device: str) -> _Budget:
    """Measure once how many steps fit into the minutes on this device."""
    path = own.output / BUDGET
    if path.is_file():
        had = read_json(path)
        return _Budget(had["steps"], had["seconds_per_step"])
    folder = own.output / "timed"
    # a trial that was stopped begins anew
    shutil.rmtree(folder, ignore_errors=True)
    trial = _Timed(replace(own, output=folder, steps=config.timed_steps, validation_phantoms=0), device)
    trial.run()
    seconds = trial.seconds_per_step
    budget = _Budget(max(round(60 * made_with["budget_minutes"] / seconds), 1), round(seconds, 4))
    write_json(path, {**asdict(budget), **made_with}, indent=1)
    return budget


def _train(config: HeadToHead, own: TrainingConfig, budget: _Budget, device: str, heun_steps: int) -> dict[str, Any]:
    run = TrainingRun(replace(own, steps=budget.steps), device)
    run.run()
    pool = report_pool(own)
    simulate_phantoms([(pool, phantom) for phantom in config.phantoms], device, own.simulators)
    return {
        "steps": run.state.step,
        "minutes": round(budget.steps * budget.seconds_per_step / 60, 2),
        "hardware": hardware(device, own.precision),
        "parameters": sum(each.numel() for each in run.denoiser.parameters()),
        "voxels": run.state.step * own.batch * own.patch**3,
        "architecture": dict(own.architecture),
        "rows": score_scans(Estimator.of(run), pool, config.phantoms),
        "heun_rows": score_scans(Estimator.of(run, heun_steps), pool, config.phantoms if heun_steps else ()),
    }
