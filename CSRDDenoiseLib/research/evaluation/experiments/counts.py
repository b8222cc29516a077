"""Counts: error of the dose estimate of a scan, without a full-dose reference and with one."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Iterator, Mapping, Optional, Sequence

import numpy as np

from ....checks.counts import CountNoise, count_noise, share_of_counts
from ....checks.noise import RIGHT_FACTOR, judge_noise, texture
from ....findings import Finding, find
from ....io.grid import Grid
from ....model.contents import NOISE_RANGE
from ....prepare.align import to_model_grid
from ....scan import Scan
from ...simulation.subject import emulate_dose
from ..markdown import Table
from ..study import Study
from .bench import Bench, Doses, Section, as_fraction

logger = logging.getLogger(__name__)

DOSES = ("1/2", "1/4", "1/8", "1/16", "1/40")
ALONE, RANGE, OWN, OTHER = "without a reference", "... in its range", "the head's own full dose", "another head's"
TEXT = (
    "The dose of a scan as a share of its full dose; an estimate is right within a factor of 1.5. Without a reference, "
    "the fit to the model's training data gives the estimate, and a range. With a reference, the noise is compared "
    "with that of a full dose of the same scanner, protocol and tracer, of the same head or of another subject. The "
    "expected counts of a full dose do not depend on the size of the head. Doses are emulated from the full and the "
    "lowest dose of a subject."
)


@dataclass(frozen=True)
class Scans:
    """What is measured of one subject: the noise of its full dose, and by dose the noise and the dose estimate."""

    name: str
    protocol: str
    full: Optional[CountNoise]
    low: Mapping[float, Optional[CountNoise]]
    estimated: Mapping[float, Optional[Finding]]


def run(bench: Bench, doses: Doses = DOSES) -> Section:
    """Estimate the dose of every subject at every dose, in each of the ways there are.

    Args:
        bench: subjects, some of which share scanner and tracer; the model's fit is asked, its network is not run.
        doses: as fractions of the full dose.
    """
    measured = []
    for study in bench.studies():
        measured.append(_measure(bench, study, [float(as_fraction(dose)) for dose in doses]))
        logger.info(f"{study.name}: {len(doses)} doses")
    rows = [_row(str(dose), list(_errors(measured, [float(as_fraction(dose))]))) for dose in doses]
    every = list(_errors(measured, [float(as_fraction(dose)) for dose in doses]))
    factors = [_factor([error for way, error in every if way == name]) for name in (ALONE, OWN, OTHER)]
    rows += [_row("all", every), ("usual factor of error", factors[0], "", *factors[1:])]
    caption = f"Dose within a factor {RIGHT_FACTOR:g} of the truth, n = {len(measured)} subjects"
    table = Table(caption, ("dose", ALONE, RANGE, OWN, OTHER), tuple(rows))
    return Section("Counts", TEXT, (table,), (), ())


def _measure(bench: Bench, study: Study, doses: Sequence[float]) -> Scans:
    lowest = min(study.low_doses)
    image = study.low_doses[lowest]
    grid, thinned = Grid.of(image).crop(study.box), study.array(image)
    spacing, extra = bench.model.metadata.voxel_spacing_mm, bench.model.metadata.extra

    def scan(dose: float) -> Scan:
        pet = grid.image(emulate_dose(study.full_dose, thinned, float(lowest), dose).astype(np.float32))
        aligned = to_model_grid(pet, None, spacing)
        return Scan(aligned.pet, aligned.grid)

    scans = {dose: scan(dose) for dose in doses}
    found = {dose: judge_noise(each.noise_level, texture(each), extra) for dose, each in scans.items()}
    found_dose = {dose: find(findings, "dose") for dose, findings in found.items() if extra.get(NOISE_RANGE)}
    protocol = f"{study.facts.get('tracer')} {study.facts.get('scanner')}"
    low = {dose: count_noise(each, min(grid.spacing)) for dose, each in scans.items()}
    return Scans(study.name, protocol, count_noise(scan(1.0), min(grid.spacing)), low, found_dose)


def _errors(measured: Sequence[Scans], doses: Sequence[float]) -> Iterator[tuple[str, float]]:
    """How each scan was judged, and the logarithm of the answer over the truth; for a range 0 inside of it, else 1."""
    for scans in measured:
        for dose in doses:
            found_dose = scans.estimated.get(dose)
            if found_dose:
                least, most = found_dose.values["range"]
                yield ALONE, float(np.log(found_dose.values["estimate"] / dose))
                yield RANGE, float(not least <= dose <= most)
            for other in measured:
                low = scans.low[dose]
                if other.protocol == scans.protocol and other.full and low:
                    share = share_of_counts(low, other.full)
                    yield OWN if other is scans else OTHER, float(np.log(share / dose))


def _row(name: str, errors: Sequence[tuple[str, float]]) -> tuple[str, ...]:
    return (
        name,
        *(_share_right([error for way, error in errors if way == each]) for each in (ALONE, RANGE, OWN, OTHER)),
    )


def _share_right(errors: Sequence[float]) -> str:
    right = int(np.sum(np.abs(errors) < np.log(RIGHT_FACTOR)))
    return f"{right} of {len(errors)} ({right / len(errors):.0%})" if errors else ""


def _factor(errors: Sequence[float]) -> str:
    return f"{np.exp(np.sqrt(np.mean(np.square(errors)))):.2f}" if errors else ""
