"""Background processes that fill the pool."""

from __future__ import annotations

import multiprocessing
import os
from typing import Sequence

from .pool import Pool


def start_simulators(pool: Pool, size: int, count: int) -> Sequence[multiprocessing.process.BaseProcess]:
    """Start ``count`` processes that simulate phantoms up to ``size``; they end with this process."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_fill, args=(pool, size, n, count), daemon=True) for n in range(count)]
    for process in processes:
        process.start()
    return processes


def _fill(pool: Pool, size: int, first: int, stride: int) -> None:
    import torch

    torch.set_num_threads(1)
    os.nice(15)
    parent = os.getppid()
    for phantom in range(first, size, stride):
        if os.getppid() != parent:
            return
        pool.simulate(phantom)
