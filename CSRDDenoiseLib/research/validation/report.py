"""The files of a validation: one page, tables as CSV and Markdown, ``results.json``."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator, Mapping, Sequence

from ...report import page
from ..evaluation.markdown import Table, to_markdown
from ..evaluation.report import table_part
from ..evaluation.table import to_csv
from .choice import Chosen, measurements
from .figures import figures
from .result import SubjectResult
from .tables import all_tables, records, table_csv

RESULTS, REPORT, FORMAT = "results.json", "report.html", 1
NOTICE = "For research, not for clinical use. The numbers hold for these scans, this scanner and this protocol."
HOW = (
    "The reference is the full dose. PSNR (peak: maximum of the full dose in the head), SSIM (Gaussian weights, sigma "
    "1.5 voxels), NRMSE and total activity are measured over the head, found on the full dose with 12 mm margin; bias "
    "over the brain; noise (CoV) in the white matter where the label map names it, else in the most even cube of 20 mm "
    "of the brain. A filter 'tuned on the others' has the setting with the best mean PSNR on all other subjects at "
    "this dose; 'oracle-tuned' has the best for each subject, which is not possible in practice. The full dose is "
    "noisy too: where repeated scans or halves show its noise, the ceiling is the PSNR that no method can pass on "
    "average. Coverage and calibration error are against what the model estimates, and are left out of a model of the "
    "noise-free image where that image is not known; the ratio of its uncertainty to the estimated error to the "
    "noise-free image is 1 where it is right."
)
LIMITS = (
    "PSNR, SSIM and NRMSE reward an image for the noise of the full dose that the low dose shares, and they hardly "
    "depend on a small lesion. Contrast of lesions, regional values and repeated scans are closer to what is read and "
    "measured in the images. n is the number of subjects; scans of one subject are averaged first, except where n "
    "counts regions, which are not independent within a subject. No number here measures what a reader would see."
)
_TITLES = {
    "scores": "Scores",
    "gains": "Gains",
    "agreement": "Regions: agreement",
    "regions": "Regions, one by one",
    "bands": "By the size of detail",
    "bias_variance": "Noise and bias by repeated scans",
}


@dataclass(frozen=True)
class Evaluated:
    """What a report is made of.

    Attributes:
        chosen: every method of every subject and dose.
        results: of the subjects.
        models: names of the models in the tables.
        about: models, settings, subjects, versions, and what ``failed``, as plain JSON types.
        pictures: subject -> where its picture is, if there is one.
    """

    chosen: Sequence[Chosen]
    results: Sequence[SubjectResult]
    models: Sequence[str]
    about: Mapping[str, Any]
    pictures: Mapping[str, Path]


def files_of(found: Evaluated) -> dict[str, bytes]:
    """Return name -> content of every file of the results."""
    tables = all_tables(found.chosen, found.results, found.models)
    numbers = records(found.chosen, found.results, found.models)
    texts = {
        RESULTS: json.dumps(_plain({"format": FORMAT, "about": found.about, **numbers}), indent=1),
        REPORT: page.render(_page(found, tables)),
        "measurements.csv": to_csv(measurements(found.chosen)),
    }
    for name, table in tables.items():
        texts[f"{name}.md"], texts[f"{name}.csv"] = to_markdown(table), table_csv(table)
    return {name: text.encode() for name, text in texts.items()}


def _page(found: Evaluated, tables: Mapping[str, Table]) -> page.Page:
    failed: Mapping[str, str] = found.about["failed"]
    warnings = [f"{name} could not be measured: {why}" for name, why in failed.items()]
    warnings += [f"{scan.name}: {text}" for result in found.results for scan in result.scans for text in scan.findings]
    drawn = page.Section("At a glance", (page.Text(HOW), *figures(found.chosen, found.models)))
    sections = [page.Section(_TITLES[name], (table_part(table),)) for name, table in tables.items()]
    examples = tuple(_examples(found))
    limits = page.Section("What these numbers cannot say", (page.Text(LIMITS),))
    record = page.Folded("Models, settings, subjects and versions (JSON)", json.dumps(_plain(found.about), indent=2))
    origin = page.Section("How these numbers came about", (record,))
    shown = (drawn, *sections, *([page.Section("Examples", examples)] if examples else []), limits, origin)
    title = f"Validation of {', '.join(found.models)}"
    facts = (
        page.Fact("subjects", str(len(found.results))),
        page.Fact("scans", str(sum(len(result.scans) for result in found.results))),
        page.Fact("could not be measured", str(len(failed)), bool(failed)),
    )
    return page.Page(title, title, shown, notice=NOTICE, facts=facts, warnings=tuple(warnings), style="evaluation")


def _examples(found: Evaluated) -> Iterator[page.Photo]:
    """Yield the subjects with the lowest and the middle PSNR of the first model."""
    model = found.models[0]
    scores = {
        each.subject: each.measurement.scores["psnr"]
        for each in found.chosen
        if each.method == model and "psnr" in each.measurement.scores and found.pictures[each.subject].is_file()
    }
    ranked = sorted(scores, key=lambda subject: scores[subject])
    places = {"lowest": 0, "middle": len(ranked) // 2}
    # of one subject the two are one
    for subject, word in {ranked[place]: word for word, place in places.items() if ranked}.items():
        yield page.Photo(found.pictures[subject].read_bytes(), f"{subject}: the {word} PSNR of {model}.")


def _plain(value: Any) -> Any:
    """JSON types; a number that JSON has not becomes its name."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
