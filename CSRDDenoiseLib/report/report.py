"""The quality report of one run: a single HTML page to look at, to print on two sheets, and to keep."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, Iterable, Mapping, Optional

import numpy as np
import SimpleITK as sitk

from ..checks.dose import dose_fact
from ..errors import InputError
from ..io.grid import Grid, resample
from ..prepare.align import ORIENTATION
from ..prepare.register import moved
from ..request import INPUT_NAMES
from ..scan import BRAIN_THRESHOLD, HEAD_SMOOTHING_MM, find_head, noise_level, smooth
from .curves import Curves, histogram_figure, profile_figure
from .drawing import require_matplotlib, to_svg
from .page import document, folded, paragraph, picture, section, table
from .planes import alignment_figure, centre_of, comparison_figure
from .regions import Region, labels_on, measure_regions
from .summary import ChangeSummary, summarise_change
from .wording import fact_rows, geometry_rows, input_name, number, percent, words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NOTICE = "For research, not for clinical use."
# on paper: what would not fit on two sheets stays on the screen, and pictures give way to many warnings
PRINTED_INPUTS, PRINTED_CHECKS, PRINTED_REGIONS = 6, 12, 7
SHORT_WARNINGS, WARNING_MM, MOST_WARNINGS_MM = 3, 6, 48

UNMOVED = 1e-3
_NO_UNIT = "unknown"
_GOOD_VERDICTS = ("aligned", "inside")

_STYLE = """
header .sub { color: var(--soft); margin: .3rem 0 0; max-width: none; overflow-wrap: anywhere; }
header .notice { color: var(--warn); font-weight: 600; margin: .2rem 0 0; }
.glance { display: grid; grid-template-columns: repeat(auto-fit, minmax(10rem, 1fr)); gap: .6rem; margin: 1.2rem 0; }
.glance div { border-left: 3px solid var(--line); padding: .1rem 0 .1rem .7rem; }
.glance div.warn { border-color: var(--warn); }
.glance dt { color: var(--soft); font-size: .8rem; } .glance dd { margin: 0; font-weight: 600; }
.warnings { border-left: 3px solid var(--warn); background: #fff8ef; padding: .5rem 1rem; }
.warnings ul { margin: 0; padding-left: 1.1rem; } .warnings li { max-width: 60rem; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(22rem, 1fr)); gap: 0 3rem; }
.columns table { width: 100%; } td { overflow-wrap: anywhere; }
.paper { display: none; }
@page { margin: 10mm 12mm; }
@media print {
  body { font-size: 8.5pt; line-height: 1.3; max-width: none; padding: 0; -webkit-print-color-adjust: exact;
    print-color-adjust: exact; }
  h1 { font-size: 14pt; } h2 { font-size: 10.5pt; margin: 2.5mm 0 1mm; padding-top: 1mm; break-after: avoid; }
  header .sub, header .notice { margin: .5mm 0 0; } p { max-width: none; margin: 1mm 0; }
  figure, tr { break-inside: avoid; } figure { margin: 1mm 0 0; }
  figcaption, caption { font-size: 7.5pt; padding: .5mm 0; max-width: none; }
  figure img { width: auto; max-width: 100%; margin: 0 auto; }
  .comparison img { height: calc(108mm - var(--less)); } .alignment img { height: 46mm; } .curves img { height: 30mm; }
  .glance { margin: 2mm 0; gap: 1mm 2mm; grid-template-columns: repeat(auto-fit, minmax(24mm, 1fr)); }
  .glance dt { font-size: 7pt; } .glance dd { font-size: 8.5pt; } .glance div { padding-left: 2mm; }
  .warnings { padding: 1mm 3mm; font-size: 8pt; } .warnings li { max-width: none; }
  .columns { grid-template-columns: 1fr 1fr; gap: 0 6mm; }
  table { font-size: 7.5pt; margin: .5mm 0 1mm; } th, td { padding: .25mm 2mm .25mm 0; }
  td.number, th.number { padding: .25mm 0 .25mm 4mm; }
  .wide { overflow: visible; } details, .screen { display: none; } .paper { display: block; }
}
"""


@dataclass(frozen=True)
class RunImages:
    """The images of one run, in the PET's physical space.

    Attributes:
        pet, denoised: before and after, on one grid.
        uncertainty: on the PET's grid, or None.
        mr: as it was given, on any grid, or None; it is shown where the record says that it was moved to.
        labels: regions to measure, on any grid, or None.
    """

    pet: sitk.Image
    denoised: sitk.Image
    uncertainty: Optional[sitk.Image] = None
    mr: Optional[sitk.Image] = None
    labels: Optional[sitk.Image] = None


def report_page(images: RunImages, provenance: Mapping[str, Any]) -> str:
    """Return the report of a run as HTML that needs no other file.

    Args:
        images: of the run.
        provenance: its record; see :mod:`CSRDDenoiseLib.io.record`.

    Raises:
        InputError: matplotlib is not installed.
    """
    require_matplotlib()
    volumes = _Volumes.of(images, provenance)
    summary = summarise_change(*(volumes.grid.image(v) for v in (volumes.denoised, volumes.difference)))
    quality, warnings = provenance.get("quality", {}), provenance.get("warnings", [])
    parts = [
        _header(provenance),
        _glance(volumes, summary, quality, len(warnings)),
        _warnings(warnings),
        _comparison(volumes),
        _alignment(volumes),
        _origin(provenance),
        _curves(volumes),
        _noise(volumes, summary, quality),
        _regions(volumes),
    ]
    less = min(max(len(warnings) - SHORT_WARNINGS, 0) * WARNING_MM, MOST_WARNINGS_MM)
    title = f"Denoising report: {_pet_name(provenance)}"
    return document(title, "\n".join(filter(None, parts)), f":root {{ --less: {less}mm; }}{_STYLE}")


def check_unmoved(images: Mapping[str, sitk.Image], provenance: Mapping[str, Any]) -> None:
    """Refuse to report a run on PET and MR that no longer lie where they lay in the run.

    Args:
        images: by name, ``pet`` and ``mr`` among them.
        provenance: the record of the run.

    Raises:
        InputError: one was moved, or is another volume.
    """
    for name, told in provenance.get("inputs", {}).items():
        if not told or name not in images:
            continue
        image = images[name]
        here = (*image.GetSize(), *image.GetOrigin(), *image.GetDirection())
        if not np.allclose(here, (*told["size"], *told["origin_mm"], *told["direction"]), atol=UNMOVED):
            raise InputError(
                f"The {INPUT_NAMES[name]} is no longer what it was in the run, or lies elsewhere; undo its transform, "
                "or denoise again."
            )


@dataclass(frozen=True)
class _Volumes:
    """The images as arrays (D, H, W) on the PET's grid, axes to superior, posterior and left."""

    pet: np.ndarray
    denoised: np.ndarray
    uncertainty: Optional[np.ndarray]
    mr: Optional[np.ndarray]
    labels: Optional[np.ndarray]
    head: np.ndarray
    scale: float
    grid: Grid
    unit: str

    @classmethod
    def of(cls, images: RunImages, provenance: Mapping[str, Any]) -> _Volumes:
        grid = Grid.of(sitk.DICOMOrient(images.pet, ORIENTATION))
        pet = _array(images.pet)
        head = find_head(pet, grid.array_spacing)
        unit = str(provenance.get("units") or "")
        return cls(
            pet=pet,
            denoised=_array(images.denoised),
            uncertainty=None if images.uncertainty is None else _array(images.uncertainty),
            mr=None if images.mr is None else _array(resample(_as_used(images.mr, provenance), grid, sitk.sitkLinear)),
            labels=None if images.labels is None else labels_on(images.labels, grid),
            head=head.mask if head else np.ones(pet.shape, bool),
            scale=head.scale if head else float(np.abs(pet).max()) or 1.0,
            grid=grid,
            unit="" if unit == _NO_UNIT else unit,
        )

    @property
    def spacing(self) -> tuple[float, ...]:
        """Voxel spacing in mm along (D, H, W)."""
        return self.grid.array_spacing

    @property
    def difference(self) -> np.ndarray:
        return self.denoised - self.pet

    @property
    def before_and_after(self) -> tuple[np.ndarray, np.ndarray]:
        return self.pet, self.denoised

    @property
    def brain(self) -> np.ndarray:
        """Boolean: the bright part of the head, or all of it where nothing is bright."""
        bright = self.head & (smooth(self.pet, self.spacing, HEAD_SMOOTHING_MM) > BRAIN_THRESHOLD * self.scale)
        return bright if bright.any() else self.head

    def fine_noise(self, volume: np.ndarray) -> float:
        """Noise of single voxels in the bright brain, in percent of its mean."""
        return 100 * noise_level(volume / self.scale, self.head, self.spacing)


