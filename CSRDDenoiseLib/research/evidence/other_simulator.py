"""A second simulator, which no model was trained on: another activity, another projector, other reconstructions.

It shares the heads with the simulator of the training (:mod:`..simulation`), and no code. Lines lie in planes, pixels
of 1 mm are measured, and pixels of the head's map are reconstructed: by OSEM (Hudson and Larkin 1994), or by filtered
back projection, whose noise is as large in cold parts as in hot ones and has both signs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Mapping, Sequence

import numpy as np
from scipy import fft, ndimage, sparse

from ...errors import InputError
from ...limits import Between, OneOf, check_limits
from ...scan import FWHM_PER_SIGMA
from ..simulation.anatomy import AIR, BRAIN, BRAINSTEM, CSF, GREY, WHITE, Anatomy

OSEM, FBP = "osem", "fbp"
UPTAKE = {CSF: 0.25, GREY: 4.0, WHITE: 1.1, BRAINSTEM: 1.9}
"""Activity of a tissue's regions on average; around the brain it is 0.35, and in the scalp 0.4 to 1.2."""
_REGION_SPREAD, _FIELDS = 0.12, ((0.07, 16.0), (0.04, 6.0))
_AROUND, _SCALP, _SCALP_MM = 0.35, (0.4, 1.2), 6.0
_RADIUS_MM, _RAISE, _LESIONS, _GAP_MM = (4.0, 6.0), (0.6, 1.2), 16, 24.0
_TRUTH_MM, _BINS_MM, _RESOLUTION_MM, _ANGLES, _SUBSETS = 1.0, 2.2, 4.6, 120, 12
_WATER_PER_MM, _BACKGROUND, _LEAST = 0.0096, 0.5, 1e-9


@dataclass(frozen=True)
class OtherScanner:
    """What differs between scans.

    Attributes:
        name: for the table.
        method: ``osem`` or ``fbp``.
        updates: of OSEM, a multiple of its 12 subsets.
        filter_mm: FWHM of the Gaussian afterwards.
        counts: true coincidences of the full dose.
    """

    name: str
    method: Annotated[str, OneOf((OSEM, FBP))] = OSEM
    updates: Annotated[int, Between(_SUBSETS, 1200)] = 72
    filter_mm: Annotated[float, Between(0, 100)] = 2.0
    counts: Annotated[float, Between(1e3, 1e12)] = 2.5e8

    def __post_init__(self) -> None:
        check_limits(self, f"The scanner '{self.name}'")
        if self.updates % _SUBSETS:
            raise InputError(f"'{self.name}' has {self.updates} updates; use a multiple of {_SUBSETS}.")


@dataclass(frozen=True)
class OtherScan:
    """What is known of a scan; arrays are (D, H, W) on the grid of the head's map.

    Attributes:
        noise_free: reconstruction of the expected counts.
        full_dose: of all counts.
        low_doses: dose fraction -> of that share of the counts of the full dose.
        lesions: labels of the hot lesions.
        brain: boolean.
        mr: the head's T1.
        spacing: voxel side in mm.
    """

    noise_free: np.ndarray
    full_dose: np.ndarray
    low_doses: Mapping[float, np.ndarray]
    lesions: np.ndarray
    brain: np.ndarray
    mr: np.ndarray
    spacing: float


def scan_head(anatomy: Anatomy, scanner: OtherScanner, doses: Sequence[float], seed: int) -> OtherScan:
    """Draw the activity of a head, with hot lesions that the MR does not show, and scan it.

    Args:
        anatomy: with a T1, and voxel sides that are a whole number of mm.
        scanner: which counts, and how they are reconstructed.
        doses: fractions of the full dose.
        seed: of the activity and of the counts.

    Raises:
        InputError: the head has no T1, or its voxel sides are no whole number of mm.
    """
    if anatomy.t1 is None:
        raise InputError(f"The anatomy '{anatomy.name}' has no T1; name heads of the folder 'ixi'.")
    rng = np.random.default_rng(seed)
    step = round(anatomy.spacing / _TRUTH_MM)
    if not np.isclose(step * _TRUTH_MM, anatomy.spacing, rtol=1e-3):
        raise InputError(f"The voxel sides of '{anatomy.name}' are {anatomy.spacing:g} mm; use a whole number of mm.")
    activity, lesions = _add_lesions(_fine(_activity(anatomy, rng), step), anatomy, step, rng)
    activity = ndimage.gaussian_filter(activity, _RESOLUTION_MM / FWHM_PER_SIGMA / _TRUTH_MM)
    measured = _Measured.of(activity, anatomy, scanner, step)
    full = rng.poisson(measured.expected)
    low = {dose: measured.image(rng.binomial(full, dose), dose) for dose in doses}
    return OtherScan(
        measured.image(measured.expected, 1.0),
        measured.image(full, 1.0),
        low,
        lesions,
        np.isin(anatomy.tissue, BRAIN),
        anatomy.t1,
        anatomy.spacing,
    )


