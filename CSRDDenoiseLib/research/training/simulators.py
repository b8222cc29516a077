"""Background processes that fill the pool."""

from __future__ import annotations

import multiprocessing
import os
import signal
from typing import Any

from ...errors import InputError
from .pool import Pool


class Simulators:
    """Processes that simulate phantoms; they end with this process, and what ends one of them early is reported.

    Args:
        pool: where the phantoms go.
        size: phantoms to simulate in all.
        count: processes.
        device: of projection and reconstruction.
    """

    def __init__(self, pool: Pool, size: int, count: int, device: str = "cpu"):
        context = multiprocessing.get_context("spawn")
        self._reasons: Any = context.SimpleQueue()
        self._processes = [
            context.Process(target=_fill, args=(pool, range(number, size, count), device, self._reasons), daemon=True)
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
            raise InputError(f"The simulation of phantoms failed: a process ended with {ended}.")

    def stop(self) -> None:
        """End every process."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join()


def _fill(pool: Pool, phantoms: range, device: str, reasons: Any) -> None:
    import torch

    # Ctrl-C reaches every process of the terminal; the first one ends the others
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    if hasattr(os, "nice"):
        os.nice(15)
    parent = os.getppid()
    for phantom in phantoms:
        if os.getppid() != parent:
            return
        try:
            pool.simulate(phantom, device)
        except Exception as error:
            reasons.put(f"phantom {phantom}: {' '.join(str(error).split()) or type(error).__name__}"[:400])
            return
