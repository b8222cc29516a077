"""What a training takes of the machine it runs on: file descriptors, time, several processes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from phantom_pool import SPACING, write_phantom

from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.research.training import loop
from CSRDDenoiseLib.research.training.checkpoint import load_checkpoint
from CSRDDenoiseLib.research.training.config import TrainingConfig
from CSRDDenoiseLib.research.training.patches import PatchSource
from CSRDDenoiseLib.research.training.pool import Pool
from CSRDDenoiseLib.research.training.readiness import claim_pool


@pytest.fixture
def few_descriptors():
    """Room for at most 32 more open files."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/dev/fd")) + 32, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def pool_of_copies(folder: Path, count: int) -> Pool:
    """A pool whose phantoms are alike."""
    pool = Pool(folder, None, (), (1 / 4, 1 / 10), SPACING, 0)
    write_phantom(pool)
    for phantom, suffix in ((phantom, suffix) for phantom in range(1, count) for suffix in (".npy", ".json")):
        shutil.copy(pool.path(0).with_suffix(suffix), pool.path(phantom).with_suffix(suffix))
    return pool


def test_a_pool_of_more_examples_than_a_process_may_open_files_is_trained_on(tmp_path, few_descriptors):
    pool = pool_of_copies(tmp_path, 40)
    config = TrainingConfig(name="x", output=tmp_path, anatomy=tmp_path, patch=8, batch=80, model_spacing=SPACING)
    source = PatchSource(pool, config, 0.1, 4.0)
    source.batch(0, 40)
    kept = list(source._recent.values())
    assert len(kept) > 32, "more than could be open at once"
    stored = np.load(pool.path(0))
    assert all(np.array_equal(example.phantom.volumes, stored) for example in kept)


# -- several processes


@pytest.mark.parametrize(
    ("name", "environment", "wanted"),
    [
        ("cuda", {"LOCAL_RANK": "3", "RANK": "11"}, "cuda:3"),
        ("cuda", {"LOCAL_RANK": "0"}, "cuda:0"),
        ("cuda:1", {"LOCAL_RANK": "3"}, "cuda:1"),
        ("cpu", {"LOCAL_RANK": "3"}, "cpu"),
        ("cuda", {}, "cuda"),
    ],
)
def test_each_process_has_the_gpu_of_its_local_rank(name, environment, wanted):
    assert loop.device_of_process(name, environment) == wanted


@pytest.mark.parametrize(("device", "backend"), [("cuda:1", "cpu:gloo,cuda:nccl"), ("cpu", "gloo")])
def test_processes_agree_on_the_processor_also_where_they_train_on_gpus(training_config, monkeypatch, device, backend):
    chosen, joined = [], []
    monkeypatch.setattr(torch.cuda, "set_device", lambda where: chosen.append(str(where)))
    monkeypatch.setattr(torch.distributed, "init_process_group", joined.append)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    run = loop.TrainingRun(training_config, device.partition(":")[0])
    assert run.device == device and joined == [backend] and chosen == [device] * (device != "cpu")


@pytest.mark.slow
def test_two_processes_of_torchrun_train_one_model(training_config, tmp_path):
    first = loop.TrainingRun(replace(training_config, simulators=0, validation_phantoms=0))
    for pool, count in ((first.pool, 2), (first.validation_pool, 0)):
        claim_pool(pool)
        for phantom in range(count):
            pool.simulate(phantom)
    path = tmp_path / "train.yaml"
    values = asdict(first.config)
    path.write_text(
        json.dumps({name: value for name, value in values.items() if value is not None}, default=str), encoding="utf-8"
    )
    words = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "CSRDDenoiseLib", "train")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-m", *words, str(path)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert load_checkpoint(first.config.output)["state"]["step"] == first.config.steps
    assert done.stdout.count("Model 'tiny' after 6 steps") == 1, "the first process alone writes it"


# -- time


class Clock:
    """A clock that goes on only when it is told to."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(loop, "time", clock)
    return clock


def test_the_wait_for_phantoms_counts_among_the_minutes(training_config, monkeypatch, clock):
    simulate, made = Pool.simulate, []

    def slowly(pool, phantom, device="cpu"):
        clock.sleep(90)
        simulate(pool, phantom, device)
        made.append(phantom)

    monkeypatch.setattr(Pool, "simulate", slowly)
    run = loop.TrainingRun(replace(training_config, validation_phantoms=0))
    with pytest.raises(InputError, match=r"waited for phantoms: 1 of 2 .*are kept in '.*pool', and the same command"):
        run.run(minutes=1)
    assert made == [0]
    taken = []
    monkeypatch.setattr(loop.TrainingRun, "_step", lambda _: taken.append(clock.sleep(20)) or 0.0)
    assert loop.TrainingRun(run.config).run(minutes=2).step == 2, "90 seconds for phantom 1, and 20 a step"
    assert made == [0, 1] and len(taken) == 2


def test_the_time_of_a_run_is_that_of_its_steps_and_its_speed_that_since_the_last_line(
    training_config, monkeypatch, clock
):
    monkeypatch.setattr(loop.TrainingRun, "_step", lambda run: clock.sleep(1 if run.state.step < 3 else 4) or 0.5)
    monkeypatch.setattr(loop.TrainingRun, "_validate", lambda _: clock.sleep(1000))
    minutes = {"checkpoint_minutes": 0.0, "validation_minutes": 0.0}
    config = replace(training_config, steps=5, validation_phantoms=0, **minutes)
    state = loop.TrainingRun(config).run()
    assert state.seconds == 3 * 1 + 2 * 4
    lines = [json.loads(line) for line in (config.output / "log.jsonl").read_text().splitlines()]
    speeds = [(line["step"], line["steps_per_second"]) for line in lines]
    assert speeds == [(1, 1.0), (2, 1.0), (3, 1.0), (4, 0.25), (5, 0.25), (5, None)], "the last line has no step"
    assert [line["minutes"] for line in lines] == [round(seconds / 60, 2) for seconds in (1, 2, 3, 7, 11, 11)]
    assert loop.TrainingRun(replace(config, steps=6)).run().seconds == state.seconds + 4