# -- the parts of the page, in their order


def _header(provenance: Mapping[str, Any]) -> str:
    created = str(provenance.get("created", "")).replace("T", " ").replace("+00:00", " UTC")
    version = provenance.get("versions", {}).get("csrd-denoise", "")
    model = provenance.get("model", {}).get("name", "")
    facts = (_pet_name(provenance), f"model {model}", created, f"csrd-denoise {version}")
    return (
        f'<header>\n<h1>PET denoising report</h1>\n<p class="sub">{escape(" · ".join(facts))}</p>\n'
        f'<p class="notice">{NOTICE}</p>\n</header>'
    )


def _glance(volumes: _Volumes, summary: ChangeSummary, quality: Mapping[str, Any], warnings: int) -> str:
    facts = [("Warnings", str(warnings) if warnings else "none", warnings > 0)]
    for area, told in quality.items():
        verdict = told.get("verdict") if isinstance(told, Mapping) else None
        if verdict:
            facts.append((words(area), str(verdict), verdict not in _GOOD_VERDICTS))
    dose = dose_fact(quality)
    if dose:
        facts.append((*dose, False))
    before, after = (volumes.fine_noise(volume) for volume in volumes.before_and_after)
    facts.append(("Noise of single voxels", f"{before:.1f} → {after:.1f} %", False))
    facts.append(("Total activity", percent(summary.total_change_percent, "+.2f"), False))
    if volumes.uncertainty is not None:
        unsure = 100 * float(np.median(volumes.uncertainty[volumes.brain])) / volumes.scale
        facts.append(("Median uncertainty", percent(unsure), False))
    cells = (
        f"<div{' class=warn' if warn else ''}><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
        for name, value, warn in facts
    )
    return f'<dl class="glance">{"".join(cells)}</dl>'


