"""The facts and the parts of a run's page, one function each; :mod:`CSRDDenoiseLib.report.layout` places them.

Every function takes the run and returns what it is named after, or None where the run has no such thing.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Callable, Optional

import numpy as np

from ..checks.dose import REFERENCE
from ..findings import find
from ..sentences import as_fraction
from .checked import checked_rows
from .curves import Curves, histogram_figure, profile_figure
from .drawing import to_svg
from .names import NOISE_DEFINITION, NOISE_NAME
from .page import Columns, Drawing, Fact, Folded, Part, Table, Text, plain_rows
from .planes import alignment_figure, centre_of, comparison_figure
from .regions import Region, measure_regions
from .run import Run
from .wording import SHOWN_DIGEST, geometry_rows, number, percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# on paper: what would not fit on two sheets stays on the screen
PRINTED_INPUTS, PRINTED_CHECKS, PRINTED_REGIONS = 6, 10, 7
# more columns of numbers do not fit half a page
_MOST_INPUTS_IN_HALF = 3
_GOOD_VERDICTS = ("aligned", "inside")
_NO_VERDICT = "measured"


# -- facts at a glance


def warning_count(run: Run) -> Fact:
    """How many warnings there are."""
    count = len(run.facts.warnings)
    return Fact("Warnings", str(count) if count else "none", count > 0)


def alignment_verdict(run: Run) -> Optional[Fact]:
    """Whether PET and MR lie on each other."""
    return _verdict(run, "alignment", "Alignment")


def noise_verdict(run: Run) -> Optional[Fact]:
    """Whether the PET's noise is inside of what the model was trained on."""
    return _verdict(run, "noise", "Noise level against training")


def dose(run: Run) -> Optional[Fact]:
    """The estimated dose, and what it is relative to."""
    finding = find(run.facts.findings, "dose")
    if finding is None:
        return None
    values = finding.values
    title = f"Dose relative to the {values['relative_to']}"
    if values["relative_to"] == REFERENCE:
        return Fact(title, f"about {values['estimate']:.2g}")
    low, high = (as_fraction(end) for end in values["range"])
    return Fact(title, f"about {as_fraction(values['estimate'])}, likely {high} to {low}")


def noise_change(run: Run) -> Optional[Fact]:
    """The noise before and after."""
    before, after = run.summary.noise_before_percent, run.summary.noise_after_percent
    if before is None or after is None:
        return None
    return Fact(NOISE_NAME, f"{before:.1f} → {after:.1f} %")


def total_activity(run: Run) -> Optional[Fact]:
    """The change of the summed activity."""
    change = run.summary.total_change_percent
    return None if change is None else Fact("Change of total activity", percent(change, "+.2f"))


def median_uncertainty(run: Run) -> Optional[Fact]:
    """The uncertainty in the brain, relative to the brain mean."""
    if run.uncertainty is None:
        return None
    known = run.uncertainty[run.brain]
    # what was not denoised, outside of a region, has none
    known = known[known > 0]
    if not known.size:
        return None
    relative = 100 * float(np.median(known)) / run.brain_mean
    return Fact("Median uncertainty", f"{percent(relative)} of the brain mean")


def _verdict(run: Run, check: str, name: str) -> Optional[Fact]:
    finding = find(run.facts.findings, check)
    if finding is None or finding.statement == _NO_VERDICT:
        return None
    return Fact(name, finding.statement.replace("_", " "), finding.statement not in _GOOD_VERDICTS)


# -- pictures


def comparison(run: Run) -> Part:
    """The volumes side by side."""
    shown = {"PET": run.pet, "denoised": run.denoised, "difference": run.difference}
    caption = (
        "Three planes through the centre of the head. PET and denoised share one scale; the difference is denoised - "
        "PET, red where activity was added"
    )
    if run.uncertainty is not None:
        shown["uncertainty"] = run.uncertainty
        caption += "; the uncertainty is one standard deviation"
    return _drawing(comparison_figure(shown, run.spacing, run.unit), f"{caption}.")


def notes(run: Run) -> Optional[Part]:
    """What was done to the PET, in sentences."""
    return Text(" ".join(run.facts.notes)) if run.facts.notes else None


def alignment(run: Run) -> Part:
    """The MR's contours on the PET."""
    if run.mr is None:
        return Text("No MR was used, so there is no alignment to show.")
    caption = (
        "Contours of the MR, where it was used, on the smoothed PET: the outline of the head in orange, borders "
        "between tissues in blue-green. The outline must follow the head in the PET, and the inner lines its bright "
        "cortex."
    )
    return _drawing(alignment_figure(run.pet, run.mr, run.spacing), caption)


def profiles(run: Run) -> Part:
    """Activity along three lines."""
    caption = "Activity along three lines through the point where the planes above meet (0 mm)."
    return _drawing(profile_figure(_curves(run)), caption)


