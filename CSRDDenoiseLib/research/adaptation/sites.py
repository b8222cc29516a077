"""Simulated sites unlike the training: what an adaptation closes of the gap to a model trained on the site itself.

A site is a scanner and a tracer. Of its subjects some are given as pairs, files and a table as a user has them; others
are held out for the report; and others, of which the noise-free image is known, are for the model that the adaptation
is held to: the same start, trained for the same time on the site's simulator. No head is in two of these groups.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Iterator, Mapping, Optional, Sequence

import numpy as np

from ...digests import digest_of_values
from ...errors import InputError
from ...limits import Between, OneOf, check_limits
from ...subjects.table import Row, Table, read_table, write_table
from ..simulation.anatomy import list_anatomies, load_anatomy, slab_of
from ..simulation.scanner import Scanner
from ..simulation.subject import (
    FACTS,
    SimulationSettings,
    Subject,
    check_dose_names,
    dose_name,
    save_subject,
    simulate_subject,
)
from ..simulation.tracer import TRACERS
from ..training.claim import check_claim, record_claim
from ..training.measured import MeasuredPool
from ..training.phantom import make_phantom, save_phantom
from .subject_folds import FEWEST

TABLE, RECORD = "pairs.tsv", "site.json"
GROUPS = ("pairs", "held_out", "training", "stopping")


@dataclass(frozen=True)
class Counts:
    """How many subjects a site has in each group: pairs to adapt to, held-out ones, and those of its own model."""

    pairs: Annotated[int, Between(FEWEST, 10_000)] = 5
    held_out: Annotated[int, Between(1, 10_000)] = 6
    training: Annotated[int, Between(1, 10_000)] = 16
    stopping: Annotated[int, Between(1, 10_000)] = 2

    def __post_init__(self) -> None:
        check_limits(self, "The counts of a site")


@dataclass(frozen=True)
class Site:
    """A scanner with its tracer.

    Attributes:
        tracer: of every subject.
        dose: of its low doses.
        scanner: of every subject.
        slab_mm: height of the part of each head that is simulated; 0 for all of it.
    """

    tracer: Annotated[str, OneOf(TRACERS)]
    dose: Annotated[float, Between(0, 1, above=True, below=True)]
    scanner: Scanner = field(default_factory=Scanner)
    slab_mm: Annotated[float, Between(0, 1000)] = 0.0

    def __post_init__(self) -> None:
        check_limits(self, "A site")
        check_dose_names((Fraction(self.dose).limit_denominator(1000),))


@dataclass(frozen=True)
class SiteData:
    """Where the subjects of a site lie.

    Attributes:
        folder: of the site; ``pairs.tsv`` in it is the table, ``phantoms`` has the others.
        members: group -> numbers of its phantoms.
        spacing: voxel side of the model's grid in mm.
    """

    folder: Path
    members: Mapping[str, tuple[int, ...]]
    spacing: float

    def pool(self, group: str, normalisation: str, target: str) -> MeasuredPool:
        """The phantoms of a group."""
        return MeasuredPool(self.folder / "phantoms", self.members[group], self.spacing, normalisation, target)

    @property
    def rows(self) -> tuple[Row, ...]:
        """The rows of the table of pairs."""
        return read_table(self.folder / TABLE).checked().rows


def make_site(site: Site, counts: Counts, folder: Path, anatomy: Path, seed: int, spacing: float) -> SiteData:
    """Simulate what is not there yet of a site.

    Raises:
        InputError: there are too few anatomies, or the folder has subjects of other settings.
    """
    names = list_anatomies(anatomy)
    wanted = [(group, number) for group in GROUPS for number in range(getattr(counts, group))]
    if len(names) < len(wanted):
        raise InputError(f"A site needs {len(wanted)} anatomies; '{anatomy}' has {len(names)}.")
    anatomies = f"{len(names)} ({digest_of_values(names)[:12]})"
    facts = {"anatomies": anatomies, "counts": vars(counts), "seed": seed, "spacing": spacing}
    _claim(folder, {**site_facts(site), **facts})
    chosen = np.random.default_rng(seed).permutation(len(names))
    members: dict[str, list[int]] = {group: [] for group in GROUPS}
    rows: list[Row] = []
    for number, (group, _) in enumerate(wanted):
        members[group].append(number)
        found = _made(site, folder, group, number) or _make(
            site, folder, group, number, _simulated(site, anatomy, names[chosen[number]], 1000 * seed + number), spacing
        )
        rows += [found] if isinstance(found, Row) else []
    write_table(Table(folder / TABLE, tuple(rows)), folder / TABLE)
    return SiteData(folder, {group: tuple(numbers) for group, numbers in members.items()}, spacing)


def _claim(folder: Path, facts: Mapping[str, Any]) -> None:
    """Record what the subjects of a folder are simulated with, or check that it is this."""
    record, advice = folder / RECORD, "choose another output folder"
    if record.is_file():
        check_claim(record, facts, f"The subjects in '{folder}' were simulated with", advice)
    elif (folder / "subjects").is_dir() or (folder / "phantoms").is_dir():
        raise InputError(
            f"'{folder}' has subjects and no {RECORD}, so it is not known with which settings they were simulated; "
            f"{advice}, or remove it."
        )
    else:
        record_claim(record, facts)


def _simulated(site: Site, anatomy: Path, name: str, seed: int) -> Subject:
    settings = SimulationSettings(
        doses=(site.dose,), tracer=site.tracer, scanner=site.scanner, noise_free=True, varied=True
    )
    return simulate_subject(slab_of(load_anatomy(anatomy, name), site.slab_mm), settings, seed)


def _made(site: Site, folder: Path, group: str, number: int) -> Any:
    """What there is of a subject: its row, ``True`` for a phantom, None where it is not complete."""
    if group == "pairs":
        subject = folder / "subjects" / f"{number:02d}"
        return _row(site, subject, number) if (subject / FACTS).is_file() else None
    return (folder / "phantoms" / f"{number:05d}.npy").is_file() or None


def _make(site: Site, folder: Path, group: str, number: int, subject: Subject, spacing: float) -> Any:
    if group == "pairs":
        place = folder / "subjects" / f"{number:02d}"
        save_subject(subject, place)
        return _row(site, place, number)
    save_phantom(make_phantom(subject, (site.dose,), spacing), folder / "phantoms" / f"{number:05d}.npy")
    return True


def _row(site: Site, subject: Path, number: int) -> Row:
    dose = Fraction(site.dose).limit_denominator(200)
    low = subject / f"low_dose_{dose_name(site.dose)}.nii.gz"
    return Row(f"S{number}", low, subject / "full_dose.nii.gz", subject / "t1.nii.gz", dose)


def site_facts(site: Site) -> dict[str, Any]:
    """A site as plain JSON types."""
    return {"tracer": site.tracer, "dose": site.dose, "scanner": asdict(site.scanner), "slab_mm": site.slab_mm}


def mean_by(rows: Sequence[Mapping[str, float]], name: str) -> Optional[float]:
    """Mean of a score over rows; None without any."""
    values: Iterator[float] = (row[name] for row in rows if name in row)
    found = list(values)
    return float(np.mean(found)) if found else None
