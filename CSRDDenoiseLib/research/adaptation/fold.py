"""One fold: the training loop on its subjects, stopped where the held-out ones are best."""

from __future__ import annotations

import logging
import math
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Optional

import numpy as np
from safetensors.torch import load_file, save_file
from torch import Tensor

from ...atomic import complete_file, read_json, write_json
from ...model.metadata import ModelMetadata
from ..training.config import TrainingConfig
from ..training.loop import TrainingRun
from ..training.pool import Pool
from .held_out import HeldOut, judge, relative_change
from .settings import AdaptSettings

logger = logging.getLogger(__name__)

_BEST, _RECORD, _PLAN = "best.safetensors", "held-out.json", "plan.json"
_TRIAL_STEPS = 3
_NEVER = 1e9
_PLANNED_SHARE = 0.92
_BANDED = "noise-bands"


@dataclass(frozen=True)
class FoldResult:
    """What came out of a fold.

    Attributes:
        weights: of the network for the mean, averaged over steps, where the held-out scans were best.
        step: at which that was; 0 is the start.
        before, after: number of a held-out scan -> its errors, of the start and of these weights.
    """

    weights: dict[str, Tensor]
    step: int
    before: dict[int, HeldOut]
    after: dict[int, HeldOut]


@dataclass(frozen=True)
class FoldTime:
    """What a fold may take.

    Attributes:
        seconds: from its first step to its result.
        look: seconds to judge all of its held-out scans once.
    """

    seconds: float
    look: float


class FoldRun(TrainingRun):
    """A training run on measured pairs that keeps the weights with which the held-out pairs came out best.

    Attributes:
        every: after so many steps it looks at the held-out pairs, and at the end.
    """

    every = 1_000_000

    def _step(self) -> float:
        # before the step, so that the last one is left to the end of the run
        if self.state.step and self.state.step % self.every == 0:
            self._validate()
        return super()._step()

    def _train(self, deadline: Optional[float]) -> None:
        if not (self.config.output / _RECORD).is_file():
            self._validate()
        super()._train(deadline)

    def _validate(self) -> None:
        folder = self.config.output
        errors = judge(self.average, self.validation_pool, self.schedule.sigma_max)
        record = _read(folder / _RECORD)
        if not record:
            record = {"before": _plain(errors), "best": 0.0}
        change = relative_change(_errors_of(record["before"]), errors)
        if "after" not in record or change < record["best"]:
            record = {**record, "best": min(change, 0.0), "step": self.state.step, "after": _plain(errors)}
            weights = {
                name: value.detach().cpu().contiguous() for name, value in self.average.model.state_dict().items()
            }
            with complete_file(folder / _BEST) as partial:
                save_file(weights, partial)
            write_json(folder / _RECORD, record)
        self._log(event="held-out", change_percent=round(100 * (math.exp(change) - 1), 3))


def fold_config(metadata: ModelMetadata, settings: AdaptSettings, start: Path, output: Path) -> TrainingConfig:
    """The configuration of a fold: the recipe of the bundled model at the posterior mean alone, from ``start``."""
    clean = metadata.target == "noise-free"
    spread = 2.0 if clean and metadata.normalisation == _BANDED else 1.0
    return TrainingConfig(
        name=metadata.name,
        anatomy=output,
        output=output,
        architecture=dict(metadata.architecture),
        normalisation=metadata.normalisation,
        target=metadata.target,
        lesions=24,
        noise_scale=spread,
        keep_mm=8.0 if clean else 0.0,
        sigma_data=metadata.sigma_data,
        sigma_range=(metadata.sigma_min / metadata.sigma_data, metadata.sigma_max / metadata.sigma_data),
        start_from=str(start.resolve()),
        pull=settings.pull,
        train_only=settings.train_only,
        model_spacing=metadata.voxel_spacing_mm,
        regression_share=1.0,
        mr_dropout=0.12 if metadata.mr_optional else 0.0,
        patch=settings.patch,
        batch=settings.batch,
        learning_rate=settings.learning_rate,
        warmup=10,
        decay_share=0.5,
        pool_start=1,
        simulators=0,
        seed=settings.seed,
    )


