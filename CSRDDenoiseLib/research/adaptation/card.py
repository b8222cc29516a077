"""The card of an adapted model: what it was fitted to, by checksum only, and what that did to held-out scans."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping, Sequence

from ...model.metadata import ModelMetadata
from .held_out import HeldOut
from .prepared import PreparedRow

MODEL_CARD = "MODEL_CARD.md"


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
    checksums = sorted({checksum for row in rows for checksum in row.checksums})
    folds = f"{facts['folds']} folds, weights averaged" if facts["folds"] > 1 else "one split"
    recipe = metadata.recipes[0] if metadata.recipes else None
    uncertainty = (
        f"Fitted to {recipe['calibration']['scans']} held-out scan(s) of these subjects."
        if recipe
        else "Not calibrated: the spread of the draws is returned as it is."
    )
    return "\n".join(
        [
            f"# {metadata.name}",
            "",
            f"{metadata.description} For research, not for diagnosis.",
            "",
            "## What it is",
            "",
            f"- Start: `{facts['start']['name']}` (weights {facts['start']['weights_sha256'][:16]}).",
            f"- From {len(rows)} pair(s) of a low and a full dose of {facts['subjects']} subjects ({folds}), those "
            f"judged *as written* below not trained on; best after {', '.join(map(str, facts['steps']))} steps, "
            f"{facts['hardware']}.",
            "- The network for the posterior mean was adapted; that for the draws is the start's.",
            f"- Doses: {', '.join(f'{row.dose:.3g}' for row in rows)} of the full dose.",
            "- What the result keeps of the measurement (`--keep-above`) follows the start's rule.",
            "",
            "## Held-out scans, start and adapted",
            "",
            "Lines *as written* are of subjects that nothing was trained on or stopped by, judged by the model in this "
            "folder. Lines *of its fold* are of scans that were held out of the training of the model that judges "
            "them; the step to stop at was chosen on the same scans, which favours the adapted model a little."
            + (" The model in this folder is the average over the folds." if facts["folds"] > 1 else ""),
            "",
            held_out_table(scans, metadata.target),
            "",
            "The error to the noise-free image is estimated without it (docs/own-scans.md)."
            if metadata.target == "noise-free"
            else "",
            "",
            "## Uncertainty",
            "",
            uncertainty,
            "",
            "## Data",
            "",
            "SHA-256 of what was read; no names, no paths:",
            "",
            *(f"- {checksum}" for checksum in checksums),
            "",
        ]
    )
