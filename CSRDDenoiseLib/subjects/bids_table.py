"""The table of scans from a raw BIDS dataset: its PETs distinguished by the entities of their names.

BIDS specification: "Filename format" (entities), PET (``rec-``, ``acq-``, ``trc-``, ``run-``).
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from fractions import Fraction
from pathlib import Path
from typing import Iterator, Mapping, Optional, Sequence

from ..bids import BidsPet, find_pets
from ..configuration import parse_dose
from ..errors import InputError
from ..findings import Finding, error
from ..io.sidecar import stem_of
from .table import Row, Table, judge_rows

_PLACE = ("sub", "ses")
_SCAN = ("trc", "task", "run")
"""Entities that distinguish scans of a session; others may distinguish a low dose from a full one."""
_IMAGED = ("trc", "task")
"""Entities of what is imaged: scans that differ in them are no repeated scans, as those of two sessions."""


@dataclass(frozen=True)
class Series:
    """Which PETs of a dataset are one series.

    Attributes:
        entities: entity -> value that the name must have; ``*`` and ``?`` stand for any text.
        dose: counts over those of the full dose, None where it is not known.
    """

    entities: Mapping[str, str]
    dose: Optional[Fraction] = None

    @classmethod
    def of(cls, text: str) -> Series:
        """Return the series of ``rec-low``, ``acq-low,rec-osem`` or ``rec-low=1/4``.

        Raises:
            InputError: it is none.
        """
        names, _, dose = text.partition("=")
        pairs = [part.strip().partition("-") for part in names.split(",")]
        try:
            if not all(key.isalnum() and value for key, _, value in pairs):
                raise ValueError(names)
            return cls({key: value for key, _, value in pairs}, parse_dose(dose) if dose else None)
        except ValueError:
            raise InputError(
                f"'{text}' names no series of a BIDS dataset; write entities and, if it is known, the dose, as in "
                "rec-low or acq-low,rec-osem=1/4."
            ) from None

    def has(self, path: Path) -> bool:
        """Whether a file's name has these entities."""
        names = entities_of(path)
        return all(fnmatchcase(names.get(key, ""), value) for key, value in self.entities.items())

    def __str__(self) -> str:
        return ",".join(f"{key}-{value}" for key, value in self.entities.items())


def entities_of(path: Path) -> dict[str, str]:
    """Return the entities of a BIDS name, ``sub-01_rec-low_pet.nii.gz`` -> ``{"sub": "01", "rec": "low"}``."""
    parts = (part.partition("-") for part in stem_of(path).split("_"))
    return {key: value for key, dash, value in parts if dash}


def read_bids(root: Path, low: Sequence[Series], full: Series, participants: Sequence[str] = ()) -> Table:
    """Return a row for every PET of the low series, with the full dose of its session.

    Where a session has several full doses, the one whose other entities are those of the low dose is taken; never one
    of another tracer, task or run, unless ``full`` names it.

    Args:
        root: of the raw dataset.
        low: one series or more, each with its dose where it is known.
        full: the series of full doses.
        participants: labels; none for all.

    Raises:
        InputError: as :func:`CSRDDenoiseLib.bids.find_pets`.
    """
    pets = find_pets(root, participants)
    rows: list[Row] = []
    findings: list[Finding] = []
    for series in low:
        found = [pet for pet in pets if series.has(pet.pet)]
        if not found:
            findings.append(error("bids.no_low", filter=str(series), example=pets[0].pet.name))
        for pet in found:
            fulls = list(_fulls_of(pet, pets, series, full))
            if len(fulls) != 1:
                findings.append(_no_full(pet, pets, full, len(fulls)))
            rows.append(_row(pet, series, fulls[0].pet if len(fulls) == 1 else None, _session(pet, pets)))
    return Table(root, tuple(rows), (*findings, *judge_rows(rows)))


def _fulls_of(pet: BidsPet, pets: Sequence[BidsPet], series: Series, full: Series) -> Iterator[BidsPet]:
    left_out = {*series.entities, *full.entities, *_PLACE}

    def others(path: Path) -> dict[str, str]:
        return {key: value for key, value in entities_of(path).items() if key not in left_out}

    def of_one_scan(path: Path) -> bool:
        one, two = entities_of(pet.pet), entities_of(path)
        return all(one[key] == two[key] for key in _SCAN if key in one and key in two and key not in full.entities)

    here = [other for other in pets if other.pet.parent == pet.pet.parent and full.has(other.pet)]
    same = [other for other in here if of_one_scan(other.pet)]
    alike = [other for other in same if others(other.pet) == others(pet.pet)]
    return iter(alike or same)


def _no_full(pet: BidsPet, pets: Sequence[BidsPet], full: Series, count: int) -> Finding:
    others = [other.pet.name for other in pets if other.pet.parent == pet.pet.parent and other is not pet]
    advice = "many_match" if count else "others_are" if others else "no_other"
    example = others[0] if others else ""
    return error("bids.no_full", filter=str(full), low=pet.pet.name, count=count, advice=advice, example=example)


def _row(pet: BidsPet, series: Series, full: Optional[Path], session: str) -> Row:
    names = entities_of(pet.pet)
    subject, run = names.get("sub", ""), names.get("run", "")
    return Row(subject, pet.pet, full, pet.mr, series.dose, session=session, replicate=run)


def _session(pet: BidsPet, pets: Sequence[BidsPet]) -> str:
    """Return the session's label, with tracer and task where PETs of the session differ in them."""
    names = entities_of(pet.pet)
    beside = [entities_of(other.pet) for other in pets if other.pet.parent == pet.pet.parent]
    differ = [key for key in _IMAGED if len({other.get(key) for other in beside}) > 1 and key in names]
    return "_".join(filter(None, [names.get("ses", ""), *(f"{key}-{names[key]}" for key in differ)]))
