"""Run a cohort: keep the workers busy, exclude a scan whose worker died twice, wait for a scheduler that ended.

The client keeps a few scans more at the scheduler than there are workers, so that the scheduler's memory does not grow
with the cohort.
"""

from __future__ import annotations

import logging
import queue
import time
import uuid
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Iterator, Optional, Sequence

from ...errors import CSRDError, PlaceError
from ...io.write import record_path
from ...run.sidecars import remove_former
from ..jobs import Job
from ..open import Plan, Where, dashboard_of, open_client
from ..parcels import pack_inputs
from ..queues import submit_again
from ..reach import facts_of
from ..remote import receive, warm, without_size_warning
from ..resources import MEMORY, SCAN, workers_of
from .lost_workers import LostWorkers
from .rows import (
    Row,
    digest_of_file,
    former_outputs,
    is_done,
    read_row,
    row_of_running,
    thumbnail_path,
    was_begun,
    write_row,
)
from .scans import check_free
from .state import Cohort, Show, State
from .task import Answer, cohort_parcel, cohort_scan, failed_row, key_here

if TYPE_CHECKING:
    from distributed import Client, Future

    from .scans import Scan

LOOK_SECONDS = 0.25
WORKERS_SECONDS = 2.0
RECONNECT_SECONDS = 180.0
SCANS_A_WORKER = 2
"""Scans at the scheduler for each worker: the one it works on, and the next."""

logger = logging.getLogger(__name__)


def run_cohort(cohort: Cohort, where: Where, plan: Plan, state: State, show: Show) -> None:
    """Denoise every scan that is not done; failed scans are rows of the state.

    Args:
        cohort: what to do.
        where: on which workers.
        plan: of workers on this machine.
        state: updated during the cohort.
        show: receives it.

    Raises:
        PlaceError: there is no worker, or the connection to the scheduler was lost for too long.
    """
    left = list(range(len(cohort.scans)))
    session: Optional[_Session] = None
    seen = time.monotonic()
    while left:
        try:
            with open_client(where, plan) as client:
                session = _Session(client, cohort, where, state, show)
                for index in session.run(left):
                    left.remove(index)
        except PlaceError as error:
            # a place that never answered is not worth waiting for; one that ends in the middle may come back
            seen = max(seen, session.seen if session else seen)
            if where.is_here or session is None or time.monotonic() > seen + RECONNECT_SECONDS:
                raise
            logger.warning("Warning: %s Trying again.", error)
            state.active.clear()
            time.sleep(LOOK_SECONDS)


