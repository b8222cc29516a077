"""What is measured on one subject, as plain values that are kept on disk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping, Optional

from .frequency import Band


@dataclass(frozen=True)
class Region:
    """A region of a label map: its number, its name (empty where it is not known), and its volume."""

    label: int
    name: str
    millilitres: float


@dataclass(frozen=True)
class Measured:
    """One method with one setting on one scan.

    Attributes:
        method: name in the tables.
        setting: value of the filter's parameter, None for what has none.
        scores: of :func:`CSRDDenoiseLib.research.evaluation.measure.score`.
        regions: uptake of each region over that of the reference region (SUVR).
        bands: what the method changes in each band of spatial frequency.
        seconds: wall time.
    """

    method: str
    setting: Optional[float]
    scores: Mapping[str, float]
    regions: tuple[float, ...]
    bands: tuple[Band, ...]
    seconds: float


@dataclass(frozen=True)
class ScanResult:
    """One scan.

    Attributes:
        name: of the scan, in words.
        dose: "1/4".
        regions: of the label map.
        full: SUVR of the regions in the full dose.
        measured: every method and setting.
        ceiling: PSNR in dB that no method can pass on average, where it is known.
        findings: sentences about the scan.
    """

    name: str
    dose: str
    regions: tuple[Region, ...]
    full: tuple[float, ...]
    measured: tuple[Measured, ...]
    ceiling: Optional[float]
    findings: tuple[str, ...]


@dataclass(frozen=True)
class Split:
    """Error of a method by repeated scans of one subject and dose, squared, over the squared brain mean.

    Attributes:
        dose: "1/4".
        method, setting: which.
        noise: variance of the result from scan to scan.
        total: squared error to the noise-free image, None where there is one full dose only.
        pairs: of scans that it is the mean over.
    """

    dose: str
    method: str
    setting: Optional[float]
    noise: float
    total: Optional[float]
    pairs: int

    @property
    def bias(self) -> Optional[float]:
        """Squared error that is the same in every scan: total - noise; noise may make it negative."""
        return None if self.total is None else self.total - self.noise


@dataclass(frozen=True)
class SubjectResult:
    """All of one subject."""

    subject: str
    scans: tuple[ScanResult, ...]
    splits: tuple[Split, ...]
