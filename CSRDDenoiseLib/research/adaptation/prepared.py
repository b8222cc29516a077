"""The pairs of a table, prepared once: in a folder as phantoms of a pool, read again where the files are the same."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Iterator, Mapping, Sequence

from ...atomic import read_json, write_json
from ...checks.alignment import check_alignment
from ...digests import digest_of_values
from ...errors import InputError
from ...findings import errors_of, warnings_of
from ...prepare.align import to_model_grid
from ...prepare.register import register_mr
from ...sentences import CLI, sentence
from ...subjects.checksum import files_of
from ...subjects.judge import judge_doses, judge_together
from ...subjects.pair import DOSE_ESTIMATED, RESAMPLED, Pair, dose_of, load_pair
from ...subjects.table import Row
from ..training.measured import MeasuredPair, MeasuredPool

logger = logging.getLogger(__name__)

_FOLDER, _RECORD = "pairs", "pairs.json"


@dataclass(frozen=True)
class PreparedRow:
    """A row of the table as it is trained on.

    Attributes:
        subject: name in the table.
        dose: share of the full dose's counts.
        estimated: whether the dose comes from the noise, because the table states none.
        checksums: SHA-256 of what was read, sorted; without the names of files.
    """

    subject: str
    dose: float
    estimated: bool
    checksums: tuple[str, ...]


@dataclass(frozen=True)
class PreparedPairs:
    """Rows, in the order of their numbers in the pool's folder."""

    folder: Path
    rows: tuple[PreparedRow, ...]

    def members(self, subjects: Sequence[str]) -> tuple[int, ...]:
        """Numbers of the rows of these subjects."""
        return tuple(number for number, row in enumerate(self.rows) if row.subject in subjects)


def prepare_pairs(rows: Sequence[Row], work: Path, spacing: float, register: bool = False) -> PreparedPairs:
    """Read every pair, bring it to the model's grid and write it below ``work``, unless it is there.

    Args:
        rows: of the table.
        work: folder.
        spacing: voxel side of the model's grid in mm.
        register: move each MR to its low dose first.

    Raises:
        InputError: a pair cannot be used; or ``work`` holds pairs of another table, or cannot be written to.
    """
    record, mark = work / _RECORD, _mark_of(rows, spacing, register)
    if record.is_file():
        saved: dict[str, Any] = read_json(record)
        if saved["mark"] != mark:
            raise InputError(f"'{work}' holds what was made of other scans; remove it, or choose another folder.")
        return PreparedPairs(work / _FOLDER, tuple(_row_of(values) for values in saved["rows"]))
    try:
        (work / _FOLDER).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"The folder '{work}' cannot be made: {error.strerror}.") from error
    prepared = tuple(_prepare(rows, work / _FOLDER, spacing, register))
    write_json(record, {"mark": mark, "rows": [asdict(row) for row in prepared]})
    return PreparedPairs(work / _FOLDER, prepared)


def _prepare(rows: Sequence[Row], folder: Path, spacing: float, register: bool) -> Iterator[PreparedRow]:
    read: list[tuple[Row, Mapping[str, str]]] = []
    for number, row in enumerate(rows):
        try:
            pair = pair_of(row, register)
            _check(pair, register)
            dose, finding = dose_of(pair)
            MeasuredPool.add(folder, number, on_model_grid(pair, dose, spacing))
        except InputError as error:
            raise InputError(f"{row.name}: {error}") from error
        logger.info("%s: dose %.3g, prepared (%d of %d)", row.name, dose, number + 1, len(rows))
        read.append((row, pair.checksums))
        yield PreparedRow(row.subject, dose, finding.code == DOSE_ESTIMATED, tuple(sorted(pair.checksums.values())))
    # one head under two names would be trained on and held out
    together = tuple(judge_together(read))
    for found in warnings_of(together):
        logger.warning("Warning: %s", sentence(found, CLI))
    for found in errors_of(together):
        raise InputError(sentence(found, CLI))


def pair_of(row: Row, register: bool) -> Pair:
    """Read a pair (:func:`load_pair`), its MR moved to the low dose where that is asked for and helps."""
    pair = load_pair(row)
    if not register or pair.mr is None:
        return pair
    mr, finding = register_mr(pair.low, pair.mr)
    return replace(pair, mr=mr, findings=(*pair.findings, finding))


def _check(pair: Pair, registered: bool) -> None:
    """Refuse a pair that ``csrd-denoise pairs`` refuses: swapped, or of two scales; warn of a dose that is unlike.

    Warn of an MR that lies elsewhere, too: the network would learn to make nothing of it; and of a full dose that was
    interpolated: what is left of it then holds some of the low dose's noise, with the other sign.
    """
    found = (*judge_doses(pair), *(each for each in pair.findings if each.code == RESAMPLED))
    if registered:
        found += tuple(each for each in pair.findings if each.check == "registration")
    elif pair.mr is not None:
        found += check_alignment(pair.full, pair.mr)
    for each in warnings_of(found):
        logger.warning("Warning: %s: %s", pair.row.name, sentence(each, CLI))
    wrong = [sentence(each, CLI) for each in errors_of(found)]
    if wrong:
        raise InputError(" ".join(wrong))


def on_model_grid(pair: Pair, dose: float, spacing: float) -> MeasuredPair:
    """Bring a pair to the model's grid, as the pipeline brings a low dose and its MR there."""
    low, full = to_model_grid(pair.low, pair.mr, spacing), to_model_grid(pair.full, None, spacing)
    return MeasuredPair(low.pet, full.pet, low.mr, dose, spacing)


def _mark_of(rows: Sequence[Row], spacing: float, register: bool) -> str:
    """What distinguishes the files of a table from others, without reading them."""
    files = [[row.subject, str(row.dose), *((name, _stats(path)) for name, path in row.files.items())] for row in rows]
    return digest_of_values([spacing, register, files])


def _stats(path: Path) -> list[tuple[str, int, int]]:
    """Place, size and time of change of every file that a path leads to."""
    return [(str(each.resolve()), each.stat().st_size, each.stat().st_mtime_ns) for each in files_of(path)]


def _row_of(values: dict[str, Any]) -> PreparedRow:
    return PreparedRow(**{**values, "checksums": tuple(values["checksums"])})
