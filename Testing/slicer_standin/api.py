"""What a real Slicer 5.6.2 offers and today's 5.12 still does: class name -> attribute name -> kind."""

import json
from functools import cache, lru_cache
from pathlib import Path

API_FILE = Path(__file__).with_name("api.json")
TODAY_FILE = Path(__file__).with_name("api_5_12.json")
METHOD_KINDS = ("method", "function", "builtin_function_or_method")
SIGNAL = "Signal"


@cache
def kinds_of(class_name):
    """Return name -> kind of a class such as ``qt.QLabel``, with what it inherits."""
    gone = today()["removed"].get(class_name, [])
    own = {name: kind for name, kind in _recorded()[class_name].items() if name not in gone}
    parent, without = own.pop("_inherits", None), own.pop("_without", [])
    inherited = kinds_of(parent) if parent else {}
    return {**{name: kind for name, kind in inherited.items() if name not in without}, **own}


@cache
def today():
    """Return how Slicer 5.12, with Qt 6, differs from the record of 5.6.2: names ``removed`` and ``added``."""
    return json.loads(TODAY_FILE.read_text(encoding="utf-8"))


def names_of(namespace):
    """Return the names of a namespace such as ``slicer.modules``."""
    return set(_recorded()[namespace])


def recorded(name):
    """Return the names that Slicer 5.6.2 had in a class or namespace, those that are gone today too."""
    return set(_recorded()[name])


def recorded_classes():
    """Return the names of all classes and namespaces in the record."""
    return set(_recorded())


@lru_cache(maxsize=1)
def _recorded():
    return json.loads(API_FILE.read_text(encoding="utf-8"))
