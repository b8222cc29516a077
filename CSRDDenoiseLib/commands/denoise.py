"""``csrd-denoise denoise``: files in, files out."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Union

from ..errors import InputError
from ..model.bundle import DEFAULT_MODEL
from ..sentences import CLI, error_sentence, sentence
from ..settings import DEFAULT_PRESET, ESTIMATES, PRECISIONS, PRESETS, SAMPLERS, DenoiseSettings, settings_from_preset
from .progress import PROGRESS_KINDS, describe_seconds, progress_callback

if TYPE_CHECKING:
    from ..bids import BidsPet
    from ..denoise import DenoiseResult
    from ..dynamic import DynamicResult


OUTPUT_UNITS, SAME, OUTPUT_FORMATS = ("same", "suv"), "same", ("dicom",)
"""As in ``io.outputs``, which loads SimpleITK."""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "denoise",
        help="denoise a PET with its MR",
        description="Denoise a low-dose PET, guided by an MR of the same head. The result has the PET's grid and unit; "
        "a JSON record of the run is written beside it.",
    )
    files = parser.add_argument_group("files (NIfTI, NRRD, MetaImage; inputs also DICOM series folders)")
    files.add_argument("--pet", type=Path, metavar="PATH", help="low-dose PET; needed without --replay")
    files.add_argument("--mr", type=Path, metavar="PATH", help="MR of the same head, aligned (see --register)")
    files.add_argument(
        "--full-dose-reference",
        type=Path,
        metavar="PATH",
        help="full-dose PET of the same scanner and protocol, of any head: the dose is estimated relative to it",
    )
    files.add_argument("--output", type=Path, metavar="PATH", help="denoised PET; needed without --bids")
    files.add_argument(
        "--bids",
        type=Path,
        metavar="ROOT",
        help="denoise every PET of a raw BIDS dataset, its T1w registered to it, into ROOT/derivatives/csrd-denoise",
    )
    files.add_argument("--participant-label", nargs="+", default=[], metavar="LABEL", help="of --bids; default: all")
    files.add_argument(
        "--replay",
        type=Path,
        metavar="RECORD",
        help="run a record (NAME_provenance.json) again, with its inputs, model and settings; other options of these "
        "are ignored",
    )
    files.add_argument("--difference", type=Path, metavar="PATH", help="denoised - PET")
    files.add_argument("--bare", type=Path, metavar="PATH", help="bare estimate of the model (see --keep-above)")
    files.add_argument("--uncertainty", type=Path, metavar="PATH", help="spread of the samples")
    files.add_argument(
        "--unsupported",
        "--support",
        dest="support",
        type=Path,
        metavar="PATH",
        help="map of structure that the PET's counts do not support: 1 added, 2 removed",
    )
    files.add_argument("--report", type=Path, metavar="FOLDER", help="folder for a quality report, one HTML page")
    files.add_argument("--labels", type=Path, metavar="PATH", help="label map whose regions the report measures")
    files.add_argument(
        "--output-unit",
        choices=OUTPUT_UNITS,
        default=SAME,
        help="unit of the outputs, suv by body weight; default: same",
    )
    files.add_argument(
        "--format",
        choices=OUTPUT_FORMATS,
        help="write DICOM series to folders; default where the PET is DICOM and the output has no suffix",
    )
    files.add_argument(
        "--frames",
        metavar="5-",
        help="time frames of a dynamic PET that are denoised, from 1 (5-, 3-8, 2,4); the others pass through; "
        "default: all",
    )
    files.add_argument("--overwrite", action="store_true", help="replace outputs that exist")
    files.add_argument("--register", action="store_true", help="register the MR rigidly to the PET")
    files.add_argument(
        "--whole-field", action="store_true", help="denoise all of a field of view that is longer than a head"
    )
    files.add_argument("--nan-to-zero", action="store_true", help="replace NaN and infinity in the inputs by zero")
    add_run_options(parser)
    parser.set_defaults(run=run, fail=parser.error)


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how to denoise, shared with the demo."""
    quality = parser.add_argument_group("quality (the preset, or single values on top of it)")
    quality.add_argument("--preset", choices=tuple(PRESETS), default=DEFAULT_PRESET, help="default: %(default)s")
    quality.add_argument("--model", default=DEFAULT_MODEL, metavar="NAME|FOLDER", help="default: %(default)s")
    quality.add_argument("--sampler", choices=SAMPLERS, help="mean: posterior mean, one evaluation, no uncertainty")
    quality.add_argument("--steps", type=int, metavar="N", help="noise levels of the sampler")
    quality.add_argument("--samples", type=int, metavar="K", help="samples drawn for the uncertainty")
    quality.add_argument(
        "--estimate", choices=ESTIMATES, help="the denoised PET: the posterior mean (default), or the samples' mean"
    )
    quality.add_argument(
        "--keep-above",
        dest="keep_above_mm",
        type=float,
        metavar="MM",
        help="keep the PET as measured where it is coarser than this; 0: the input, inf: the bare estimate; "
        "default: by the noise, as the model was selected",
    )
    quality.add_argument(
        "--dose",
        type=_fraction,
        metavar="1/10",
        help="dose fraction of the PET, where it is known: predict the full dose, not the noise-free image",
    )
    quality.add_argument("--overlap", type=float, metavar="F", help="overlap of patches, 0 to 0.9")
    quality.add_argument(
        "--patch-size",
        type=_patch_size,
        metavar="P|DxHxW",
        help="sides of a patch in voxels; default: what fits",
    )
    quality.add_argument("--seed", type=int, metavar="S", help="of the samples; same seed, same result")
    quality.add_argument("--device", metavar="auto|cpu|cuda|cuda:1|mps", help="where the network runs; default: auto")
    quality.add_argument(
        "--precision", choices=PRECISIONS, help="of the network's arithmetic; default: auto, what the device does best"
    )
    parser.add_argument("--progress", choices=PROGRESS_KINDS, default="bar", help="default: %(default)s")


