"""The minutes of an adaptation, from its first step to the model on disk: what each part may take."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from ...errors import InputError

_LOOKING, _CALIBRATING = 0.25, 0.25
_LEAST_TRAINING = 0.2
LAST_SECONDS = 5.0
"""What writing the model takes."""


@dataclass(frozen=True)
class Clock:
    """What is left of a number of seconds that began when this was made."""

    seconds: float
    began: float = field(default_factory=time.monotonic)

    def left(self) -> float:
        """Seconds until the end; below 0 after it."""
        return self.seconds - (time.monotonic() - self.began)


@dataclass(frozen=True)
class Needs:
    """What an adaptation cannot do without.

    Attributes:
        look: seconds to estimate one scan with the network and to judge it.
        held_out: scans that are held out of a fold, all folds together.
        checked: scans that what is written is checked on.
        calibration: seconds to draw from one scan; 0 where nothing is calibrated.
    """

    look: float
    held_out: int
    checked: int
    calibration: float


@dataclass(frozen=True)
class TimePlan:
    """How an adaptation spends its time.

    Attributes:
        looks: how often the held-out scans of a fold are looked at after the start.
        afterwards: seconds that are kept for the check, the uncertainty and writing.
    """

    looks: int
    afterwards: float

    def fold_seconds(self, clock: Clock, folds_left: int) -> float:
        """Return what the next of so many folds may take, its looks included."""
        return max(clock.left() - self.afterwards, 0.0) / folds_left


def plan_time(needs: Needs, clock: Clock, most_looks: int) -> TimePlan:
    """Plan what is left after the pairs have been prepared.

    The looks at held-out scans take a quarter of it at most, and at least those at the start and at the end of a fold.
    A quarter is kept for the uncertainty, or one scan's time, if that is more.

    Raises:
        InputError: less than a fifth would be left for the training.
    """
    left = clock.left()
    one_look = needs.look * needs.held_out
    looks = int(min(max(_LOOKING * left / one_look - 1, 1), most_looks)) if one_look > 0 else most_looks
    calibration = max(needs.calibration, _CALIBRATING * left) if needs.calibration else 0.0
    afterwards = needs.look * needs.checked + calibration + LAST_SECONDS
    training = left - afterwards - one_look * (1 + looks)
    if training < _LEAST_TRAINING * left:
        fixed = needs.look * needs.checked + needs.calibration + LAST_SECONDS + 2 * one_look
        enough = (clock.seconds - left + fixed / (1 - _CALIBRATING - _LEAST_TRAINING)) / 60
        raise InputError(
            f"{clock.seconds / 60:.3g} minutes are too few: on this machine the preparation took "
            f"{(clock.seconds - left) / 60:.1f}, and looking at the held-out scans and fitting the uncertainty take "
            f"about {fixed / 60:.1f}. Give --minutes {max(round(enough + 0.5), 1)} or more, or fewer scans."
        )
    return TimePlan(looks, afterwards)
