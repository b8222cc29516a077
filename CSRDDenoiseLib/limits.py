"""Limits of a dataclass's fields, written beside their types, as in ``Annotated[float, Between(0, 1)]``.

A dataclass calls :func:`check_limits` from ``__post_init__``, so that they hold for objects made in code too.
"""

from __future__ import annotations

import functools
import math
import reprlib
from dataclasses import dataclass
from typing import Any, Iterator, Union, get_args, get_origin, get_type_hints

from .errors import CSRDError, InputError


@dataclass(frozen=True)
class Between:
    """A number, or every number of a list, lies between two bounds.

    Attributes:
        low, high: the bounds; an infinite ``high`` is none.
        above, below: leave the lower, or the upper, bound out.
    """

    low: float
    high: float
    above: bool = False
    below: bool = False

    def holds(self, value: Any) -> bool:
        """Whether a number, or every number of a list, is inside."""
        if isinstance(value, (tuple, list)):
            return all(map(self.holds, value))
        high_enough = self.low < value if self.above else self.low <= value
        return high_enough and (value < self.high if self.below else value <= self.high)

    def __str__(self) -> str:
        if self.high == math.inf:
            return f"must be {'greater than' if self.above else 'at least'} {self.low:g}"
        if not self.above and not self.below:
            return f"must lie between {self.low:g} and {self.high:g}"
        low, high = "greater than" if self.above else "at least", "less than" if self.below else "at most"
        return f"must be {low} {self.low:g} and {high} {self.high:g}"


@dataclass(frozen=True)
class Length:
    """A text or a list is not shorter or longer than this."""

    low: int
    high: int

    def holds(self, value: Any) -> bool:
        """Whether the length is inside."""
        return self.low <= len(value) <= self.high

    def __str__(self) -> str:
        return f"must have {self.low} to {self.high} entries or letters"


@dataclass(frozen=True)
class Rising:
    """Every number of a list is greater than the one before it, or as great where ``level`` is allowed."""

    level: bool = False

    def holds(self, value: Any) -> bool:
        """Whether the numbers rise."""
        pairs = list(zip(value, value[1:]))
        return all(a <= b for a, b in pairs) if self.level else all(a < b for a, b in pairs)

    def __str__(self) -> str:
        return "must not fall" if self.level else "must rise from number to number"


@dataclass(frozen=True)
class OneOf:
    """A text, or every text of a list, is one of these."""

    choices: tuple[str, ...]

    def holds(self, value: Any) -> bool:
        """Whether it is, or all of them are."""
        return all(map(self.holds, value)) if isinstance(value, (tuple, list)) else value in self.choices

    def __str__(self) -> str:
        return f"must be one of {', '.join(self.choices)}"


def check_limits(instance: Any, where: str, error: type[CSRDError] = InputError) -> None:
    """Check every field of a dataclass against the limits of its annotation; None passes where it is optional.

    Raises:
        CSRDError: of class ``error``; its sentence names the field, its value, and what is allowed.
    """
    kind: Any = type(instance)
    for name, limits in _limits_of(kind).items():
        value = getattr(instance, name)
        for limit in limits:
            if value is not None and not _holds(limit, value):
                raise error(f"{where}: '{name}' is {shown(value)}; it {limit}.")


def shown(value: Any) -> str:
    """A value in few letters and on one line."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = 60
    text = one_line(short.repr(value))
    return text if len(text) <= 120 else f"{text[:117]}..."


def one_line(text: Any) -> str:
    """A text on one line, cut where it is long."""
    return " ".join(str(text).split())[:300]


def _holds(limit: Any, value: Any) -> bool:
    try:
        return limit.holds(value)
    except TypeError:
        # of another type, made in code
        return False


@functools.cache
def _limits_of(kind: type) -> dict[str, tuple[Any, ...]]:
    hints = get_type_hints(kind, include_extras=True)
    return {name: found for name, hint in hints.items() if (found := tuple(limits_in(hint)))}


def limits_in(hint: Any) -> Iterator[Any]:
    """The limits of an annotation, also inside Optional."""
    known = (Between, Length, Rising, OneOf)
    yield from (extra for extra in getattr(hint, "__metadata__", ()) if isinstance(extra, known))
    if get_origin(hint) is Union:
        for item in get_args(hint):
            yield from limits_in(item)
