"""Processes that simulate the phantoms of pools, beside a training or for an experiment that waits for them."""

from __future__ import annotations

import multiprocessing
import os
import signal
from multiprocessing import connection
from typing import Any, Iterable, Sequence

from ...errors import InputError
from .pool import Pool

Job = tuple[Pool, int]
"""A pool and the number of a phantom of it."""


class Simulators:
    """Processes that simulate phantoms; they end with this process, and what ends one of them early is reported.

    Args:
        jobs: the phantoms; those that are there already take no time.
        count: processes.
        device: of projection and reconstruction.
        niceness: of their processes, so that a training on the same machine has priority.
    """

    def __init__(self, jobs: Sequence[Job], count: int, device: str = "cpu", niceness: int = 15):
        # CUDA does not outlive a fork
        context = multiprocessing.get_context("spawn")
        self._reasons: Any = context.SimpleQueue()
        self._processes = [
            context.Process(target=_fill, args=(jobs[number::count], device, self._reasons, niceness), daemon=True)
            for number in range(count)
        ]
        for process in self._processes:
            process.start()

    def check(self) -> None:
        """Check that no process has failed.

        Raises:
            InputError: one has; the message gives the reason.
        """
        if not self._reasons.empty():
            raise InputError(f"The simulation of phantoms failed: {self._reasons.get()}.")
        code = next((process.exitcode for process in self._processes if process.exitcode), None)
        if code is not None:
            ended = f"signal {-code}, as when memory runs out" if code < 0 else f"exit code {code}"
            raise InputError(
                f"The simulation of phantoms failed: one of {len(self._processes)} processes ended with {ended}. "
                "Set 'simulators' to a smaller number where memory is short."
            )

    def wait(self) -> None:
        """Wait until every process is done, or one has failed.

        Raises:
            InputError: one has; the message gives the reason.
        """
        running = list(self._processes)
        while running:
            connection.wait([process.sentinel for process in running])
            self.check()
            running = [process for process in running if process.is_alive()]

    def stop(self) -> None:
        """End every process."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join()


def simulate_phantoms(jobs: Iterable[Job], device: str = "cpu", processes: int = 1) -> None:
    """Simulate those phantoms that are not there yet.

    Args:
        jobs: the phantoms.
        device: torch device of projection and reconstruction.
        processes: at once; with one or none, this process simulates.

    Raises:
        InputError: a pool has no anatomies, or a process failed, as when memory runs out.
    """
    missing = [(pool, phantom) for pool, phantom in jobs if not pool.path(phantom).is_file()]
    if min(processes, len(missing)) < 2:
        for pool, phantom in missing:
            pool.simulate(phantom, device)
        return
    simulators = Simulators(missing, min(processes, len(missing)), device, niceness=0)
    try:
        simulators.wait()
    finally:
        simulators.stop()


def _fill(jobs: Sequence[Job], device: str, reasons: Any, niceness: int) -> None:
    import torch

    # Ctrl-C reaches every process of the terminal; the first one ends the others
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    if hasattr(os, "nice"):
        os.nice(niceness)
    parent = os.getppid()
    for pool, phantom in jobs:
        if os.getppid() != parent:
            return
        try:
            pool.simulate(phantom, device)
        except Exception as error:
            reasons.put(f"phantom {phantom}: {' '.join(str(error).split()) or type(error).__name__}"[:400])
            return
