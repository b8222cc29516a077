"""The choices of one run, and the three presets the command line and the Slicer panel show."""

from __future__ import annotations

import math
import reprlib
from dataclasses import asdict, dataclass, fields, replace
from numbers import Integral, Real
from typing import Any, Optional, Union

from .configuration import unknown_key
from .errors import InputError

SAMPLERS = ("dpmpp", "heun", "mean")
ESTIMATES = ("mean", "samples")
PRECISIONS = ("auto", "float32", "bfloat16", "float16")
INFINITE = "inf"
MAX_OVERLAP = 0.9
MAX_STEPS, MAX_SAMPLES = 1000, 1_000_000
_KINDS = {"str": (str, "a text"), "int": (Integral, "a whole number"), "float": (Real, "a finite number")}


@dataclass(frozen=True)
class Recipe:
    """What of the settings the spread of the draws depends on; see :class:`DenoiseSettings` for the fields.

    A calibration of the uncertainty is good for the recipe that it was fitted with, and for no other.
    """

    sampler: str
    steps: int
    samples: int
    estimate: str = "mean"
    churn: float = 0.0
    keep_above_mm: Optional[Union[float, str]] = None

    def as_dict(self) -> dict[str, Any]:
        """Return the recipe as plain JSON types."""
        return asdict(self)