def run_fold(
    config: TrainingConfig,
    pools: tuple[Pool, Pool],
    settings: AdaptSettings,
    device: str = "cpu",
    limit: Optional[FoldTime] = None,
) -> FoldResult:
    """Train a fold for its steps or within its time, or continue it, and return the result.

    Args:
        config: of :func:`fold_config`; its steps are planned here, by the speed of the first ones or as asked for.
        pools: pairs to train on, and held-out ones.
        settings: of this fold alone.
        device: torch device.
        limit: where ``settings`` name no steps.
    """
    folder = config.output
    if _read(folder / _RECORD).get("finished"):
        return _result_of(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if device == "cpu":
        # as fast as bfloat16 or faster with processors that have it, and far faster with the others
        config = replace(config, precision="float32")
    config = replace(config, pool_size=pools[0].available())
    plan = _plan(config, pools, settings, device, limit)
    minutes = plan["minutes"]
    config = replace(
        config,
        steps=plan["steps"],
        validation_phantoms=pools[1].available(),
        # the held-out pairs are looked at by steps, see FoldRun
        validation_minutes=_NEVER,
        checkpoint_minutes=3.0 if minutes is None else min(minutes / 4, 3.0),
    )
    run = FoldRun(config, device, pools)
    run.every = max(plan["steps"] // settings.validations, 1)
    run.run(None if minutes is None else max(minutes - _minutes_done(folder), 0.0))
    write_json(folder / _RECORD, {**_read(folder / _RECORD), "finished": True})
    return _result_of(folder)


def _plan(
    config: TrainingConfig,
    pools: tuple[Pool, Pool],
    settings: AdaptSettings,
    device: str,
    limit: Optional[FoldTime],
) -> dict[str, Any]:
    """Steps of a fold, and minutes after which none begins; those of an interrupted fold stay."""
    path = config.output / _PLAN
    plan = _read(path)
    if plan:
        return plan
    if settings.steps or limit is None:
        plan = {"steps": settings.steps or 1, "minutes": None}
    else:
        began = time.monotonic()
        seconds = seconds_per_step(config, pools, device)
        left = limit.seconds - (time.monotonic() - began) - limit.look
        training = left - limit.look * settings.validations
        # what one step more and the checkpoints take is kept back
        plan = {"steps": max(int(_PLANNED_SHARE * training / seconds), 1), "minutes": max(left - seconds, 0.0) / 60}
    write_json(path, plan)
    return plan


def _result_of(folder: Path) -> FoldResult:
    record = _read(folder / _RECORD)
    before, after = _errors_of(record["before"]), _errors_of(record["after"])
    return FoldResult(load_file(folder / _BEST), record["step"], before, after)


def seconds_per_step(config: TrainingConfig, pools: tuple[Pool, Pool], device: str) -> float:
    """Time a few steps of a run that is thrown away; the first one, which is slower, does not count."""
    with tempfile.TemporaryDirectory() as folder:
        trial = TrainingRun(replace(config, output=Path(folder), validation_phantoms=0), device, pools)
        trial._build()
        seconds = []
        for _ in range(_TRIAL_STEPS):
            began = time.perf_counter()
            trial._step()
            trial.state.step += 1
            seconds.append(time.perf_counter() - began)
    return float(np.median(seconds[1:]))


def _minutes_done(folder: Path) -> float:
    from ..training.checkpoint import load_checkpoint

    saved = load_checkpoint(folder)
    return saved["state"]["seconds"] / 60 if saved else 0.0


def _plain(errors: dict[int, HeldOut]) -> dict[str, Any]:
    return {str(number): asdict(error) for number, error in errors.items()}


def _errors_of(values: dict[str, Any]) -> dict[int, HeldOut]:
    return {int(number): HeldOut(**error) for number, error in values.items()}


def _read(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}
