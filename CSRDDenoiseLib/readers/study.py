"""A study as readers get it: a folder of images under random names, and what to ask about them in which order.

The folder holds ``study.json``, ``images/``, ``checksums.sha256`` (as ``sha256sum`` writes it) and, if it was made,
``reader.html``. Nothing in it names a method, a case or a patient. Only the standard library is imported here: the
Slicer module reads this too.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Iterable, Mapping

from ..atomic import read_json as read_any_json
from ..digests import digest_of_files
from ..errors import InputError

FORMAT = 1
PREFERENCE, RATING = "2afc", "rating"
KINDS = (PREFERENCE, RATING)
STUDY_FILE, IMAGES, CHECKSUMS, PAGE_FILE = "study.json", "images", "checksums.sha256", "reader.html"


@dataclass(frozen=True)
class Scale:
    """One question about what is shown.

    Attributes:
        name: short name, the key of its answers.
        question: what the reader is asked.
        labels: the choices; choice ``n`` (counted from 1, as the number keys) is answered by ``n``.
    """

    name: str
    question: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Trial:
    """What is shown at once.

    Attributes:
        id: random name of this showing; a repeat has another one.
        images: file names in ``images/``: left and right of a pair, or the one to rate.
        window: values drawn as white and as black, one for the whole case, in the unit of the images.
        centre: where the three planes meet at first, x, y, z in mm (L-P-S, as in DICOM).
        block: counted from 1; between blocks the reader pauses for ``Study.washout_days``.
        training: whether it is there to get used to the task; the analysis leaves it out.
        mr: file name of the MR of the same head, or "".
    """

    id: str
    images: tuple[str, ...]
    window: tuple[float, float]
    centre: tuple[float, float, float]
    block: int
    training: bool
    mr: str = ""


@dataclass(frozen=True)
class Reading:
    """What one reader reads, in order."""

    reader: str
    trials: tuple[Trial, ...]


@dataclass(frozen=True)
class Study:
    """A whole study.

    Attributes:
        id: random; answers and key carry it too.
        title: what readers see.
        kind: ``2afc`` (two images, which is better) or ``rating`` (one image).
        scales: the questions, asked of every trial.
        washout_days: least number of days between the last answer of a block and the first of the next.
        readings: one a reader.
    """

    id: str
    title: str
    kind: str
    scales: tuple[Scale, ...]
    washout_days: float
    readings: tuple[Reading, ...]

    def reading(self, reader: str) -> Reading:
        """Return what a reader reads.

        Raises:
            InputError: the study has no such reader.
        """
        for reading in self.readings:
            if reading.reader == reader:
                return reading
        names = ", ".join(each.reader for each in self.readings)
        raise InputError(f"The study has no reader '{reader}'; its readers are {names}.")

    def as_dict(self) -> dict[str, Any]:
        """Return the study as plain JSON types."""
        return {"format": FORMAT, **asdict(self)}


def read_study(folder: Path) -> Study:
    """Read the study in a folder, without its images.

    Raises:
        InputError: there is none, it is damaged, or it was written by a newer version.
    """
    content = read_json(folder / STUDY_FILE, "study")
    try:
        return _study(content)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"The study '{folder / STUDY_FILE}' is damaged ({error!r}). Take a fresh copy.") from error


def write_study(study: Study, folder: Path) -> None:
    """Write the study file into a folder."""
    (folder / STUDY_FILE).write_text(json.dumps(study.as_dict(), indent=1) + "\n", encoding="utf-8")


def read_json(path: Path, what: str) -> Mapping[str, Any]:
    """Read a JSON file of this package's format.

    Raises:
        InputError: it is missing, no JSON, or of another format.
    """
    try:
        content = read_any_json(path)
    except OSError as error:
        raise InputError(f"The {what} '{path}' cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise InputError(f"The {what} '{path}' is damaged: {error}.") from error
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        raise InputError(f"The {what} '{path}' has format {found}; this version reads format {FORMAT}.")
    return content


def write_checksums(folder: Path) -> None:
    """Write the checksums of the study file and of all images of a study."""
    paths = [folder / STUDY_FILE, *sorted((folder / IMAGES).iterdir())]
    lines = [f"{digest_of_files(path)}  {path.relative_to(folder).as_posix()}" for path in paths]
    (folder / CHECKSUMS).write_text("\n".join(lines) + "\n", encoding="utf-8")


def check_files(folder: Path, names: Iterable[str]) -> None:
    """Compare files of a study, named relative to its folder, with their checksums.

    Raises:
        InputError: a file is missing or was changed, or the checksums are missing.
    """
    try:
        lines = (folder / CHECKSUMS).read_text(encoding="utf-8").splitlines()
        wanted = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
        bad = [name for name in names if digest_of_files(folder / name) != wanted.get(name)]
    except OSError as error:
        raise InputError(f"The study '{folder}' is not complete: '{error.filename}' is missing.") from error
    if bad:
        raise InputError(f"{len(bad)} file(s) of the study '{folder}' were changed, such as '{bad[0]}'. Copy it again.")


def _study(content: Mapping[str, Any]) -> Study:
    scales = tuple(Scale(each["name"], each["question"], tuple(each["labels"])) for each in content["scales"])
    readings = tuple(Reading(each["reader"], tuple(map(_trial, each["trials"]))) for each in content["readings"])
    if content["kind"] not in KINDS:
        raise ValueError(content["kind"])
    return Study(content["id"], content["title"], content["kind"], scales, float(content["washout_days"]), readings)


def _trial(content: Mapping[str, Any]) -> Trial:
    low, high = map(float, content["window"])
    x, y, z = map(float, content["centre"])
    return Trial(
        content["id"],
        tuple(content["images"]),
        (low, high),
        (x, y, z),
        int(content["block"]),
        bool(content["training"]),
        content.get("mr", ""),
    )
