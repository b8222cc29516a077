"""The card of an adapted model: what it was fitted to, by checksum only, and what that did to held-out scans."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping, Sequence

from ...model.metadata import ModelMetadata
from .held_out import HeldOut
from .prepared import PreparedRow

_AVERAGE = " The model in this folder is the average over the folds."
_ESTIMATED = "The error to the noise-free image is estimated without it (docs/own-scans.md)."
_FITTED = "Fitted to {} held-out scan(s) of these subjects."
_NOT_FITTED = "Not calibrated: the spread of the draws is returned as it is."
_CARD = """\
# {name}

{description} For research, not for diagnosis.

## What it is

- Start: `{start}` (weights {weights}).
- From {pairs} pair(s) of a low and a full dose of {subjects} subjects ({folds}), those \
judged *as written* below not trained on; best after {steps} steps, {hardware}.
- The network for the posterior mean was adapted; that for the draws is the start's.
- Doses: {doses} of the full dose.
- What the result keeps of the measurement (`--keep-above`) follows the start's rule.

## Held-out scans, start and adapted

Lines *as written* are of subjects that nothing was trained on or stopped by, judged by the model in this \
folder. Lines *of its fold* are of scans that were held out of the training of the model that judges \
them; the step to stop at was chosen on the same scans, which favours the adapted model a little.{average}

{table}

{estimated}

## Uncertainty

{uncertainty}

## Data

SHA-256 of what was read; no names, no paths:

{checksums}
"""


@dataclass(frozen=True)
class Comparison:
    """One held-out scan.

    Attributes:
        subject: number of its subject.
        row: its row.
        before, after: errors of the start and of the adapted model.
        final: whether the adapted model is the one that is written; else it is that of the scan's fold.
    """

    subject: int
    row: PreparedRow
    before: HeldOut
    after: HeldOut
    final: bool


def held_out_table(scans: Sequence[Comparison], target: str) -> str:
    """A Markdown table, one line a scan, subjects by number."""
    other = "noise-free" if target == "noise-free" else "full dose"
    lines = [
        f"| subject | model | dose | PSNR to full dose before (dB) | after | error to {other} before (% of brain mean) "
        "| after |",
        "|---|---|---|---|---|---|---|",
    ]
    for scan in scans:
        dose = f"{scan.row.dose:.3g}" + (" (estimated)" if scan.row.estimated else "")
        psnr = f"{scan.before.psnr:.2f} | {scan.after.psnr:.2f}"
        error = f"{scan.before.error_percent:.2f} | {scan.after.error_percent:.2f}"
        lines.append(
            f"| {scan.subject} | {'as written' if scan.final else 'of its fold'} | {dose} | {psnr} | {error} |"
        )
    return "\n".join(lines)


def model_card(metadata: ModelMetadata, scans: Sequence[Comparison], rows: Sequence[PreparedRow]) -> str:
    """The text of ``MODEL_CARD.md``."""
    facts: Mapping[str, Any] = metadata.training["adapted"]
    several, recipe = facts["folds"] > 1, metadata.recipes[0] if metadata.recipes else None
    return _CARD.format(
        name=metadata.name,
        description=metadata.description,
        start=facts["start"]["name"],
        weights=facts["start"]["weights_sha256"][:16],
        pairs=len(rows),
        subjects=facts["subjects"],
        folds=f"{facts['folds']} folds, weights averaged" if several else "one split",
        steps=", ".join(map(str, facts["steps"])),
        hardware=facts["hardware"],
        doses=", ".join(f"{row.dose:.3g}" for row in rows),
        average=_AVERAGE if several else "",
        table=held_out_table(scans, metadata.target),
        estimated=_ESTIMATED if metadata.target == "noise-free" else "",
        uncertainty=_FITTED.format(recipe["calibration"]["scans"]) if recipe else _NOT_FITTED,
        checksums="\n".join(f"- {each}" for each in sorted({each for row in rows for each in row.checksums})),
    )
