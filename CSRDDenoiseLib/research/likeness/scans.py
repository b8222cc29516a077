"""From a table of full-dose scans to low doses beside them, a table of pairs, and what was learned of the scanner."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Iterator, Sequence

import SimpleITK as sitk

from ...alone import alone
from ...checks.overlap import check_gap
from ...checks.volumes import check_mr, check_pet
from ...errors import InputError
from ...io.grid import Grid, resample
from ...io.read import read
from ...io.volume import UNKNOWN as UNKNOWN_UNIT
from ...io.volume import ReadVolume
from ...io.write import all_or_nothing, sidecar_path, write_image
from ...prepare.align import ORIENTATION
from ...subjects.pair import INPUT_WORDS, check_halves, on_grid
from ...subjects.table import HALVES, Row, Table, write_table
from ..simulation.subject import dose_name
from .learn import ScanNoise, at_level_of, combine, learn_scan
from .low_dose import make_low_dose
from .setting import find_setting
from .spectrum import EDGES

logger = logging.getLogger(__name__)

TABLE, FACTS, LOCK = "pairs.tsv", "scanner.json", ".lock"
LARGEST_ERROR = 0.15
"""Expected error of the amplitude in a band that is not warned of."""
UNKNOWN = (
    "noise where structure hides it: without halves it is estimated from similar simulated scans, so it is wrong for a "
    "scanner or an anatomy unlike all of them",
    "how noise differs from place to place beyond its dependence on activity (attenuation, edges of the field)",
    "the bias of a reconstruction at few counts, above all in cold regions, and noise that is not normal there",
    "counts lost to dead time, scatter and randoms that do not go with the dose",
    "resolution where there is no MR, and whether it differs from place to place",
)
"""What full-dose scans do not show of low doses."""


@dataclass(frozen=True)
class Likeness:
    """What was learned and written.

    Attributes:
        noise: of the scanner, all scans together.
        facts: content of ``scanner.json``.
        warnings: bands that may be far off, and scans that are like none that was learned from.
        table: of the pairs that were written.
    """

    noise: ScanNoise
    facts: dict[str, Any]
    table: Path
    warnings: tuple[str, ...]


def simulate_like(rows: Sequence[Row], output: Path, doses: Sequence[Fraction], seed: int = 0) -> Likeness:
    """Learn from full doses and write a low dose of each at every dose, all files or none of them.

    Args:
        rows: each with a full dose; MR and halves where there are some.
        output: folder for the low doses, ``pairs.tsv`` and ``scanner.json``.
        doses: fractions to make.
        seed: of the noise.

    Raises:
        InputError: a scan cannot be read or learned from, or stands in two rows; the voxels differ; ``output`` has such
            a table already, or another process makes one there.
    """
    if (output / TABLE).exists():
        raise InputError(f"'{output / TABLE}' exists already; choose another output folder, so that no table is lost.")
    _check_once(rows)
    with alone(output / LOCK, "Another simulation", output):
        return _simulate_like(rows, output, doses, seed)


def _simulate_like(rows: Sequence[Row], output: Path, doses: Sequence[Fraction], seed: int) -> Likeness:
    learned = []
    for number, row in enumerate(rows):
        try:
            learned.append(_learn(row))
        except InputError as error:
            raise InputError(f"{row.name}: {error}") from error
        logger.info("%s: learned (%d of %d)", row.name, number + 1, len(rows))
    noise = combine(learned)
    scanner, distance = find_setting(noise, seed)
    warnings = tuple(doubts(learned, rows))
    facts = {
        "scans": len(rows),
        "seed": seed,
        "noise": noise.as_dict(),
        "scanner": {**asdict(scanner), "counts": float(f"{scanner.counts:.4g}")},
        "spectrum_deviation_percent": round(100 * distance, 1),
        "not_known": list(UNKNOWN),
        "warnings": list(warnings),
    }
    levels = [at_level_of(noise, scan) for scan in learned]
    planned = list(_planned(rows, levels, doses, output, seed))
    return Likeness(noise, facts, _write(planned, output, facts), warnings)


def doubts(scans: Sequence[ScanNoise], rows: Sequence[Row]) -> Iterator[str]:
    """Sentences on what of the noise may be far off."""
    strange = [row.name for scan, row in zip(scans, rows) if not scan.supported]
    if strange:
        yield (
            f"No simulated scan shows noise and structure like {', '.join(strange)}: the noise is extrapolated, and "
            "its expected error does not hold. Export two halves of the counts and give them as half_1 and half_2."
        )
    errors = combine(scans).errors
    far = [number for number, error in enumerate(errors) if error > LARGEST_ERROR]
    if far:
        bands = ", ".join(f"{EDGES[n]:.2f}-{EDGES[n + 1]:.2f} (+-{100 * errors[n]:.0f} %)" for n in far)
        yield (
            f"The amplitude of the noise is not known to {100 * LARGEST_ERROR:.0f} % in these bands, cycles per voxel: "
            f"{bands}. Two halves of the counts (half_1 and half_2) show it."
        )


def _check_once(rows: Sequence[Row]) -> None:
    """Refuse rows that differ by nothing but their low dose, which is made anew at every dose of each."""
    seen: dict[tuple[str, ...], Row] = {}
    for row in rows:
        first = seen.setdefault((row.subject, row.session, row.replicate), row)
        if first is not row:
            raise InputError(
                f"Lines {first.line} and {row.line} of the table are one scan (subject {row.subject}), and its low "
                "doses would be made twice; leave one line out, or number repeated scans in the column 'replicate'."
            )


def _learn(row: Row) -> ScanNoise:
    full = _full(row).image
    words = (INPUT_WORDS[name] for name in HALVES)
    halves = [check_pet(read(path, "PET").image, False, name)[0] for path, name in zip(row.halves, words)]
    check_halves(halves, full)
    pet = sitk.DICOMOrient(full, ORIENTATION)
    mr = None if row.mr is None else _mr(row.mr, pet)
    return learn_scan(pet, mr, [on_grid(half, pet) for half in halves])


def _mr(path: Path, pet: sitk.Image) -> sitk.Image:
    mr, _ = check_mr(read(path, "MR").image, pet, False)
    check_gap(pet, mr)
    return mr


def _low_dose(full: sitk.Image, noise: ScanNoise, dose: float, seed: tuple[int, ...]) -> sitk.Image:
    """A low dose on the grid of the full dose; the noise was learned along the axes of the head."""
    oriented = sitk.DICOMOrient(full, ORIENTATION)
    made = make_low_dose(sitk.GetArrayFromImage(oriented), noise, dose, seed)
    # back in physical space: the name of an orientation does not distinguish axes that are oblique by 45 degrees
    image = resample(Grid.of(oriented).image(made), Grid.of(full), sitk.sitkNearestNeighbor)
    image.CopyInformation(full)
    return image


def _full(row: Row) -> ReadVolume:
    if row.full is None:
        raise InputError(f"The row {row.name} has no full dose.")
    volume = read(row.full, "PET")
    check_pet(volume.image, False, INPUT_WORDS["full"])
    return volume


@dataclass(frozen=True)
class _LowDose:
    """A low dose to be made: its file, the row and the noise of its full dose, its dose and the seed of its noise."""

    path: Path
    row: Row
    noise: ScanNoise
    dose: Fraction
    seed: tuple[int, ...]

    def write(self, image: Path, sidecar: Path) -> None:
        """Make it, and write it with a sidecar that keeps the unit."""
        full = _full(self.row)
        write_image(_low_dose(full.image, self.noise, float(self.dose), self.seed), image, full)
        entries = {"Description": f"Dose {self.dose}, made of a full dose by csrd-denoise simulate --like"}
        if full.unit != UNKNOWN_UNIT:
            entries["Units"] = full.unit
        sidecar.write_text(json.dumps(entries) + "\n", encoding="utf-8")
        logger.info("Low dose %s of %s", self.dose, self.row.name)


def _planned(
    rows: Sequence[Row], noises: Sequence[ScanNoise], doses: Sequence[Fraction], output: Path, seed: int
) -> Iterator[_LowDose]:
    for number, (row, noise) in enumerate(zip(rows, noises), 1):
        for dose in dict.fromkeys(doses):
            path = output / f"scan-{number:02d}_low_dose_{dose_name(float(dose))}.nii.gz"
            yield _LowDose(path, row, noise, dose, (seed, number, *dose.as_integer_ratio()))


def _write(planned: Sequence[_LowDose], output: Path, facts: dict[str, Any]) -> Path:
    output.mkdir(parents=True, exist_ok=True)
    made = [replace(each.row, low=each.path, dose=each.dose, line=0) for each in planned]
    table, sidecars = output / TABLE, {each.path: sidecar_path(each.path) for each in planned}
    with all_or_nothing([*sidecars, *sidecars.values(), table, output / FACTS]) as temporary:
        for each in planned:
            each.write(temporary[each.path], temporary[sidecars[each.path]])
        write_table(Table(table, tuple(made)), temporary[table])
        temporary[output / FACTS].write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return table
