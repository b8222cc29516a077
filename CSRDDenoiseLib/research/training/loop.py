"""The training run: resumable at every checkpoint, within a budget of minutes, on one process or several."""

from __future__ import annotations

import copy
import json
import os
import time
from contextlib import AbstractContextManager
from typing import Any, Callable, Optional

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ...devices import arithmetic, choose_precision
from ...model.bundle import build_network, load_model
from ...model.edm import Preconditioned, in_memory_format
from ..simulation.anatomy import list_anatomies
from .checkpoint import TrainingState, load_checkpoint, save_checkpoint
from .config import TrainingConfig
from .objective import Coarse, denoising_loss, learning_rate_factor, update_average
from .patches import Batch, PatchSource
from .pool import Pool, pool_of, residual_rms
from .simulators import start_simulators
from .split import load_or_make_split
from .validation import validate

_STEPS_PER_POOL_CHECK = 100


class TrainingRun:
    """One run in its output folder; :meth:`run` goes on from the last checkpoint.

    Several processes are started by ``torchrun``; each draws its own patches.

    Args:
        config: what to train.
        device: torch device.
        log: called with every line of the log, besides the file.
    """

    def __init__(self, config: TrainingConfig, device: str = "cpu", log: Callable[[dict], None] = lambda line: None):
        self.config, self.device, self._echo = config, device, log
        self.rank, self.world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        if self.world > 1 and not torch.distributed.is_initialized():
            torch.distributed.init_process_group("nccl" if torch.device(device).type == "cuda" else "gloo")
        names = list_anatomies(config.anatomy)
        self.split = load_or_make_split(config.split_file, names, config.subjects, config.seed)
        self.pool = pool_of(config, "train", self.split["train"])
        self.validation_pool = pool_of(config, "validation", self.split["validation"])

    def run(self, minutes: Optional[float] = None) -> TrainingState:
        """Train until the last step or the end of the budget, and leave a checkpoint; returns where the run stands."""
        config = self.config
        simulators = start_simulators(self.pool, config.pool_size, config.simulators) if self.rank == 0 else []
        try:
            self._wait_for_pool()
            self._build()
            self._train(None if minutes is None else time.monotonic() + 60 * minutes)
        finally:
            for process in simulators:
                process.terminate()
        return self.state

    def _build(self) -> None:
        config = self.config
        torch.manual_seed(config.seed)
        saved = load_checkpoint(config.output)
        network = build_network(config.architecture)
        self.state = TrainingState(**saved["state"]) if saved else self._first_state(network)
        network = in_memory_format(network.to(self.device))
        self.denoiser = Preconditioned(network, self.state.sigma_data)
        self.average = copy.deepcopy(self.denoiser).eval().requires_grad_(False)
        self.optimiser = torch.optim.AdamW(
            self.denoiser.parameters(), config.learning_rate, (0.9, 0.98), weight_decay=1e-3
        )
        if saved:
            self.denoiser.load_state_dict(saved["network"])
            self.average.load_state_dict(saved["average"])
            self.optimiser.load_state_dict(saved["optimiser"])
        self.trained = self.denoiser if self.world == 1 else DistributedDataParallel(self.denoiser)
        self.source = PatchSource(self.pool, config, self.state.sigma_data, self.sigma_max, self.rank)

    def _first_state(self, network: nn.Module) -> TrainingState:
        config = self.config
        if config.start_from is None:
            sigma_data = config.sigma_data or measure_sigma_data(self.pool, config.pool_start)
            return TrainingState(0, config.pool_start, 0.0, sigma_data)
        model = load_model(config.start_from)
        network.load_state_dict(model.denoiser.model.state_dict())
        return TrainingState(0, config.pool_start, 0.0, model.metadata.sigma_data)

    @property
    def sigma_max(self) -> float:
        """Noise level at which D is the posterior mean."""
        return self.config.sigma_range[1] * self.state.sigma_data

    @property
    def coarse(self) -> Coarse:
        """What of the error counts less."""
        return Coarse(self.config.keep_mm / self.config.model_spacing, self.config.coarse_weight)

    def _train(self, deadline: Optional[float]) -> None:
        config, losses = self.config, []
        began = saved = validated = time.monotonic()
        before, first = self.state.seconds, self.state.step
        while self.state.step < config.steps and self._go_on(deadline):
            losses.append(self._step(self.source.batch(self.state.step, self.state.phantoms).to(self.device)))
            self.state.step += 1
            self.state.seconds = before + time.monotonic() - began
            if time.monotonic() - saved > 60 * config.checkpoint_minutes:
                self._checkpoint(losses, (self.state.step - first) / (time.monotonic() - began))
                losses, saved = [], time.monotonic()
            if time.monotonic() - validated > 60 * config.validation_minutes:
                self._validate()
                validated = time.monotonic()
        self._checkpoint(losses, (self.state.step - first) / max(time.monotonic() - began, 1e-9))
        self._validate()

    def _go_on(self, deadline: Optional[float]) -> bool:
        """Whether there is time for a step, and with how many phantoms: the first process decides for all."""
        phantoms = self.state.phantoms
        if self.rank == 0 and self.state.step % _STEPS_PER_POOL_CHECK == 0:
            phantoms = self.pool.available()
        decision = torch.tensor([phantoms, deadline is None or time.monotonic() < deadline])
        if self.world > 1:
            torch.distributed.broadcast(decision, 0)
        self.state.phantoms = int(decision[0])
        return bool(decision[1])

    def _step(self, batch: Batch) -> float:
        config, step = self.config, self.state.step
        for group in self.optimiser.param_groups:
            group["lr"] = config.learning_rate * learning_rate_factor(
                step, config.steps, config.warmup, config.decay_share
            )
        # a network with dropout draws from torch: from here on what follows is the step's alone
        torch.manual_seed(int(np.random.SeedSequence((config.seed, step, self.rank)).generate_state(1)[0]))
        with autocast(self.device, config.precision):
            loss = denoising_loss(self.trained, batch, self.state.sigma_data, self.coarse)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.denoiser.parameters(), config.clip_norm)
        self.optimiser.step()
        update_average(self.average, self.denoiser, config.ema_decay, step)
        return float(loss.detach())

    def _checkpoint(self, losses: list[float], rate: float) -> None:
        if self.rank:
            return
        save_checkpoint(self.config.output, self.state, self.denoiser, self.average, self.optimiser)
        loss = round(float(np.mean(losses)), 5) if losses else None
        self._log(event="train", loss=loss, steps_per_second=round(rate, 3))

    def _validate(self) -> None:
        if self.rank:
            return
        wanted = self.config.validation_phantoms
        for phantom in range(wanted):
            self.validation_pool.simulate(phantom)
        scores = validate(self.average, self.validation_pool, wanted, self.sigma_max, self.config.mean_from)
        self._log(event="validation", **scores)

    def _log(self, **values: Any) -> None:
        state = self.state
        line = {"step": state.step, "minutes": round(state.seconds / 60, 2), "phantoms": state.phantoms, **values}
        with (self.config.output / "log.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        self._echo(line)

    def _wait_for_pool(self) -> None:
        while self.pool.available() < min(self.config.pool_start, self.config.pool_size):
            if self.config.simulators == 0:
                self.pool.simulate(self.pool.available())
            else:
                time.sleep(1)


def measure_sigma_data(pool: Pool, phantoms: int) -> float:
    """Geometric mean over the first phantoms of a pool of their residual's root mean square inside the head."""
    return float(np.exp(np.mean([np.log(residual_rms(example)) for _, _, example in pool.examples(phantoms)])))


def autocast(device: str, precision: str = "auto") -> AbstractContextManager:
    """Arithmetic of a step; ``auto`` is bfloat16 where the device has it in hardware, else float32."""
    where = torch.device(device)
    return arithmetic(where, choose_precision(where, precision))
