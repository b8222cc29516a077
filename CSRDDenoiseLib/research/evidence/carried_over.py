"""A model on scans of a simulator that it was not trained with (:mod:`.other_simulator`), beside filters."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Iterator, Mapping, Optional, Sequence

import SimpleITK as sitk

from ...atomic import read_json, write_json
from ...denoise import denoise
from ...digests import digest_of_values
from ...io.grid import cubic_image
from ...limits import Between, Length, check_limits
from ...model.bundle import Model, load_model
from ...prepare.scheme import scheme_of
from ...scan import Scan
from ...settings import settings_from_preset
from ..evaluation.markdown import Table, to_markdown
from ..simulation.anatomy import Anatomy, load_anatomy
from ..training.curves import JUDGED, Scene, calm_part, error_at, filter_curves, low_dose_share, our_curve, score
from .blocks import replace_block
from .other_simulator import OtherScan, OtherScanner, scan_head
from .ours import uncertainty_scores
from .rows import Row, at_dose, average, dose_text, doses_of
from .run import model_key

logger = logging.getLogger(__name__)

RESULTS, BLOCK = "results.json", "other-simulator"
_DOSE = Between(0, 1, above=True, below=True)
WORDS = """## Another simulator

Written by `csrd-denoise experiment other-simulator configs/other-simulator.yaml`. The scans are of {heads} heads of the
test part through a simulator that no model was trained with and no choice was made on (`other_simulator.py`): another
activity, another projector, other reconstructions. Hot lesions (up to 16 a head, radius 4 to 6 mm, +60 to +120 %) are
in the activity. Each filter has the setting that is best for the image. PSNR is in the head; that to the full dose
takes the dose as known. A run warns of filtered back projection.

