"""Workers for others: processes with this package and a warm model that take scans from a Dask scheduler."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any, Callable, Sequence

from distributed import Nanny
from distributed.comm.core import CommClosedError

from .local import Machine, WorkerPlan, local_cluster, worker_settings
from .models import WarmModel
from .places import Place, is_loopback, quiet, security_of, split_address

AGAIN_SECONDS = 1.0
"""A worker whose scheduler went away tries again after this."""
SHARE_OF_MEMORY = 0.9


def plan_service(machine: Machine, workers: int, threads: int = 0, memory: int = 0) -> tuple[WorkerPlan, ...]:
    """Divide a machine among workers for others: one a GPU, or one with all cores, where no number is given.

    Args:
        machine: what there is.
        workers: number of processes; 0 to choose.
        threads: of each; 0 for an equal share.
        memory: bytes of each; 0 for an equal share of most of what is free.
    """
    count = workers or machine.gpus or 1
    threads = threads or max(machine.cores // count, 1)
    memory = memory or int(SHARE_OF_MEMORY * machine.memory / count)
    gpus = [index % machine.gpus if machine.gpus else None for index in range(count)]
    return tuple(WorkerPlan(threads, memory, gpu) for gpu in gpus)


def serve_here(place: Place, plans: Sequence[WorkerPlan], model: WarmModel, say: Callable[[str], None]) -> None:
    """Start a scheduler that listens at a place, and its workers; return when interrupted.

    Raises:
        PlaceError: there are no certificates.
    """
    with quiet(), local_cluster(plans, place, [model]) as cluster:
        say(f"The scheduler at {cluster.scheduler_address} has {len(plans)} worker(s).")
        cluster.sync(asyncio.Event().wait)


def serve(place: Place, plans: Sequence[WorkerPlan], model: WarmModel, say: Callable[[str], None]) -> None:
    """Work for a scheduler until interrupted; where it goes away, wait for it to come back.

    Raises:
        PlaceError: there are no certificates.
    """
    with quiet(), worker_settings(plans[0].threads):
        asyncio.run(_serve(place, plans, model, say))


async def _serve(place: Place, plans: Sequence[WorkerPlan], model: WarmModel, say: Callable[[str], None]) -> None:
    scheme, host, _ = split_address(place.address)
    here = {"host": "127.0.0.1"} if is_loopback(host) else {}
    common: dict[str, Any] = {"security": security_of(place), "protocol": f"{scheme}://", "plugins": (model,), **here}
    waiting = False
    while True:
        try:
            async with AsyncExitStack() as stack:
                nannies = [Nanny(place.address, **plan.options, **common) for plan in plans]
                for nanny in nannies:
                    await stack.enter_async_context(nanny)
                say(f"{len(nannies)} worker(s) take scans from {place.address}.")
                waiting = False
                await asyncio.gather(*(nanny.finished() for nanny in nannies))
        except (OSError, CommClosedError, asyncio.TimeoutError, RuntimeError):
            pass
        if not waiting:
            say(f"The scheduler at {place.address} does not answer; waiting for it.")
            waiting = True
        await asyncio.sleep(AGAIN_SECONDS)