@dataclass(frozen=True)
class DenoiseSettings:
    """What a run does besides its inputs and its model.

    Attributes:
        sampler: ``mean`` (posterior mean alone, one evaluation), ``dpmpp`` (DPM-Solver++(2M)) or ``heun`` (EDM
            algorithm 2).
        steps: noise levels the sampler visits; ``heun`` evaluates the network 2 steps - 1 times, ``mean`` once.
        samples: draws K from the posterior, for the uncertainty.
        estimate: what the denoised PET is: ``mean``, the posterior mean from one evaluation at the largest noise level
            (which is every draw's first step too, and made once), the uncertainty being the draws' spread about it; or
            ``samples``, the draws' own mean, as in the paper.
        churn: S_churn of EDM algorithm 2; 0 is deterministic given the starting noise.
        keep_above_mm: what is coarser than this (FWHM of a Gaussian, mm) stays as it was measured; 0 returns the input,
            infinity the bare estimate, None what the model was selected with, by the noise of the PET.
        dose: fraction of the full dose that the PET was taken at, where it is known: the result of a model of the
            noise-free image then is the full dose to expect, with the share of its noise that the PET has; None gives
            the noise-free image.
        overlap: share of a patch's side that it has in common with its neighbour, 0 to 0.9.
        patch_size: side of cubic patches, or their (D, H, W), in voxels of the model's grid; None takes the whole
            volume when it fits memory, and the largest patches that do otherwise.
        seed: the only source of randomness.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        precision: of the network's arithmetic: ``float32``, ``bfloat16``, ``float16``, or ``auto`` for bfloat16 where
            the device computes faster in it and float32 elsewhere.
        nan_to_zero: replace NaN and infinity in the PET by zero instead of refusing it.
        register: move the MR rigidly to where it fits the PET best before it is used.
        whole_field: denoise all that stands out in the PET; otherwise only the head of a longer body.
    """

    sampler: str = "dpmpp"
    steps: int = 3
    samples: int = 2
    estimate: str = "mean"
    churn: float = 0.0
    keep_above_mm: Optional[float] = None
    dose: Optional[float] = None
    overlap: float = 0.25
    patch_size: Optional[Union[int, tuple[int, int, int]]] = None
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    nan_to_zero: bool = False
    register: bool = False
    whole_field: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.patch_size, list):
            object.__setattr__(self, "patch_size", tuple(self.patch_size))
        if self.keep_above_mm == INFINITE:  # type: ignore[comparison-overlap]  # as a record has it
            object.__setattr__(self, "keep_above_mm", math.inf)
        self._check_types()
        if self.sampler not in SAMPLERS:
            raise InputError(f"Sampler '{self.sampler}' is not known; choose one of {', '.join(SAMPLERS)}.")
        if self.estimate not in ESTIMATES:
            raise InputError(f"Estimate '{self.estimate}' is not known; choose one of {', '.join(ESTIMATES)}.")
        if not 1 <= self.steps <= MAX_STEPS:
            raise InputError(f"The number of steps is {self.steps}; it must lie between 1 and {MAX_STEPS}.")
        if not 1 <= self.samples <= MAX_SAMPLES:
            raise InputError(f"The number of samples is {self.samples}; it must lie between 1 and {MAX_SAMPLES}.")
        if not 0 <= self.overlap <= MAX_OVERLAP:
            raise InputError(f"The patch overlap is {self.overlap:g}; it must lie between 0 and {MAX_OVERLAP}.")
        if self.patch_sides is not None and min(self.patch_sides) < 1:
            raise InputError(f"The patch size is {self.patch_size}; it must be a positive number of voxels.")
        if self.precision not in PRECISIONS:
            raise InputError(f"Precision '{self.precision}' is not known; choose one of {', '.join(PRECISIONS)}.")
        if self.keep_above_mm is not None and self.keep_above_mm < 0:
            raise InputError(f"What to keep begins at {self.keep_above_mm:g} mm; it must be 0 or more.")
        if self.dose is not None and not 0 < self.dose < 1:
            raise InputError(f"The dose is {self.dose:g}; it must be a fraction of the full dose, between 0 and 1.")
        if self.churn < 0:
            raise InputError(f"The churn is {self.churn:g}; it must be 0 or more.")
        if not 0 <= self.seed < 2**63:
            raise InputError(f"The seed is {self.seed}; it must lie between 0 and 2^63 - 1.")

    def _check_types(self) -> None:
        """Settings come from JSON and from consoles too, where nothing else looks at types."""
        if self.patch_size is not None and not _are_sides(self.patch_size):
            raise InputError(
                f"The setting 'patch_size' has the wrong type: {reprlib.repr(self.patch_size)} is not a whole number "
                "or three of them."
            )
        for each in fields(self):
            value, name = getattr(self, each.name), str(each.type)
            if each.name == "patch_size" or (value is None and name.startswith("Optional")):
                continue
            if each.name == "keep_above_mm" and value == math.inf:
                continue
            name = name.replace("Optional[", "").rstrip("]")
            kind, words = _KINDS.get(name, (bool, "true or false"))
            good = isinstance(value, kind) and isinstance(value, bool) == (kind is bool)
            if not good or (kind is Real and not math.isfinite(value)):
                raise InputError(f"The setting '{each.name}' has the wrong type: {reprlib.repr(value)} is not {words}.")

    @property
    def patch_sides(self) -> Optional[tuple[int, int, int]]:
        """The (D, H, W) of the patches, or None where they are to follow the memory."""
        size = self.patch_size
        return size if size is None or isinstance(size, tuple) else (size,) * 3

    @property
    def recipe(self) -> Recipe:
        """What the spread of the draws depends on."""
        keep = _plain_number(self.keep_above_mm)
        return Recipe(self.sampler, self.steps, self.samples, self.estimate, float(self.churn), keep)

    @property
    def evaluations(self) -> int:
        """How often the network is evaluated at each place of the volume."""
        once = {"mean": 1, "dpmpp": self.steps, "heun": 2 * self.steps - 1}[self.sampler]
        if self.sampler == "mean":
            return 1
        return 1 + self.samples * (once - 1) if self.estimate == "mean" else self.samples * once

    @property
    def has_uncertainty(self) -> bool:
        """Whether there are draws to take a spread over."""
        return self.sampler != "mean" and (self.samples > 1 or self.estimate == "mean")

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as plain JSON types, which have no infinity: it is the text ``inf``."""
        return {**asdict(self), "keep_above_mm": _plain_number(self.keep_above_mm)}


def _plain_number(value: Optional[float]) -> Optional[Union[float, str]]:
    return INFINITE if value == math.inf else value


def _are_sides(value: Any) -> bool:
    sides = value if isinstance(value, tuple) and len(value) == 3 else (value,)
    return all(isinstance(side, Integral) and not isinstance(side, bool) for side in sides)


PRESETS = {
    "fast": DenoiseSettings(sampler="mean", steps=1, samples=1),
    "balanced": DenoiseSettings(sampler="dpmpp", steps=3, samples=2),
    "quality": DenoiseSettings(sampler="dpmpp", steps=8, samples=16),
}
DEFAULT_PRESET = "balanced"


def settings_from_preset(preset: str = DEFAULT_PRESET, **changes: Any) -> DenoiseSettings:
    """Return a preset with the given fields changed; a change of None keeps the preset's value.

    Raises:
        InputError: the preset is not known, or a value is out of range.
    """
    if preset not in PRESETS:
        raise InputError(f"Preset '{preset}' is not known; choose one of {', '.join(PRESETS)}.")
    return replace(PRESETS[preset], **{name: value for name, value in changes.items() if value is not None})


def settings_from_fields(values: Any) -> DenoiseSettings:
    """Return the settings of a message or a record.

    Raises:
        InputError: a name is not known, or a value has the wrong type or is out of range.
    """
    if not isinstance(values, dict):
        raise InputError(f"The settings are {values!r}; they must be an object of names and values.")
    known = list(DenoiseSettings.__dataclass_fields__)
    unknown = next((name for name in values if name not in known), None)
    if unknown is not None:
        raise InputError(unknown_key(str(unknown), known, "The settings"))
    try:
        return DenoiseSettings(**values)
    except TypeError as error:
        raise InputError(f"A setting has a value of the wrong type: {error}.") from error
