"""Values from files and messages, structured by cattrs: an invalid value raises an error of one sentence.

A dataclass is the schema: its types are held by :func:`structure`, and its limits by :mod:`limits`.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import difflib
import functools
import math
from fractions import Fraction
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Iterator, Mapping, Optional, Sequence, TypeVar, Union, get_args, get_origin, get_type_hints

from .errors import CSRDError, InputError
from .extras import missing_package
from .limits import Between, limits_in, one_line, shown

T = TypeVar("T")
Steps = tuple[Union[str, int], ...]
INFINITE = "inf"
"""Infinity as JSON has it, which has no such number."""
_WORDS = {float: "a finite number", int: "a whole number", bool: "true or false", str: "text", Path: "a path"}
_CLASSES: dict[type, type] = {int: Integral}


def structure(values: Any, kind: type[T], where: str, error: type[CSRDError] = InputError, text: bool = False) -> T:
    """Turn plain values, as JSON or YAML give them, into an object of the dataclass ``kind``.

    Args:
        values: mapping of field names to values.
        kind: dataclass; tuples, lists, mappings and dataclasses may be nested in it.
        where: begins the sentence of an error: the file, or what the values are.
        error: class of the error.
        text: numbers may also be text, a fraction such as ``1/8`` among them, as people write in YAML.

    Raises:
        CSRDError: of class ``error``; its sentence names the key, the value given, and what is allowed.
    """
    try:
        return _converter(text).structure(values, kind)
    except Exception as caught:
        steps, cause, wanted = next(_leaves(caught, (), kind))
        if isinstance(cause, MemoryError):
            raise cause from caught
        raise error(_sentence(where, values, steps, cause, wanted)) from caught


def read_yaml(path: Path, extra: str = "") -> dict[str, Any]:
    """Read a YAML (or JSON) file that is a mapping.

    Args:
        path: of the file.
        extra: the extra to name in the error if the package for YAML is missing.

    Raises:
        InputError: without the package; missing, unreadable, not YAML or UTF-8, a key twice, or no mapping.
    """
    try:
        import yaml
    except ModuleNotFoundError as error:
        raise missing_package("yaml", extra) from error
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=_unique_keys_loader())
    except OSError as error:
        raise InputError(f"The configuration '{path}' cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"The configuration '{path}' is not UTF-8 text (byte {error.start}).") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"The configuration '{path}' is not YAML: {one_line(error)}.") from error
    if not isinstance(values, dict):
        kind = "empty" if values is None else f"a {type(values).__name__}"
        raise InputError(f"The configuration '{path}' is {kind}; it must be a mapping of names to values.")
    unnamed = next((key for key in values if not isinstance(key, str)), None)
    if unnamed is not None:
        raise InputError(f"The configuration '{path}' has the key {unnamed!r}, which is not a name.")
    return values


def read_placed(path: Path, kind: type[T]) -> T:
    """Read a YAML file into the dataclass ``kind``; the paths in it are relative to the folder of the file.

    Raises:
        InputError: it cannot be read, or a key or value is wrong.
    """
    config: Any = structure(read_yaml(path), kind, f"The configuration '{path}'", text=True)
    given = {each.name: getattr(config, each.name) for each in dataclasses.fields(config)}
    placed = {name: path.parent / value for name, value in given.items() if isinstance(value, Path)}
    return dataclasses.replace(config, **placed)


def unknown_key(key: str, known: Sequence[str], where: str) -> str:
    """The sentence for a key that is not known, with the nearest one that is."""
    near = difflib.get_close_matches(key, known, 1)
    hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(known)}."
    return f"{where}: '{key}' is not known; {hint}"


@functools.cache
def _converter(text: bool) -> Any:
    import cattrs

    converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=True)
    for kind in (int, bool, str):
        converter.register_structure_hook(kind, _strict(kind))
    converter.register_structure_hook(float, _text_or_number if text else _number)
    converter.register_structure_hook(Path, lambda value, _: Path(_strict(str)(value, str)))
    hooks = (
        (_is_sequence, _sequence_hook),
        (_is_mapping, _mapping_hook),
        (dataclasses.is_dataclass, _class_hook),
        (_is_union, _union_hook),
    )
    for holds, hook in hooks:
        converter.register_structure_hook_factory(holds, functools.partial(hook, converter))
    return converter


def _is_sequence(kind: Any) -> bool:
    return get_origin(kind) in (tuple, list, collections.abc.Sequence)


def _is_mapping(kind: Any) -> bool:
    return kind is dict or (isinstance(get_origin(kind), type) and issubclass(get_origin(kind), Mapping))


def _is_union(kind: Any) -> bool:
    return get_origin(kind) is Union


def _structured(converter: Any, kind: Any, parts: Iterator[tuple[Any, Any, Any]]) -> list[Any]:
    """The parts (key, value, type) of a collection; the error of all that are wrong, where some are."""
    from cattrs.errors import IterableValidationError, IterableValidationNote

    done, wrong = [], []
    for key, value, item in parts:
        try:
            done.append(converter.structure(value, item))
        except Exception as error:
            error.__notes__ = [IterableValidationNote("", key, item)]
            wrong.append(error)
    if wrong:
        raise IterableValidationError("", wrong, kind)
    return done


def _sequence_hook(converter: Any, kind: Any) -> Any:
    """A list or tuple from a list alone: cattrs would take a text for a list of letters."""
    items, made = get_args(kind), list if get_origin(kind) is list else tuple
    length = len(items) if get_origin(kind) is tuple and items[-1] is not Ellipsis else None

    def hook(value: Any, _: Any) -> Any:
        if not isinstance(value, (list, tuple)) or (length is not None and len(value) != length):
            raise ValueError("not such a list")
        kinds = [items[0]] * len(value) if length is None else items
        return made(_structured(converter, kind, zip(range(len(value)), value, kinds)))

    return hook


def _union_hook(converter: Any, kind: Any) -> Any:
    """The first type of a union that takes the value; the error of the last one, where none does."""
    items = [item for item in get_args(kind) if item is not type(None)]

    def hook(value: Any, _: Any) -> Any:
        if value is None and len(items) < len(get_args(kind)):
            return None
        for item in items[:-1]:
            try:
                return converter.structure(value, item)
            except Exception:
                continue
        return converter.structure(value, items[-1])

    return hook


def _mapping_hook(converter: Any, kind: Any) -> Any:
    _, item = get_args(kind) or (str, Any)

    def hook(value: Any, _: Any) -> Any:
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise ValueError("no mapping")
        return dict(zip(value, _structured(converter, kind, ((key, each, item) for key, each in value.items()))))

    return hook


def _class_hook(converter: Any, kind: Any) -> Any:
    from cattrs.gen import make_dict_structure_fn, override

    # cattrs looks at the types of fields alone, not at the limits inside an Optional
    hints = get_type_hints(kind, include_extras=True)
    hooks: dict[str, Any] = {
        name: override(struct_hook=_number_or_infinity) for name, hint in hints.items() if _may_be_infinite(hint)
    }
    inner = make_dict_structure_fn(
        kind, converter, _cattrs_forbid_extra_keys=True, _cattrs_detailed_validation=True, **hooks
    )

    def hook(value: Any, _: Any) -> Any:
        if not isinstance(value, Mapping):
            raise ValueError("no mapping")
        return inner(value, kind)

    return hook


def _strict(kind: type) -> Any:
    def hook(value: Any, _: Any) -> Any:
        if not isinstance(value, _CLASSES.get(kind, kind)) or (kind is int and isinstance(value, bool)):
            raise ValueError(f"not {_WORDS[kind]}")
        return kind(value)

    return hook


def _number(value: Any, _: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(float(value)):
        raise ValueError("not a number")
    return float(value)


def _may_be_infinite(hint: Any) -> bool:
    """Whether the limits of a number, which may be optional, have infinity inside."""
    return any(isinstance(limit, Between) and limit.high == math.inf for limit in limits_in(hint))


def _number_or_infinity(value: Any, kind: Any) -> Optional[float]:
    if value is None and type(None) in get_args(kind):
        return None
    return math.inf if value in (INFINITE, math.inf) else _number(value, kind)


def _text_or_number(value: Any, kind: Any) -> float:
    # YAML reads 1e-3 as text, because it has no point
    return _number(number_of(value) if isinstance(value, str) else value, kind)


def number_of(text: str) -> float:
    """A number written as text, or a fraction such as ``1/8``.

    Raises:
        ValueError: it is none, or its denominator is 0.
    """
    try:
        top, slash, bottom = text.partition("/")
        return float(top) / float(bottom) if slash else float(text)
    except (ZeroDivisionError, OverflowError) as error:
        raise ValueError(f"'{text}' is not a number") from error


def parse_dose(text: str) -> Fraction:
    """Return a dose fraction, as in ``1/10`` or ``0.1``.

    Raises:
        ValueError: it is none, or not above 0 and up to 1.
    """
    top, slash, bottom = text.partition("/")
    try:
        # by float, because a Fraction of 1e999999999 is computed digit by digit
        exact = Fraction(int(top), int(bottom)) if slash else Fraction(float(text))
    except (ZeroDivisionError, OverflowError) as error:
        raise ValueError(text) from error
    value = exact.limit_denominator(1000)
    if not 0 < value <= 1:
        raise ValueError(text)
    return value


def _leaves(error: BaseException, steps: Steps, kind: Any) -> Iterator[tuple[Steps, BaseException, Any]]:
    """The single errors in one of cattrs', each with the keys that lead to it and the type wanted there."""
    from cattrs.errors import ClassValidationError, IterableValidationError

    if not isinstance(error, (ClassValidationError, IterableValidationError)):
        yield steps, error, kind
        return
    noted, bare = error.group_exceptions()
    # a key that is not known explains one that is missing
    for each in bare:
        yield from _leaves(each, steps, error.cl)
    for each, note in noted:
        step: Any = getattr(note, "name", None) or note.index
        yield from _leaves(each, (*steps, step), note.type)


