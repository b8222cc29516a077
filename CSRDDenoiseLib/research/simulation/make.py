"""One subject from an anatomy to a folder, as ``csrd-denoise simulate`` makes many."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from ...alone import alone
from . import subject as subjects
from .anatomy import Anatomy, load_anatomy
from .subject import SimulationSettings


@dataclass(frozen=True)
class SubjectJob:
    """A subject to simulate.

    Attributes:
        anatomies: folder with ``ixi`` and ``synthseg``.
        name: of the anatomy.
        seed: of the subject.
        settings: what is drawn and what is fixed.
        device: of projection and reconstruction.
        folder: where the subject goes.
    """

    anatomies: Path
    name: str
    seed: int
    settings: SimulationSettings
    device: str
    folder: Path


def make_subject(job: SubjectJob) -> str:
    """Simulate a subject and write its folder, complete or not at all; return a line that describes it.

    A subject that is there already is replaced. A folder without :data:`~.subject.FACTS` is not complete.

    Raises:
        InputError: the anatomy cannot be loaded, or another process makes a subject in this folder.
    """
    anatomy = load_anatomy(job.anatomies, job.name)
    # others may make other subjects beside this one, so the lock is of the subject
    lock = job.folder.with_name(f".{job.folder.name}.lock")
    with alone(lock, "Another simulation", job.folder):
        return _make(anatomy, job)


def _make(anatomy: Anatomy, job: SubjectJob) -> str:
    subject, folder = subjects.simulate_subject(anatomy, job.settings, job.seed, job.device), job.folder
    with tempfile.TemporaryDirectory(prefix=".saving-", dir=folder.parent) as staging:
        made = Path(staging) / folder.name
        subjects.save_subject(subject, made)
        if folder.is_dir():
            _put_in_place_of_another(made, folder)
        else:
            made.replace(folder)
    size = "x".join(map(str, subject.activity.shape[::-1]))
    return f"{job.name}: {subject.facts['tracer']}, {size} -> {folder}"


def _put_in_place_of_another(made: Path, folder: Path) -> None:
    """Move the files of a subject into the folder of another; files of the user's own stay."""
    # without the facts first and with them last, so that no mixture of both is ever taken for a subject
    (folder / subjects.FACTS).unlink(missing_ok=True)
    # the subject before may have other doses, and the noise-free image that this one lacks
    for pattern in subjects.OF_SOME_SUBJECTS:
        for path in folder.glob(pattern):
            path.unlink()
    for path in sorted(made.iterdir(), key=lambda each: each.name == subjects.FACTS):
        path.replace(folder / path.name)