class _Session:
    """The cohort on one connection to a scheduler.

    Attributes:
        seen: when the scheduler was last known to be there, of the monotonic clock; 0 before the first scan.
    """

    def __init__(self, client: Client, cohort: Cohort, where: Where, state: State, show: Show):
        self._client, self._cohort, self._where, self._state, self._show = client, cohort, where, state, show
        self._topic = f"csrd-denoise-cohort-{uuid.uuid4().hex[:12]}"
        self._lost = LostWorkers(state.active)
        self._at_scheduler: dict[Future, int] = {}
        self._over: queue.Queue[Future] = queue.Queue()
        self._memory: list[float] = []
        self._looked = 0.0
        self.seen = 0.0

    def run(self, todo: Sequence[int]) -> Iterator[int]:
        """Yield the index of each scan that is over.

        Raises:
            PlaceError: the connection was lost.
        """
        client, cohort = self._client, self._cohort
        address = self._where.scheduler or "the workers"
        self._await_workers(address)
        self._state.dashboard = dashboard_of(client)
        client.subscribe_topic(self._topic, lambda event: self._lost.on_event(event[1]))
        warm(client, cohort.model, cohort.scans[0].settings.device)
        small, large = (deque(each) for each in self._by_size(todo))
        while small or large or self._at_scheduler:
            self._look_at_workers()
            yield from self._fill(small, large)
            yield from self._collect(small, large)
            if client.status != "running":
                raise PlaceError(f"The connection to {address} was lost.")
            self.seen = time.monotonic()
            self._show(self._state, None)

    def _await_workers(self, address: str) -> None:
        if self._where.queue:
            logger.info("Waiting for the first job of the queue.")
            self._client.wait_for_workers(1)
        if not self._where.is_here:
            facts_of(self._client, address)
        self._look_at_workers()

    def _look_at_workers(self) -> None:
        """Ask, now and then, how many workers there are and what memory they have for scans."""
        if self._memory and time.monotonic() - self._looked < WORKERS_SECONDS:
            return
        self._looked = time.monotonic()
        if self._where.queue and self._client.cluster is not None:
            submit_again(self._client.cluster)
        known = [worker["resources"] for worker in workers_of(self._client).values()]
        self._state.workers = len(known)
        self._memory = sorted(each.get(MEMORY, 0.0) for each in known if SCAN in each) if known else self._memory

    def _by_size(self, todo: Sequence[int]) -> tuple[list[int], list[int]]:
        """Return the scans that every worker has memory for, and those that only some have."""
        least = self._memory[0] if self._memory and self._memory[0] else float("inf")
        fits = [index for index in todo if self._cohort.sizes[index] <= least]
        return fits, [index for index in todo if self._cohort.sizes[index] > least]

    def _fill(self, small: deque[int], large: deque[int]) -> Iterator[int]:
        """Submit scans until each worker has its next one waiting; yield those that need no worker."""
        while small or large:
            sizes = [self._needed(index) for index in self._at_scheduler.values()]
            room = SCANS_A_WORKER * max(self._state.workers, 1) - len(sizes)
            wide = sum(memory > self._memory[0] for memory in self._memory) if self._memory else 0
            waits = sum(size > self._memory[0] for size in sizes) if self._memory else 0
            # large scans wait for few workers; they must not take the place of those that any worker can do
            take_large = bool(large) and (not small or waits < SCANS_A_WORKER * max(wide, 1))
            if room <= 0 or not (take_large or small):
                return
            index = large.popleft() if take_large else small.popleft()
            scan = self._cohort.scans[index]
            try:
                future = self._submit(index, scan)
            except CSRDError as error:
                self._end(failed_row(scan.name, error))
                yield index
                continue
            if future is None:
                yield index
            else:
                self._at_scheduler[future] = index
                future.add_done_callback(self._over.put)

    def _needed(self, index: int) -> float:
        """Return the memory to ask for: what the scan needs, or all of the largest worker."""
        return min(self._cohort.sizes[index], self._memory[-1]) if self._memory else 0.0

    def _submit(self, index: int, scan: Scan) -> Optional[Future]:
        """Hand a scan to the scheduler; None where it turns out to be done."""
        cohort, client, memory = self._cohort, self._client, self._needed(index)
        place = "" if self._where.is_here else self._where.scheduler or "a job of the queue"
        job = Job.of(scan.name, scan.request, scan.settings, cohort.model, place=place, bids=scan.bids)
        resources = {SCAN: 1.0, **({MEMORY: memory} if memory else {})} if self._memory else {}
        how: dict[str, Any] = {"key": f"csrd-scan-{uuid.uuid4().hex}", "resources": resources, "retries": 0}
        row = read_row(cohort.folder, scan.name)
        if not cohort.send:
            named = [str(path) for path in scan.named]
            return client.submit(cohort_scan, job.as_message(), self._topic, str(cohort.folder), named, **how)
        job = replace(job, key=key_here(job))
        if row is not None and is_done(row, job.key):
            self._end(row, done_before=True)
            return None
        check_free(scan.request, was_begun(row, job.key))
        with without_size_warning():
            return client.submit(cohort_parcel, job.as_message(), self._topic, pack_inputs(scan.request.inputs), **how)

    def _collect(self, small: deque[int], large: deque[int]) -> Iterator[int]:
        """Yield the scans that have ended, or wait a moment."""
        ended = {
            future for future, index in self._at_scheduler.items() if self._lost.began_over_limit(self._name(index))
        }
        try:
            ended.add(self._over.get(timeout=0 if ended else LOOK_SECONDS))
            while True:
                ended.add(self._over.get_nowait())
        except queue.Empty:
            pass
        for future in ended & self._at_scheduler.keys():
            index = self._at_scheduler.pop(future)
            row, done_before = self._judged(future, self._cohort.scans[index])
            if row is None:
                (large if self._cohort.sizes[index] > (self._memory or [0])[0] else small).append(index)
                continue
            self._state.active.pop(row.name, None)
            self._end(row, done_before)
            yield index

    def _judged(self, future: Future, scan: Scan) -> tuple[Optional[Row], bool]:
        """Return the row of a scan that is over and whether it was done before; None where it has to be done again."""
        from distributed import KilledWorker

        if future.status == "finished":
            try:
                answer = future.result()
            except OSError:
                return None, False
            return self._received(answer, scan), answer.done_before
        error = future.exception() if future.status == "error" else None
        killed = isinstance(error, KilledWorker)
        if self._lost.began_over_limit(scan.name) or (killed and self._lost.is_over_limit(scan.name)):
            future.cancel()
            return self._lost.row(scan.name), False
        if error is None or killed:
            # it waited beside a scan that ended the worker, or the connection was lost
            return None, False
        return failed_row(scan.name, PlaceError(f"It failed with {type(error).__name__}: {error}.")), False

    def _received(self, answer: Answer, scan: Scan) -> Row:
        """Write what came back, where something did, and the row last."""
        if answer.parcel is None:
            return answer.row
        folder, request = self._cohort.folder, scan.request
        thumbnail, record = thumbnail_path(folder, scan.name), record_path(request.output)
        former = former_outputs(read_row(folder, scan.name), scan.named)
        try:
            with row_of_running(scan.name, answer.row.key, folder):
                for place in {thumbnail.parent, *(path.parent for path in request.outputs.values())}:
                    place.mkdir(parents=True, exist_ok=True)
                # what may not be replaced was refused before the scan was sent
                receive(answer.parcel, replace(request, overwrite=True), {"thumbnail/thumbnail.png": thumbnail})
        except (CSRDError, OSError) as error:
            return failed_row(scan.name, error if isinstance(error, CSRDError) else PlaceError(f"{error}."))
        row = replace(answer.row, record=str(record), record_sha256=digest_of_file(record))
        remove_former(former, request)
        write_row(row, folder)
        return row

    def _end(self, row: Row, done_before: bool = False) -> None:
        self._state.rows[row.name] = row
        if done_before:
            self._state.done_before.add(row.name)
        self._show(self._state, row)

    def _name(self, index: int) -> str:
        return self._cohort.scans[index].name
