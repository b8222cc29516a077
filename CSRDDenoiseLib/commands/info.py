"""``csrd-denoise info``: what is installed, where it can run, which models there are."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Optional

from ..errors import ModelError
from ..settings import PRESETS
from .arguments import GIB


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command and its options."""
    parser.description = "Print versions, devices, models with the paths of their cards, and presets."
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print versions, devices, models and presets."""
    from ..devices import list_devices
    from ..io.record import versions
    from ..model.bundle import list_models

    _print_section("Versions", [f"{name} {version}" for name, version in versions().items()])
    _print_section(
        "Devices",
        [
            f"{device.name}: {device.description}, {_gib(device.memory_bytes)}, computes in {device.precision}"
            for device in list_devices()
        ],
    )
    _print_section("Models", [_describe_model(folder) for folder in list_models()] or ["none is bundled"])
    _print_section(
        "Presets",
        [f"{name}: sampler {s.sampler}, steps {s.steps}, samples {s.samples}" for name, s in PRESETS.items()],
    )
    return 0


def _print_section(title: str, lines: list[str]) -> None:
    print(f"{title}:", *(f"  {line}" for line in lines), sep="\n")


def _gib(size: Optional[int]) -> str:
    return "memory of the machine" if size is None else f"{size / GIB:.1f} GiB"


def _describe_model(folder: Path) -> str:
    from ..model.bundle import CARD_FILE, read_metadata

    try:
        metadata = read_metadata(folder)
    except ModelError as error:
        return f"{folder.name}: {error}"
    mr = "MR optional" if metadata.mr_optional else "MR needed"
    facts = f"{metadata.voxel_spacing_mm:g} mm, dose {metadata.doses}, {mr}"
    card = folder / CARD_FILE
    where = [f"card: {card}"] if card.is_file() else []
    return "\n    ".join([f"{metadata.name}: {metadata.description} ({facts})", *where])
