"""Filters on a scan: the curve of each along its parameter, and the one best by PSNR against the full dose."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Iterator, Mapping, Sequence, Union

import numpy as np

from ...errors import InputError
from ..evaluation.baselines import Baseline, Case, apply, baseline
from ..training.curves import Point, Scene, filter_images, score
from .quantities import image_scores

FULL_DOSE = 1.0
SLOW = {"Non-local means": 3, "Total variation": 5, "BM4D": 2}
"""Filters that take seconds or minutes a setting -> how many settings are tried, those nearest to the noise."""


def filter_scan(scene: Scene, names: Sequence[str]) -> dict[str, Any]:
    """Measure every filter on a scan, each of its settings, from which the oracle-tuned one is chosen.

    Args:
        scene: with hot lesions.
        names: of baselines beside those of :func:`filter_images`.

    Returns:
        ``curves``, name -> points (contrast, error in %, PSNR to noise-free and to the full dose in dB); of a low
        dose also ``best``, scores of each filter's image with the greatest PSNR to the full dose; and ``left_out``,
        filters whose package is missing.
    """
    curves: dict[str, list[dict[str, Any]]] = {}
    best: dict[str, tuple[float, str, float, np.ndarray]] = {}
    left_out = [name for name in names if not runs(name)]
    for name, at, image in _images(scene, [name for name in names if name not in left_out]):
        with np.errstate(divide="ignore"):
            point = score(image, scene)
        curves.setdefault(name, []).append(plain_point(at, point))
        kind = kind_of(name)
        if scene.dose != FULL_DOSE and (kind not in best or point.psnr_full > best[kind][0]):
            best[kind] = (point.psnr_full, name, at, image)
    scores = {
        kind: {"curve": name, "at": _plain(at), **image_scores(image, scene, 0.0)}
        for kind, (_, name, at, image) in best.items()
    }
    return {"curves": curves, "best": scores, "left_out": left_out}


def best_filter(filters: Mapping[str, Any]) -> tuple[str, Union[float, str]]:
    """The curve with the greatest PSNR to the full dose on a scan, and where on it; of :func:`filter_scan`."""
    best = max(filters["best"].values(), key=lambda each: each["psnr_full"])
    return best["curve"], best["at"]


def filter_image(scene: Scene, curve: str, at: Union[float, str]) -> np.ndarray:
    """Apply the filter of a curve of :func:`filter_scan`, at one setting, to the low dose of a scene."""
    name, _, parameter = curve.partition(", by ")
    if not parameter:
        return next(image for each, value, image in filter_images(scene) if (each, _plain(value)) == (curve, at))
    return apply(baseline(name), float(at), _case(scene)).image if at else scene.low_dose


def full_dose_scene(scene: Scene) -> Scene:
    """Return the scene in which the full dose takes the place of the low dose."""
    return replace(scene, low_dose=scene.full_dose, dose=FULL_DOSE)


def kind_of(curve: str) -> str:
    """The filter that a curve belongs to."""
    return {"tissue regression": "Tissue regression"}.get(curve.split(",")[0], curve.split(",")[0])


def plain_point(at: float, point: Point) -> dict[str, Any]:
    """A point as JSON types; a PSNR that is infinite is left out."""
    values = {name: round(value, 4) for name, value in vars(point).items() if np.isfinite(value)}
    return {"at": _plain(at), **values}


def _plain(at: float) -> Union[float, str]:
    return float(at) if np.isfinite(at) else "inf"


def _images(scene: Scene, names: Sequence[str]) -> Iterator[tuple[str, float, np.ndarray]]:
    yield from filter_images(scene)
    case = _case(scene)
    for name in names:
        chosen = baseline(name)
        curve = f"{name}, by {chosen.parameter}"
        yield curve, 0.0, scene.low_dose
        for value in _values(chosen, scene):
            yield curve, value, apply(chosen, value, case).image


def _case(scene: Scene) -> Case:
    return Case(scene.low_dose, scene.full_dose, scene.mask, scene.cube, 1.0, scene.mr)


def _values(chosen: Baseline, scene: Scene) -> tuple[float, ...]:
    """The grid of a filter; of a slow one whose parameter is a standard deviation, the values nearest to the noise."""
    if chosen.name not in SLOW:
        return chosen.grid
    noise = float(np.std((scene.low_dose - scene.noise_free)[scene.calm]))
    nearest = sorted(chosen.grid, key=lambda value: abs(np.log(value / noise)))
    return tuple(sorted(nearest[: SLOW[chosen.name]]))


def runs(name: str) -> bool:
    """Whether the package of a filter is installed."""
    try:
        tiny = np.ones((8, 8, 8), np.float32)
        baseline(name).apply(tiny, (2.0,) * 3, baseline(name).grid[0], tiny)
    except InputError:
        return False
    return True
