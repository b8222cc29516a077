"""Contrast against noise, the curve of NEMA NU 2, with a known noise-free image: error where lesions keep as much.

Every method is followed along its parameter: ours along the scale above which the estimate is taken, each filter along
its own. What is compared is the error in calm brain where 0.7, 0.8 and 0.9 of the hot lesions' contrast in the PET is
kept; and as the dose gain, the factor of dose that the best filter needs for the same error at the same contrast.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Iterator, Mapping, Sequence

import numpy as np

from .... import measures
from ....limits import Length
from ....restore.keeping import kept_image
from ....scan import robust_std, smooth
from ...training import curves
from ...training.curves import BLOB_DEVIATIONS, BLOB_MM, CONTRASTS, KEPT_MM, Point, error_at
from ..baselines import FILTERS as KNOWN
from ..baselines import Case, baseline
from ..baselines import apply as apply_filter
from ..markdown import Table
from ..methods import ours
from ..study import Study
from .bench import Bench, Doses, Figure, Section, as_fraction, line_plot

logger = logging.getLogger(__name__)

FILTERS = ("Gaussian", "Non-local means", "Total variation", "MR-guided filter", "Tissue regression")
MINE, FULL, LOW = "Ours", "Full dose", "Input"
FULL_DOSE = Fraction(1)
TEXT = (
    "Error: root mean square against noise-free in calm brain (away from its surface and from lesions), in % of the "
    "mean there, where that much of the contrast of the hot lesions in the PET is kept. Every filter is oracle-tuned: "
    "for each scan and contrast its parameter is the best one. The ratio is our error over that of the best filter. "
    "The dose gain is the dose at which the best filter has our error at the same contrast, over the dose of the scan; "
    "'>' where no dose up to the full one suffices, '<' where that filter has less error at the smallest dose of the "
    "subject. Blobs: places per litre of calm brain where the image, smoothed by 6 mm, lies above the noise-free one "
    "by more than 3 standard deviations of the full dose's difference from it."
)

Curve = dict[float, Point]


@dataclass(frozen=True)
class Curves:
    """One scan: the curve of every method, name -> parameter -> point, and blobs per litre of images, by name."""

    subject: str
    dose: Fraction
    of: Mapping[str, Curve]
    blobs: Mapping[str, float]


def run(
    bench: Bench,
    doses: Doses = ("1/4", "1/10"),
    filters: Annotated[Sequence[str], Length(1, len(KNOWN.choices)), KNOWN] = FILTERS,
    kept_mm: Sequence[float] = KEPT_MM,
    contrasts: Annotated[Sequence[float], Length(1, 100)] = CONTRASTS,
) -> Section:
    """Follow every method along its parameter, on subjects with a noise-free image and hot lesions.

    Args:
        bench: subjects and model.
        doses: of the scans; the filters are also applied to the full dose, for the dose gain.
        filters: names of :data:`..baselines.BASELINES`; ``BM4D`` takes minutes a scan.
        kept_mm: FWHM of what our result takes from the measurement, mm; the bare estimate is always added.
        contrasts: shares of the contrast at which errors are compared.
    """
    fractions = [as_fraction(dose) for dose in doses]
    scans = [scan for study in bench.studies() for scan in _follow(bench, study, fractions, filters, kept_mm)]
    tables = (
        _error_table(scans, fractions, [*filters, MINE], contrasts),
        _gain_table(scans, fractions, filters, contrasts),
        _blob_table(scans, fractions),
    )
    figures = tuple(_figure(scans, dose, [*filters, MINE]) for dose in fractions if _at(scans, dose))
    return Section("Contrast and noise", TEXT, tables, figures, ())


def calm_brain(study: Study) -> np.ndarray:
    """The brain 4 mm from its surface and 12 mm from every lesion and structure; boolean (D, H, W)."""
    masks = study.masks
    lesions = np.zeros(masks.brain.shape, bool)
    for structure, _ in (*masks.hot, *masks.cold, *masks.mr_only):
        lesions |= structure
    return curves.calm_part(masks.brain, lesions, study.spacing)


def blobs_per_litre(image: np.ndarray, study: Study, calm: np.ndarray, limit: float) -> float:
    """Blobs a litre of calm brain: where the smoothed image exceeds the smoothed noise-free one by ``limit``."""
    return curves.blobs_per_litre(image - study.noise_free, calm, study.spacing, limit)


def point(image: np.ndarray, pet: np.ndarray, study: Study, calm: np.ndarray) -> Point:
    """Contrast kept, error in calm brain, and PSNR of an image (D, H, W) made of ``pet``."""
    truth, head = study.noise_free, study.masks.head
    assert truth is not None
    error = 100 * measures.mean_squared_error(image, truth, calm) ** 0.5 / float(truth[calm].mean(dtype=np.float64))
    kept = measures.contrast_recovery(image, pet, study.masks.hot)
    return Point(
        float("nan") if kept is None else kept,
        error,
        measures.psnr(image, truth, head),
        measures.psnr(image, study.full_dose, head),
    )


def _follow(
    bench: Bench, study: Study, doses: Sequence[Fraction], filters: Sequence[str], kept_mm: Sequence[float]
) -> Iterator[Curves]:
    if study.noise_free is None or not study.masks.hot:
        logger.warning("%s is left out: it has no noise-free image or no hot lesion.", study.name)
        return
    calm = calm_brain(study)
    spread = robust_std(smooth(study.full_dose - study.noise_free, study.spacing, BLOB_MM)[calm])
    method = ours(bench.model, bench.settings(sampler="mean", steps=1, samples=1, keep_above_mm=float("inf")))
    for dose in (*(dose for dose in doses if dose in study.low_doses), FULL_DOSE):
        pet = study.full_dose if dose == FULL_DOSE else study.array(study.low_doses[dose])
        followed = {name: _filtered(name, pet, study, calm) for name in filters}
        images = {LOW: pet, FULL: study.full_dose}
        if dose != FULL_DOSE:
            estimate = method(study, dose).image
            kept = {mm: kept_above(estimate, pet, study, mm) for mm in (*kept_mm, float("inf"))}
            followed[MINE] = {mm: point(image, pet, study, calm) for mm, image in kept.items()}
            images[f"{MINE}, estimate"] = estimate
        limit = BLOB_DEVIATIONS * spread
        blobs = {name: blobs_per_litre(image, study, calm, limit) for name, image in images.items()}
        yield Curves(study.name, dose, followed, blobs)
        logger.info("%s, dose %s: %d curves", study.name, dose, len(followed))


def kept_above(estimate: np.ndarray, pet: np.ndarray, study: Study, fwhm_mm: float) -> np.ndarray:
    """The result that keeps of a PET (D, H, W) what is coarser than a width, in the unit of the study."""
    return study.scale * kept_image(estimate / study.scale, pet / study.scale, study.spacing, fwhm_mm)


def _filtered(name: str, pet: np.ndarray, study: Study, calm: np.ndarray) -> Curve:
    chosen, mr = baseline(name), study.array(study.t1)
    case = Case(pet, study.full_dose, study.masks.head, study.spacing, study.scale, mr)
    points = {value: point(apply_filter(chosen, value, case).image, pet, study, calm) for value in chosen.grid}
    # every filter may leave the PET as it is
    return {0.0: point(pet, pet, study, calm), **points}


def _at(scans: Sequence[Curves], dose: Fraction) -> list[Curves]:
    return [scan for scan in scans if scan.dose == dose]


def _best(scan: Curves, filters: Sequence[str], contrast: float) -> float:
    return min(error_at(contrast, scan.of[name]) for name in filters)


def _error_table(
    scans: Sequence[Curves], doses: Sequence[Fraction], names: Sequence[str], contrasts: Sequence[float]
) -> Table:
    rows = []
    for dose in doses:
        chosen = _at(scans, dose)
        for name in names:
            errors = [[error_at(contrast, scan.of[name]) for scan in chosen] for contrast in contrasts]
            ratios = [
                [mine / _best(scan, names[:-1], contrast) for mine, scan in zip(each, chosen)]
                for each, contrast in zip(errors, contrasts)
            ]
            compared = [f"{np.mean(each):.2f}" if name == MINE and each else "" for each in ratios]
            rows.append((str(dose), name, *(_mean(each) for each in errors), *compared, str(len(chosen))))
    header = (
        *("dose", "method"),
        *(f"error at {contrast:g} (%)" for contrast in contrasts),
        *(f"ratio at {contrast:g}" for contrast in contrasts),
        "n",
    )
    return Table("Error in calm brain at equal contrast (mean over subjects)", header, tuple(rows))


def _gain_table(
    scans: Sequence[Curves], doses: Sequence[Fraction], filters: Sequence[str], contrasts: Sequence[float]
) -> Table:
    rows = []
    for dose in doses:
        gains = [[_dose_gain(scan, scans, filters, contrast) for scan in _at(scans, dose)] for contrast in contrasts]
        rows.append((str(dose), *map(_median, gains)))
    header = ("dose", *(f"at {contrast:g} of the contrast" for contrast in contrasts))
    return Table("Dose gain over the best filter (median over subjects)", header, tuple(rows))


def _dose_gain(scan: Curves, scans: Sequence[Curves], filters: Sequence[str], contrast: float) -> tuple[float, str]:
    """The gain, and ``>`` or ``<`` where it is a bound."""
    same = sorted((each for each in scans if each.subject == scan.subject), key=lambda each: each.dose)
    errors = [(float(each.dose), _best(each, filters, contrast)) for each in same]
    return curves.dose_gain(error_at(contrast, scan.of[MINE]), float(scan.dose), errors)


def _blob_table(scans: Sequence[Curves], doses: Sequence[Fraction]) -> Table:
    rows = []
    for dose in doses:
        chosen = _at(scans, dose)
        for name in chosen[0].blobs if chosen else ():
            rows.append((str(dose), name, f"{np.mean([scan.blobs[name] for scan in chosen]):.1f}", str(len(chosen))))
    header = ("dose", "image", "blobs per litre", "n")
    return Table("Invented blobs in calm brain (mean over subjects)", header, tuple(rows))


def _figure(scans: Sequence[Curves], dose: Fraction, names: Sequence[str]) -> Figure:
    chosen = _at(scans, dose)
    series = {}
    for name in names:
        points = [[scan.of[name][value] for scan in chosen if value in scan.of[name]] for value in chosen[0].of[name]]
        contrast = [float(np.mean([each.contrast for each in group])) for group in points]
        series[name] = (contrast, [float(np.mean([each.error for each in group])) for group in points])
    plot = line_plot(series, "contrast of hot lesions kept", "error in calm brain (%)")
    caption = f"Contrast kept against error in calm brain at dose {dose}, mean over n = {len(chosen)} subjects."
    return Figure(f"contrast_{dose.numerator}_{dose.denominator}", caption, plot)


def _mean(values: Sequence[float]) -> str:
    return f"{np.mean(values):.2f}" if len(values) and np.isfinite(values).all() else "n/a"


def _median(gains: Sequence[tuple[float, str]]) -> str:
    return curves.gain_text(*sorted(gains)[(len(gains) - 1) // 2]) if gains else "n/a"
