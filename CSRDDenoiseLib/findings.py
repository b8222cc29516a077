"""Findings: what a run notices about its input and its result, as a code and plain values; no sentences, no libraries.

A check returns findings. One of severity ``INFO`` carries what was measured where all is well, one of severity
``WARNING`` what the user should know. Only where many inputs are judged at once, as in a table of scans, is there
``ERROR``: the work does not start. :mod:`CSRDDenoiseLib.sentences` turns them into text where it is shown.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Iterable, Mapping, Optional

OF_WIDTH = frozenset(
    {"keep", "lost_structure", "leftover_noise", "unsupported", "output", "mean", "fine_band", "uncertainty"}
)
"""Checks whose findings are those of a result for one ``keep_above_mm``; another width has its own."""


class Severity(str, Enum):
    """How much a finding matters."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True)
class Finding:
    """One result of a check, or one assumption of a reader.

    Attributes:
        code: ``check.statement``, a key of the catalogue in :mod:`CSRDDenoiseLib.sentences`.
        severity: of the finding.
        values: numbers and names as plain JSON types.
    """

    code: str
    severity: Severity
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def check(self) -> str:
        """The part of the code that names the check."""
        return self.code.partition(".")[0]

    @property
    def statement(self) -> str:
        """The part of the code that names the finding."""
        return self.code.partition(".")[2]

    @property
    def is_warning(self) -> bool:
        """Whether the user should know."""
        return self.severity is Severity.WARNING

    def as_dict(self) -> dict[str, Any]:
        """Return the finding as plain JSON types."""
        return {"code": self.code, "severity": self.severity.value, "values": dict(self.values)}

    @classmethod
    def from_dict(cls, message: Mapping[str, Any]) -> Finding:
        """Return the finding of a message; see :meth:`as_dict`.

        Raises:
            KeyError, ValueError: the message is not one of :meth:`as_dict`.
        """
        return cls(str(message["code"]), Severity(message["severity"]), dict(message["values"]))


def info(code: str, **values: Any) -> Finding:
    """Return a finding that only records what was measured."""
    return Finding(code, Severity.INFO, values)


def warning(code: str, **values: Any) -> Finding:
    """Return a finding that the user should know."""
    return Finding(code, Severity.WARNING, values)


def error(code: str, **values: Any) -> Finding:
    """Return a finding that stands in the way of the work."""
    return Finding(code, Severity.ERROR, values)


def errors_of(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return the errors among findings, in their order."""
    return tuple(finding for finding in findings if finding.severity is Severity.ERROR)


def warnings_of(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return the warnings among findings, in their order."""
    return tuple(finding for finding in findings if finding.is_warning)


def find(findings: Iterable[Finding], name: str) -> Optional[Finding]:
    """Return the first finding of a check (``alignment``) or with a code (``alignment.doubtful``), or None."""
    return next((finding for finding in findings if name in (finding.check, finding.code)), None)
