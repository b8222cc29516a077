"""Phantoms that an experiment needs, simulated by several processes at once."""

from __future__ import annotations

import multiprocessing
import signal
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Iterable

from ...errors import InputError
from ..training.pool import Pool

Job = tuple[Pool, int]


def simulate_phantoms(jobs: Iterable[Job], device: str = "cpu", processes: int = 1) -> None:
    """Simulate those phantoms that are not there yet.

    Args:
        jobs: pool and number of each phantom.
        device: torch device of projection and reconstruction.
        processes: at once; with one or none, this process simulates.

    Raises:
        InputError: a pool has no anatomies, or a process was ended, as when memory runs out.
    """
    missing = [(pool, phantom) for pool, phantom in jobs if not pool.path(phantom).is_file()]
    if min(processes, len(missing)) < 2:
        for pool, phantom in missing:
            pool.simulate(phantom, device)
        return
    # CUDA does not outlive a fork
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(min(processes, len(missing)), context, _begin)
    try:
        for future in [executor.submit(pool.simulate, phantom, device) for pool, phantom in missing]:
            future.result()
    except BrokenProcessPool as error:
        raise InputError(
            f"The simulation of {len(missing)} phantoms failed: one of {processes} processes was ended, as when memory "
            "runs out. Set 'simulators' to a smaller number."
        ) from error
    finally:
        executor.shutdown(cancel_futures=True)


def _begin() -> None:
    import torch

    # an interrupt ends the first process, which then ends the others
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