def _warnings(warnings: Iterable[str]) -> str:
    items = "".join(f"<li>{escape(warning)}</li>" for warning in warnings)
    return f'<div class="warnings" role="alert"><ul>{items}</ul></div>' if items else ""


def _comparison(volumes: _Volumes) -> str:
    shown = {"PET": volumes.pet, "denoised": volumes.denoised, "difference": volumes.difference}
    caption = (
        "Three planes through the centre of the head. PET and denoised share one scale; the difference is denoised - "
        "PET, red where activity was added"
    )
    if volumes.uncertainty is not None:
        shown["uncertainty"] = volumes.uncertainty
        caption += "; the uncertainty is one standard deviation"
    figure = comparison_figure(shown, volumes.spacing, volumes.unit)
    return section("Before and after", _svg(figure, f"{caption}."), css_class="comparison")


def _alignment(volumes: _Volumes) -> str:
    title = "Alignment of PET and MR"
    if volumes.mr is None:
        return section(title, paragraph("No MR was given, so there is nothing to align."))
    caption = (
        "Contours of the MR, as it was used, on the smoothed PET: the outline of the head in orange, borders between "
        "tissues in blue-green. The outline must follow the head in the PET, and the inner lines its bright cortex."
    )
    figure = alignment_figure(volumes.pet, volumes.mr, volumes.spacing)
    return section(title, _svg(figure, caption), css_class="alignment")


def _origin(provenance: Mapping[str, Any]) -> str:
    """Where the result comes from: inputs and their geometry, model, settings, and the whole record, folded."""
    inputs = {INPUT_NAMES[name]: told for name, told in provenance.get("inputs", {}).items() if told}
    model, settings = provenance.get("model", {}), provenance.get("settings", {})
    rows = [
        ("Model", f"{model.get('name', '')}, weights {str(model.get('weights_sha256', ''))[:12]}…"),
        ("Settings", ", ".join(f"{name} {value}" for name, value in settings.items() if value is not None)),
        ("Device", f"{provenance.get('device', '')}, {provenance.get('precision', '')}"),
        ("Time", f"{provenance.get('seconds', {}).get('total', 0):.1f} s"),
        ("Versions", ", ".join(f"{name} {value}" for name, value in provenance.get("versions", {}).items())),
    ]
    geometry = table(("", *inputs), geometry_rows(inputs), "Inputs and geometry", printed=PRINTED_INPUTS)
    made = table(("", ""), rows, "Model, settings and versions")
    record = f"<pre>{escape(json.dumps(provenance, indent=2, default=str))}</pre>"
    # four columns of numbers do not fit half a page
    tables = _columns(geometry, made) if len(inputs) <= 3 else geometry + made
    return section("Inputs and provenance", tables, folded("The whole record (JSON)", record))


