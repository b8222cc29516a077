"""A scheduler and workers on this machine, from Dask's parts: one process per GPU, else by cores and memory."""

from __future__ import annotations

import importlib.util
import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterator, Optional, Sequence

from ..extras import require
from .places import TCP, Place, security_of, split_address
from .resources import CORES, MEMORY, SCAN

if TYPE_CHECKING:
    from distributed import SpecCluster, WorkerPlugin

TYPICAL_SHARE = 0.9
"""Share of the scans that every worker has memory for; the others go to the first worker."""
LEAST_MEMORY = 1 << 30
ALLOWED_FAILURES = 1
"""A scan whose worker ended is tried again once (Dask's ``allowed-failures``)."""
DASK = {
    "distributed.scheduler.allowed-failures": ALLOWED_FAILURES,
    # a scan may hold Python's lock for minutes, in registration for instance
    "distributed.scheduler.worker-ttl": "30 minutes",
    # the memory of a scan is not Dask's to spill, and a worker that is paused after a large one would not come back
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": 0.95,
    "distributed.worker.profile.enabled": False,
}
"""Dask's configuration of schedulers and workers that are started here."""
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)
"""Environment variables that limit the threads of the libraries, read when they are loaded."""


@dataclass(frozen=True)
class WorkerPlan:
    """One process.

    Attributes:
        threads: that a scan may use.
        memory: bytes it may hold, above which it is ended; 0 for no limit.
        gpu: number of the GPU that it sees, None for the processor.
    """

    threads: int
    memory: int = 0
    gpu: Optional[int] = None

    @property
    def resources(self) -> dict[str, float]:
        """What the scheduler may give away of it."""
        return {SCAN: 1, CORES: self.threads, **({MEMORY: self.memory} if self.memory else {})}

    @property
    def options(self) -> dict[str, Any]:
        """Arguments of Dask's Nanny."""
        environment = {} if self.gpu is None else {"CUDA_VISIBLE_DEVICES": str(self.gpu)}
        return {
            "nthreads": 1,
            "memory_limit": self.memory or 0,
            "resources": self.resources,
            "env": environment,
            "dashboard": False,
            "silence_logs": "CRITICAL",
        }


@dataclass(frozen=True)
class Machine:
    """What this machine has for workers.

    Attributes:
        cores: that this process may use.
        memory: bytes that are free; 0 where the system does not report it.
        gpus: number.
    """

    cores: int
    memory: int = 0
    gpus: int = 0


def this_machine(device: str = "auto") -> Machine:
    """Return what there is; ``device`` as in the settings: on the processor no GPU counts."""
    from ..infer.memory import free_bytes

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Machine(cores, free_bytes() or 0, _count_gpus() if device in ("auto", "cuda") else 0)


def _count_gpus() -> int:
    """Ask torch, which takes seconds to load, only where there is a driver."""
    if not (Path("/proc/driver/nvidia").exists() or shutil.which("nvidia-smi")):
        return 0
    from ..devices import list_devices

    return sum(each.name.startswith("cuda") for each in list_devices())


def plan_workers(machine: Machine, sizes: Sequence[float], wanted: Optional[int] = None) -> tuple[WorkerPlan, ...]:
    """Divide a machine among workers.

    On GPUs one process each. On the processor as many as there are cores, if memory bears one scan of the largest size
    and, in the others, scans of a size that :data:`TYPICAL_SHARE` of all have; larger ones then go to the first worker.

    Args:
        machine: what there is.
        sizes: estimated bytes of each scan.
        wanted: number of workers; None to choose.

    Returns:
        The workers; the first has the most memory.
    """
    ordered = sorted(sizes) or [0.0]
    largest, typical = ordered[-1], ordered[min(int(TYPICAL_SHARE * len(ordered)), len(ordered) - 1)]
    free = machine.memory or float("inf")
    if machine.gpus:
        count = min(wanted or machine.gpus, machine.gpus, len(ordered))
        threads = max(machine.cores // count, 1)
        share = int(machine.memory / count)
        return tuple(WorkerPlan(threads, share, index) for index in range(count))
    most = min(machine.cores, len(ordered))
    count = wanted or next((n for n in range(most, 1, -1) if largest + (n - 1) * typical <= free), 1)
    threads = max(machine.cores // count, 1)
    if not machine.memory:
        return (WorkerPlan(threads),) * count
    others = int(max(min(typical, free / count), LEAST_MEMORY)) if count > 1 else 0
    spare = max(int(free) - (count - 1) * others, LEAST_MEMORY)
    # what is left over is shared: an estimate is not a promise
    extra = max((spare - max(largest, typical, LEAST_MEMORY)) / count, 0)
    first = int(spare - extra * (count - 1))
    return (WorkerPlan(threads, first), *(WorkerPlan(threads, int(others + extra)) for _ in range(count - 1)))


@contextmanager
def local_cluster(
    plans: Sequence[WorkerPlan], listen: Optional[Place] = None, plugins: Sequence[WorkerPlugin] = ()
) -> Iterator[SpecCluster]:
    """Start a scheduler in this process and workers in processes of their own; end all at the end.

    Args:
        plans: of the workers.
        listen: where the scheduler listens; None for a port of its own on this machine only.
        plugins: of the workers.
    """
    require("distributed")
    from distributed import Nanny, Scheduler, SpecCluster

    scheme, host, port = split_address(listen.address) if listen else (TCP, "127.0.0.1", 0)
    security = security_of(listen) if listen else None
    common = {"protocol": f"{scheme}://", "host": host, "security": security}
    board = {"dashboard": has_dashboard(), "dashboard_address": "127.0.0.1:0"}
    options = {**common, "plugins": tuple(plugins)}
    workers = {index: {"cls": Nanny, "options": {**plan.options, **options}} for index, plan in enumerate(plans)}
    with (
        worker_settings(max((plan.threads for plan in plans), default=1)),
        SpecCluster(
            scheduler={"cls": Scheduler, "options": {**common, **board, "port": port}},
            workers=workers,
            security=security,
            name="csrd-denoise",
        ) as cluster,
    ):
        yield cluster


@contextmanager
def worker_settings(threads: int) -> Iterator[None]:
    """Configure the schedulers and workers that the body starts; workers' libraries may use this many threads."""
    import dask

    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    before_spawn = {f"distributed.nanny.pre-spawn-environ.{name}": threads for name in THREAD_VARIABLES}
    with dask.config.set({**DASK, **before_spawn}):
        try:
            yield
        finally:
            # Dask leaves what it sets for its workers in this process too
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


def has_dashboard() -> bool:
    """Whether Dask's pages can be shown; they need the package bokeh."""
    return importlib.util.find_spec("bokeh") is not None
