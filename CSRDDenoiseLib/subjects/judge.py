"""What is wrong with pairs, seen in their images: place, scale, noise against the dose, MR, labels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Iterable, Iterator, Mapping, Optional

import numpy as np

from ..checks.alignment import check_alignment
from ..checks.inputs import Judged, check_appearance
from ..checks.noise import texture
from ..errors import InputError
from ..findings import Finding, error, find, info, warning, warnings_of
from ..io.grid import Grid
from ..io.volume import units_of
from ..prepare.align import MODEL_SPACING_MM, coverage, head_mask_of, to_model_grid
from ..scan import Scan
from ..sentences import CLI, sentence
from .orientation import judge_orientation
from .pair import Pair, load_pair, share_by_noise, shift_mm
from .table import OWN, Row

SHIFT_LIMIT_MM = 2.0
DOSE_FACTOR = 1.5
"""How far the dose by the noise may be from the stated one; experiment ``counts``: it was nearer in 98 % of scans."""
SCALE_FACTOR, IMPOSSIBLE_SCALE = 1.25, 2.0
SWAPPED = 1.25
LEAST_COVERED = 0.98
"""Share of the head's activity in the low dose; beyond the full dose's field of view there are zeros in its place."""


@dataclass(frozen=True)
class PairFacts:
    """What was understood of a row.

    Attributes:
        row: of the table.
        facts: size, voxels, unit, MR, regions, lesions, ``counts_by_noise`` and so on, as plain JSON types.
        findings: of the row.
        checksums: column -> SHA-256.
    """

    row: Row
    facts: Mapping[str, Any]
    findings: tuple[Finding, ...]
    checksums: Mapping[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the facts as plain JSON types."""
        named = {name: getattr(self.row, name) for name in ("subject", "session", "replicate", "split", "line")}
        dose = None if self.row.dose is None else str(self.row.dose)
        files = {name: str(path) for name, path in self.row.files.items()}
        findings = [
            {**each.as_dict(), "sentence": sentence(each, CLI)} for each in self.findings if sentence(each, CLI)
        ]
        return {**named, "dose": dose, "files": files, **self.facts, "findings": findings}

    def line(self) -> str:
        """Return the row in one line."""
        facts = self.facts
        if not facts:
            return f"{self.row.name}: cannot be used"
        size, sides = " x ".join(map(str, facts["size"])), " x ".join(f"{side:.2f}" for side in facts["spacing_mm"])
        parts = [f"{size} voxels of {sides} mm, {facts['unit']}"]
        if facts["counts_by_noise"] is not None:
            parts.append(f"counts by noise {facts['counts_by_noise']:.2g} of the full dose")
        if facts["shift_mm"] is not None:
            parts.append(f"shift {facts['shift_mm']:.1f} mm")
        parts.append(f"MR {facts['mr'] or 'none'}")
        parts += [f"{facts[name]} {name}" for name in ("regions", "lesions") if facts[name]]
        parts += ["two halves"] if self.row.halves else []
        return f"{self.row.name}: {', '.join(parts)}"


def judge_row(row: Row) -> PairFacts:
    """Read a row and judge it; what stands in the way is an error among its findings, nothing is raised."""
    try:
        return judge_pair(load_pair(row))
    except InputError as problem:
        return PairFacts(row, {}, (error("pair.unusable", name=row.name, reason=str(problem).rstrip(".")),))


def judge_pair(pair: Pair) -> PairFacts:
    """Measure a pair and compare it with its row."""
    low, full = (_scan(image) for image in (pair.low, pair.full))
    for which, scan in (("low dose", low), ("full dose", full)):
        if scan is None:
            found = error("pair.no_head", which=which)
            return PairFacts(pair.row, _facts(pair, None, None, ""), (*pair.findings, found), pair.checksums)
    assert low is not None and full is not None
    shift, share = shift_mm(pair), share_by_noise(pair)
    alignment = () if pair.mr is None else check_alignment(pair.full, pair.mr)
    verdict = find(alignment, "alignment")
    findings = (
        *pair.findings,
        *warnings_of(check_appearance(Judged(pair.low, low), texture(low))),
        *_judge_cover(pair, low),
        *_judge_scale(low, full),
        *judge_orientation(low, full),
        *_judge_noise(pair.row, share, low, full),
        *_judge_shift(shift),
        *alignment,
        *_judge_halves(pair),
        *_judge_lesions(pair),
    )
    facts = _facts(pair, shift, share, "not compared" if verdict is None and pair.mr is not None else "")
    if verdict is not None:
        facts["mr"] = verdict.statement
    return PairFacts(pair.row, facts, findings, pair.checksums)


