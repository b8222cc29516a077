"""The numbers of an analysis as tables of text, for the page and as tab-separated files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

import numpy as np

from ..analysis.agreement import Agreement
from ..analysis.analyse import Result, Roc
from ..analysis.crossed import Estimate


@dataclass(frozen=True)
class Table:
    """Numbers as texts, under the name of a file; the page has a table of its own."""

    name: str
    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def tables(result: Result) -> list[Table]:
    """Return every table of a result that has rows."""
    made = [_readers(result), _preference(result), _by_reader(result), _scores(result), _ratings(result)]
    made += [_agreement("within", "Each reader and their own repeats", result.within)]
    made += [_agreement("between", "Readers with each other", result.between), _correlation(result)]
    if result.roc is not None:
        made += [_areas(result.roc), _differences(result.roc, result.margin), _single(result.roc)]
    return [table for table in made if table.rows]


def to_tsv(table: Table) -> str:
    """Return a table as tab-separated text."""
    return "\n".join("\t".join(row) for row in (table.header, *table.rows)) + "\n"


def p_text(p: float) -> str:
    """Return a p value as it is printed."""
    return "<0.0001" if p < 0.0001 else f"{p:.4f}"


def percent(value: float) -> str:
    """Return a share as per cent."""
    return f"{100 * value:.0f} %"


def _readers(result: Result) -> Table:
    rows = [
        (each.name, f"{each.answered} of {each.due}", f"{each.seconds:.0f}", str(each.early_blocks))
        for each in result.readers
    ]
    header = ("reader", "answers", "median seconds", "blocks begun too early")
    return Table("readers", "Readers; training cases are not counted", header, tuple(rows))


def _preference(result: Result) -> Table:
    rows = [
        (
            f"{each.first} over {each.second}",
            *(str(count) for count in (each.cases, each.wins, each.ties, each.losses)),
            f"{100 * each.share.value:.1f} %",
            f"{100 * each.share.low:.1f} to {100 * each.share.high:.1f} %",
            p_text(each.share.p),
            p_text(each.p_holm),
        )
        for each in result.preferences
    ]
    header = ("pair", "cases", "wins", "ties", "losses", "share", "95 % interval", "p", "p (Holm)")
    return Table("preference", "Preference; readers and cases are samples, ties count as halves", header, tuple(rows))


def _by_reader(result: Result) -> Table:
    rows = [
        (f"{each.first} over {each.second}", reader, percent(share), f"{percent(low)} to {percent(high)}")
        for each in result.preferences
        for reader, (share, low, high) in each.by_reader.items()
    ]
    return Table(
        "preference_by_reader",
        "Preference of each reader; cases are the sample (Wilson)",
        ("pair", "reader", "share", "95 % interval"),
        tuple(rows),
    )


def _scores(result: Result) -> Table:
    rows = [
        (score.method, f"{score.value:+.2f}", f"{score.se:.2f}", f"{score.low:+.2f} to {score.high:+.2f}")
        for score in result.scores
    ]
    header = ("method", "score", "standard error", "95 % interval")
    return Table("bradley_terry", "Bradley-Terry scores (log odds, mean 0; cases are the sample)", header, tuple(rows))


def _ratings(result: Result) -> Table:
    rows = [
        (
            each.scale,
            f"{each.first} - {each.second}",
            str(each.cases),
            f"{each.means[0]:.2f}",
            f"{each.means[1]:.2f}",
            *_difference(each.difference, 2),
            p_text(each.p_wilcoxon),
            p_text(each.p_holm),
            "none" if each.odds_ratio is None else "{:.2f} ({:.2f} to {:.2f})".format(*each.odds_ratio),
        )
        for each in result.ratings
    ]
    columns = "scale,methods,cases,mean,mean,difference,95 % interval,p (mixed),p (Wilcoxon),p (Holm),odds ratio"
    return Table(
        "ratings",
        "Ratings, 1 worst to 5 best. Difference: readers and cases are samples (balanced mixed model). Wilcoxon: over "
        "cases, for these readers; Holm: over all rows. Odds ratio of a higher rating: proportional odds",
        tuple(columns.split(",")),
        tuple(rows),
    )


def _agreement(name: str, caption: str, found: Sequence[Agreement]) -> Table:
    rows = [
        (
            each.scale,
            each.who,
            str(each.pairs),
            percent(each.equal),
            "none" if each.kappa is None else f"{each.kappa:.2f}",
            f"{each.low:.2f} to {each.high:.2f}" if np.isfinite(each.low) else "none",
        )
        for each in found
    ]
    header = ("scale", "who", "pairs", "equal", "kappa", "95 % interval")
    return Table(f"agreement_{name}", f"{caption}; kappa is weighted by squares for ratings", header, tuple(rows))


def _correlation(result: Result) -> Table:
    rows = [(each.scale, f"{each.value:.2f}", f"{each.low:.2f} to {each.high:.2f}") for each in result.correlations]
    header = ("scale", "ICC(2,1)", "95 % interval")
    return Table("icc", "Intraclass correlation of single ratings, absolute agreement", header, tuple(rows))


def _areas(roc: Roc) -> Table:
    rows = [(reader, *(f"{area:.3f}" for area in roc.area[:, place])) for place, reader in enumerate(roc.readers)]
    rows.append(("mean", *(f"{area:.3f}" for area in roc.area.mean(axis=1))))
    return Table("roc_area", "Area under the empirical ROC curve", ("reader", *roc.methods), tuple(rows))


def _single(roc: Roc) -> Table:
    rows = [
        (method, f"{each.value:.3f}", f"{each.se:.4f}", f"{each.low:.3f} to {min(each.high, 1):.3f}")
        for method, each in zip(roc.methods, roc.analysis.methods)
    ]
    header = ("method", "area", "standard error", "95 % interval")
    return Table("roc_methods", "Area of each method from its own ratings", header, tuple(rows))


def _differences(roc: Roc, margin: float) -> Table:
    rows = []
    for each in roc.analysis.comparisons:
        name = roc.methods[each.second]
        judged = "not asked"
        if each.first == 0:
            p, is_shown = roc.noninferior[name]
            judged = f"{'shown' if is_shown else 'not shown'} (p = {p_text(p)})" if np.isfinite(p) else "not known"
        for who, difference in (("other readers", each.random_readers), ("these readers", each.fixed_readers)):
            if difference is not None:
                best = difference is each.best
                verdicts = (p_text(each.p_holm), judged) if best else ("", "not asked")
                rows.append((f"{name} - {roc.methods[each.first]}", who, *_difference(difference, 4), *verdicts))
    judgement = f"non-inferior, margin {margin:g}"
    header = ("methods", "holds for", "difference", "95 % interval", "p", "p (Holm)", judgement)
    analysis = roc.analysis
    caption = "ROC area, Obuchowski-Rockette with Hillis' degrees of freedom"
    if np.isfinite(analysis.f):
        freedom = f"{analysis.df1:.0f}, {analysis.df2:.1f}"
        caption += f"; all methods: F({freedom}) = {analysis.f:.2f}, p = {p_text(analysis.p)}"
    return Table("roc_difference", caption, header, tuple(rows))


def _difference(found: Estimate, digits: int) -> tuple[str, str, str]:
    interval = f"{found.low:+.{digits}f} to {found.high:+.{digits}f}"
    return f"{found.value:+.{digits}f}", interval, p_text(found.p)
