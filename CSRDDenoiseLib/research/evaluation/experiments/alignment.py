"""Alignment: detection of a misplaced MR, and error of the registration."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Annotated, Optional, Sequence

import numpy as np
import SimpleITK as sitk

from ....checks.alignment import ALIGNED, DOUBTFUL, MISALIGNED, measure_alignment
from ....limits import Between
from ....prepare.comparable import COARSE, Size, head_points, make_pair, matrix, size_of
from ....prepare.register import moved, register
from ..faults import random_motion
from ..markdown import Table
from ..study import Study
from .bench import Bench, Dose, Doses, Section, Seed, as_fraction

logger = logging.getLogger(__name__)

OFFSETS = ((0, 0), (2, 1), (4, 2), (6, 3), (10, 5), (20, 15))
MOST_MM, MOST_DEGREES = 20.0, 15.0
WANTED_MM, WANTED_DEGREES = 1.5, 1.5
TEXT = (
    "The MR is moved in a random direction and turned about a random axis through the head's centre. The verdict and "
    "the estimated motion are compared with this motion. Errors are means over about 500 landmarks spread over the "
    "head. Seconds are of processor time."
)


@dataclass(frozen=True)
class Case:
    """One subject with its MR moved.

    Attributes:
        pet: low dose.
        mr: out of place.
        motion: by which it was moved, points of the moved MR to where they belong.
        landmarks: points (n, 3) of the head in mm.
    """

    pet: sitk.Image
    mr: sitk.Image
    motion: sitk.VersorRigid3DTransform
    landmarks: np.ndarray

    @property
    def true(self) -> Size:
        """How far the MR is off."""
        return size_of(matrix(self.motion), self.landmarks)

    def error(self, found: sitk.Transform) -> Size:
        """How far a motion found, points of the PET to points of the MR, misses the true one."""
        return size_of(matrix(self.motion) @ matrix(found), self.landmarks)


@dataclass(frozen=True)
class Found:
    """What came out of one case; errors are None where nothing was estimated."""

    true_mm: float
    verdict: str
    estimated_mm: Optional[float]
    seconds: float


def run(
    bench: Bench,
    doses: Doses = ("1/4", "1/10"),
    offsets: Sequence[tuple[float, float]] = OFFSETS,
    registrations: Annotated[int, Between(0, 10_000)] = 3,
    seed: Seed = 0,
) -> Section:
    """Check and register MRs that were moved.

    Args:
        bench: subjects; its model is not used.
        doses: the doses to look at, those that a subject has; the last one is registered.
        offsets: (mm, degrees) to check, once a subject and dose.
        registrations: random offsets up to 20 mm and 15 degrees a subject; 0 leaves the registration out.
        seed: of the directions.
    """
    rng = np.random.default_rng(seed)
    checks: dict[str, list[Found]] = {_title(offset): [] for offset in offsets}
    restored: list[tuple[Size, bool, float]] = []
    for study in bench.studies():
        there = [dose for dose in doses if as_fraction(dose) in study.low_doses]
        for dose in there:
            for offset in offsets:
                checks[_title(offset)].append(_check(_case(study, dose, offset, rng)))
        for _ in range(registrations if doses[-1] in there else 0):
            drawn = rng.uniform(0, (MOST_MM, MOST_DEGREES)).tolist()
            restored.append(_register(_case(study, doses[-1], drawn, rng)))
        logger.info(f"{study.name}: {len(there) * len(offsets)} checks")
    tables = [_check_table(checks, doses)]
    if restored:
        tables.append(_registration_table(restored, doses[-1]))
    return Section("Alignment", TEXT, tuple(tables), (), ())


def _case(study: Study, dose: Dose, offset: Sequence[float], rng: np.random.Generator) -> Case:
    pet = study.low_doses[as_fraction(dose)]
    pair = make_pair(pet, study.t1, COARSE)
    assert pair is not None  # a simulated subject has a head, and its MR shows it
    landmarks = head_points(pair)
    motion = random_motion(landmarks.mean(0).tolist(), offset[0], offset[1], rng)
    return Case(pet, moved(study.t1, motion), motion, landmarks)


def _check(case: Case) -> Found:
    began = time.process_time()
    found = measure_alignment(case.pet, case.mr)
    assert found is not None  # a simulated subject has a head, and its MR shows it
    return Found(case.true.displacement_mm, found.verdict, found.displacement_mm, time.process_time() - began)


def _register(case: Case) -> tuple[Size, bool, float]:
    began = time.process_time()
    found = register(case.pet, case.mr)
    return case.error(found.motion), found.applied, time.process_time() - began


def _title(offset: Sequence[float]) -> str:
    return f"{offset[0]:g} mm, {offset[1]:g} degrees"


def _check_table(checks: dict[str, list[Found]], doses: Sequence[Dose]) -> Table:
    caption = f"Verdicts by how far the MR was moved, doses {', '.join(map(str, doses))}"
    verdicts = (ALIGNED, DOUBTFUL, MISALIGNED)
    header = ("moved by", "over the head (mm)", *verdicts, "error of the estimate (mm)", "n", "seconds")
    return Table(caption, header, tuple(_check_row(title, found, verdicts) for title, found in checks.items()))


def _check_row(title: str, found: Sequence[Found], verdicts: Sequence[str]) -> tuple[str, ...]:
    verdicts_found = [each.verdict for each in found]
    errors = [abs(each.estimated_mm - each.true_mm) for each in found if each.estimated_mm is not None]
    return (
        title,
        f"{np.mean([each.true_mm for each in found]):.1f}",
        *(f"{verdicts_found.count(verdict) / len(verdicts_found):.0%}" for verdict in verdicts),
        f"{np.mean(errors):.1f}, at most {max(errors):.1f}" if errors else "",
        str(len(found)),
        f"{np.mean([each.seconds for each in found]):.1f}",
    )


def _registration_table(restored: Sequence[tuple[Size, bool, float]], dose: Dose) -> Table:
    caption = f"Registration of offsets up to {MOST_MM:g} mm and {MOST_DEGREES:g} degrees, dose {dose}"
    good = [s.displacement_mm <= WANTED_MM and s.degrees <= WANTED_DEGREES and applied for s, applied, _ in restored]
    seconds = [seconds for _, _, seconds in restored]
    rows = (
        ("within 1.5 mm and 1.5 degrees", f"{np.mean(good):.0%}"),
        ("error (mm)", _spread([size.displacement_mm for size, _, _ in restored])),
        ("error (degrees)", _spread([size.degrees for size, _, _ in restored])),
        ("not used, with a warning", f"{np.mean([not applied for _, applied, _ in restored]):.0%}"),
        ("seconds", _spread(seconds)),
        ("n", str(len(restored))),
    )
    return Table(caption, ("", "value"), rows)


def _spread(values: Sequence[float]) -> str:
    return f"mean {np.mean(values):.2f}, 95 % below {np.quantile(values, 0.95):.2f}, at most {max(values):.2f}"
