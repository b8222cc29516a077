"""The page: what was aimed at, what was measured, and what was not reached."""

from __future__ import annotations

from functools import partial
from typing import Any, Callable, Iterator, Mapping, Optional, Sequence

import numpy as np

from ..evaluation.markdown import Table, to_markdown
from ..training.curves import CONTRASTS, JUDGED, error_at
from .filters import kind_of
from .ours import BARE, COVERED, FULL, GAUSSIAN, INPUT, OURS
from .regions import region_tables
from .rows import at_dose, average, dose_text, doses_of
from .summary import curve_of, gain_text, gains_of, median_gain
from .words import ABOUT, INTRODUCTION

Results = Mapping[str, Any]
SHOWN = (INPUT, FULL, GAUSSIAN, OURS, BARE)


def evidence_page(results: Results, tried: Mapping[str, str]) -> str:
    """Return the tables of an evidence as Markdown.

    Args:
        results: of :func:`.run.collect`.
        tried: name of a table -> what was tried where its goal is not reached.
    """
    makers: dict[str, Callable[[Results], list[Table]]] = {
        "error": _error, "gain": _gain, "psnr": _psnr, "contrast": _contrast, "lesions": _lesions,
        "regions": region_tables, "imprint": _imprint, "blobs": _blobs, "uncertainty": _uncertainty,
    }  # fmt: skip
    lines = ["# Evidence", "", _introduction(results), "", to_markdown(_goals(results))]
    for name, make in makers.items():
        tables = make(results)
        if not tables:
            continue
        title, text = ABOUT[name]
        interpolation = ", ".join(
            f"{value:.0f} % at {contrast}" for contrast, value in results["summary"]["interpolation"].items()
        )
        lines += [f"## {title}", "", text.format(interpolation=interpolation or "not known"), ""]
        lines += [*_verdict(name, results, tried), *(to_markdown(table) for table in tables)]
    return "\n".join(lines)


def _introduction(results: Results) -> str:
    about, rows = results["about"], results["summary"]["rows"]
    left_out = sorted({name for scan in results["scans"] for name in scan["filters"]["left_out"]})
    text = INTRODUCTION.format(
        report=", ".join(about["families"]["report"]),
        validation=", ".join(about["families"]["validation"]),
        name=about["model"]["name"],
        weights=about["model"]["weights_sha256"][:12],
        scans=len(rows),
        phantoms=len({row["phantom"] for row in rows}),
        doses=", ".join(map(dose_text, doses_of(rows))),
    )
    done = {row["phantom"] for row in rows}
    waiting = [str(phantom) for phantom in about["phantoms"] if phantom not in done]
    text += f" **Not complete**: the phantoms {', '.join(waiting)} are still to be measured." if waiting else ""
    measured = sorted({row["family"] for row in rows})
    missing = [name for name in about["families"]["report"] if name not in measured]
    text += f" No scan is of the families {', '.join(missing)}." if missing else ""
    return text + (f" Left out, for its package is not installed: {', '.join(left_out)}." if left_out else "")


def _goals(results: Results) -> Table:
    rows = [
        (each["what"], each["aim"], each["value"], "reached" if each["reached"] else "**not reached**")
        for each in results["summary"]["goals"]
    ]
    return Table("Goals", ("measure", "aim", "measured", ""), tuple(rows))


def _verdict(name: str, results: Results, tried: Mapping[str, str]) -> list[str]:
    goals = [each for each in results["summary"]["goals"] if each["table"] == name]
    lines = []
    for goal in goals:
        verdict = "Reached" if goal["reached"] else "**Not reached**"
        lines.append(f"- Goal: {goal['what']}, {goal['aim']}. {verdict}: {goal['value']}.")
    if any(not goal["reached"] for goal in goals) and name in tried:
        lines.append(f"- Tried: {tried[name].strip()}")
    return [*lines, ""] if lines else []


