"""From the scans to the page: one row per scan, and the goals."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Mapping, Sequence

import numpy as np

from ..training.curves import CONTRASTS, JUDGED, Point, dose_gain, error_at, gain_text
from .filters import FULL_DOSE, kind_of
from .ours import COVERED, FULL, OURS
from .regions import bias_of, region_errors
from .rows import Row, at_dose, average, dose_text, doses_of

ERROR_WANTED, GAIN_WANTED, CONTRAST_WANTED, BIAS_WANTED, IMPRINT_WANTED = 0.75, 3.0, 0.85, 1.0, 0.15
PSNR_WANTED = {1 / 4: 0.5, 1 / 10: 1.0, 1 / 20: 1.0}
PSNR_USUAL = 0.5
SPREAD_WANTED = 0.2

Scan = Mapping[str, Any]


@dataclass(frozen=True)
class Goal:
    """One goal: the table it belongs to, what is measured, aim and value in words, and whether it is reached."""

    table: str
    what: str
    aim: str
    value: str
    reached: bool


def summarise(scans: Sequence[Scan]) -> dict[str, Any]:
    """Return ``rows``, one a scan, ``interpolation`` (:func:`interpolation_errors`), and ``goals`` in their order."""
    rows = [_row(scan, [each for each in scans if each["phantom"] == scan["phantom"]]) for scan in scans]
    makers = (_error, _gain, _psnr, _contrast, _regions, _imprint, _blobs, _uncertainty)
    goals = [asdict(goal) for make in makers for goal in make(rows, scans)] if rows else []
    return {"rows": rows, "interpolation": interpolation_errors(scans), "goals": goals}


def interpolation_errors(scans: Sequence[Scan]) -> dict[str, float]:
    """By contrast the mean size in % of the error that interpolation between doses makes in a filter's error.

    For every scan with a smaller and a larger dose of the same phantom, the best filter's error is interpolated between
    these two as for the dose gain, and compared with the measured error.
    """
    found = {}
    for contrast in CONTRASTS:
        wrong = []
        for scan in scans:
            doses = _errors_by_dose([each for each in scans if each["phantom"] == scan["phantom"]], contrast)
            at = [dose for dose, _ in doses].index(scan["dose"])
            if 0 < at < len(doses) - 1:
                (low, first), (dose, true), (high, last) = doses[at - 1 : at + 2]
                share = np.log(dose / low) / np.log(high / low)
                wrong.append(abs(first * (last / first) ** share / true - 1))
        if wrong:
            found[str(contrast)] = round(100 * float(np.mean(wrong)), 2)
    return found


def best_error(filters: Mapping[str, Any], contrast: float) -> tuple[float, str]:
    """The least error of the filters of a scan at a contrast, and the filter's name."""
    errors = {name: error_at(contrast, curve_of(points)) for name, points in filters["curves"].items()}
    name = min(errors, key=lambda each: errors[each])
    return errors[name], kind_of(name)


def curve_of(points: Sequence[Mapping[str, float]]) -> dict[float, Point]:
    """The points of a curve of ``results.json``, by their number."""
    fields = ("contrast", "error", "psnr_clean", "psnr_full")
    return {float(n): Point(*(point.get(name, float("inf")) for name in fields)) for n, point in enumerate(points)}


def _row(scan: Scan, same: Sequence[Scan]) -> Row:
    """What the tables need of a scan; ``same`` are the scans of its phantom."""
    ours, best = scan["ours"], scan["filters"]["best"]
    row: Row = {name: scan[name] for name in ("phantom", "dose", "family", "tracer")}
    row["error"], row["gain"] = {}, {}
    for contrast in CONTRASTS:
        mine = error_at(contrast, curve_of(ours["curve"]))
        error, name = best_error(scan["filters"], contrast)
        gain, bound = dose_gain(mine, scan["dose"], _errors_by_dose(same, contrast))
        ratio = round(mine / error, 4)
        row["error"][str(contrast)] = {"ours": round(mine, 4), "best": round(error, 4), "filter": name, "ratio": ratio}
        row["gain"][str(contrast)] = {"factor": round(gain, 4), "bound": bound}
    top = max(best, key=lambda kind: best[kind]["psnr_full"])
    row["psnr"] = {"filter": top, "best": best[top]["psnr_full"]}
    row["psnr"] |= {"ours": ours["scores"]["psnr_full"], "bare": ours["bare"]["psnr_full"]}
    row |= {"width_mm": ours["width_mm"], "contrast": ours["point"]["contrast"]}
    return row


def _errors_by_dose(same: Sequence[Scan], contrast: float) -> list[tuple[float, float]]:
    errors = {scan["dose"]: best_error(scan["filters"], contrast)[0] for scan in same}
    errors[FULL_DOSE] = best_error(same[0]["full_dose_filters"], contrast)[0]
    return sorted(errors.items())


def _error(rows: Sequence[Row], scans: Sequence[Scan]) -> list[Goal]:
    goals = []
    for contrast in JUDGED:
        ratios = {
            dose: [r["error"][str(contrast)]["ratio"] for r in rows if r["dose"] == dose] for dose in doses_of(rows)
        }
        texts = [f"{np.mean(each):.2f} ({dose_text(dose)})" for dose, each in ratios.items()]
        every = [ratio for each in ratios.values() for ratio in each]
        kept = sum(ratio <= ERROR_WANTED for ratio in every)
        value = f"{', '.join(texts)}; {min(every):.2f} to {max(every):.2f}, {kept} of {len(every)} scans within the aim"
        what = f"error in calm brain over the best filter's, at {contrast:g} of the contrast"
        goals.append(Goal("error", what, f"at most {ERROR_WANTED:g} on every scan", value, kept == len(every)))
    return goals


