"""Heads: how often each check raises a false alarm on varied heads, and how often it finds the fault it looks for.

Limits are chosen on one set of heads and counted on another: other anatomies, seeds and families of scanners
(``heads.json``). The heads are simulated here, in seconds each; the network is not run.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Optional, Sequence

import numpy as np
from scipy import stats

from ....configuration import unknown_key
from ....errors import InputError
from ...simulation.anatomy import list_anatomies
from ..markdown import Table
from ..trials import GROUPS, Trial, trials
from ..varied import HeadSet, draw_head, head_sets
from .bench import Bench, Section

logger = logging.getLogger(__name__)

COUNTING = "counting"
QUANTILES = (0.0, 0.02, 0.5, 0.98, 1.0)
TEXT = (
    "Heads of real T1 and label anatomies, warped, with any tracer, half of them with scalp, neck and face that take "
    "up as much as brain, scanned at doses that the model was trained for. A warning where the fault was made is a "
    "detection, one without it a false alarm; intervals are of 95 % (Wilson). Checks of the output are applied to the "
    "noise-free image. The checks of the MR's contrast are counted on heads with a real T1 only."
)


def run(
    bench: Bench, anatomy: str, part: str = COUNTING, heads: int = 104, checks: Optional[Sequence[str]] = None
) -> Section:
    """Count false alarms and detections of every check on varied heads.

    Args:
        bench: its model states the trained range; it needs no subjects.
        anatomy: folder of anatomies, as for ``simulate``.
        part: set of heads (``heads.json``).
        heads: how many.
        checks: names of :data:`..trials.GROUPS` to try alone; None for all.

    Raises:
        InputError: there is no such set or check, or one of its anatomies is not in the folder.
    """
    if heads < 1:
        raise InputError(f"The experiment 'heads': 'heads' is {heads}; it must be 1 or more.")
    unknown = next((name for name in checks or () if name not in GROUPS), None)
    if unknown is not None:
        raise InputError(unknown_key(unknown, list(GROUPS), "The experiment 'heads'"))
    chosen, folder, metadata = _set_of(part, Path(anatomy)), Path(anatomy), bench.model.metadata
    done: list[Trial] = []
    for number in range(heads):
        head = draw_head(folder, chosen, number, metadata.dose_range)
        done += trials(head, metadata, np.random.default_rng((chosen.seed, number, 1)), checks)
        logger.info("Head %d of %d (%s) is done", number + 1, heads, head.facts["tracer"])
    title = f"Varied heads, set '{part}', n = {heads}"
    return Section("Varied heads", TEXT, (_counts(title, done), _scores(title, done)), (), ())


def _set_of(part: str, folder: Path) -> HeadSet:
    if part not in head_sets():
        raise InputError(f"There is no set of heads '{part}'; there are {', '.join(head_sets())}.")
    found, there = head_sets()[part], set(list_anatomies(folder))
    missing = next((name for name in found.anatomies if name not in there), None)
    if missing is not None:
        raise InputError(f"The folder of anatomies '{folder}' lacks '{missing}' of the set '{part}'.")
    return found


def _counts(title: str, done: Sequence[Trial]) -> Table:
    rows = []
    for check, case in dict.fromkeys((trial.check, trial.case) for trial in done):
        cells = []
        for fault in (True, False):
            found = [t.warned for t in done if (t.check, t.case, t.fault) == (check, case, fault)]
            cells.append(share_text(sum(found), len(found)))
        rows.append((check, case, *cells))
    header = ("check", "case", "where the fault is", "where it is not (false alarm)")
    return Table(f"{title}: with a warning", header, tuple(rows))


def share_text(found: int, tried: int) -> str:
    """ "2 of 100 (2.0 %; 0.6 to 7.0 %)", with Wilson's interval of 95 %; empty where nothing was tried."""
    if not tried:
        return ""
    interval = stats.binomtest(found, tried).proportion_ci(method="wilson")
    return f"{found} of {tried} ({100 * found / tried:.1f} %; {100 * interval.low:.1f} to {100 * interval.high:.1f} %)"


def _scores(title: str, done: Sequence[Trial]) -> Table:
    """What the checks judged by: a limit lies between the two rows of a case."""
    rows = []
    for key in dict.fromkeys((trial.check, trial.case, trial.fault) for trial in done):
        scores = [t.score for t in done if (t.check, t.case, t.fault) == key and t.score is not None]
        if scores:
            values = (f"{value:.3g}" for value in np.quantile(scores, QUANTILES))
            rows.append((key[0], key[1], "yes" if key[2] else "no", *values))
    header = ("check", "case", "fault", "least", "2 %", "median", "98 %", "most")
    return Table(f"{title}: what was judged by", header, tuple(rows))