def _curves(volumes: _Volumes) -> str:
    curves = Curves(
        *volumes.before_and_after,
        volumes.uncertainty,
        volumes.brain,
        centre_of(volumes.pet, volumes.spacing),
        volumes.spacing,
        volumes.unit,
    )
    across = "Activity along three lines through the point where the planes above meet (0 mm)."
    counted = "How often each activity, and each difference, occurs in the bright part of the head."
    profiles, histograms = _svg(profile_figure(curves), across), _svg(histogram_figure(curves), counted)
    return section("Profiles and histograms", profiles, histograms, css_class="curves")


def _noise(volumes: _Volumes, summary: ChangeSummary, quality: Mapping[str, Any]) -> str:
    def of_both(measure: Any) -> Iterable[str]:
        return (number(float(measure(volume)), unit=volumes.unit) for volume in volumes.before_and_after)

    flat = (summary.noise_before_percent, summary.noise_after_percent)
    rows = [
        ("Noise in a flat cube of 20 mm", *(percent(value) for value in flat)),
        ("Noise of single voxels", *(percent(volumes.fine_noise(volume)) for volume in volumes.before_and_after)),
        ("Mean in the head", *of_both(lambda volume: volume[volumes.head].mean())),
        ("Maximum", *of_both(np.max)),
        ("Mean difference in the head", "", number(summary.mean_change, 3, volumes.unit)),
        ("Largest difference", "", number(summary.max_change, unit=volumes.unit)),
        ("Total activity", "", percent(summary.total_change_percent, "+.2f")),
    ]
    caption = "Noise: standard deviation in percent of the mean."
    if summary.reference_centre_ras:
        place = ", ".join(f"{value:.0f}" for value in summary.reference_centre_ras)
        caption += f" The cube: where the smoothed PET is flattest, R, A, S = {place} mm."
    measured = table(("", "PET", "denoised"), rows, caption, numbers=(1, 2))
    return section("Noise and activity", _columns(measured, _checks(quality)))


def _checks(quality: Mapping[str, Any]) -> str:
    rows = list(fact_rows(quality))
    return table(("Check", "Found"), rows, "What the checks of this run found.", printed=PRINTED_CHECKS) if rows else ""


def _regions(volumes: _Volumes) -> str:
    if volumes.labels is None:
        return ""
    voxel_ml = math.prod(volumes.spacing) / 1000
    found = measure_regions(volumes.labels, *volumes.before_and_after, volumes.uncertainty, voxel_ml)
    found.sort(key=lambda region: -abs(region.change_percent or 0))
    header = ("Label", "Volume (mL)", "PET", "Denoised", "Change", "SD PET", "SD denoised", "Uncertainty")
    unit = f", in {volumes.unit}" if volumes.unit else ""
    caption = (
        f"Mean activity of each label on the PET's grid and standard deviation (SD) over its voxels{unit}; the labels "
        "that changed most come first."
    )
    rows = [_region_row(region) for region in found]
    told = table(header, rows, caption, numbers=range(1, len(header)), printed=PRINTED_REGIONS)
    return section("Regions", told)


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


def _as_used(mr: sitk.Image, provenance: Mapping[str, Any]) -> sitk.Image:
    """The MR where the registration of the run, if there was one, put it."""
    registration = provenance.get("quality", {}).get("registration", {})
    if not registration.get("applied"):
        return mr
    told, motion = registration["transform"], sitk.Euler3DTransform()
    motion.SetCenter(told["centre"])
    motion.SetParameters(told["parameters"])
    return moved(mr, motion)


def _columns(*parts: str) -> str:
    return f'<div class="columns">{"".join(f"<div>{part}</div>" for part in parts if part)}</div>'


def _svg(figure: Figure, caption: str) -> str:
    return picture(to_svg(figure), "image/svg+xml", caption)


def _array(image: sitk.Image) -> np.ndarray:
    array = sitk.GetArrayFromImage(sitk.DICOMOrient(image, ORIENTATION))
    return np.where(np.isfinite(array), array, 0).astype(array.dtype)


def _pet_name(provenance: Mapping[str, Any]) -> str:
    return input_name(provenance.get("inputs", {}).get("pet"), "PET")