def _activity(anatomy: Anatomy, rng: np.random.Generator) -> np.ndarray:
    """Activity (D, H, W): every region has its own, and it varies smoothly inside of regions."""
    tissue, labels = anatomy.tissue, anatomy.labels
    found = np.where(tissue == AIR, 0, _AROUND).astype(np.float32)
    for kind, uptake in UPTAKE.items():
        for label in np.unique(labels[tissue == kind]):
            found[(tissue == kind) & (labels == label)] = uptake * (
                1.0 if kind == CSF else rng.normal(1, _REGION_SPREAD)
            )
    depth = ndimage.distance_transform_edt(ndimage.binary_fill_holes(tissue != AIR)) * anatomy.spacing
    found[(depth > 0) & (depth <= _SCALP_MM) & ~np.isin(tissue, BRAIN)] = rng.uniform(*_SCALP)
    for size, width_mm in _FIELDS:
        field = ndimage.gaussian_filter(rng.standard_normal(tissue.shape), width_mm / anatomy.spacing)
        found *= np.exp(size * field / field.std()).astype(np.float32)
    return found


def _fine(volume: np.ndarray, step: int) -> np.ndarray:
    """Every voxel as ``step`` ** 3 of them."""
    for axis in range(3):
        volume = np.repeat(volume, step, axis)
    return volume