def judge_doses(pair: Pair) -> tuple[Finding, ...]:
    """Compare low and full dose by brain means, orientation and noise alone, which is quick; errors cannot be used.

    For training: the factor between the brain means, which :func:`judge_pair` warns of, would be learned.
    """
    low, full = (_scan(image) for image in (pair.low, pair.full))
    if low is None or full is None:
        return (error("pair.no_head", which="low dose" if low is None else "full dose"),)
    halves = _judge_halves(pair) if pair.row.full is None else ()
    scale = (*_judge_cover(pair, low), *_judge_scale(low, full, SCALE_FACTOR))
    return (*scale, *judge_orientation(low, full), *halves, *_judge_noise(pair.row, share_by_noise(pair), low, full))


def judge_together(rows: Iterable[tuple[Row, Mapping[str, str]]]) -> Iterator[Finding]:
    """Yield images that stand under two subjects by their content, of rows with column -> SHA-256 of its files.

    And low doses that stand in two rows of one subject, under two names of files: under one the table shows it. One MR
    of two subjects is a warning: scans that were brought to one template may have it.
    """
    owners: dict[str, Row] = {}
    lows: dict[str, Row] = {}
    mrs: dict[str, Row] = {}
    warned = set()
    for row, checksums in rows:
        if "low" in checksums:
            first = lows.setdefault(checksums["low"], row)
            if first.subject == row.subject and first.low != row.low:
                yield error("table.same_low", name=row.name, other=first.name)
        if "mr" in checksums:
            first = mrs.setdefault(checksums["mr"], row)
            if first.subject != row.subject and row.subject not in warned:
                warned.add(row.subject)
                yield warning("table.same_mr", subject=row.subject, other=first.subject)
        for column in OWN:
            digest = checksums.get(column)
            owner = owners.setdefault(digest, row) if digest else row
            if owner.subject != row.subject:
                yield error("table.same_image", column=column, name=row.name, other=owner.name)


def _scan(image: Any) -> Optional[Scan]:
    aligned = to_model_grid(image, None, MODEL_SPACING_MM)
    scan = Scan(aligned.pet, aligned.grid)
    try:
        return scan if scan.head else None
    except InputError:
        return None


def _facts(pair: Pair, shift: Optional[float], share: Optional[float], mr: str) -> dict[str, Any]:
    grid = Grid.of(pair.low)
    counted = {
        name: 0 if labels is None else int(np.unique(labels[labels != 0]).size)
        for name, labels in (("regions", pair.labels), ("lesions", pair.lesions))
    }
    return {
        "size": list(grid.size),
        "spacing_mm": [round(side, 4) for side in grid.spacing],
        "unit": units_of(pair.low),
        "mr": mr,
        "shift_mm": None if shift is None else round(shift, 2),
        "counts_by_noise": None if share is None else round(share, 4),
        **counted,
    }


def _judge_cover(pair: Pair, low: Scan) -> Iterator[Finding]:
    activity = low.smoothed * low.head.mask
    covered = float(activity[coverage(pair.full_as_read, low.grid)].sum() / activity.sum())
    if covered < LEAST_COVERED:
        yield error("pair.uncovered", covered=covered)


def _judge_scale(low: Scan, full: Scan, impossible: float = IMPOSSIBLE_SCALE) -> Iterator[Finding]:
    ratio = low.brain_mean / full.brain_mean
    beyond = max(ratio, 1 / ratio)
    if beyond > SCALE_FACTOR:
        make = error if beyond > impossible else warning
        yield make("pair.scale", ratio=ratio)


def _judge_noise(row: Row, share: Optional[float], low: Scan, full: Scan) -> Iterator[Finding]:
    if share is None:
        # the squared noise level is no measure of the counts, but good enough to find which of the two has more
        share, certain = (full.noise_level / low.noise_level) ** 2, False
    else:
        certain = True
    if share > SWAPPED:
        yield error("pair.swapped", share=share)
    elif row.dose is not None and certain:
        stated = float(row.dose)
        factor = max(share / stated, stated / share)
        make = warning if factor > DOSE_FACTOR else info
        yield make(
            "pair.dose_unlike" if factor > DOSE_FACTOR else "pair.dose", stated=stated, share=share, factor=factor
        )


def _judge_shift(shift: Optional[float]) -> Iterator[Finding]:
    if shift is not None and shift > SHIFT_LIMIT_MM:
        yield warning("pair.shifted", shift_mm=shift, limit_mm=SHIFT_LIMIT_MM)


def _judge_halves(pair: Pair) -> Iterator[Finding]:
    if not pair.halves:
        return
    one, other, full = (scan.brain_mean if scan else 0.0 for scan in map(_scan, (*pair.halves, pair.full)))
    ratio = (one + other) / 2 / full
    if not 1 / SCALE_FACTOR < ratio < SCALE_FACTOR:
        yield error("pair.halves", ratio=ratio)
    elif max(one, other) > SCALE_FACTOR * min(one, other):
        yield error("pair.halves_apart", ratio=min(one, other) / max(one, other))


def _judge_lesions(pair: Pair) -> Iterator[Finding]:
    if pair.lesions is None:
        return
    head = head_mask_of(pair.full)
    for label in np.unique(pair.lesions[pair.lesions != 0]):
        if not head[pair.lesions == label].any():
            yield warning("pair.lesion_outside", label=int(label))
