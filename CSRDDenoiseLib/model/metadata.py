"""What a model is and how it must be used: the fields of ``metadata.json``, checked."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any, Iterator, Optional, Union

from ..errors import InputError, ModelError
from ..limits import Between, Length, OneOf, Rising, check_limits
from .contents import check_extra, check_keep, check_recipes

if TYPE_CHECKING:
    from ..settings import DenoiseSettings
    from .edm import Schedule

FORMAT = 1
_PUBLISHED = ("mr", "low_dose", "position_x", "position_y", "position_z")
CHANNELS = {
    "noise-bands": (*_PUBLISHED, "log_unit", "log_fine", "log_mid", "tissue_0", "tissue_1", "tissue_2"),
    "noise-level": (*_PUBLISHED, "log_noise_level"),
    "reference": _PUBLISHED,
    "tissue": ("mr", "low_dose", "tissue_0", "tissue_1", "tissue_2"),
}
"""Normalisation scheme -> the condition's channels in order."""
TARGETS = ("full-dose", "noise-free")
OF_UNIT = ("unit", "removed")
"""Fields of :class:`DeviationMetadata` that a model of the deviation alone has not."""

_Level = Annotated[float, Between(0, 1e4, above=True)]
_Millimetres = Between(0.5, 10)


@dataclass(frozen=True)
class DeviationMetadata:
    """The network of the draws, where it is not that of the posterior mean: of what the residual deviates from it.

    Its condition is the model's, and the posterior mean of the residual behind it (CorrDiff, Mardani et al. 2023).

    Attributes:
        architecture: as of the model; it takes one channel more.
        unit: weights of :class:`CSRDDenoiseLib.model.deviation.Unit`.
        removed: exponent of what the posterior mean removes nearby, of the same.
        sigma_data: standard deviation of the deviation in its unit.
        sigma_min, sigma_max, rho: of its sampler, as of the model.
    """

    architecture: dict[str, Any]
    unit: Annotated[tuple[float, ...], Between(-100, 100), Length(2, 64)]
    sigma_data: _Level
    sigma_min: _Level
    sigma_max: _Level
    rho: Annotated[float, Between(1, 100)] = 7.0
    removed: Annotated[float, Between(-100, 100)] = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "unit", tuple(self.unit))
        check_limits(self, "The model's deviation", ModelError)
        _check_rising(self, "The model's deviation")


@dataclass(frozen=True)
class BoostMetadata:
    """When and how the network evaluates a scan a second time (:mod:`CSRDDenoiseLib.infer.boosting`).

    Attributes:
        share: of the first estimate in the PET that the network then sees.
        noise: the noise unit (:mod:`CSRDDenoiseLib.prepare.bands`) up to which the second estimate has no weight, and
            that from which on it has all; between them the weight rises with the logarithm.
    """

    share: Annotated[float, Between(0, 1, above=True, below=True)]
    noise: Annotated[tuple[float, float], Between(0, 100, above=True), Rising()]

    def __post_init__(self) -> None:
        object.__setattr__(self, "noise", tuple(self.noise))
        check_limits(self, "The model's boost", ModelError)

    def weight(self, log_unit: float) -> float:
        """Return the weight of the second estimate, 0 to 1, by the logarithm of a scan's noise unit."""
        low, high = (math.log(noise) for noise in self.noise)
        return min(max((log_unit - low) / (high - low), 0.0), 1.0)