def _gain(rows: Sequence[Row], scans: Sequence[Scan]) -> list[Goal]:
    goals = []
    for contrast in JUDGED:
        gains = {dose: median_gain(rows, dose, contrast) for dose in doses_of(rows)}
        value = ", ".join(f"{gain_text(*each)} ({dose_text(dose)})" for dose, each in gains.items())
        reached = all(factor >= GAIN_WANTED for factor, _ in gains.values())
        what = f"dose gain at {contrast:g} of the contrast, median"
        goals.append(Goal("gain", what, f"{GAIN_WANTED:g} at every dose", value, reached))
    return goals


def gains_of(rows: Sequence[Row], dose: float, contrast: float) -> list[tuple[float, str]]:
    """The dose gains at a dose and contrast, by size, and whether each is a bound."""
    found = [row["gain"][str(contrast)] for row in at_dose(rows, dose)]
    return sorted((each["factor"], each["bound"]) for each in found)


def median_gain(rows: Sequence[Row], dose: float, contrast: float) -> tuple[float, str]:
    """The (lower) median of :func:`gains_of`."""
    gains = gains_of(rows, dose, contrast)
    return gains[(len(gains) - 1) // 2]


def _psnr(rows: Sequence[Row], scans: Sequence[Scan]) -> list[Goal]:
    goals = []
    for dose in doses_of(rows):
        wanted = PSNR_WANTED.get(dose, PSNR_USUAL)
        found = [row["psnr"] for row in at_dose(rows, dose)]
        default, bare = (average(each[name] - each["best"] for each in found) for name in ("ours", "bare"))
        value = f"{default:+.2f} dB by default, {bare:+.2f} dB the bare estimate"
        what = f"PSNR to the full dose less the best filter's at {dose_text(dose)}"
        goals.append(Goal("psnr", what, f"at least {wanted:+g} dB", value, default >= wanted))
    return goals


def _contrast(rows: Sequence[Row], scans: Sequence[Scan]) -> list[Goal]:
    means = {dose: average(row["contrast"] for row in at_dose(rows, dose)) for dose in doses_of(rows)}
    value = ", ".join(f"{each:.2f} ({dose_text(dose)})" for dose, each in means.items())
    reached = all(each >= CONTRAST_WANTED for each in means.values())
    return [
        Goal(
            "contrast",
            "contrast of hot lesions (4 to 6 mm) kept by default",
            f"at least {CONTRAST_WANTED:g}",
            value,
            reached,
        )
    ]


def _regions(rows: Sequence[Row], scans: Sequence[Scan]) -> list[Goal]:
    biases, errors = {}, []
    for dose in doses_of(rows):
        found = [region_errors(scan, OURS) for scan in at_dose(scans, dose)]
        biases[dose] = bias_of([each["signed"] for each in found])
        errors.append(f"{average(each['regions'] for each in found):.2f}")
    texts = [f"{each.size:.2f} % ({dose_text(dose)})" for dose, each in biases.items()]
    largest = max(biases.values(), key=lambda each: abs(each.largest))
    value = f"{', '.join(texts)}; largest {largest.largest:+.2f} % ({largest.region})"
    value += f"; a single scan's error, which has the input's noise, is {', '.join(errors)} %"
    what = "bias of regions' means: signed error against noise-free, averaged over scans, mean size over regions"
    reached = all(each.size <= BIAS_WANTED for each in biases.values())
    return [Goal("regions", what, f"at most {BIAS_WANTED:g} %", value, reached)]


def _imprint(rows: Sequence[Row], scans: Sequence[Scan]) -> list[Goal]:
    found = [scan["ours"]["imprint"] for scan in scans if "largest" in scan["ours"]["imprint"]]
    if not found:
        return []
    largest = max(each["largest"] for each in found)
    value = f"{np.mean([each['mean'] for each in found]):.2f} on average, {largest:.2f} at most"
    value += f" (noise alone: {np.mean([each['noise'] for each in found]):.2f})"
    what = "change of the result by a sphere of 5 mm in the MR alone, over the contrast of grey and white matter"
    return [Goal("imprint", what, f"below {IMPRINT_WANTED:g} for every sphere", value, largest < IMPRINT_WANTED)]


def _blobs(rows: Sequence[Row], scans: Sequence[Scan]) -> list[Goal]:
    def at(name: str, dose: float) -> float:
        return average(scan["ours"]["blobs"][name]["of_full"] for scan in at_dose(scans, dose))

    doses = doses_of(rows)
    value = ", ".join(f"{at(OURS, dose):.1f} against {at(FULL, dose):.1f} ({dose_text(dose)})" for dose in doses)
    reached = all(at(OURS, dose) <= at(FULL, dose) for dose in doses)
    what = "blobs per litre of calm brain above 3 standard deviations of the full dose"
    return [Goal("blobs", what, "no more than the full dose has", value, reached)]


def _uncertainty(rows: Sequence[Row], scans: Sequence[Scan]) -> list[Goal]:
    found = [scan["uncertainty"] for scan in scans if scan["uncertainty"]]
    if not found:
        return []
    ratios = [each["ratio"] for each in found]
    shares = {n: float(np.mean([each["coverage"][str(n)] for each in found])) for n in COVERED}
    value = f"{min(ratios):.2f} to {max(ratios):.2f}; " + ", ".join(
        f"{share:.0%} within {n} (normal errors: {COVERED[n]:.0%})" for n, share in shares.items()
    )
    reached = all(abs(ratio - 1) <= SPREAD_WANTED for ratio in ratios)
    return [Goal("uncertainty", "uncertainty over error in the brain, preset balanced", "0.8 to 1.2", value, reached)]
