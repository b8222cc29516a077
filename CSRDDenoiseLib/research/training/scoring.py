"""Score a model along what its result keeps of the measurement, beside oracle-tuned filters.

On validation phantoms the scores give the rule for the width
(:func:`CSRDDenoiseLib.restore.keeping.default_keep_mm`); on test phantoms, of scanner families that no choice was made
on, they are for the model card.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Iterable, Iterator, Mapping, Sequence

import numpy as np

from ...atomic import write_json
from ...infer.sampling import sample_residual
from ...infer.tiling import STAGE
from ...model.bundle import Model
from ...prepare.bands import noise_bands
from ...prepare.scheme import make_condition
from ...progress import Reporter
from ...restore.keeping import default_keep_mm
from ...scan import Scan
from ...settings import settings_from_preset
from .curves import Point, Scene, error_at, filter_curves, make_scene, our_curve
from .pool import Pool

CONTRAST_WANTED = 0.9
LOSS_ALLOWED_DB = 0.7
_RIDGE = 0.05
_NARROWEST, _WIDEST = 3.0, 12.0


@dataclass(frozen=True)
class Row:
    """Scores of one scan.

    Attributes:
        phantom, dose, family, tracer: which.
        bands: logarithms of the noise unit, fine / level, mid / level.
        ours: width kept (mm) -> point.
        filters: name -> parameter -> point.
    """

    phantom: int
    dose: float
    family: str
    tracer: str
    bands: tuple[float, ...]
    ours: Mapping[float, Point]
    filters: Mapping[str, Mapping[float, Point]]

    def as_dict(self) -> dict[str, Any]:
        """Return the row as plain JSON types; an infinite width is the text ``inf``."""
        curves = {"ours": _plain(self.ours), "filters": {name: _plain(each) for name, each in self.filters.items()}}
        return {**{name: getattr(self, name) for name in ("phantom", "dose", "family", "tracer", "bands")}, **curves}


def score_pool(model: Model, pool: Pool, phantoms: Iterable[int]) -> Iterator[Row]:
    """Score a model on every dose of the pool's phantoms, lesions drawn into them."""
    for phantom in phantoms:
        for dose in pool.doses_of(phantom):
            example = pool.load(phantom, dose)
            scene = make_scene(example, dose, pool.spacing, phantom)
            scan = Scan.of_array(scene.low_dose, scene.cube)
            bands = noise_bands(scan.relative, scan.head.mask, scan.spacing, scan.smoothed).constants
            facts = example.phantom.facts
            curve = our_curve(scene, bare_estimate(model, scene), model.metadata.target)
            yield Row(phantom, dose, facts["family"], facts["tracer"], bands, curve, filter_curves(scene))


def bare_estimate(model: Model, scene: Scene) -> np.ndarray:
    """The model's posterior mean of a scene, (D, H, W), in float32, nothing kept of the measurement."""
    scan = Scan.of_array(scene.low_dose, scene.cube)
    condition = make_condition(model.metadata.normalisation, scan, scene.mr)
    device = next((str(weights.device) for weights in model.denoiser.parameters()), "cpu")
    settings = settings_from_preset("fast", device=device, precision="float32")
    samples = sample_residual(model, condition.channels, scan.head.mask, settings, Reporter(None, {STAGE: 1.0}))
    return scene.low_dose + samples.mean * np.float32(condition.scale)


def chosen_width(curve: Mapping[float, Point]) -> float:
    """The widest width that keeps 90 % of the contrast, widened until it costs at most 0.7 dB against the full dose."""
    best = max(point.psnr_full for point in curve.values())
    cheap = [width for width, point in curve.items() if point.psnr_full >= best - LOSS_ALLOWED_DB]
    keeping = [width for width, point in curve.items() if point.contrast >= CONTRAST_WANTED]
    return float(np.clip(max(min(cheap), max(keeping, default=0.0)), _NARROWEST, _WIDEST))


def keep_rule(rows: Sequence[Row]) -> dict[str, Any]:
    """Fit the logarithm of the chosen width to the noise bands, by ridge regression, for a model's metadata."""
    widths = np.log([chosen_width(row.ours) for row in rows])
    features = np.array([row.bands for row in rows])
    centre, spread = features.mean(0), features.std(0) + 1e-6
    standard = (features - centre) / spread
    penalty = _RIDGE * len(rows) * np.eye(standard.shape[1])
    slopes = np.linalg.solve(standard.T @ standard + penalty, standard.T @ (widths - widths.mean())) / spread
    weights = [float(widths.mean() - centre @ slopes), *slopes.tolist()]
    return {"weights": [round(weight, 5) for weight in weights], "range_mm": [_NARROWEST, _WIDEST]}


def summarise(rows: Sequence[Row], rule: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One line a scan: with the rule's width, and the least error at equal contrast, ours and of the best filter."""
    lines = []
    for row in rows:
        width = default_keep_mm(rule, row.bands)
        at = {name: _interpolated(row.ours, width, name) for name in ("contrast", "error", "psnr_clean", "psnr_full")}
        points = [point for curve in row.filters.values() for point in curve.values()]
        line: dict[str, Any] = {"phantom": row.phantom, "dose": row.dose, "family": row.family, "tracer": row.tracer}
        line |= {"width_mm": width, **at, "best_filter_psnr_full": max(point.psnr_full for point in points)}
        for contrast in (0.8, 0.9):
            best = min(error_at(contrast, curve) for curve in row.filters.values())
            line[f"error_{contrast}"], line[f"best_filter_error_{contrast}"] = error_at(contrast, row.ours), best
        lines.append({name: round(value, 4) if isinstance(value, float) else value for name, value in line.items()})
    return lines


def write_rows(rows: Sequence[Row], rule: Mapping[str, Any], path: Path) -> None:
    """Write scores and their summary as JSON."""
    content = {"keep": dict(rule), "summary": summarise(rows, rule), "rows": [row.as_dict() for row in rows]}
    write_json(path, content, indent=1)


def _interpolated(curve: Mapping[float, Point], width: float, name: str) -> float:
    widths = sorted(width for width in curve if np.isfinite(width))
    return float(np.interp(width, widths, [getattr(curve[each], name) for each in widths]))


def _plain(curve: Mapping[float, Point]) -> list[dict[str, Any]]:
    return [
        {"at": "inf" if np.isinf(at) else at, **{name: round(value, 4) for name, value in asdict(point).items()}}
        for at, point in curve.items()
    ]
