"""Write an analysis: one HTML page, its tables as tab-separated files, its figures as PNG."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Mapping, Sequence

from ...io.record import versions
from ...io.write import all_or_nothing
from ...report import page
from ...report.drawing import to_svg
from ..analysis.analyse import Result
from ..key import Key
from ..study import PREFERENCE
from .figures import pictures
from .tables import Table, tables, to_tsv
from .words import findings, limits

PAGE = "report.html"
METHODS = (
    "Training cases are left out everywhere, repeats everywhere but in a reader's own agreement.",
    "Comparisons use the cases that every reader answered for both methods.",
    "Preferences and differences of ratings: two-way analysis of variance with readers and cases random, degrees of "
    "freedom after Satterthwaite as in Hillis (2007). With one reader: cases random alone.",
    "Bradley-Terry scores: logistic regression, errors clustered by case (statsmodels).",
    "Ratings: Wilcoxon's signed-rank test over cases (SciPy), Holm's correction over all comparisons; proportional "
    "odds with errors clustered by case (statsmodels).",
    "Agreement: Cohen's kappa, weighted by squares for ratings (statsmodels); ICC(2,1) of Shrout and Fleiss (1979) "
    "with the limits of McGraw and Wong (1996).",
    "ROC: empirical areas, jackknife covariances over cases, Obuchowski and Rockette (1995) with the degrees of "
    "freedom of Hillis (2007). Non-inferiority: lower limit of the two-sided 95 % interval above minus the margin. "
    "Holm's correction over all pairs of methods; the F test covers all methods at once.",
)


def write_report(result: Result, key: Key, folder: Path) -> Path:
    """Write everything into a folder and return the page.

    Raises:
        InputError: it cannot be written.
    """
    made = {PAGE: to_html(result, key)}
    made.update({f"{table.name}.tsv": to_tsv(table) for table in tables(result)})
    drawn = {f"{picture.name}.png": picture.figure for picture in pictures(result)}
    with all_or_nothing([folder / name for name in (*made, *drawn)]) as temporary:
        for name, content in made.items():
            temporary[folder / name].write_text(content, encoding="utf-8")
        for name, figure in drawn.items():
            figure.savefig(temporary[folder / name], format="png", bbox_inches="tight", facecolor="white")
    return folder / PAGE


def to_html(result: Result, key: Key) -> str:
    """Return the page, which loads nothing."""
    title = result.study.title
    kind = "two-alternative forced choice" if result.study.kind == PREFERENCE else "ratings"
    counts = f"{len(result.readers)} readers, {result.cases} cases, methods {', '.join(result.methods)}; {kind}"
    record = page.Folded("Study, key and versions (JSON)", json.dumps(_record(result, key), indent=1))
    sections = (
        page.Section("What the study shows", _texts(findings(result))),
        page.Section("What a study of this size cannot show", _texts(limits(result))),
        page.Section("Figures", tuple(page.Drawing(to_svg(each.figure), each.caption) for each in pictures(result))),
        page.Section("Tables", tuple(_table(table) for table in tables(result))),
        page.Section("How it was done", (*_texts(METHODS), record)),
    )
    return page.render(page.Page(title, title, sections, subtitle=counts, style="evaluation"))


def _texts(sentences: Sequence[str]) -> tuple[page.Text, ...]:
    return tuple(page.Text(sentence) for sentence in sentences)


def _table(table: Table) -> page.Table:
    return page.Table(table.header, page.grouped_rows(table.rows), table.caption)


def _record(result: Result, key: Key) -> Mapping[str, Any]:
    scales = [asdict(scale) for scale in result.study.scales]
    return {"study": key.study, "seed": key.seed, "scales": scales, "made": key.origin, "analysed": versions()}