def histograms(run: Run) -> Part:
    """Distribution of activity and difference."""
    caption = "Distribution of the activity, and of the difference, in the bright part of the head."
    return _drawing(histogram_figure(_curves(run)), caption)


def _curves(run: Run) -> Curves:
    centre = centre_of(run.pet, run.spacing)
    return Curves(run.pet, run.denoised, run.uncertainty, run.brain, centre, run.spacing, run.unit)


def _drawing(figure: Figure, caption: str) -> Drawing:
    return Drawing(to_svg(figure), caption)


# -- tables


def origin(run: Run) -> Part:
    """Geometry of the inputs beside model, settings and versions."""
    facts = run.facts
    rows = [
        ("Model", f"{facts.model}, weights {facts.weights_sha256[:SHOWN_DIGEST]}…"),
        ("Settings", ", ".join(facts.settings)),
        ("Device", facts.device),
        ("Time", f"{facts.seconds:.1f} s"),
        ("Versions", ", ".join(f"{name} {value}" for name, value in facts.versions.items())),
    ]
    made = Table(("", ""), plain_rows(rows), "Model, settings and versions")
    header = ("", *(each.title for each in facts.inputs))
    geometry = Table(
        header, plain_rows(tuple(geometry_rows(facts.inputs)), PRINTED_INPUTS), "Inputs and their geometry"
    )
    return Columns((geometry, made), side_by_side=len(facts.inputs) <= _MOST_INPUTS_IN_HALF)


def record(run: Run) -> Part:
    """The whole record, folded."""
    return Folded("The whole record (JSON)", run.facts.record)


def measured_and_checked(run: Run) -> Part:
    """Noise and activity beside what the checks found."""
    return Columns(tuple(filter(None, (measurements(run), checks(run)))))


def measurements(run: Run) -> Table:
    """Noise and activity, before and after."""
    summary, unit = run.summary, run.unit

    def of_both(measure: Callable[[np.ndarray], Any]) -> tuple[str, ...]:
        plain = [number(float(measure(volume)), unit=unit) for volume in (run.pet, run.denoised)]
        if run.in_suv is None:
            return tuple(plain)
        return tuple(f"{text} (SUV {number(float(measure(volume)))})" for text, volume in zip(plain, run.in_suv))

    def change(value: float, digits: int = 4) -> str:
        text, suv = number(value, digits, unit), run.suv
        # a change has no SUV of its own where every slice has another factor
        if suv is None or suv.factors is None or len(suv.factors) > 1:
            return text
        return f"{text} (SUV {number(value * suv.factors[0], digits)})"

    rows = [
        (NOISE_NAME, percent(summary.noise_before_percent), percent(summary.noise_after_percent)),
        ("Mean in the head", *of_both(lambda volume: volume[run.head].mean())),
        ("Maximum", *of_both(np.max)),
        ("Mean difference in the head", "", change(summary.mean_change, 3)),
        ("Largest difference", "", change(summary.max_change)),
        ("Change of total activity", "", percent(summary.total_change_percent, "+.2f")),
    ]
    caption = f"Noise: {NOISE_DEFINITION}."
    if summary.reference_centre_ras:
        place = ", ".join(f"{value:.0f}" for value in summary.reference_centre_ras)
        caption += f" Centre of the cube: R, A, S = {place} mm."
    return Table(("", "PET", "denoised"), plain_rows(rows), caption, numbers=(1, 2))


def checks(run: Run) -> Optional[Table]:
    """What the checks measured."""
    rows = tuple(checked_rows(run.facts.findings))
    if not rows:
        return None
    return Table(("Check", "Found"), plain_rows(rows, PRINTED_CHECKS), "What the checks of this run measured.")


def regions(run: Run) -> Optional[Part]:
    """Every label of the label map, the most changed first."""
    if run.labels is None:
        return None
    found = measure_regions(run.labels, run.pet, run.denoised, run.uncertainty, math.prod(run.spacing) / 1000)
    found.sort(key=lambda region: -abs(region.change_percent or 0))
    header = ("Label", "Volume (mL)", "PET", "Denoised", "Change", "SD PET", "SD denoised", "Uncertainty")
    unit = f", in {run.unit}" if run.unit else ""
    caption = (
        f"Mean activity of each label on the PET's grid and standard deviation (SD) over its voxels{unit}; the labels "
        "that changed most come first."
    )
    rows = [_region_row(region) for region in found]
    return Table(header, plain_rows(rows, PRINTED_REGIONS), caption, numbers=tuple(range(1, len(header))))


def _region_row(region: Region) -> tuple[str, ...]:
    values = (region.spread_before, region.spread_after, region.uncertainty)
    return (
        str(region.label),
        f"{region.millilitres:.2f}",
        number(region.before),
        number(region.after),
        percent(region.change_percent, "+.1f"),
        *(number(value, 3) for value in values),
    )
