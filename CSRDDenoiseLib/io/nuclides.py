"""Nuclides of PET: half-life (NuDat), name in English, and codes (DICOM PS3.16 CID 4020: SNOMED CT, SRT or DCM)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Mapping, Optional


@dataclass(frozen=True)
class Nuclide:
    """One nuclide.

    Attributes:
        symbol: element and mass number, ``F18``.
        half_life_s: in seconds.
        name: of the element.
        codes: of CID 4020.
    """

    symbol: str
    half_life_s: float
    name: str
    codes: tuple[str, ...]


NUCLIDES: tuple[Nuclide, ...] = (
    Nuclide("C11", 1221.8, "carbon", ("40565003", "C-105A1")),
    Nuclide("N13", 597.9, "nitrogen", ("21576001", "C-107A1")),
    Nuclide("O14", 70.62, "oxygen", ("424875009", "C-1018C")),
    Nuclide("O15", 122.24, "oxygen", ("129504001", "C-B1038")),
    Nuclide("F18", 6586.2, "fluorine", ("77004003", "C-111A1")),
    Nuclide("K38", 458.2, "potassium", ("423764008", "C-135A4")),
    Nuclide("SC43", 14007.0, "scandium", ("126605",)),
    Nuclide("SC44", 14551.0, "scandium", ("126600",)),
    Nuclide("TI45", 11088.0, "titanium", ("75696008", "C-166A2")),
    Nuclide("MN51", 2772.0, "manganese", ("126601",)),
    Nuclide("FE52", 29790.0, "iron", ("69089000", "C-130A1")),
    Nuclide("MN52", 483062.0, "manganese", ("37225000", "C-149A1")),
    Nuclide("MN52M", 1266.0, "manganese", ("126607",)),
    Nuclide("CU60", 1422.0, "copper", ("425364008", "C-127A4")),
    Nuclide("CU61", 12020.0, "copper", ("71425003", "C-127A1")),
    Nuclide("CU62", 580.2, "copper", ("422934004", "C-127A5")),
    Nuclide("CU64", 45723.6, "copper", ("3932008", "C-127A2")),
    Nuclide("GA66", 34164.0, "gallium", ("79477007", "C-131A1")),
    Nuclide("GA68", 4062.6, "gallium", ("35337001", "C-131A3")),
    Nuclide("BR75", 5802.0, "bromine", ("17910003", "C-113A1")),
    Nuclide("BR76", 58320.0, "bromine", ("79523006", "C-113A2")),
    Nuclide("RB82", 75.45, "rubidium", ("79197006", "C-159A2")),
    Nuclide("Y86", 53064.0, "yttrium", ("10738001", "C-162A3")),
    Nuclide("ZR89", 282276.0, "zirconium", ("63360001", "C-168A4")),
    Nuclide("Y90", 230580.0, "yttrium", ("14691008", "C-162A7")),
    Nuclide("TC94M", 3120.0, "technetium", ("424079002", "C-163AA")),
    Nuclide("I124", 360806.4, "iodine", ("40937006", "C-114A5")),
)
_BY_CODE: Mapping[str, Nuclide] = {code: each for each in NUCLIDES for code in each.codes}
_SAME_NUCLIDE = 0.015
"""Half-lives of one nuclide differ by less than this from source to source."""
_SHORTEST_S, _LONGEST_S = 60.0, 1e10
_MARKS = str.maketrans("", "", "-[]^() ")


def nuclide_of_code(code: str, meaning: str) -> Optional[Nuclide]:
    """Return the nuclide of a code, or of its meaning (``^18^Fluorine``), or None."""
    return _BY_CODE.get(code.strip()) or nuclide_of_text(meaning)


def nuclide_of_text(text: str) -> Optional[Nuclide]:
    """Return the nuclide that a text names (``F18``, ``18F``, ``[18F]``, ``F-18``, ``^18^Fluorine``), or None."""
    plain = text.translate(_MARKS).upper()
    return next((each for each in NUCLIDES if plain in _names(each)), None)


def is_in_seconds(half_life: float) -> bool:
    """Whether a half-life whose nuclide is not named may be in seconds, not that of a nuclide in minutes or hours."""
    is_known, in_minutes, in_hours = (_is_half_life(half_life * factor) for factor in (1, 60, 3600))
    return _SHORTEST_S <= half_life <= _LONGEST_S and (is_known or not (in_minutes or in_hours))


def _is_half_life(seconds: float) -> bool:
    return any(abs(seconds / each.half_life_s - 1) <= _SAME_NUCLIDE for each in NUCLIDES)


def _names(nuclide: Nuclide) -> tuple[str, ...]:
    element = re.split(r"\d", nuclide.symbol)[0]
    mass = nuclide.symbol[len(element) :]
    return tuple(text for word in (element, nuclide.name.upper()) for text in (f"{word}{mass}", f"{mass}{word}"))
