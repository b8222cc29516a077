"""What is wrong with a value is one sentence that names the key, the value and what is allowed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Mapping, Optional, Union

import pytest

from CSRDDenoiseLib.configuration import number_of, structure
from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.limits import Between, Length, OneOf, Rising, check_limits


@dataclass(frozen=True)
class Inner:
    side: int
    name: str = "a"


@dataclass(frozen=True)
class Outer:
    folder: Path
    share: Annotated[float, Between(0, 1)] = 0.5
    count: Optional[Annotated[int, Between(1, 9)]] = None
    pair: Annotated[tuple[float, float], Rising()] = (0.0, 1.0)
    rates: Annotated[tuple[float, ...], Length(0, 3), Between(0, 1, above=True)] = ()
    kind: Annotated[str, OneOf(("a", "b"))] = "a"
    on: bool = False
    inner: Optional[Inner] = None
    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    dose: Union[str, float] = "1/10"

    def __post_init__(self) -> None:
        check_limits(self, "the outer")


def read(**values: Any) -> Outer:
    return structure({"folder": "f", **values}, Outer, "the file", text=True)


def test_sound_values_get_their_types():
    outer = read(share="1/4", pair=[0, "2e-1"], rates=["1/8", 0.5], inner={"side": 3}, count=2, tables={"x": {"y": 1}})
    assert (
        outer.folder == Path("f") and outer.share == 0.25 and outer.pair == (0.0, 0.2) and outer.rates == (0.125, 0.5)
    )
    assert outer.inner == Inner(3) and outer.count == 2 and outer.tables == {"x": {"y": 1}}
    assert read(dose=0.1).dose == 0.1 and read(dose="1/4").dose == "1/4"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"share": "much"}, ("'share' is 'much'", "a finite number")),
        ({"share": True}, ("'share' is True", "a finite number")),
        ({"share": float("nan")}, ("'share'", "a finite number")),
        ({"share": "1/0"}, ("'share' is '1/0'", "a finite number")),
        ({"share": 10**400}, ("'share'", "a finite number")),
        ({"share": 1.5}, ("'share' is 1.5", "between 0 and 1")),
        ({"share": None}, ("'share' is None", "a finite number")),
        ({"count": 1.0}, ("'count' is 1.0", "a whole number or null")),
        ({"count": 10}, ("'count' is 10", "between 1 and 9")),
        ({"pair": [1]}, ("'pair' is [1]", "a list of 2 entries")),
        ({"pair": "12"}, ("'pair' is '12'", "a list of 2 entries")),
        ({"pair": [1, "x"]}, ("'pair[1]' is 'x'", "a finite number")),
        ({"pair": [2, 1]}, ("'pair'", "must rise")),
        ({"rates": [0.1, 0]}, ("'rates'", "greater than 0")),
        ({"rates": [0.1] * 4}, ("'rates'", "0 to 3")),
        ({"rates": 0.1}, ("'rates' is 0.1", "a list")),
        ({"kind": "c"}, ("'kind' is 'c'", "a, b")),
        ({"on": "yes"}, ("'on' is 'yes'", "true or false")),
        ({"on": 1}, ("'on' is 1", "true or false")),
        ({"inner": {"side": "x"}}, ("'inner.side' is 'x'", "a whole number")),
        ({"inner": {}}, ("'inner.side' is missing",)),
        ({"inner": {"side": 1, "nmae": "b"}}, ("'inner'", "did you mean 'name'")),
        ({"inner": [1]}, ("'inner' is [1]", "a mapping")),
        ({"tables": {"x": 3}}, ("'tables.x' is 3", "a mapping")),
        ({"tables": ["x"]}, ("'tables' is ['x']", "a mapping")),
        ({"folder": 3}, ("'folder' is 3", "a path")),
        ({"shrae": 1}, ("'shrae' is not known", "did you mean 'share'")),
        ({"dose": [1]}, ("'dose' is [1]", "text or a finite number")),
    ],
)
def test_what_is_wrong_is_named(values, words):
    with pytest.raises(InputError) as caught:
        read(**values)
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert "\n" not in message and message.startswith("the file")


def test_a_key_that_is_missing_is_named():
    with pytest.raises(InputError, match="'folder' is missing; it must be a path"):
        structure({}, Outer, "the file")


def test_numbers_as_text_are_for_files_of_people_only():
    with pytest.raises(InputError, match=r"'share' is '0\.5'"):
        structure({"folder": "f", "share": "0.5"}, Outer, "the message")


def test_limits_hold_for_objects_made_in_code():
    with pytest.raises(InputError, match=r"'share' is 3.*between 0 and 1"):
        Outer(Path("f"), share=3.0)


@pytest.mark.parametrize(
    ("text", "value"), [("1/8", 0.125), ("1 / 8", 0.125), ("1/1.6", 0.625), ("2e-3", 0.002), ("7", 7.0)]
)
def test_numbers_as_people_write_them(text, value):
    assert number_of(text) == value
