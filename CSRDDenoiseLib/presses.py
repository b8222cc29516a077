"""One press for a double click, or for a key that is held."""

import math
import time
from typing import Any, Callable


def once(
    receiver: "Callable[[], None]", seconds: "Callable[[], float]", now: "Callable[[], float]" = time.monotonic
) -> "Callable[..., None]":
    """Return a receiver of presses of a button that passes on a press only some time after the one before.

    The time begins at the end of what a press caused: the second press of a double click waits for that. A press that
    is not passed on counts too, so a key that is held is one press.

    Args:
        receiver: called without arguments.
        seconds: returns the time within which the next press belongs to the one before.
        now: returns seconds that never go back; a test may give another.
    """
    last = -math.inf

    def press(*_arguments: Any) -> None:
        nonlocal last
        try:
            if now() - last >= seconds():
                receiver()
        finally:
            last = now()

    return press
