"""How a cohort is shown while it runs: a live table in a terminal (rich), a line a scan elsewhere, or JSON lines."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import Any, Iterator, Optional, TextIO

from ...progress import describe_seconds, print_json_line
from .rows import FAILED, Row
from .state import Show, State

LAST_FAILED = 5


@contextmanager
def shown(kind: str, stream: TextIO) -> Iterator[Show]:
    """Give what shows a cohort as ``bar``, ``json`` or ``none``.

    Args:
        kind: as ``--progress``.
        stream: for people; JSON goes to standard output.
    """
    if kind == "json":
        yield _json
    elif kind == "none":
        yield lambda _state, _row: None
    elif not stream.isatty():
        yield lambda state, row: _line(stream, state, row) if row else None
    else:
        with _live(stream) as show:
            yield show


def facts_of(state: State) -> dict[str, Any]:
    """Return where a cohort stands as plain JSON types."""
    return {
        "done": len(state.rows) - len(state.failed),
        "kept": len(state.done_before),
        "failed": len(state.failed),
        "of": state.total,
        "workers": state.workers,
        "scans_per_hour": _rounded(state.per_hour),
        "remaining_seconds": _rounded(state.remaining_seconds),
        "dashboard": state.dashboard,
        "active": {
            name: {"stage": report.stage if report else "", "fraction": report.fraction if report else 0.0, "on": host}
            for name, (report, host) in list(state.active.items())
        },
    }


def _rounded(value: Optional[float]) -> Optional[float]:
    return None if value is None else round(value, 1)


def _json(state: State, row: Optional[Row]) -> None:
    if row is not None:
        facts = facts_of(state)
        print_json_line({"scan": row.as_dict(), **facts, "kept_as_it_was": row.name in state.done_before})


def _line(stream: TextIO, state: State, row: Row) -> None:
    what = f"failed: {row.error}" if row.status == FAILED else "was done" if row.name in state.done_before else "done"
    stream.write(f"[{len(state.rows)}/{state.total}] {row.name}: {what}{_left(state)}\n")
    stream.flush()


def _left(state: State) -> str:
    return f", {describe_seconds(state.remaining_seconds)} left" if state.remaining_seconds else ""


@contextmanager
def _live(stream: TextIO) -> Iterator[Show]:
    from rich.console import Console
    from rich.live import Live

    console = Console(file=stream, stderr=stream is sys.stderr)
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        yield lambda state, _row: live.update(_table(state))


def _table(state: State) -> Any:
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    facts = facts_of(state)
    rate = f"{facts['scans_per_hour']:g} scans/h" if facts["scans_per_hour"] else "rate not known yet"
    title = f"{len(state.rows)} of {state.total} scans, {facts['failed']} failed, {facts['kept']} done before"
    table = Table(title=f"{title}; {rate}{_left(state)}", caption=state.dashboard, expand=True)
    for column in ("scan", "stage", "", "worker"):
        table.add_column(column, no_wrap=True)
    for name, active in facts["active"].items():
        table.add_row(name, active["stage"], ProgressBar(1.0, active["fraction"], width=30), active["on"])
    for row in state.failed[-LAST_FAILED:]:
        table.add_row(row.name, "failed", row.error[:80], row.worker, style="red")
    return table
