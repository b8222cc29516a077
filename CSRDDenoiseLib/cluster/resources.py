"""Names of what a worker has and a scan takes, as Dask's resources; the scheduler keeps the account."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distributed import Client

SCAN = "SCAN"
"""One for each scan that a worker may run at once: one."""
MEMORY = "MEMORY"
"""Bytes."""
CORES = "CORES"
"""Threads that a scan may use; stated by the worker, taken by no scan."""


def workers_of(client: Client) -> dict[str, Any]:
    """Return address -> the scheduler's facts about each worker, ``resources`` and ``nthreads`` among them."""
    try:
        return dict(client.scheduler_info(n_workers=-1)["workers"])
    except TypeError:
        # versions before the argument return all of them
        return dict(client.scheduler_info()["workers"])
