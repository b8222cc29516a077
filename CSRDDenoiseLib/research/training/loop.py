"""The training run: resumable at every checkpoint, within a budget of minutes, on one process or several."""

from __future__ import annotations

import copy
import json
import logging
import os
import time
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Mapping, Optional, Union

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ...alone import alone
from ...devices import arithmetic, choose_precision
from ...errors import InputError
from ...model.bundle import Model, build_network, load_model
from ...model.edm import Preconditioned, Schedule, in_memory_format
from .checkpoint import Part, TrainingState, check_held, held_facts, load_checkpoint, save_checkpoint, save_milestone
from .config import TrainingConfig
from .deviation import DeviationSource, fit_unit, measure_deviation
from .draws import Draws, validate_draws
from .objective import Coarse, denoising_loss, learning_rate_factor, pull_towards, update_average
from .patches import Batch, PatchSource
from .pool import Pool, pool_of, residual_rms
from .readiness import anatomies, check_network, claim_pool
from .simulators import Simulators
from .split import load_or_make_split
from .validation import validate

logger = logging.getLogger(__name__)

LOCK = ".lock"
_STEPS_PER_POOL_CHECK = 100
_MOST_SKIPPED = 10


class TrainingRun:
    """One run in its output folder; :meth:`run` continues from the last checkpoint.

    Several processes are started by ``torchrun``; each draws its own patches.

    Args:
        config: what to train.
        device: torch device; ``cuda`` is the GPU of this process (:func:`device_of_process`).
        pools: to train on and to validate on; None takes those that the configuration simulates.
        pairs: measured pairs to train on beside them, for ``config.share`` of the patches, and to validate on.

    Raises:
        InputError: the anatomies or the split are not enough, or the pool was simulated with other settings.
    """

    def __init__(
        self,
        config: TrainingConfig,
        device: str = "cpu",
        pools: Optional[tuple[Pool, Pool]] = None,
        pairs: Optional[tuple[Pool, Pool]] = None,
    ):
        self.config, self.device = config, device_of_process(device, os.environ)
        self._skipped = 0
        self._following: Optional[tuple[int, int, Batch]] = None
        self._simulators: Optional[Simulators] = None
        self.rank, self.world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        if self.world > 1 and not torch.distributed.is_initialized():
            _join_processes(torch.device(self.device))
        self._simulated, self.pairs = pools is None, pairs
        self.pool, self.validation_pool = pools or simulated_pools(config)

    def run(self, minutes: Optional[float] = None) -> TrainingState:
        """Train until the last step or the end of the budget, and leave a checkpoint; returns where the run stands.

        Args:
            minutes: from now to the last step, the wait for phantoms included; the last validation comes after them.

        Raises:
            InputError: the network, the pool or the checkpoint cannot be used, another training runs in the folder, a
                simulator failed, the minutes are over before the first phantoms are there, or the gradients are not
                finite.
        """
        config, deadline = self.config, None if minutes is None else time.monotonic() + 60 * minutes
        check_network(config)
        saved = load_checkpoint(config.output)
        if saved is not None:
            check_held(config, saved)
        for pool in (self.pool, self.validation_pool) if self._simulated else ():
            claim_pool(pool, self.rank)
        # of several processes the first one writes
        with nullcontext() if self.rank else alone(config.output / LOCK, "Another training", config.output):
            self._run(deadline)
        return self.state

    def _run(self, deadline: Optional[float]) -> None:
        config = self.config
        if self.rank == 0 and self._simulated:
            jobs = [(self.pool, phantom) for phantom in range(config.pool_size)]
            self._simulators = Simulators(jobs, config.simulators, self.device)
        try:
            self._wait_for_pool(deadline)
            self._build()
            with torch.backends.cudnn.flags(enabled=True, benchmark=True):
                self._train(deadline)
        finally:
            if self._simulators:
                self._simulators.stop()

    def _build(self) -> None:
        config = self.config
        torch.manual_seed(config.seed)
        saved, self._facts = load_checkpoint(config.output), held_facts(config)
        self.mean = load_model(config.mean_model, self.device) if config.mean_model else None
        network = build_network(config.architecture)
        self.state = TrainingState(**saved["state"]) if saved else self._first_state(network)
        network = in_memory_format(network.to(self.device))
        self.denoiser = Preconditioned(network, self.state.sigma_data)
        self.average = copy.deepcopy(self.denoiser).eval().requires_grad_(False)
        for name, parameter in self.denoiser.model.named_parameters():
            parameter.requires_grad_(not config.train_only or name.startswith(config.train_only))
        self.start = self._anchor()
        self.optimiser = torch.optim.AdamW(
            self.denoiser.parameters(), config.learning_rate, (0.9, 0.98), weight_decay=0.0 if config.pull else 1e-3
        )
        if saved:
            self.denoiser.load_state_dict(saved["network"])
            self.average.load_state_dict(saved["average"])
            self.optimiser.load_state_dict(saved["optimiser"])
        self.trained = self.denoiser if self.world == 1 else DistributedDataParallel(self.denoiser)
        self.source: Union[PatchSource, DeviationSource] = self._patches(self.state.sigma_data)
        if self.mean is not None:
            self.source = DeviationSource(
                self._patches(self.state.sigma_data), self.mean, self.state.deviation_unit, config.repeats
            )

    def _patches(self, sigma_data: float) -> PatchSource:
        pairs = None if self.pairs is None else self.pairs[0]
        sigma_max = self.config.sigma_range[1] * sigma_data
        return PatchSource(self.pool, self.config, sigma_data, sigma_max, self.rank, pairs, self.device)

    def _first_state(self, network: nn.Module) -> TrainingState:
        config = self.config
        if self.mean is not None:
            unit = fit_unit(self._patches(1.0), self.mean, config.pool_start)
            source = DeviationSource(self._patches(1.0), self.mean, unit, config.repeats)
            sigma_data = measure_deviation(source, config.pool_start, config.repeats)
            return TrainingState(0, config.pool_start, 0.0, sigma_data, unit.weights, unit.removed)
        if config.start_from is None:
            sigma_data = config.sigma_data or measure_sigma_data(self.pool, config.pool_start)
            return TrainingState(0, config.pool_start, 0.0, sigma_data)
        model = load_model(config.start_from)
        network.load_state_dict(model.denoiser.model.state_dict())
        return TrainingState(0, config.pool_start, 0.0, model.metadata.sigma_data)

    def _anchor(self) -> list[torch.Tensor]:
        """The weights that a pull draws to; none without a pull."""
        if not self.config.pull:
            return []
        model = load_model(str(self.config.start_from))
        return [parameter.to(self.device) for parameter in model.denoiser.model.parameters()]

    @property
    def schedule(self) -> Schedule:
        """Noise levels of a sampler; at the largest D is the posterior mean."""
        low, high = (end * self.state.sigma_data for end in self.config.sigma_range)
        return Schedule(low, high)

    @property
    def coarse(self) -> Coarse:
        """The part of the error that counts less."""
        return Coarse(self.config.keep_mm / self.config.model_spacing, self.config.coarse_weight)

    def _train(self, deadline: Optional[float]) -> None:
        config, losses, seconds = self.config, [], 0.0
        saved = validated = time.monotonic()
        while self.state.step < config.steps and self._go_on(deadline):
            began = time.monotonic()
            losses.append(self._step())
            self.state.step += 1
            if self.state.step in config.milestones and self.rank == 0:
                save_milestone(config.output, self.state.step, self.average.model)
            took = time.monotonic() - began
            self.state.seconds, seconds = self.state.seconds + took, seconds + took
            if time.monotonic() - saved > 60 * config.checkpoint_minutes:
                self._checkpoint(losses, seconds)
                losses, seconds, saved = [], 0.0, time.monotonic()
            if time.monotonic() - validated > 60 * config.validation_minutes:
                self._validate()
                validated = time.monotonic()
        self._checkpoint(losses, seconds)
        self._validate()

    def _go_on(self, deadline: Optional[float]) -> bool:
        """Whether there is time for a step, and with how many phantoms: the first process decides for all."""
        phantoms = self.state.phantoms
        if self.rank == 0 and self.state.step % _STEPS_PER_POOL_CHECK == 0:
            self._check_simulators()
            # a pool that runs share may have more
            phantoms = min(self.pool.available(), self.config.pool_size)
        decision = torch.tensor([phantoms, deadline is None or time.monotonic() < deadline])
        if self.world > 1:
            torch.distributed.broadcast(decision, 0)
        self.state.phantoms = int(decision[0])
        return bool(decision[1])

    def _step(self) -> float:
        """Train on the batch of this step, and make the next one while a GPU is at work on it; returns the loss."""
        config, step = self.config, self.state.step
        rate = config.learning_rate * learning_rate_factor(step, config.steps, config.warmup, config.decay_share)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        loss, norm = self._gradients(self._batch(step))
        self._following = (step + 1, self.state.phantoms, self._make_batch(step + 1))
        if not bool(torch.isfinite(norm)):
            self._skip(float(norm))
            return float("nan")
        self._skipped = 0
        self.optimiser.step()
        pull_towards(self.denoiser, self.start, rate * config.pull)
        update_average(self.average, self.denoiser, config.ema_decay, step)
        return float(loss)

    def _gradients(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Loss of a batch and norm of its gradient, which is then clipped."""
        config = self.config
        # a network with dropout draws from torch: from here on what follows is the step's alone
        seeds = np.random.SeedSequence((config.seed, self.state.step, self.rank))
        torch.manual_seed(int(seeds.generate_state(1)[0]))
        with autocast(self.device, config.precision):
            loss = denoising_loss(self.trained, batch, self.state.sigma_data, self.coarse, config.quantities)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        return loss.detach(), nn.utils.clip_grad_norm_(self.denoiser.parameters(), config.clip_norm)

    def _batch(self, step: int) -> Batch:
        """The batch of a step, which the step before may have made already, of as many phantoms."""
        ahead = self._following
        if ahead is not None and ahead[:2] == (step, self.state.phantoms):
            return ahead[2]
        return self._make_batch(step)

    def _make_batch(self, step: int) -> Batch:
        return self.source.batch(step, self.state.phantoms)

    def _skip(self, norm: float) -> None:
        """Leave out a step whose gradient is not finite; a run that has nothing but such steps is stopped."""
        self._skipped += 1
        logger.warning("Step %d is left out: its gradient has the norm %g.", self.state.step, norm)
        if self._skipped >= _MOST_SKIPPED:
            saved = load_checkpoint(self.config.output) if self.rank == 0 else None
            kept = f"The checkpoint of step {saved['state']['step']} is kept." if saved else "There is no checkpoint."
            raise InputError(
                f"The gradients of {self._skipped} steps up to step {self.state.step} are not finite. {kept} "
                "Train in float32, with larger patches, or with a smaller learning_rate."
            )

    def _checkpoint(self, losses: list[float], seconds: float) -> None:
        """Write a checkpoint, and a line on the steps since the last one: their losses, and how long they took."""
        if self.rank:
            return
        parts: dict[str, Part] = {"network": self.denoiser, "average": self.average, "optimiser": self.optimiser}
        save_checkpoint(self.config.output, self.state, parts, self._facts)
        finite = [loss for loss in losses if np.isfinite(loss)]
        loss = round(float(np.mean(finite)), 5) if finite else None
        rate = round(len(losses) / seconds, 3) if seconds > 0 else None
        self._log(event="train", loss=loss, steps_per_second=rate)

    def _validate(self) -> None:
        if self.rank:
            return
        wanted = self.config.validation_phantoms
        for phantom in range(wanted):
            self.validation_pool.simulate(phantom)
        if self.mean is not None:
            self._log(event="validation", **self._validate_draws(self.mean))
            return
        scores = validate(self.average, self.validation_pool, wanted, self.schedule.sigma_max, self.config.mean_from)
        self._log(event="validation", **scores)
        if self.pairs is not None:
            pool = self.pairs[1]
            scores = validate(self.average, pool, pool.available(), self.schedule.sigma_max, self.config.mean_from)
            self._log(event="validation of pairs", **scores)

    def _validate_draws(self, mean: Model) -> dict[str, dict[str, float]]:
        pool, wanted = self.validation_pool, self.config.validation_phantoms
        return validate_draws(mean, Draws(self.average, self.state.deviation_unit, self.schedule), pool, wanted)

    def _log(self, **values: Any) -> None:
        state = self.state
        line = {"step": state.step, "minutes": round(state.seconds / 60, 2), "phantoms": state.phantoms, **values}
        with (self.config.output / "log.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        logger.info("%s", json.dumps(line))

    def _wait_for_pool(self, deadline: Optional[float] = None) -> None:
        wanted = min(self.config.pool_start, self.config.pool_size)
        while self.pool.available() < wanted:
            if deadline is not None and time.monotonic() >= deadline:
                raise InputError(
                    f"The time ran out while the training waited for phantoms: {self.pool.available()} of {wanted} "
                    f"('pool_start') are there. They are kept in '{self.pool.folder}', and the same command goes on "
                    "with them; give it more time, or more 'simulators'."
                )
            if self.config.simulators == 0:
                self.pool.simulate(self.pool.available())
            else:
                self._check_simulators()
                time.sleep(1)

    def _check_simulators(self) -> None:
        if self._simulators:
            self._simulators.check()


def device_of_process(name: str, environment: Mapping[str, str]) -> str:
    """``cuda`` with the number of the GPU that is this process's where torchrun started it; other names as they are.

    Args:
        name: of a torch device, such as ``cpu``, ``cuda`` or ``cuda:1``.
        environment: with torchrun's ``LOCAL_RANK``, the number of a process on its machine.
    """
    local = environment.get("LOCAL_RANK")
    return name if local is None or name != "cuda" else f"cuda:{local}"


def simulated_pools(config: TrainingConfig) -> tuple[Pool, Pool]:
    """The pools that a configuration simulates, to train on and to validate on.

    Raises:
        InputError: the anatomies or the split are not enough.
    """
    names = [] if config.split_file.is_file() else anatomies(config.anatomy)
    needed = ("train", "validation") if config.validation_phantoms else ("train",)
    split = load_or_make_split(config.split_file, names, config.subjects, config.seed, needed)
    return pool_of(config, "train", split["train"]), pool_of(config, "validation", split["validation"])


def measure_sigma_data(pool: Pool, phantoms: int) -> float:
    """Geometric mean over the first phantoms of a pool of their residual's root mean square inside the head."""
    return float(np.exp(np.mean([np.log(residual_rms(example)) for _, _, example in pool.examples(phantoms)])))


def _join_processes(device: torch.device) -> None:
    """Join the other processes of torchrun; what they decide together is on the processor, gradients on the device."""
    if device.type == "cuda":
        torch.cuda.set_device(device)
    torch.distributed.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")


def autocast(device: str, precision: str = "auto") -> AbstractContextManager:
    """Arithmetic of a step; ``auto`` is bfloat16 where the device has it in hardware, else float32."""
    where = torch.device(device)
    return arithmetic(where, choose_precision(where, precision))
