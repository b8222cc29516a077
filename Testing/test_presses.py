"""One press for a double click, or for a key that is held."""

from __future__ import annotations

import pytest

from CSRDDenoiseLib.presses import once


def heard_of(times, takes: float = 0.0, fails: bool = False) -> list[float]:
    """Return which of the presses at these times a receiver hears that takes some seconds; 0.5 s make one press."""
    clock, heard = [0.0], []

    def receiver() -> None:
        heard.append(clock[0])
        clock[0] += takes
        if fails:
            raise ValueError

    press = once(receiver, lambda: 0.5, lambda: clock[0])
    for at in times:
        clock[0] = max(at, clock[0])
        try:
            press(False)
        except ValueError:
            assert fails
    return heard


@pytest.mark.parametrize(
    ("times", "heard"),
    [
        pytest.param((0.0, 0.2), [0.0], id="double click"),
        pytest.param((0.0, 0.5), [0.0, 0.5], id="two clicks"),
        pytest.param([0.1 * n for n in range(30)], [0.0], id="key that is held"),
    ],
)
def test_presses_that_follow_at_once_are_one(times, heard):
    assert heard_of(times) == heard


@pytest.mark.parametrize("fails", [False, True])
def test_second_press_that_waited_for_the_end_of_the_first_is_the_same_one(fails):
    # Qt delivers it when the work of the first is done
    assert heard_of((0.0, 0.2, 3.6), takes=3.0, fails=fails) == [0.0, 3.6]
