"""A result follows the slider "Keep measured above": what is seen at once, maps and findings once the slider rests."""

from dataclasses import dataclass, replace
from typing import Any, Callable, Optional

import qt

from CSRDDenoiseLib.errors import Cancelled, CSRDError
from CSRDDenoiseLib.settings import MAPS

from ..job import RUNNING
from ..nodes import estimate_of, image_time
from ..volumes import Volume, release_maps
from .display import map_of

KEEP_DELAY_MILLISECONDS, REFINE_DELAY_MILLISECONDS = 60, 400


@dataclass(frozen=True)
class _Moved:
    """A result whose slider was moved, and to which width in mm; ``made`` is when its estimate came to be."""

    denoised: Volume
    difference: Optional[Volume]
    maps: "tuple[Optional[Volume], ...]"
    width: float
    made: Optional[int] = None


class Keep:
    """Lets a result follow the slider: result and difference at once, maps, findings and numbers once it rests.

    Maps that cannot follow, because the process ended for instance, belong to the result no more.

    What was begun goes on when the user leaves the module or selects another result: until its end the maps are those
    of the width before. What another run cancels is begun again after that run. Maps that the slider of another result
    overtakes cannot follow either, as the process holds one run.

    Args:
        logic: recomputes a result for another width.
        say: shows one sentence.
        onKept: receives a denoised volume after each recomputation of it, also one that failed.
        onRest: hears that nothing more is to be recomputed.
    """

    def __init__(
        self,
        logic: Any,
        say: "Callable[[str], None]",
        onKept: Callable[[Volume], None],
        onRest: "Callable[[], None]",
    ):
        self._logic, self._say, self._onKept, self._onRest = logic, say, onKept, onRest
        self._moved: Optional[_Moved] = None
        self._job: Any = None
        # one recomputation for a movement of the slider, not one for each of its steps
        self._timer = _single_shot(KEEP_DELAY_MILLISECONDS, self.onSettled)
        self._refining = _single_shot(REFINE_DELAY_MILLISECONDS, self.onRested)

    @property
    def waiting(self) -> bool:
        """Whether the slider was moved and the result is still that of the width before."""
        return self._timer.isActive()

    @property
    def following(self) -> bool:
        """Whether something is recomputed or is about to be."""
        running = self._job is not None and self._job.state == RUNNING
        return running or self._timer.isActive() or self._refining.isActive()

    def move(
        self, denoised: Volume, difference: Optional[Volume], maps: "tuple[Optional[Volume], ...]", width: float
    ) -> None:
        """The width of a result was changed: wait until the slider rests."""
        before, self._moved = self._moved, _Moved(denoised, difference, maps, width)
        if self._refining.isActive():
            self._refining.stop()
            self._overtake(before)
        self._timer.start()

    def stop(self) -> None:
        """Begin nothing more: the scene closes, or the module does."""
        self._moved = self._job = None
        self._timer.stop()
        self._refining.stop()

    def onSettled(self) -> None:
        """Recompute what is seen at once, or wait for the end of what is under way."""
        self._begin(self._timer, exact=False)

    def onRested(self) -> None:
        """The slider rests for longer: let maps, findings and numbers follow."""
        self._begin(self._refining, exact=True)

    def _begin(self, timer: qt.QTimer, exact: bool) -> None:
        if self._moved is None:
            return
        if self._logic.busy:
            timer.start()
            return
        moved, denoised = self._moved, self._moved.denoised
        estimate = estimate_of(denoised)
        made = None if estimate is None else image_time(estimate)
        if made is None or (exact and made != moved.made):
            # the result was removed, or a run made it anew with its maps
            self._rest()
            return
        self._moved = replace(moved, made=made)
        selected = zip(MAPS, (moved.difference, *moved.maps))
        difference, *maps = (map_of(node, denoised, kind) for kind, node in selected)
        try:
            self._job = self._logic.startKeep(
                denoised,
                moved.width,
                difference,
                onFinished=lambda _result: self._kept(moved, exact),
                onError=lambda error: self._notKept(error, moved, exact),
                uncertaintyVolume=maps[0],
                supportVolume=maps[1],
                exact=exact,
            )
        except CSRDError as error:
            self._notKept(error, moved, exact)

    def _kept(self, moved: _Moved, exact: bool) -> None:
        if not exact and not self._overtake(moved):
            self._refining.start()
        self._onKept(moved.denoised)
        self._rest()

    def _notKept(self, error: Exception, moved: _Moved, exact: bool) -> None:
        if isinstance(error, Cancelled):
            if self._moved is not None and not self._overtake(moved):
                self._refining.start()
            return
        if exact:
            # result and difference have the new width already
            release_maps(moved.denoised, moved.difference)
        self._say(str(error))
        self._onKept(moved.denoised)
        self._rest()

    def _overtake(self, moved: Optional[_Moved]) -> bool:
        """Return whether the slider moves another result by now; the maps of this one then have the width before."""
        if moved is None or self._moved is None or self._moved.denoised is moved.denoised:
            return False
        release_maps(moved.denoised, moved.difference)
        return True

    def _rest(self) -> None:
        if not self.following:
            self._moved = self._job = None
            self._onRest()


def _single_shot(milliseconds: int, receiver: "Callable[[], None]") -> qt.QTimer:
    timer = qt.QTimer()
    timer.setSingleShot(True)
    timer.setInterval(milliseconds)
    timer.timeout.connect(receiver)
    return timer