def _sentence(where: str, values: Any, steps: Steps, cause: BaseException, wanted: Any) -> str:
    from cattrs.errors import ForbiddenExtraKeysError

    if isinstance(cause, CSRDError):
        return str(cause) if str(cause).startswith(where) else f"{where}: {cause}"
    inside = f"{where}, '{_path(steps)}'" if steps else where
    if isinstance(cause, ForbiddenExtraKeysError):
        known = [field.name for field in dataclasses.fields(cause.cl)]
        return unknown_key(min(map(str, cause.extra_fields)), known, inside)
    if isinstance(cause, KeyError) and steps:
        return f"{where}: '{_path(steps)}' is missing; it must be {_words(wanted)}."
    value = _value_at(values, steps)
    what = f"'{_path(steps)}' is" if steps else "it is"
    return f"{where}: {what} {shown(value)}; it must be {_words(wanted)}."


def _value_at(values: Any, steps: Steps) -> Any:
    for step in steps:
        try:
            values = values[step]
        except (KeyError, IndexError, TypeError):
            return None
    return values


def _path(steps: Steps) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).lstrip(".")


def _words(kind: Any) -> str:
    if hasattr(kind, "__metadata__"):
        # Annotated with its limits
        kind = kind.__origin__
    origin, items = get_origin(kind), get_args(kind)
    if origin is Union:
        known = [_words(item) for item in items if item is not type(None)]
        return " or ".join([*known, "null"] if type(None) in items else known)
    if origin is tuple and items[-1] is not Ellipsis:
        return f"a list of {len(items)} entries, each {_words(items[0])}"
    if _is_sequence(kind):
        return f"a list, each entry {_words(items[0])}"
    if _is_mapping(kind) or dataclasses.is_dataclass(kind):
        return "a mapping of names to values"
    return _WORDS.get(kind, str(getattr(kind, "__name__", kind)))


def _unique_keys_loader() -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        """As PyYAML's safe loader, which silently takes the last of two equal keys."""

        def construct_mapping(self, node: Any, deep: bool = False) -> dict:
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]
            twice = next((key for key in keys if keys.count(key) > 1), None)
            if twice is not None:
                raise yaml.YAMLError(f"the key '{twice}' appears twice")
            return super().construct_mapping(node, deep)

    return Loader