@dataclass(frozen=True)
class ModelMetadata:
    """What a model is and how it must be used; the fields of ``metadata.json``.

    Attributes:
        name: how the command line and the Slicer panel call it.
        description: one sentence for a user.
        architecture: ``type``, a key of :data:`.bundle.ARCHITECTURES`, and the arguments of its constructor.
        sigma_data: standard deviation of the training residuals in normalised units.
        sigma_min: smallest noise level of a sampler, normalised units.
        sigma_max: largest noise level of a sampler, normalised units.
        rho: spacing of the noise levels between them (Karras et al. 2022, eq. 5).
        normalisation: name of the scheme that turns PET and MR into network input.
        voxel_spacing_mm: edge of the cubic voxels the network works on.
        spacing_range_mm: smallest and largest PET voxel edge the model was trained for.
        dose_range: smallest and largest dose fraction of the training data.
        mean_from: input of the evaluation that gives the posterior mean: ``noise`` of sigma_max, or ``zero`` for models
            trained to give it without any.
        boost: of a model that evaluates noisy scans a second time; else None.
        target: what PET plus residual estimates, ``full-dose`` or ``noise-free``.
        deviation: the network that draws, for a model whose own network gives the posterior mean alone; else None.
        draws: whether the model can draw samples for the uncertainty; else every run gives the one estimate.
        mr_optional: trained with MR dropout, so that it may run without MR.
        channels: the condition's channels in order.
        weights_sha256: checksum of the weights file, set by :func:`save_model`.
        bytes_per_voxel: memory one evaluation needs beside the weights, set by :func:`save_model`.
        keep: what the result keeps of the measured PET, a rule of
            :func:`CSRDDenoiseLib.restore.keeping.default_keep_mm`.
        recipes: settings that the model was calibrated with (:class:`~CSRDDenoiseLib.settings.Recipe`), each with the
            ``calibration`` that was fitted; the first is the one it is meant for.
        training: how it was trained, for the record.
        extra: anything else, for the record.
        format: version of this layout.
    """

    name: Annotated[str, Length(1, 64)]
    description: Annotated[str, Length(0, 1000)]
    architecture: dict[str, Any]
    sigma_data: _Level
    sigma_min: _Level
    sigma_max: _Level
    rho: Annotated[float, Between(1, 100)] = 7.0
    normalisation: Annotated[str, OneOf(tuple(CHANNELS))] = "noise-level"
    voxel_spacing_mm: Annotated[float, _Millimetres] = 2.0
    spacing_range_mm: Annotated[tuple[float, float], Between(0.1, 50)] = (1.0, 4.0)
    dose_range: Annotated[tuple[float, float], Between(0, 1, above=True)] = (0.01, 0.5)
    mean_from: Annotated[str, OneOf(("noise", "zero"))] = "noise"
    boost: Optional[BoostMetadata] = None
    target: Annotated[str, OneOf(TARGETS)] = "full-dose"
    deviation: Optional[DeviationMetadata] = None
    draws: bool = True
    mr_optional: bool = False
    channels: Annotated[tuple[str, ...], Length(1, 64)] = CHANNELS["noise-level"]
    weights_sha256: str = ""
    bytes_per_voxel: Annotated[float, Between(0, 1e6)] = 0.0
    keep: dict[str, Any] = field(default_factory=dict)
    recipes: tuple[dict[str, Any], ...] = ()
    training: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
    format: Annotated[int, Between(1, FORMAT)] = FORMAT

    def __post_init__(self) -> None:
        for name in ("spacing_range_mm", "dose_range", "channels", "recipes"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        check_limits(self, f"Model '{short(self.name)}'", ModelError)
        if not self.name.isprintable() or set("/\\:") & set(self.name):
            raise ModelError(f"The model's name {self.name!r} must be printable and have no slash or colon.")
        _check_rising(self, f"Model '{self.name}'")
        for name in ("spacing_range_mm", "dose_range"):
            low, high = getattr(self, name)
            if low > high:
                raise ModelError(f"Model '{self.name}': '{name}' goes from {low:g} to {high:g}; it must rise.")
        known = CHANNELS[self.normalisation]
        if self.channels != known:
            raise ModelError(f"Model '{self.name}' wants the channels {self.channels}; known are {known}.")
        if self.boost and self.normalisation != "noise-bands":
            raise ModelError(
                f"Model '{self.name}' has a 'boost', which needs the normalisation 'noise-bands'; it has "
                f"'{self.normalisation}'."
            )
        if self.deviation and len(self.deviation.unit) > 2 + sum(name.startswith("log_") for name in self.channels):
            raise ModelError(f"Model '{self.name}' has more weights in 'unit' of its deviation than constants.")
        check_extra(self.extra, f"Model '{self.name}'")
        check_keep(self.keep, f"Model '{self.name}'")
        check_recipes(self.recipes, f"Model '{self.name}'")

    @property
    def doses(self) -> str:
        """The dose fractions of the training data, as ``1/1.6 to 1/30``."""
        high, low = (f"1/{1 / dose:.3g}" for dose in reversed(self.dose_range))
        return low if low == high else f"{high} to {low}"

    @property
    def passes(self) -> int:
        """How often the network evaluates a volume for the estimate, at most."""
        return 2 if self.boost else 1

    @property
    def data_sha256(self) -> frozenset[str]:
        """SHA-256 of the users' scans that it was trained with, as far as ``training`` names them."""
        return frozenset(_named(self.training, "data_sha256"))

    def settings_of(self, settings: DenoiseSettings) -> DenoiseSettings:
        """Return settings as a run of this model has them: without draws where all its draws would be the same.

        Raises:
            InputError: the estimate is the mean of draws, and the model has none.
        """
        if not self.draws and settings.estimate == "samples":
            raise InputError(
                f"The model '{self.name}' draws no samples, so the estimate cannot be their mean; leave the estimate "
                "at 'mean', or choose another model."
            )
        return settings if self.draws else replace(settings, sampler="mean", steps=1, samples=1)

    @property
    def schedule(self) -> Schedule:
        """The noise levels of a sampler."""
        from .edm import Schedule

        return Schedule(self.sigma_min, self.sigma_max, self.rho)

    def as_dict(self) -> dict[str, Any]:
        """Return the metadata as JSON types (tuples become lists in the file)."""
        return asdict(self)


def short(name: object) -> str:
    """Return a name for a sentence: printable, at most 200 characters."""
    text = repr(str(name))[1:-1]
    return text if len(text) <= 200 else f"{text[:100]}...{text[-97:]}"


def _check_rising(metadata: Union[ModelMetadata, DeviationMetadata], where: str) -> None:
    if not metadata.sigma_min < metadata.sigma_max:
        raise ModelError(
            f"{where} has noise levels from {metadata.sigma_min:g} to {metadata.sigma_max:g}; they must rise."
        )


def _named(values: Any, name: str) -> Iterator[str]:
    """Yield the texts of every list of this name, at any depth."""
    for key, value in values.items() if isinstance(values, dict) else ():
        if key == name and isinstance(value, (list, tuple)):
            yield from (each for each in value if isinstance(each, str))
        else:
            yield from _named(value, name)