def _add_lesions(
    activity: np.ndarray, anatomy: Anatomy, step: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Raise balls of the activity on the fine grid; also returns their labels on the grid of the head's map."""
    solid = ndimage.binary_erosion(np.isin(anatomy.tissue, (GREY, WHITE, BRAINSTEM)), iterations=2)
    free, found, labels = solid, activity.copy(), np.zeros(solid.shape, np.int16)
    fine, coarse = (np.ogrid[tuple(slice(n) for n in each.shape)] for each in (activity, solid))
    for number in range(1, _LESIONS + 1):
        places = np.argwhere(free)
        if not len(places):
            break
        centre, radius = places[rng.integers(len(places))], rng.uniform(*_RADIUS_MM)
        ball = _distance(fine, (centre + 0.5) * step - 0.5) * _TRUTH_MM <= radius
        found[ball] += rng.uniform(*_RAISE) * found[ball].mean()
        away = _distance(coarse, centre) * anatomy.spacing
        labels[away <= radius] = number
        free = free & (away > _GAP_MM)
    return found, labels


def _distance(grid: Sequence[np.ndarray], centre: np.ndarray) -> np.ndarray:
    squares = [(line - at) ** 2 for line, at in zip(grid, centre)]
    return np.sqrt(squares[0] + squares[1] + squares[2])


@dataclass(frozen=True)
class _Measured:
    """Expected counts of a full dose, (angles * bins, planes), and what a reconstruction needs to know.

    Attributes:
        expected: counts.
        efficiency: counts of a line for each unit of its integral, by attenuation and scan time.
        background: expected counts of scatter and randoms, that the reconstruction knows.
        lines: from pixels of the image to integrals along lines in mm, (angles * bins, side ** 2).
        side: pixels of the square image.
        shape: of the head's map.
        spacing: of its voxels in mm.
        scanner: how it is reconstructed.
    """

    expected: np.ndarray
    efficiency: np.ndarray
    background: np.ndarray
    lines: sparse.csr_matrix
    side: int
    shape: tuple[int, ...]
    spacing: float
    scanner: OtherScanner

    @classmethod
    def of(cls, activity: np.ndarray, anatomy: Anatomy, scanner: OtherScanner, step: int) -> _Measured:
        """Project the activity (D, H, W) on the fine grid; planes are averaged over a voxel of the image."""
        shape, side = anatomy.tissue.shape, max(anatomy.tissue.shape[1:])
        bins = 2 * int(0.55 * side * anatomy.spacing / _BINS_MM) + 1
        planes = activity.reshape(shape[0], step, *activity.shape[1:]).mean(1)
        integrals = _lines(side * step, _TRUTH_MM, bins) @ _columns(planes, side, step)
        lines = _lines(side, anatomy.spacing, bins)
        head = ndimage.binary_fill_holes(anatomy.tissue != AIR).astype(np.float32)
        attenuation = np.exp(-_WATER_PER_MM * (lines @ _columns(head, side)))
        true = integrals * attenuation
        scale = np.float32(scanner.counts / true.sum(dtype=np.float64))
        spread = ndimage.gaussian_filter(true.reshape(_ANGLES, bins, -1), (0, 12, 3)).reshape(true.shape)
        background = scale * np.float32(_BACKGROUND / 2) * (spread + true.mean())
        return cls(
            scale * true + background,
            scale * attenuation,
            background,
            lines,
            side,
            shape,
            anatomy.spacing,
            scanner,
        )

    def image(self, counts: np.ndarray, dose: float) -> np.ndarray:
        """Reconstruct counts of a dose fraction, float32 (D, H, W), in the unit of the activity."""
        made = self._osem(counts, dose) if self.scanner.method == OSEM else self._back_projection(counts, dose)
        volume = made.T.reshape(-1, self.side, self.side)
        inside = volume[(slice(None), *(_middle(self.side, n) for n in self.shape[1:]))]
        return ndimage.gaussian_filter(inside, self.scanner.filter_mm / FWHM_PER_SIGMA / self.spacing).astype(
            np.float32
        )

    def _osem(self, counts: np.ndarray, dose: float) -> np.ndarray:
        bins = self.lines.shape[0] // _ANGLES
        of_subset = np.arange(self.lines.shape[0]) // bins % _SUBSETS
        subsets = [(of_subset == each, self.lines[of_subset == each]) for each in range(_SUBSETS)]
        image, counts = np.ones((self.side**2, counts.shape[1]), np.float32), counts.astype(np.float32)
        for _ in range(self.scanner.updates // _SUBSETS):
            for chosen, lines in subsets:
                gain = np.float32(dose) * self.efficiency[chosen]
                model = gain * (lines @ image) + np.float32(dose) * self.background[chosen]
                ratio = lines.T @ (gain * counts[chosen] / np.maximum(model, np.float32(_LEAST)))
                image *= ratio / np.maximum(lines.T @ gain, np.float32(_LEAST))
        return image

    def _back_projection(self, counts: np.ndarray, dose: float) -> np.ndarray:
        integrals = (counts / dose - self.background) / self.efficiency
        views = integrals.reshape(_ANGLES, -1, counts.shape[1])
        padded = fft.next_fast_len(2 * views.shape[1], real=True)
        spectrum = _ramp(padded)[:, None] * fft.rfft(views, padded, axis=1)
        filtered = fft.irfft(spectrum, padded, axis=1)[:, : views.shape[1]]
        weight = np.pi / _ANGLES * _BINS_MM / self.spacing**2
        return weight * (self.lines.T @ filtered.reshape(counts.shape))


def _ramp(length: int) -> np.ndarray:
    """The ramp filter in frequency, whose kernel is exact (Kak and Slaney 1988, eq. 61), (length // 2 + 1,), 1/mm."""
    at = np.arange(length)
    odd = np.minimum(at, length - at)
    kernel = np.where(odd % 2, -1 / (np.pi * np.maximum(odd, 1) * _BINS_MM) ** 2, 0.0)
    kernel[0] = 1 / (2 * _BINS_MM) ** 2
    return fft.rfft(kernel).real * _BINS_MM


def _lines(side: int, pixel_mm: float, bins: int) -> sparse.csr_matrix:
    """From the pixels of a square image to integrals along lines in mm: each pixel's area goes to its two next bins."""
    middle = (np.arange(side) - (side - 1) / 2) * pixel_mm
    y, x = (each.ravel() for each in np.meshgrid(middle, middle, indexing="ij"))
    pixels, rows, columns, values = np.arange(side**2), [], [], []
    for number, angle in enumerate(np.pi * np.arange(_ANGLES) / _ANGLES):
        at = (x * np.cos(angle) + y * np.sin(angle)) / _BINS_MM + (bins - 1) / 2
        first = np.floor(at).astype(int)
        for each, share in ((first, first + 1 - at), (first + 1, at - first)):
            inside = (each >= 0) & (each < bins)
            rows.append(number * bins + each[inside])
            columns.append(pixels[inside])
            values.append((share[inside] * pixel_mm**2 / _BINS_MM).astype(np.float32))
    places = np.concatenate(rows), np.concatenate(columns)
    return sparse.csr_matrix((np.concatenate(values), places), shape=(_ANGLES * bins, side**2))


def _columns(planes: np.ndarray, side: int, step: int = 1) -> np.ndarray:
    """Planes (D, H, W) as columns of a square image of ``side`` voxels of ``step`` pixels, float32 (pixels, D)."""
    square = np.zeros((planes.shape[0], side * step, side * step), np.float32)
    square[(slice(None), *(_middle(side, n // step, step) for n in planes.shape[1:]))] = planes
    return square.reshape(planes.shape[0], -1).T


def _middle(side: int, length: int, step: int = 1) -> slice:
    # in whole voxels, so that an odd and an even side lie at the same place on both grids
    start = (side - length) // 2
    return slice(start * step, (start + length) * step)