{table}
{draws}"""


@dataclass(frozen=True)
class CarriedOver:
    """The keys of a configuration file; paths are relative to it.

    Attributes:
        anatomy: folder of anatomies.
        output: folder for ``results.json`` and files from which a run continues.
        page: Markdown page that the table goes into, or None.
        model: name of a bundled model.
        heads: names of anatomies with a T1.
        scanners: what scans them.
        doses: dose fractions.
        uncertainty_doses: of them, those where the draws of the preset ``balanced`` are measured.
        seed: of activities and counts.
    """

    anatomy: Path
    output: Path
    page: Optional[Path] = None
    model: str = "brain"
    heads: Annotated[tuple[str, ...], Length(1, 1000)] = ()
    scanners: Annotated[tuple[OtherScanner, ...], Length(1, 100)] = (OtherScanner("OSEM"),)
    doses: Annotated[tuple[float, ...], Length(1, 100), _DOSE] = (1 / 4, 1 / 10, 1 / 20)
    uncertainty_doses: Annotated[tuple[float, ...], _DOSE] = (1 / 10,)
    seed: Annotated[int, Between(0, 2**31)] = 0

    def __post_init__(self) -> None:
        check_limits(self, "The experiment")


def run_carried_over(config: CarriedOver) -> list[Row]:
    """Measure what is not done yet, and write ``results.json`` and the page.

    Returns:
        A row of :func:`measure` for each head, scanner and dose, with ``head``, ``scanner`` and ``dose``.

    Raises:
        InputError: a head is missing or has no T1.
    """
    model = load_model(config.model, "cpu")
    rows: list[Row] = []
    for number, head in enumerate(config.heads):
        anatomy = load_anatomy(config.anatomy, head)
        for scanner in config.scanners:
            rows.extend(_rows(config, model, anatomy, scanner, config.seed + number))
    write_json(config.output / RESULTS, rows, indent=1)
    if config.page is not None:
        replace_block(config.page, BLOCK, carried_over_page(rows))
    return rows


def measure(scan: OtherScan, dose: float, model: Model, draws: bool = False) -> dict[str, Any]:
    """Denoise a low dose as a user would, and compare the result with filters.

    Args:
        scan: of the head.
        dose: fraction, one of the scan's.
        model: of the noise-free image.
        draws: measure the uncertainty of the preset ``balanced`` too.

    Returns:
        ``noise`` and ``error``, root mean square in calm brain in % of its mean, of the low dose and of the default
        result; ``contrast`` that the result keeps of that of the hot lesions in the PET; ``ratio``, share of the
        contrast kept -> our error over the least of the filters; ``psnr_clean`` and ``psnr_full``, of the default, the
        ``bare`` estimate and the best filter, in dB; with draws ``uncertainty`` (:func:`~.ours.uncertainty_scores`).
    """
    pet, mr = (cubic_image(each, scan.spacing) for each in (scan.low_doses[dose], scan.mr))
    run = denoise(pet, mr, settings_from_preset("balanced" if draws else "fast"), model)
    scene, level = _scene(scan, dose, model)
    known = low_dose_share(model.metadata.target, dose)
    bare = sitk.GetArrayFromImage(run.make_bare()) / level
    default = score(sitk.GetArrayFromImage(run.denoised) / level, scene, known)
    curve, filters = our_curve(scene, bare, model.metadata.target), filter_curves(scene)
    every = [point for each in filters.values() for point in each.values()]
    points = {"default": default, "bare": score(bare, scene, known)}
    least = {at: min(error_at(at, each) for each in filters.values()) for at in JUDGED}
    return {
        "noise": round(score(scene.low_dose, scene).error, 3),
        "error": round(default.error, 3),
        "contrast": round(default.contrast, 4),
        "ratio": {str(at): round(error_at(at, curve) / least[at], 4) for at in JUDGED},
        **{
            name: {
                **{which: round(getattr(point, name), 3) for which, point in points.items()},
                "filter": round(max(getattr(point, name) for point in every), 3),
            }
            for name in ("psnr_clean", "psnr_full")
        },
        **({"uncertainty": uncertainty_scores(run, scan.noise_free, scan.brain)} if draws else {}),
    }


def carried_over_page(rows: Sequence[Row]) -> str:
    """Return the table of :func:`run_carried_over` as Markdown."""
    scanners = list(dict.fromkeys(row["scanner"] for row in rows))
    cells = [
        _cells([row for row in at_dose(rows, dose) if row["scanner"] == scanner], scanner, dose)
        for scanner in scanners
        for dose in doses_of(rows)
    ]
    header = (
        "scans",
        "dose",
        "noise (%)",
        "error (%)",
        "contrast kept",
        *(f"error over the best filter's at {at:g} of the contrast" for at in JUDGED),
        "PSNR to noise-free less the best filter's (dB): default, bare",
        "to the full dose",
    )
    caption = "The default, and the ratios along --keep-above; mean over heads, least and largest in brackets"
    heads = len({row["head"] for row in rows})
    return WORDS.format(heads=heads, table=to_markdown(Table(caption, header, tuple(cells))), draws=_of_draws(rows))


def _rows(config: CarriedOver, model: Model, anatomy: Anatomy, scanner: OtherScanner, seed: int) -> Iterator[Row]:
    """The rows of a head and a scanner; the head is scanned only where one is missing."""
    facts = [asdict(scanner), seed, model_key(model), config.doses]
    folder = config.output / "scans" / digest_of_values(facts)[:8]
    scan: Optional[OtherScan] = None
    for dose in config.doses:
        draws = model.metadata.draws and dose in config.uncertainty_doses
        path = folder / f"{anatomy.name.replace('/', '-')}-{dose:.4g}{'-draws' if draws else ''}.json"
        if not path.is_file():
            logger.info("%s, %s, %s", anatomy.name, scanner.name, dose_text(dose))
            scan = scan or scan_head(anatomy, scanner, config.doses, seed)
            write_json(path, measure(scan, dose, model, draws))
        found = read_json(path)
        yield {"head": anatomy.name, "scanner": scanner.name, "dose": dose, **found}


def _scene(scan: OtherScan, dose: float, model: Model) -> tuple[Scene, float]:
    """The scan relative to the mean of its calm brain, and this mean."""
    calm = calm_part(scan.brain, scan.lesions > 0, scan.spacing)
    level = float(scan.noise_free[calm].mean())
    seen = Scan.of_array(scan.low_doses[dose], (scan.spacing,) * 3)
    mr = scheme_of(model.metadata.normalisation).measure(seen, scan.mr).network_mr(scan.mr)
    pets = (scan.low_doses[dose] / level, scan.noise_free / level, scan.full_dose / level)
    return Scene(*pets, scan.lesions, calm, seen.head.mask, mr, scan.spacing, dose), level


def _cells(rows: Sequence[Row], scanner: str, dose: float) -> tuple[str, ...]:
    def mean(name: str) -> float:
        return average(row[name] for row in rows)

    def gain(name: str) -> str:
        return ", ".join(
            f"{average(row[name][of] - row[name]['filter'] for row in rows):+.2f}" for of in ("default", "bare")
        )

    def ratio(at: float) -> str:
        values = [row["ratio"][str(at)] for row in rows]
        return f"{average(values):.2f} ({min(values):.2f} to {max(values):.2f})"

    shown = f"{mean('noise'):.1f}", f"{mean('error'):.1f}", f"{mean('contrast'):.2f}"
    return (scanner, dose_text(dose), *shown, *map(ratio, JUDGED), gain("psnr_clean"), gain("psnr_full"))


def _of_draws(rows: Sequence[Row]) -> str:
    """What the uncertainty is worth, in a sentence for each kind of scan."""
    drawn: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if "uncertainty" in row:
            drawn.setdefault(row["scanner"], []).append(row["uncertainty"])
    if not drawn:
        return ""
    found = []
    for name, scores in drawn.items():
        ratios, within = [each["ratio"] for each in scores], average(each["coverage"]["1"] for each in scores)
        found.append(f"{name} {min(ratios):.2f} to {max(ratios):.2f} ({100 * within:.0f} % within 1)")
    about = "Uncertainty over error in the brain, preset `balanced`"
    return f"{about}: {'; '.join(found)}; normal errors have 68 % within 1.\n"