def settings_from_args(args: argparse.Namespace) -> DenoiseSettings:
    """Return the preset with the options that were given on top."""
    sampling = ("sampler", "steps", "samples", "estimate", "keep_above_mm", "dose")
    names = (*sampling, "overlap", "patch_size", "seed", "device", "precision")
    return settings_from_preset(args.preset, **{name: getattr(args, name) for name in names})


def _fraction(text: str) -> float:
    """Return ``1/10`` or ``0.1`` as a number."""
    top, _, bottom = text.partition("/")
    try:
        return float(top) / float(bottom or 1)
    except ZeroDivisionError as error:
        raise ValueError(text) from error


def _patch_size(text: str) -> Union[int, tuple[int, ...]]:
    """Return the sides of ``64`` or ``64x64x48``."""
    sides = tuple(int(side) for side in text.split("x"))
    return sides[0] if len(sides) == 1 else sides


def print_result(result: DenoiseResult, progress: str) -> None:
    """Print the end of a run: its last JSON line, or warnings and a sentence on standard error."""
    outputs, seconds = result.record.outputs, result.record.seconds["total"]
    if progress == "json":
        print(json.dumps({"result": result.provenance}), flush=True)
        return
    for finding in result.findings:
        text = sentence(finding, CLI)
        if text:
            print(f"Warning: {text}" if finding.is_warning else text, file=sys.stderr)
    print(f"Wrote {', '.join(outputs.values())} in {describe_seconds(seconds)}.", file=sys.stderr)


def print_dynamic(result: DynamicResult, progress: str) -> None:
    """Print the end of a run on a dynamic PET, as :func:`print_result` does."""
    if progress == "json":
        print(json.dumps({"result": result.provenance}), flush=True)
        return
    for text in result.sentences(CLI):
        print(f"Warning: {text}", file=sys.stderr)
    done, seconds = sum(outcome.record is not None for outcome in result.frames), result.seconds["total"]
    print(
        f"Wrote {', '.join(result.outputs.values())} in {describe_seconds(seconds)}; {done} of {len(result.frames)} "
        "frames were denoised.",
        file=sys.stderr,
    )


def _run_bids(args: argparse.Namespace, settings: DenoiseSettings) -> int:
    """Denoise a BIDS dataset; return 2 where a PET of it could not be denoised."""
    from ..bids import denoise_bids
    from ..dynamic import DynamicResult

    single = ("pet", "mr", "output", "replay", "report", "labels", "full_dose_reference", "format")
    given = [name for name in (*single, "difference", "uncertainty", "support", "bare") if getattr(args, name)]
    if given or args.output_unit != SAME:
        option = given[0].replace("_", "-") if given else "output-unit"
        raise InputError(f"The option --{option} is for a single PET; --bids finds its inputs and names its outputs.")

    def show(pet: BidsPet, result: Union[DenoiseResult, DynamicResult, InputError]) -> None:
        print(f"{pet.pet.name}, {pet.mr.name if pet.mr else 'no T1w'}:", file=sys.stderr)
        if isinstance(result, InputError):
            if args.progress == "json":
                print(json.dumps({"pet": str(pet.pet), "error": error_sentence(result, CLI)}), flush=True)
            print(f"Not denoised: {error_sentence(result, CLI)}", file=sys.stderr)
        elif isinstance(result, DynamicResult):
            print_dynamic(result, args.progress)
        else:
            print_result(result, args.progress)

    progress = progress_callback(args.progress)
    labels, frames = args.participant_label, args.frames
    failed = denoise_bids(args.bids, labels, settings, args.model, progress, args.overwrite, frames, show)
    return 2 if failed else 0


def run(args: argparse.Namespace) -> int:
    """Denoise the files of the command line."""
    flags = {name: getattr(args, name) for name in ("nan_to_zero", "register", "whole_field")}
    settings = replace(settings_from_args(args), **flags)
    if args.bids:
        return _run_bids(args, settings)
    if args.output is None:
        args.fail("the following arguments are required: --output (or --bids)")
    from ..denoise import FileRequest, denoise_files
    from ..dynamic import denoise_dynamic, is_dynamic
    from ..replay import check_inputs, load_same_model, read_replay
    from ..request import INPUT_NAMES

    given, model = {field.name: getattr(args, field.name) for field in fields(FileRequest)}, args.model
    if args.replay:
        replay = read_replay(args.replay)
        check_inputs(replay)
        given.update({name: replay.inputs.get(name) for name in INPUT_NAMES}, frames=replay.frames)
        settings, model = replay.settings, load_same_model(replay)
    elif args.pet is None:
        raise InputError("There is no PET; give one with --pet, or a record with --replay.")
    request, progress = FileRequest(**given), progress_callback(args.progress)
    if request.frames or is_dynamic(request.pet):
        print_dynamic(denoise_dynamic(request, settings, model, progress, edge=CLI), args.progress)
    else:
        print_result(denoise_files(request, settings, model, progress, CLI), args.progress)
    return 0
