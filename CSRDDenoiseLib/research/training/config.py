"""Everything a training run depends on, in one file."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Optional

from ...configuration import read_yaml, structure
from ...errors import InputError
from ...model.metadata import CHANNELS, TARGETS, BoostMetadata

SCANNERS = ("usual", "families")
PRECISIONS = ("auto", "float32", "bfloat16")
WITH_CONSTANTS = ("noise-bands", "noise-level")
"""Schemes that show the network the residual's unit."""
SUB_REGIONS = (4, 8, 16)
"""Sides in voxels of the cubes whose means and maxima ``quantities`` compares."""

_PLACES = ("anatomy", "pairs", "output", "data", "split")
"""Fields that name folders and files."""

FORMER_SHARE = "prior_share"
"""Name of ``regression_share`` in configurations of version 0.1."""


@dataclass(frozen=True)
class TrainingConfig:
    """A training run.

    Attributes:
        name: of the model that comes out.
        output: folder for checkpoints, the log and the model.
        anatomy: folder of anatomies (``simulation.anatomy.list_anatomies``); None only with ``pairs`` and a share of 1.
        pairs: table of pairs of a low and a full dose (docs/own-scans.md) to train on; None trains on phantoms alone.
        share: of the patches that are of those pairs; the others are of simulated phantoms.
        register: move the MRs of those pairs to their low doses first.
        data: folder for the split and the pool, for runs that share them; None takes ``output``.
        split: file of the split, which is drawn where there is none yet; None takes ``split.json`` in ``data``.
        architecture: ``type`` and the network's own arguments.
        normalisation: scheme of ``prepare.scheme`` that the model is trained in.
        target: what the residual leads to: ``noise-free``, the reconstruction of the expected counts, or ``full-dose``.
        boost: of the model that is exported, see :class:`CSRDDenoiseLib.model.metadata.ModelMetadata`; training does
            not depend on it. It needs the scheme ``noise-bands``.
        scanners: ``usual`` ones (``scanner.draw_scanner``), or those of the ``families`` for training and validation,
            with more that differs from head to head.
        lesions: most lesions that are drawn into a patch, noise-free and low dose alike; 0 draws none.
        lesion_share: share of the patches with lesions.
        lesion_weight: of the squared error inside of them.
        noise_scale: by how much the noise of a low dose is made smaller or larger at most; 1 leaves it. It needs the
            scheme ``noise-bands`` and the target ``noise-free``.
        keep_mm: FWHM of what the result takes from the measurement; that much of the error at sigma_max counts by
            ``coarse_weight`` alone. 0 counts all of it.
        coarse_weight: share of the coarse error that counts.
        quantities: weight in the loss of the means and maxima of sub-regions (LeqMod, PMC12910708); 0 for none. It
            needs the scheme ``noise-bands`` or ``noise-level``, and patches of 16 voxels or more.
        sigma_data: standard deviation of the residual; None measures it on the pool.
        sigma_range: smallest and largest noise level of a sampler, as multiples of sigma_data; the largest is far
            above the residual, so that the noisy residual holds no information, and the smallest far below its noise.
        start_from: a model of this architecture whose weights and sigma_data to begin with: the name of a bundled one,
            or a folder, written with a slash.
        pull: how strongly the weights are drawn to those of ``start_from``: every step shrinks their distance by the
            share learning rate times ``pull``, in place of the decay of the weights themselves (L2-SP, Li, Grandvalet
            and Davoine 2018); 0 for none.
        train_only: beginnings of the names of the parameters that are trained; empty trains all.
        mean_model: a model that gives the posterior mean, named as ``start_from``; the run then trains a network for
            the residual's deviation from it (:mod:`.deviation`), and its model has both.
        repeats: consecutive steps that see the same patches, each with noise of its own.
        outside_weight: of the squared error outside of the head; 0 leaves it out.
        doses: dose fractions to train on; beside a ``dose_range`` only those of validation.
        dose_range: smallest and largest dose fraction; every phantom then has its own, as many as ``doses``, spread
            over the range on a logarithmic scale.
        unseen_doses: dose fractions that validation reports besides them.
        subjects: share of the subjects for training, validation and test.
        pool_size: phantoms to simulate and to train on, also where ``data`` has more of them; later ones replace none.
        pool_start: phantoms that must be there before the first step.
        validation_phantoms: phantoms of validation subjects.
        simulators: processes that simulate while training runs.
        model_spacing: voxel side of the model's grid in mm.
        patch: side of the cubic patches in voxels.
        batch: patches a step and process.
        steps: optimiser steps of the whole run.
        learning_rate: of Adam, after ``warmup`` steps; it falls to zero over the last ``decay_share`` of the steps.
        sigma_centre: median of the training sigmas as a multiple of sigma_data.
        sigma_spread: standard deviation of log sigma.
        regression_share: share of the patches trained at sigma_max, where D is the posterior mean.
        mr_dropout: share of the patches that see no MR.
        ema_decay: of the averaged weights, per step.
        precision: of the arithmetic: ``auto``, ``float32`` or ``bfloat16``; not every processor that has bfloat16 is
            faster with it.
        clip_norm: largest norm of the gradient.
        checkpoint_minutes: time between checkpoints.
        validation_minutes: time between validations.
        milestones: steps after which the averaged weights of the network are kept beside the checkpoint, as
            ``average-STEP.safetensors`` in half precision, for a curve of quality against voxels seen.
        seed: of split, weights, patches and noise.
    """

    name: str
    output: Path
    anatomy: Optional[Path] = None
    pairs: Optional[Path] = None
    share: float = 1.0
    register: bool = False
    data: Optional[Path] = None
    split: Optional[Path] = None
    architecture: dict[str, Any] = field(default_factory=lambda: {"type": "ResidualUNet3d"})
    normalisation: str = "noise-level"
    target: str = "full-dose"
    boost: Optional[BoostMetadata] = None
    scanners: str = "usual"
    lesions: int = 0
    lesion_share: float = 0.85
    lesion_weight: float = 9.0
    noise_scale: float = 1.0
    keep_mm: float = 0.0
    coarse_weight: float = 0.3
    quantities: float = 0.0
    sigma_data: Optional[float] = None
    sigma_range: tuple[float, float] = (0.02, 40.0)
    start_from: Optional[str] = None
    pull: float = 0.0
    train_only: tuple[str, ...] = ()
    mean_model: Optional[str] = None
    repeats: int = 1
    outside_weight: float = 0.0
    doses: tuple[float, ...] = (1 / 4, 1 / 6, 1 / 8)
    dose_range: Optional[tuple[float, float]] = None
    unseen_doses: tuple[float, ...] = (1 / 10,)
    subjects: tuple[float, float, float] = (0.78, 0.08, 0.14)
    pool_size: int = 400
    pool_start: int = 32
    validation_phantoms: int = 6
    simulators: int = 1
    model_spacing: float = 2.0
    patch: int = 40
    batch: int = 2
    steps: int = 8000
    learning_rate: float = 1e-3
    warmup: int = 200
    decay_share: float = 0.35
    sigma_centre: float = 0.6
    sigma_spread: float = 1.2
    regression_share: float = 0.4
    mr_dropout: float = 0.12
    ema_decay: float = 0.998
    precision: str = "auto"
    clip_norm: float = 1.0
    checkpoint_minutes: float = 3.0
    validation_minutes: float = 10.0
    milestones: tuple[int, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        if self.anatomy is None and self.simulates:
            raise InputError(
                "The training needs 'anatomy', a folder of anatomies to simulate phantoms of; or 'pairs', a table of "
                "scans, with a 'share' of 1."
            )
        if self.normalisation not in CHANNELS:
            raise InputError(f"The normalisation '{self.normalisation}' is not known; known are {', '.join(CHANNELS)}.")
        for name, known in (("target", TARGETS), ("scanners", SCANNERS), ("precision", PRECISIONS)):
            if getattr(self, name) not in known:
                raise InputError(f"The {name} is '{getattr(self, name)}'; known are {', '.join(known)}.")
        if self.boost and self.normalisation != "noise-bands":
            raise InputError("A boost needs normalisation noise-bands.")
        if self.noise_scale != 1 and (self.normalisation, self.target) != ("noise-bands", "noise-free"):
            raise InputError("A noise_scale other than 1 needs normalisation noise-bands and target noise-free.")
        if self.quantities > 0 and (self.normalisation not in WITH_CONSTANTS or self.patch < max(SUB_REGIONS)):
            raise InputError(
                f"A weight of 'quantities' needs normalisation {' or '.join(WITH_CONSTANTS)} and patches of "
                f"{max(SUB_REGIONS)} voxels or more; they are {self.normalisation} and {self.patch}."
            )
        if self.pull > 0 and self.start_from is None:
            raise InputError("A pull draws the weights to those of a model; name it as start_from.")
        if self.mean_model is not None and self.start_from is not None:
            raise InputError(
                "A run for the draws ('mean_model') begins with new weights; leave out either it or 'start_from'."
            )
        if not self.sigma_range[0] < self.sigma_range[1]:
            raise InputError(
                f"The sigma_range is {list(self.sigma_range)}; it must be the smallest and the largest noise level, "
                "the smallest first."
            )
        ends = self.dose_range
        if ends is not None and not (len(ends) == 2 and 0 < ends[0] < ends[1] < 1):
            raise InputError(
                f"The dose_range is {list(ends)}; it must be the smallest and the largest dose fraction, "
                "both between 0 and 1."
            )

    @property
    def simulates(self) -> bool:
        """Whether the run is on phantoms, alone or beside pairs."""
        return self.pairs is None or self.share < 1

    @property
    def data_folder(self) -> Path:
        """Where the split and the pool lie."""
        return self.data or self.output

    @property
    def split_file(self) -> Path:
        """Where it is written which subject is for what."""
        return self.split or self.data_folder / "split.json"

    @property
    def trained_doses(self) -> tuple[float, float]:
        """Smallest and largest dose fraction of the training."""
        return self.dose_range or (min(self.doses), max(self.doses))

    @property
    def mean_from(self) -> str:
        """The network's input for the posterior mean, as in a model's metadata."""
        return "zero" if self.regression_share > 0 or self.mean_model else "noise"

    @property
    def settings(self) -> dict[str, Any]:
        """The configuration without its folders and files, whose places mean nothing elsewhere; plain JSON types."""
        return {name: value for name, value in asdict(self).items() if name not in _PLACES}


def load_config(path: Path) -> TrainingConfig:
    """Read a YAML file whose keys are the fields of :class:`TrainingConfig`; relative folders are beside the file.

    Raises:
        InputError: the file is missing, is no mapping, or has a key that is not known.
    """
    where = f"The training configuration '{path}'"
    values = read_yaml(path, "train")
    if FORMER_SHARE in values:
        values = {"regression_share": values[FORMER_SHARE], **{k: v for k, v in values.items() if k != FORMER_SHARE}}
    config = structure(values, TrainingConfig, where, text=True)
    folders = {name: getattr(config, name) for name in ("anatomy", "pairs", "output", "data", "split")}
    placed: dict[str, Any] = {
        name: (path.parent / folder).resolve() for name, folder in folders.items() if folder is not None
    }
    # a name without a slash is that of a bundled model
    models = {name: str(getattr(config, name)) for name in ("start_from", "mean_model")}
    placed.update({name: str((path.parent / text).resolve()) for name, text in models.items() if "/" in text})
    return replace(config, **placed)
