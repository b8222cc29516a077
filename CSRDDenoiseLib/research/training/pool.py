"""The pool of simulated phantoms on disk: it grows while training runs, and a phantom's number is its seed."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Iterator, Optional, Sequence

import numpy as np

from ...errors import InputError
from ...prepare.bands import NoiseBands
from ...prepare.scheme import MR_LIMIT, SCHEMES, Scheme, Terms
from ...scan import Head, Scan, head_lines
from ..simulation.anatomy import load_anatomy
from ..simulation.subject import SimulationSettings, dose_name, nameable_dose, simulate_subject
from .config import TrainingConfig
from .phantom import (
    CLEAN,
    FIRST_LOW,
    FIRST_MAP,
    FULL,
    MASK,
    MR,
    NOISE_SCALES,
    Phantom,
    make_phantom,
    open_phantom,
    save_phantom,
)
from .split import PARTS

_SEEDS_PER_PART = 1_000_000
_FAMILIES = {"train": "training", "validation": "validation", "test": "report"}


@dataclass(frozen=True)
class Example:
    """One low dose of one phantom as a scheme sees it, on the model's grid, cropped to the head; (D, H, W).

    Attributes:
        phantom: its volumes.
        number: of the low dose.
        scheme: how it is normalised.
        target: ``noise-free`` or ``full-dose``.
        terms: what the scheme measures on the low dose, relative to ``low_dose``.
    """

    phantom: Phantom
    number: int
    scheme: Scheme
    target: str
    terms: Terms

    @property
    def gain(self) -> float:
        """A volume of the phantom times this is relative to the brain mean of the low dose."""
        return 1 / self.phantom.facts["scales"][self.number]

    @property
    def measured(self) -> bool:
        """Whether it is a measured pair, of which the noise-free image is not known."""
        return bool(self.phantom.facts.get("measured"))

    @property
    def dose(self) -> float:
        """Dose fraction of the low dose."""
        return self.phantom.doses[self.number]

    @property
    def target_row(self) -> int:
        """Which of the phantom's volumes the network is to give, or for a measured pair what that is made of."""
        return CLEAN if self.target == "noise-free" else FULL

    def at_noise(self, target: np.ndarray, low: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray, float]:
        """Give volumes of the low dose another noise, as :func:`at_noise` does with what is known of this one."""
        return at_noise(target, low, np.float32(scale), np.float32(self.known_share(scale)))

    def known_share(self, scale: float) -> float:
        """Share of the target that is the low dose itself with its noise times ``scale``.

        It is the dose fraction of a measured pair that leads to noise-free, whose full dose is made of it, else 0.
        """
        return self._dose_at(scale) if self.measured and self.target == "noise-free" else 0.0

    def noise_at(self, scale: float) -> float:
        """Root mean square in the head of the noise of the low dose that :meth:`at_noise` returns."""
        return self.noise * ((self.dose / self._dose_at(scale)) ** 0.5 if self.measured else scale)

    def _dose_at(self, scale: float) -> float:
        return 1 / (1 + scale**2 * (1 / self.dose - 1))

    @property
    def noise(self) -> float:
        """Root mean square in the head of the low dose minus noise-free."""
        return float(self.phantom.facts["noise"][self.number])

    @cached_property
    def low_dose(self) -> np.ndarray:
        """The low dose, float32, relative to its brain mean."""
        return self._pet(FIRST_LOW + self.number)

    @cached_property
    def full_dose(self) -> np.ndarray:
        """The full dose, float32, relative to the low dose's brain mean."""
        return self._pet(FULL)

    @cached_property
    def noise_free(self) -> np.ndarray:
        """The reconstruction of the expected counts, float32, relative to the low dose's brain mean.

        Of a measured pair it is the full dose.
        """
        return self._pet(CLEAN)

    @property
    def residual(self) -> np.ndarray:
        """Target minus low dose in ``terms.unit``, float32."""
        target, low, _ = self.at_noise(self._pet(self.target_row), self.low_dose, 1.0)
        return (target - low) / np.float32(self.terms.unit)

    @cached_property
    def mask(self) -> np.ndarray:
        """The head, boolean."""
        return np.asarray(self.phantom.volumes[MASK]) > 0

    @property
    def mr(self) -> np.ndarray:
        """The MR, float32, as the network sees it."""
        return self.terms.network_mr(np.asarray(self.phantom.volumes[MR], np.float32))

    @property
    def maps(self) -> np.ndarray:
        """Tissue maps, float32 (3, D, H, W), or none of them where the scheme has none."""
        return np.asarray(self.phantom.volumes[FIRST_MAP : FIRST_LOW if self.scheme.maps else FIRST_MAP], np.float32)

    def terms_at(self, noise_scale: float) -> Terms:
        """The terms of the low dose with its noise times ``noise_scale``, 0.5 to 2, for schemes of noise bands."""
        if noise_scale == 1 or not self.scheme.maps:
            return self.terms
        rows = np.log(self.phantom.facts["bands"][self.number])
        at = np.log(noise_scale)
        bands = NoiseBands(*(float(np.exp(np.interp(at, np.log(NOISE_SCALES), column))) for column in rows.T))
        terms = self.terms
        return Terms(terms.pet, terms.mr, bands.unit, bands.constants, terms.lines)

    def _pet(self, row: int) -> np.ndarray:
        return np.asarray(self.phantom.volumes[row], np.float32) * np.float32(self.gain)


def at_noise(target: Any, low: Any, scale: Any, share: Any) -> tuple[Any, Any, Any]:
    """Give a low dose another noise.

    Args:
        target: what the network is to give, or for a measured pair the full dose; an array or tensor.
        low: the low dose there.
        scale: of the noise that the low dose has and the target has not.
        share: :meth:`Example.known_share` at this scale.

    Returns:
        What the network is to give, the low dose, and the weight of the squared error: of a measured pair
        (1 - f)^2, so that it is the error of the full dose, f low + (1 - f) estimate.
    """
    low = target + scale * (low - target)
    return (target - share * low) / (1 - share), low, (1 - share) ** 2


