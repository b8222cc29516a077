"""One row per scan, for the table and the page of a cohort, and the file by which a cohort resumes.

A row lies in ``cohort/rows/NAME.json`` of the output folder. It is written before the scan begins, with the checksum of
all that the result follows from, and again when the outputs and the record are there, with the checksum of the record.
Its paths are relative to the output folder, which may be moved or copied.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Callable, Collection, Iterator, Mapping, Optional

from ...atomic import read_json, write_json
from ...configuration import structure
from ...digests import digest_of_files
from ...errors import InputError
from ...io.names import located

ROWS, THUMBNAILS, LOCK = "cohort/rows", "cohort/thumbnails", "cohort/.lock"
RUNNING, DONE, FAILED = "running", "done", "failed"


@dataclass(frozen=True)
class Row:
    """A scan of a cohort.

    Attributes:
        name: of the scan.
        key: checksum of inputs, settings, model and version.
        status: "running", "done" or "failed".
        record: path of the record.
        record_sha256: of that file.
        outputs: name -> path.
        noise_before_percent, noise_after_percent: see :class:`~CSRDDenoiseLib.report.summary.ChangeSummary`.
        mean_change_percent: mean of denoised - PET in the head, relative to the brain mean.
        alignment: verdict on PET and MR, empty without MR.
        offset_mm: of the MR against the PET, where it was measured.
        codes: of the warnings.
        warnings: the same as sentences.
        seconds: of the run.
        worker: name of the machine that worked.
        error: why it failed.
    """

    name: str
    key: str = ""
    status: str = RUNNING
    record: str = ""
    record_sha256: str = ""
    outputs: Mapping[str, str] = field(default_factory=dict)
    noise_before_percent: Optional[float] = None
    noise_after_percent: Optional[float] = None
    mean_change_percent: Optional[float] = None
    alignment: str = ""
    offset_mm: Optional[float] = None
    codes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    seconds: Optional[float] = None
    worker: str = ""
    error: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the row as plain JSON types."""
        return asdict(self)


def row_path(folder: Path, name: str) -> Path:
    """Return where the row of a scan lies."""
    return folder / ROWS / f"{name}.json"


def thumbnail_path(folder: Path, name: str) -> Path:
    """Return where the thumbnail of a scan lies."""
    return folder / THUMBNAILS / f"{name}.png"


def write_row(row: Row, folder: Path) -> None:
    """Write a row, whole or not at all."""
    kept = _with_paths(row, lambda path: _within(path, folder))
    write_json(row_path(folder, row.name), kept.as_dict(), indent=1)


def read_row(folder: Path, name: str) -> Optional[Row]:
    """Return the row of a scan, or None where there is none that can be read."""
    try:
        values = read_json(row_path(folder, name))
        row = structure(values, Row, "The row")
    except (OSError, ValueError, InputError):
        return None
    return _with_paths(row, lambda path: str(folder.absolute() / path))


def _with_paths(row: Row, change: Callable[[str], str]) -> Row:
    """Return the row with other paths; one that is empty stays so."""
    outputs = {name: change(path) for name, path in row.outputs.items()}
    return replace(row, record=row.record and change(row.record), outputs=outputs)


def _within(path: str, folder: Path) -> str:
    """Return a path as it is from the folder, or as it was where it lies elsewhere."""
    try:
        return located(Path(path)).relative_to(folder.resolve()).as_posix()
    except ValueError:
        return path


@contextmanager
def row_of_running(name: str, key: str, folder: Path) -> Iterator[None]:
    """Mark the row of a scan as running; if the body fails, restore that of the former run.

    The row names the outputs of the former run, which still lie there. One that another cohort has written since stays.
    """
    before = read_row(folder, name)
    begun = Row(name, key, RUNNING, outputs=before.outputs if before else {})
    write_row(begun, folder)
    try:
        yield
    except BaseException:
        if before is not None and read_row(folder, name) == begun:
            # on a full disk the error of the run is the one to report
            with suppress(OSError):
                write_row(before, folder)
        raise


def former_outputs(row: Optional[Row], named: Collection[Path]) -> set[Path]:
    """Return what the run of a row wrote under the names of a scan; a folder of the user's may have such a name too."""
    return {Path(path) for path in row.outputs.values()}.intersection(named) if row else set()


def is_done(row: Optional[Row], key: str) -> bool:
    """Whether a scan is done: a row of this key, all its outputs, and the very record that was written with them."""
    if row is None or row.status != DONE or row.key != key:
        return False
    if not all(Path(path).exists() for path in row.outputs.values()):
        return False
    return digest_of_file(Path(row.record)) == row.record_sha256


def was_begun(row: Optional[Row], key: str) -> bool:
    """Whether the outputs that exist are of the same scan, from a run that was interrupted."""
    return row is not None and row.key == key


def digest_of_file(path: Path) -> str:
    """Return the SHA-256 of a file; empty where there is none."""
    try:
        return digest_of_files(path)
    except OSError:
        return ""
