"""Results that nobody fetches do not stay on a scheduler for ever."""

from __future__ import annotations

import time
from contextlib import contextmanager

import pytest

pytest.importorskip("distributed", reason="the extra 'cluster' is not installed")

from distributed import Client, Event, LocalCluster

from CSRDDenoiseLib.cluster.held import HELD_SECONDS, MOST_HELD, PREFIX, HeldResults, overdue

PATIENCE = 30.0


def test_oldest_results_are_overdue_by_age_and_by_number():
    day = HELD_SECONDS
    assert overdue({"new": day, "old": 0.0}, day + 1) == ["old"]
    assert overdue({"new": day, "old": 0.0}, day - 1) == []
    many = {f"{index:02d}": float(index) for index in range(MOST_HELD + 2)}
    assert overdue(many, MOST_HELD + 2.0) == ["00", "01"]


@contextmanager
def scheduler():
    """A scheduler with a worker in this process."""
    with LocalCluster(1, threads_per_worker=2, processes=False, protocol="tcp://", dashboard_address=None) as cluster:
        yield cluster


def publish(cluster, names, function) -> None:
    """Run and publish under names, and go away without fetching."""
    with Client(cluster, set_as_default=False) as client:
        for name in names:
            client.publish_dataset(client.submit(function, key=name), name=name)


def names_after(client, condition) -> set[str]:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and not condition(set(client.list_datasets())):
        time.sleep(0.02)
    return set(client.list_datasets())


@pytest.mark.slow
def test_result_that_is_not_fetched_goes_and_one_that_runs_or_is_another_programs_stays():
    done = [f"{PREFIX}{index}" for index in range(3)]
    running, other = f"{PREFIX}running", "of another program"
    with scheduler() as cluster:
        publish(cluster, [*done, other], lambda: 7)
        publish(cluster, [running], lambda: Event("gate").wait(PATIENCE))
        with Client(cluster, set_as_default=False) as client:
            wanted = client.get_dataset(done[0])
            client.register_plugin(HeldResults(seconds=0.1, look_seconds=0.02))
            found = names_after(client, lambda names: len(names) <= 3)
            assert found == {done[0], running, other} and wanted.result() == 7
            assert not {done[1], done[2]} & set(cluster.scheduler.tasks)
            Event("gate", client=client).set()
            assert names_after(client, lambda names: running not in names) == {done[0], other}


@pytest.mark.slow
def test_scheduler_holds_a_number_of_results_and_forgets_their_events():
    names = [f"{PREFIX}{index}" for index in range(4)]
    with scheduler() as cluster:
        with Client(cluster, set_as_default=False) as client:
            client.subscribe_topic(names[0], lambda event: None)
            client.log_event(names[0], {"event": "progress"})
        publish(cluster, names, lambda: 7)
        with Client(cluster, set_as_default=False) as client:
            client.register_plugin(HeldResults(most=2, look_seconds=0.02))
            assert len(names_after(client, lambda found: len(found) <= 2)) == 2
            assert not client.get_events(names[0])