def _error(results: Results) -> list[Table]:
    rows, scans = results["summary"]["rows"], results["scans"]
    header = ("dose", *(f"{who} at {c:g}" for c in CONTRASTS for who in ("ours (%)", "best filter (%)", "ratio")), "n")
    lines = [(dose_text(dose), *_error_cells(rows, dose), str(_count(rows, dose))) for dose in doses_of(rows)]
    families = [
        (family, *(cell for dose in doses_of(rows) for cell in _family_cells(rows, family, dose)))
        for family in sorted({row["family"] for row in rows})
    ]
    heads = [f"{dose_text(dose)}, at {c:g}" for dose in doses_of(rows) for c in JUDGED]
    kinds = sorted({kind_of(name) for scan in scans for name in scan["filters"]["curves"]})
    by_filter = [(kind, *_filter_cells(scans, kind)) for kind in kinds]
    return [
        Table("Ours against the best filter of each scan", header, tuple(lines)),
        Table("Ratio by scanner family (mean)", ("family", *heads), tuple(families)),
        Table("Error (%) of every filter (mean)", ("filter", *heads), tuple(by_filter)),
    ]


def _error_cells(rows: Sequence[Any], dose: float) -> list[str]:
    cells = []
    for contrast in map(str, CONTRASTS):
        cells += [f"{average(row['error'][contrast][n] for row in at_dose(rows, dose)):.1f}" for n in ("ours", "best")]
        ratios = [row["error"][contrast]["ratio"] for row in rows if row["dose"] == dose]
        cells.append(f"{np.mean(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    return cells


def _family_cells(rows: Sequence[Any], family: str, dose: float) -> list[str]:
    chosen = [row for row in rows if row["family"] == family and row["dose"] == dose]
    return [f"{np.mean([row['error'][str(c)]['ratio'] for row in chosen]):.2f}" if chosen else "" for c in JUDGED]


def _filter_cells(scans: Sequence[Any], kind: str) -> list[str]:
    def error(scan: Any, contrast: float) -> float:
        curves = [points for name, points in scan["filters"]["curves"].items() if kind_of(name) == kind]
        return min((error_at(contrast, curve_of(points)) for points in curves), default=float("nan"))

    return [
        f"{average(error(scan, contrast) for scan in at_dose(scans, dose)):.1f}"
        for dose in doses_of(scans)
        for contrast in JUDGED
    ]


def _gain(results: Results) -> list[Table]:
    rows = results["summary"]["rows"]
    lines = []
    for dose in doses_of(rows):
        cells = [dose_text(dose)]
        for contrast in CONTRASTS:
            every = gains_of(rows, dose, contrast)
            middle, least, most = (
                gain_text(*each) for each in (median_gain(rows, dose, contrast), every[0], every[-1])
            )
            cells.append(f"{middle} ({least} to {most})")
        lines.append((*cells, str(_count(rows, dose))))
    header = ("dose", *(f"at {contrast:g} of the contrast" for contrast in CONTRASTS), "n")
    return [Table("Median over scans (least to largest)", header, tuple(lines))]


def _psnr(results: Results) -> list[Table]:
    scans = results["scans"]
    kinds = sorted({kind for scan in scans for kind in scan["filters"]["best"]})
    scores = ("psnr_full", "psnr_clean", "ssim_full", "ssim_clean", "nrmse_full", "nrmse_clean")

    def best(scan: Any) -> Mapping[str, float]:
        return max(scan["filters"]["best"].values(), key=lambda each: each["psnr_full"])

    ways: dict[str, Callable[[Any], Mapping[str, float]]] = {
        INPUT: lambda scan: scan["ours"]["input"],
        **{f"best {kind}": partial(_best_of, kind) for kind in kinds},
        "best filter": best,
        "ours, by default": lambda scan: scan["ours"]["scores"],
        "ours, bare estimate": lambda scan: scan["ours"]["bare"],
    }
    lines = [
        (dose_text(dose), name, *(_score(scans, way, score, dose) for score in scores), str(_count(scans, dose)))
        for dose in doses_of(scans)
        for name, way in ways.items()
    ]
    titles = [f"{name} to {ref}" for name in ("PSNR (dB)", "SSIM", "NRMSE (%)") for ref in ("full dose", "noise-free")]
    return [Table("Mean over scans", ("dose", "method", *titles, "n"), tuple(lines))]


def _best_of(kind: str, scan: Any) -> Mapping[str, float]:
    return scan["filters"]["best"][kind]


def _score(scans: Sequence[Any], way: Callable[[Any], Mapping[str, float]], score: str, dose: float) -> str:
    factor, digits = (100, 1) if score.startswith("nrmse") else (1, 3 if score.startswith("ssim") else 2)
    return f"{factor * average(way(scan)[score] for scan in at_dose(scans, dose)):.{digits}f}"


def _contrast(results: Results) -> list[Table]:
    rows = results["summary"]["rows"]
    lines = []
    for dose in doses_of(rows):
        kept = [row["contrast"] for row in rows if row["dose"] == dose]
        widths = [row["width_mm"] for row in rows if row["dose"] == dose]
        texts = (f"{np.mean(kept):.2f} ({min(kept):.2f} to {max(kept):.2f})", f"{min(widths):.1f} to {max(widths):.1f}")
        lines.append((dose_text(dose), *texts, str(len(kept))))
    return [Table("Mean over scans (least to largest)", ("dose", "contrast kept", "width (mm)", "n"), tuple(lines))]


def _lesions(results: Results) -> list[Table]:
    tables = []
    for hot, title in (
        (True, "Hot lesions: bias of SUVmean, SUVmax and SUVpeak"),
        (False, "Cold lesions: bias of SUVmean"),
    ):
        keys = {"mean": "mean (%)", "max": "maximum (%)", "peak": "peak (%)"} if hot else {"mean": "mean (%)"}
        lines = []
        for dose in doses_of(results["scans"]):
            scans = at_dose(results["scans"], dose)
            found = [row for scan in scans for row in scan["ours"]["lesions"] if row["hot"] == hot]
            lines += [(dose_text(dose), *cells) for cells in _lesion_cells(found, list(keys))]
        header = ("dose", "radius (mm)", "image", *keys.values(), "contrast kept", "lesions")
        tables.append(Table(title, header, tuple(lines)))
    return tables


def _lesion_cells(found: Sequence[Any], keys: Sequence[str]) -> Iterator[tuple[str, ...]]:
    for radius in sorted({row["radius_mm"] for row in found}):
        for name in SHOWN:
            rows = [row for row in found if row["radius_mm"] == radius and row["image"] == name]
            biases = [f"{100 * (average(row[key] for row in rows) - 1):+.1f}" for key in keys]
            # a lesion whose surroundings are as cold has hardly a contrast to divide by
            kept = float(np.median([row["contrast"] for row in rows]))
            yield f"{radius:g}", name, *biases, f"{kept:.2f}", str(len(rows))


def _imprint(results: Results) -> list[Table]:
    lines = []
    for dose in doses_of(results["scans"]):
        found = [scan["ours"]["imprint"] for scan in results["scans"] if scan["dose"] == dose]
        found = [each for each in found if "mean" in each]
        if found:
            means = [f"{np.mean([each[key] for each in found]):.3f}" for key in ("mean", "signed", "noise")]
            largest = f"{max(each['largest'] for each in found):.3f}"
            count = f"{len(found)} scans, {sum(each['spheres'] for each in found)} spheres"
            lines.append((dose_text(dose), means[0], largest, means[1], means[2], count))
    header = ("dose", "mean size", "largest", "towards grey matter", "noise alone (RMS)", "n")
    return [Table("Change by a sphere in the MR", header, tuple(lines))] if lines else []


def _blobs(results: Results) -> list[Table]:
    scans, lines = results["scans"], []
    for dose in doses_of(scans):
        for name in SHOWN:
            found = [scan["ours"]["blobs"][name] for scan in scans if scan["dose"] == dose]
            counts = [f"{np.mean([each[key] for each in found]):.1f}" for key in ("of_full", "of_own")]
            lines.append((dose_text(dose), name, *counts, str(len(found))))
    header = ("dose", "image", "per litre, full dose's deviation", "per litre, its own", "n")
    return [Table("Blobs (mean over scans)", header, tuple(lines))]


def _uncertainty(results: Results) -> list[Table]:
    lines = []
    for scan in results["scans"]:
        drawn: Optional[Mapping[str, Any]] = scan["uncertainty"]
        if drawn:
            shares = [f"{100 * drawn['coverage'][str(n)]:.0f}" for n in COVERED]
            texts = (f"{drawn['ratio']:.2f}", *shares, f"{100 * drawn['calibration_error']:.0f}")
            lines.append((f"{scan['family']}, {scan['tracer']} ({scan['phantom']})", dose_text(scan["dose"]), *texts))
    within = [f"within {n} (%; normal errors: {100 * share:.0f})" for n, share in COVERED.items()]
    header = ("scan", "dose", "uncertainty over error", *within, "calibration error (%)")
    return [Table("One scan a row", header, tuple(lines))] if lines else []


def _count(rows: Sequence[Any], dose: float) -> int:
    return sum(row["dose"] == dose for row in rows)
