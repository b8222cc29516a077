"""Which packages are installed, and whether they will do; found without importing them."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from typing import Iterable, Optional


@dataclass(frozen=True)
class Requirement:
    """A package and the oldest version that will do."""

    name: str
    minimum: str

    @property
    def installed(self) -> Optional[str]:
        """Version that is installed, or None."""
        return version_of(self.name) if importlib.util.find_spec(self.name) is not None else None

    @property
    def too_old(self) -> bool:
        """Whether the package is there in a version that will not do."""
        version = self.installed
        return version is not None and _numbers(version) < _numbers(self.minimum)

    def __str__(self) -> str:
        return f"{self.name}>={self.minimum}"


def requirements_in(text: str) -> list[Requirement]:
    """Return the requirements of a list with one ``name>=version`` a line; ``#`` begins a comment."""
    lines = [line.split("#")[0].strip() for line in text.splitlines()]
    return [Requirement(*line.split(">=")) for line in lines if line]


def pins(names: Iterable[str]) -> list[str]:
    """Return ``name==version`` for those of the packages that are installed."""
    versions = {name: version_of(name) for name in names}
    return [f"{name}=={version}" for name, version in versions.items() if version is not None]


def version_of(name: str) -> Optional[str]:
    """Return the version of a package, or None where it is not installed."""
    # slow to import, and not needed before the first run
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.split("+")[0])[:3])
