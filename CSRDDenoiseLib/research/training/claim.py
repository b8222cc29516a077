"""A folder belongs to what its first run recorded in it: a later run that differs is refused, not mixed in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Mapping

from ...atomic import read_json, write_json
from ...errors import InputError


def record_claim(record: Path, facts: Mapping[str, Any]) -> None:
    """Write what a run claims a folder with; ``facts`` are plain JSON values by name."""
    write_json(record, dict(facts), indent=2)


def check_claim(record: Path, facts: Mapping[str, Any], whose: str, advice: str) -> None:
    """Compare a run with the record of a folder; entries that only the record has are not compared.

    Args:
        record: the file.
        facts: what :func:`record_claim` would write.
        whose: the beginning of the error sentence, such as "The pool 'x' was simulated with".
        advice: its end, what to do.

    Raises:
        InputError: the record cannot be read, or one of the facts is another.
    """
    try:
        found = read_json(record)
    except (OSError, ValueError) as error:
        raise InputError(f"The record '{record}' cannot be read: {error}; {advice}.") from error
    check_facts(found if isinstance(found, dict) else {}, facts, whose, advice)


def check_facts(had: Mapping[str, Any], facts: Mapping[str, Any], whose: str, advice: str) -> None:
    """Compare facts with those that were recorded; arguments as of :func:`check_claim`.

    Raises:
        InputError: one of the facts is another.
    """
    # tuples become lists in JSON
    has = json.loads(json.dumps(dict(facts)))
    for name, value in has.items():
        if name not in had or had[name] != value:
            raise InputError(f"{whose} {name} {had.get(name)}, and this run has {value}; {advice}.")