@dataclass(eq=False)
class Pool:
    """Phantoms 0, 1, 2, ... in a folder.

    Attributes:
        folder: where they lie.
        anatomy_folder: where anatomies come from; None where nothing is simulated.
        subjects: anatomies of this pool, one split's.
        doses: dose fractions of every phantom, or how many it has within ``dose_range``.
        spacing: voxel side of the model's grid in mm.
        first_seed: seed of phantom 0.
        normalisation: scheme that examples are loaded in; files are the same for all.
        dose_range: where the doses of a phantom are drawn from, if they are not the same for all.
        target: what the residual leads to, ``noise-free`` or ``full-dose``.
        settings: of the simulation, the doses aside.
    """

    folder: Path
    anatomy_folder: Optional[Path]
    subjects: Sequence[str]
    doses: tuple[float, ...]
    spacing: float
    first_seed: int
    normalisation: str = "noise-level"
    dose_range: Optional[tuple[float, float]] = None
    target: str = "full-dose"
    settings: dict[str, Any] = field(default_factory=dict)

    def doses_of(self, phantom: int) -> tuple[float, ...]:
        """Dose fractions of a phantom: the same for all, or one from each part of the range in logarithms."""
        if self.dose_range is None:
            return self.doses
        parts, (low, high) = len(self.doses), np.log(self.dose_range)
        drawn = np.arange(parts) + np.random.default_rng((self.first_seed, phantom, 1)).random(parts)
        return tuple(nameable_dose(float(np.exp(low + (high - low) * share / parts))) for share in drawn)

    def path(self, phantom: int) -> Path:
        """The file of one phantom, which names its doses."""
        return self.folder / f"{phantom:05d}_{'_'.join(dose_name(dose) for dose in self.doses_of(phantom))}.npy"

    def available(self) -> int:
        """How many phantoms are there without a gap: 0 .. available - 1."""
        count = 0
        while self.path(count).is_file():
            count += 1
        return count

    def simulate(self, phantom: int, device: str = "cpu") -> None:
        """Simulate one phantom and write it, unless it is there."""
        if self.path(phantom).is_file():
            return
        if self.anatomy_folder is None:
            raise InputError(f"The pool '{self.folder}' has no phantom {phantom}, and no anatomies to simulate it of.")
        doses, seed = self.doses_of(phantom), self.first_seed + phantom
        # every pass over the subjects has its own order
        order = np.random.default_rng((self.first_seed, phantom // len(self.subjects))).permutation(len(self.subjects))
        anatomy = load_anatomy(self.anatomy_folder, self.subjects[order[phantom % len(self.subjects)]])
        settings = SimulationSettings(doses=doses, noise_free=True, **self.settings)
        subject = simulate_subject(anatomy, settings, seed, device)
        displaced = np.random.default_rng((seed, 2)) if settings.varied else None
        save_phantom(make_phantom(subject, doses, self.spacing, displaced), self.path(phantom))

    def load(self, phantom: int, dose: float) -> Example:
        """Open one example; its volumes are read where they are asked for."""
        opened, scheme = open_phantom(self.path(phantom)), SCHEMES[self.normalisation]
        number = opened.doses.index(dose)
        return Example(opened, number, scheme, self.target, self._terms(opened, number, scheme))

    def examples(self, phantoms: int) -> Iterator[tuple[int, float, Example]]:
        """Every example of the first ``phantoms`` phantoms."""
        for phantom in range(phantoms):
            for dose in self.doses_of(phantom):
                yield phantom, dose, self.load(phantom, dose)

    def _terms(self, phantom: Phantom, number: int, scheme: Scheme) -> Terms:
        shape = phantom.volumes.shape[1:]
        if self.normalisation == "reference":
            # it looks at every voxel's value
            low = np.asarray(phantom.volumes[FIRST_LOW + number], np.float32) / phantom.facts["scales"][number]
            whole = Head(np.ones(shape, bool), tuple(slice(0, n) for n in shape), 1.0)
            scan = Scan.of_array(low, (self.spacing,) * 3, whole)
            return scheme.measure(scan, np.asarray(phantom.volumes[MR], np.float32))
        bands = NoiseBands(*phantom.facts["bands"][number][NOISE_SCALES.index(1.0)])
        lines = head_lines(shape, tuple(slice(0, n) for n in shape))
        level, constants = (bands.unit, bands.constants) if scheme.maps else (bands.level, (np.log(bands.level),))
        return Terms((0.0, 1.0), (0.0, 1.0, MR_LIMIT), level, constants, lines)


def pool_of(config: TrainingConfig, part: str, subjects: Sequence[str] = ()) -> Pool:
    """The pool of a run's ``train``, ``validation`` or ``test`` phantoms; only to simulate it needs the subjects."""
    training = part == "train"
    settings = {}
    if config.scanners == "families":
        settings = {"families": _FAMILIES[part], "varied": training}
    return Pool(
        config.data_folder / ("pool" if training else f"pool-{part}"),
        config.anatomy,
        subjects,
        config.doses if training else (*config.doses, *config.unseen_doses),
        config.model_spacing,
        _SEEDS_PER_PART * (len(PARTS) * config.seed + PARTS.index(part) + 1),
        config.normalisation,
        config.dose_range if training else None,
        config.target,
        settings,
    )


def residual_rms(example: Example) -> float:
    """Root mean square of the residual inside the head."""
    return float(np.sqrt(np.mean(example.residual[example.mask] ** 2)))
