"""The options of ``csrd-denoise denoise`` as data: each group is a title and its options."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Sequence

from ..model.bundle import DEFAULT_MODEL
from ..settings import (
    DEFAULT_PRESET,
    ESTIMATES,
    MAX_KEEP_MM,
    MAX_OVERLAP,
    MAX_STEPS,
    MOTIONS,
    OUTPUT_FORMATS,
    OUTPUT_UNITS,
    PRECISIONS,
    PRESETS,
    SAME,
    SAMPLERS,
    WARN,
    DenoiseSettings,
)
from .arguments import fraction, sides
from .progress import PROGRESS_KINDS

Option = tuple[tuple[str, ...], dict[str, Any]]
Group = tuple[str, Sequence[Option]]


def option(*names: str, **how: Any) -> Option:
    """Return the arguments of :meth:`argparse.ArgumentParser.add_argument`."""
    return names, how


def _path(name: str, purpose: str, metavar: str = "PATH") -> Option:
    return option(name, type=Path, metavar=metavar, help=purpose)


def _flag(name: str, purpose: str) -> Option:
    return option(name, action="store_true", help=purpose)


INPUTS: Group = (
    "inputs (NIfTI, NRRD, MetaImage, or DICOM series folders)",
    (
        _path("--pet", "low-dose PET; needed without --replay and --bids"),
        _path("--mr", "MR of the same head, aligned (see --register)"),
        _path(
            "--full-dose-reference",
            "full-dose PET of the same scanner and protocol, of any head: the dose is estimated relative to it",
        ),
        _path("--labels", "label map whose regions the report measures"),
        _path("--region", "mask, on any grid: denoise where it is above zero; elsewhere the result is the PET"),
        option(
            "--frames",
            metavar="5-",
            help="time frames of a dynamic PET to denoise, counted from 1 (5-, 3-8, 2,4); the others stay unchanged; "
            "default: all",
        ),
        option(
            "--motion",
            nargs="?",
            choices=MOTIONS,
            const=WARN,
            default=WARN,
            help="motion between the frames of a dynamic PET, never corrected: warn above 3 mm (default), or off",
        ),
        _path(
            "--bids",
            "denoise every PET of a raw BIDS dataset, its T1w registered to it, into ROOT/derivatives/csrd-denoise",
            "ROOT",
        ),
        option(
            "--participant-label", nargs="+", default=[], metavar="LABEL", help="participants of --bids; default: all"
        ),
        _path(
            "--replay",
            "run a record (NAME_provenance.json) again, with its inputs, model and settings; options for these are "
            "rejected",
            "RECORD",
        ),
    ),
)
OUTPUTS: Group = (
    "outputs",
    (
        _path("--output", "denoised PET: a file, or a folder for DICOM; needed without --bids"),
        _path("--difference", "denoised - PET"),
        _path("--uncertainty", "expected standard deviation of the error; needs samples"),
        option(
            "--unsupported",
            "--support",
            dest="support",
            type=Path,
            metavar="PATH",
            help="map of structure that the PET's counts do not support: 1 added, 2 removed",
        ),
        _path("--bare", "bare estimate of the model (see --keep-above)"),
        _path("--report", "folder for a quality report, one HTML page", "FOLDER"),
        option(
            "--output-unit",
            choices=OUTPUT_UNITS,
            default=SAME,
            help="unit of the outputs, suv by body weight; default: same",
        ),
        option(
            "--format",
            choices=OUTPUT_FORMATS,
            help="write DICOM series to folders; default where the PET is DICOM and the output has no suffix",
        ),
        _flag("--overwrite", "replace outputs that exist"),
    ),
)
PREPARATION: Group = (
    "preparation of the inputs",
    (
        _flag("--register", "register the MR rigidly to the PET"),
        _flag("--whole-field", "denoise all of a field of view that is longer than a head"),
        _flag("--nan-to-zero", "replace NaN and infinity in the inputs by zero"),
    ),
)
QUALITY: Group = (
    "quality (a value that is not given is the preset's)",
    (
        option(
            "--preset",
            choices=tuple(PRESETS),
            default=DEFAULT_PRESET,
            help="fast: without uncertainty; quality: a finer uncertainty map; default: %(default)s",
        ),
        option(
            "--model",
            default=DEFAULT_MODEL,
            metavar="NAME|FOLDER",
            help="a bundled model or a model folder; default: %(default)s",
        ),
        option("--sampler", choices=SAMPLERS, help="of the samples; mean: no samples, no uncertainty"),
        option("--steps", type=int, metavar="N", help=f"noise levels of a sample, 1 to {MAX_STEPS}"),
        option("--samples", type=int, metavar="K", help="samples drawn for the uncertainty"),
        option(
            "--estimate",
            choices=ESTIMATES,
            help="the denoised PET: the posterior mean (default), or the samples' mean (not with fast)",
        ),
        option(
            "--keep-above",
            dest="keep_above_mm",
            type=float,
            metavar="MM",
            help=f"width (FWHM) above which the measured PET is kept, up to {MAX_KEEP_MM:g} mm; the smaller it is, the "
            "closer finer details come to their measured strength; 0: the input, inf: the bare estimate; default: the "
            "model's rule, by noise",
        ),
        option(
            "--dose",
            type=fraction,
            metavar="1/10",
            help="dose fraction of the PET: predict the full dose with a model of the noise-free image",
        ),
        option(
            "--overlap",
            type=float,
            metavar="F",
            help=f"share of a patch's side that the next one overlaps, 0 to {MAX_OVERLAP:g}; "
            f"default: {DenoiseSettings.overlap:g}",
        ),
        option(
            "--patch-size",
            type=sides,
            metavar="P|DxHxW",
            help="sides of a patch in voxels; default: the largest that fit into memory",
        ),
        option("--seed", type=int, metavar="S", help="of the samples; the same seed gives the same result; default: 0"),
        option(
            "--device",
            metavar="auto|cpu|cuda|cuda:1|mps",
            help="where the network runs; default: auto, a GPU if there is one",
        ),
        option(
            "--precision",
            choices=PRECISIONS,
            help="arithmetic of the network; default: auto, bfloat16 if the device is faster with it, else float32",
        ),
    ),
)
PROGRESS: Group = (
    "progress",
    (
        option(
            "--progress",
            choices=PROGRESS_KINDS,
            default="bar",
            help="json: lines on standard output; default: %(default)s",
        ),
    ),
)
SECRETS: Sequence[Option] = (
    _path(
        "--tls",
        "certificates for another machine: ca.pem, cert.pem, key.pem; default: those of Dask's configuration",
        "FOLDER",
    ),
    _flag("--insecure", "connect to another machine without encryption (anyone on the network path can read the data)"),
)
"""How to talk to a Dask scheduler."""
PLACE: Group = (
    "another machine (docs/cluster.md)",
    (option("--on", metavar="tls://HOST:PORT", help="denoise there: address of a Dask scheduler"), *SECRETS),
)
SCHEDULER: Group = (
    "on other machines (docs/cluster.md)",
    (
        option(
            "--scheduler",
            metavar="tls://HOST:PORT",
            help="work on the workers of this Dask scheduler, which must see the same files; default: here",
        ),
        *SECRETS,
    ),
)
HOW = (QUALITY, PROGRESS)
"""How to denoise, shared with the demo."""


def add_groups(parser: argparse.ArgumentParser, *groups: Group) -> None:
    """Add groups of options to a parser."""
    for title, options in groups:
        group = parser.add_argument_group(title)
        for names, how in options:
            group.add_argument(*names, **how)
