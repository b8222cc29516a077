"""Write an analysis: one HTML page, its tables as tab-separated files, its figures as SVG."""

from __future__ import annotations

import base64
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Mapping

import jinja2

from ...errors import InputError
from ...io.record import versions
from ..analysis.analyse import Result
from ..key import Key
from ..study import PREFERENCE
from .figures import Picture, pictures
from .tables import tables, to_tsv
from .words import findings, limits

PAGE = "report.html"
METHODS = (
    "Training cases are left out everywhere, repeats everywhere but in a reader's agreement with herself.",
    "Comparisons use the cases that every reader answered for both methods.",
    "Preferences and differences of ratings: two-way analysis of variance with readers and cases random, degrees of "
    "freedom after Satterthwaite as in Hillis (2007). With one reader: cases random alone.",
    "Bradley-Terry scores: logistic regression, errors clustered by case (statsmodels).",
    "Ratings: Wilcoxon's signed-rank test over cases (SciPy), Holm's correction over all comparisons; proportional "
    "odds with errors clustered by case (statsmodels).",
    "Agreement: Cohen's kappa, weighted by squares for ratings (statsmodels); ICC(2,1) of Shrout and Fleiss (1979) "
    "with the limits of McGraw and Wong (1996).",
    "ROC: empirical areas, jackknife covariances over cases, Obuchowski and Rockette (1995) with the degrees of "
    "freedom of Hillis (2007). Non-inferiority: lower limit of the two-sided 95 % interval above minus the margin.",
)


def write_report(result: Result, key: Key, folder: Path) -> Path:
    """Write everything into a folder and return the page.

    Raises:
        InputError: it cannot be written.
    """
    made = {PAGE: to_html(result, key).encode()}
    made.update({f"{table.name}.tsv": to_tsv(table).encode() for table in tables(result)})
    made.update({f"{picture.name}.svg": picture.svg for picture in pictures(result)})
    try:
        folder.mkdir(exist_ok=True)
        for name, content in made.items():
            (folder / name).write_bytes(content)
    except OSError as error:
        raise InputError(f"The report cannot be written to '{folder}': {error.strerror}.") from error
    return folder / PAGE


def to_html(result: Result, key: Key) -> str:
    """Return the page, which loads nothing."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    template = jinja2.Environment(loader=loader, autoescape=True).get_template("page.html.j2")
    kind = "two-alternative forced choice" if result.study.kind == PREFERENCE else "ratings"
    return template.render(
        title=result.study.title,
        subtitle=f"{len(result.readers)} readers, {result.cases} cases, methods {', '.join(result.methods)}; {kind}",
        findings=findings(result),
        limits=limits(result),
        pictures=[_embedded(picture) for picture in pictures(result)],
        tables=tables(result),
        methods=METHODS,
        record=json.dumps(_record(result, key), indent=1),
    )


def _embedded(picture: Picture) -> Mapping[str, str]:
    source = "data:image/svg+xml;base64," + base64.b64encode(picture.svg).decode()
    return {"caption": picture.caption, "source": source}


def _record(result: Result, key: Key) -> Mapping[str, Any]:
    scales = [asdict(scale) for scale in result.study.scales]
    return {"study": key.study, "seed": key.seed, "scales": scales, "made": key.origin, "analysed": versions()}
