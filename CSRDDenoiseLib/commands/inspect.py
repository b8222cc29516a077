"""``csrd-denoise inspect``: geometry, frames, unit, SUV and head of a file, a folder or a series."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from ..errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command and its options."""
    parser.description = (
        "Show format, modality, size, orientation, time frames, unit, SUV factor, range of values, head "
        "and noise level of a volume, and all findings about it. Nothing is written."
    )
    parser.add_argument("path", type=Path, metavar="PATH", help="a file, a DICOM folder or a DICOMDIR")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the facts about the path; JSON has all its keys, and ``error``, also where it cannot be read."""
    from ..inspection import inspect_path, text_lines, unreadable

    try:
        inspection = inspect_path(args.path)
    except InputError as error:
        if args.json:
            print(json.dumps(unreadable(args.path, error), indent=2))
        raise
    if args.json:
        print(json.dumps(_finite(inspection.as_dict()), indent=2))
    else:
        print("\n".join(text_lines(inspection)))
    return 0


def _finite(value: object) -> object:
    """Replace NaN and infinity, which JSON has no words for, by null."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value
