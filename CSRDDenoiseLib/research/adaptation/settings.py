"""What an adaptation is asked for."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, Optional

from ...errors import InputError
from ...limits import Between, check_limits


@dataclass(frozen=True)
class AdaptSettings:
    """How a model is adapted.

    The learning rate was chosen on two simulated sites that are not in the report (docs/own-scans.md); the other
    defaults are what is usual in fine-tuning, and were not compared with others.

    Attributes:
        minutes: of the whole adaptation, from reading the pairs to writing the model.
        steps: of training, all folds together, whatever time all takes; None plans them by the minutes.
        learning_rate: of AdamW.
        pull: towards the start (:attr:`CSRDDenoiseLib.research.training.config.TrainingConfig.pull`).
        train_only: beginnings of the names of the parameters that are trained; empty trains all.
        patch: side of the patches in voxels.
        batch: patches a step.
        validations: how often the held-out subjects are looked at in a fold after its start, if there is time.
        seed: of folds and patches.
        register: move each MR to its low dose first.
        calibrate: fit the uncertainty to the held-out subjects anew.
    """

    minutes: Annotated[float, Between(0, 1e5, above=True)] = 30.0
    steps: Annotated[Optional[int], Between(1, 1e7)] = None
    learning_rate: Annotated[float, Between(0, 1, above=True)] = 4e-5
    pull: Annotated[float, Between(0, 1e4)] = 5.0
    train_only: tuple[str, ...] = ()
    patch: Annotated[int, Between(8, 256)] = 48
    batch: Annotated[int, Between(1, 256)] = 2
    validations: Annotated[int, Between(1, 100)] = 4
    seed: Annotated[int, Between(0, 2**31)] = 0
    register: bool = False
    calibrate: bool = True

    def __post_init__(self) -> None:
        check_limits(self, "The adaptation", InputError)

    def share(self, folds: int) -> AdaptSettings:
        """The settings of one fold of so many."""
        return replace(self, steps=self.steps and max(self.steps // folds, 1))

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as plain JSON types."""
        return asdict(self)
