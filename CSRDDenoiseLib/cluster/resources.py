"""Names of what a worker has and a scan takes, as Dask's resources; the scheduler keeps the account."""

from __future__ import annotations

SCAN = "SCAN"
"""One for each scan that a worker may run at once: one."""
MEMORY = "MEMORY"
"""Bytes."""
CORES = "CORES"
"""Threads that a scan may use; stated by the worker, taken by no scan."""
