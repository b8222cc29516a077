"""``csrd-denoise denoise``: files in, files out."""

from __future__ import annotations

import argparse
import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Optional, Sequence, Union

from ..errors import SOME_FAILED, InputError
from ..extras import require
from ..model.bundle import DEFAULT_MODEL
from ..progress import print_json_line
from ..sentences import CLI, error_sentence
from ..settings import DEFAULT_PRESET, MAPS, SAME, WARN, DenoiseSettings, settings_from_preset
from .effects import STATIC, check_effects, facts_of_model
from .interrupts import cancellable
from .options import HOW, INPUTS, OUTPUTS, PLACE, PREPARATION, add_groups
from .outcome import print_dynamic, print_result, print_run
from .progress import progress_callback

if TYPE_CHECKING:
    from ..bids import BidsPet
    from ..denoise import DenoiseResult
    from ..dynamic.denoise import DynamicResult
    from ..io.record import Record
    from ..run.request import FileRequest
    from ..run.stages import ModelChoice


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command and its options."""
    parser.description = (
        "Denoise a low-dose PET, guided by an MR of the same head. The result has the PET's grid and unit; "
        "a JSON record of the run is written beside it."
    )
    add_groups(parser, INPUTS, OUTPUTS, PREPARATION, *HOW, PLACE)
    parser.set_defaults(run=run, parser=parser)


def settings_from_args(args: argparse.Namespace) -> DenoiseSettings:
    """Return the preset with the options that were given on top."""
    given = {field.name: getattr(args, field.name, None) for field in fields(DenoiseSettings)}
    return settings_from_preset(args.preset, **given)


def _run_bids(args: argparse.Namespace, settings: DenoiseSettings) -> int:
    """Denoise a BIDS dataset; return 4 where a PET of it could not be denoised."""
    from ..bids import denoise_bids
    from ..dynamic.denoise import DynamicResult

    single = ("pet", "mr", "output", "replay", "report", "labels", "full_dose_reference", "format", "region", "on")
    given = [name for name in (*single, *MAPS) if getattr(args, name)]
    given += [name for name, usual in (("output_unit", SAME), ("motion", WARN)) if getattr(args, name) != usual]
    if given:
        option = given[0].replace("_", "-")
        raise InputError(f"The option --{option} is for a single PET; --bids finds its inputs and names its outputs.")

    complete: list[str] = []

    def show(pet: BidsPet, result: Union[DenoiseResult, DynamicResult, InputError]) -> None:
        print(f"{pet.pet.name}, {pet.mr.name if pet.mr else 'no T1w'}:", file=sys.stderr)
        if isinstance(result, InputError):
            if args.progress == "json":
                print_json_line({"pet": str(pet.pet), "error": error_sentence(result, CLI)})
            print(f"Not denoised: {error_sentence(result, CLI)}", file=sys.stderr)
        else:
            complete.append(pet.pet.name)
            print_run(result if isinstance(result, DynamicResult) else result.record, args.progress)

    def what_is_left() -> str:
        return f"{len(complete)} PET(s) were denoised before, and stay." if complete else "Nothing was written."

    progress = progress_callback(args.progress)
    labels, frames = args.participant_label, args.frames
    with cancellable(what_is_left):
        failed = denoise_bids(args.bids, labels, settings, args.model, progress, args.overwrite, frames, show)
    return SOME_FAILED if failed else 0


def _run_on(
    args: argparse.Namespace, request: FileRequest, settings: DenoiseSettings, model: str
) -> Union[Record, DynamicResult]:
    """Denoise on another machine."""
    require("distributed")
    from ..cluster.remote import Place, denoise_on

    place = Place(args.on, args.tls, args.insecure)
    return denoise_on(place, request, settings, model, progress_callback(args.progress), CLI).result


def _check_replay(args: argparse.Namespace, inputs: Sequence[str]) -> None:
    """Reject what the record decides: another PET, given beside it, would not be the one that is denoised."""
    usual, names = {"preset": DEFAULT_PRESET, "model": DEFAULT_MODEL}, {"keep_above_mm": "keep-above"}
    for name in (*inputs, *usual, *(field.name for field in fields(DenoiseSettings))):
        value = getattr(args, name, None)
        # a seed of 0 was given
        if value is not None and value is not False and value != usual.get(name):
            raise InputError(
                f"With --replay the inputs, the model and the settings are those of the record; leave "
                f"--{names.get(name, name.replace('_', '-'))} out. To denoise another PET as in the record, give its "
                "settings as options in place of --replay."
            )


def run(args: argparse.Namespace) -> int:
    """Denoise the files of the command line."""
    settings = settings_from_args(args)
    if not args.replay:
        check_effects(args.parser, args, facts_of_model(args.model))
    if args.bids:
        return _run_bids(args, settings)
    if args.output is None:
        args.parser.error("the following arguments are required: --output (or --bids)")
    from ..checks.volumes import INPUT_NAMES
    from ..denoise import FileRequest
    from ..dynamic.denoise import is_dynamic
    from ..run.replay import check_inputs, load_same_model, read_replay

    names, model = (field.name for field in fields(FileRequest)), args.model
    given: dict[str, Any] = {name: getattr(args, name) for name in names if name in args}
    if args.replay:
        _check_replay(args, ("frames", *INPUT_NAMES))
        replay = read_replay(args.replay)
        check_inputs(replay)
        given.update({name: replay.inputs.get(name) for name in INPUT_NAMES}, frames=replay.frames)
        if args.report is None:
            # labels are for the report alone
            given["labels"] = None
        settings, model = replay.settings, load_same_model(replay)
    elif args.pet is None:
        raise InputError("There is no PET; give one with --pet, or a record with --replay.")
    request = FileRequest(**given)
    check_effects(args.parser, args, {STATIC: lambda: not is_dynamic(request.pet)})
    with cancellable(_what_is_left(request.output)):
        return _run(args, request, settings, model)


def _what_is_left(output: Path) -> Callable[[], str]:
    """Return what states, after an interrupt, whether the results were put in place: they appear with their record."""
    from ..io.write import record_path

    def stamp() -> Optional[tuple[int, int]]:
        try:
            facts = record_path(output).stat()
        except OSError:
            return None
        return facts.st_ino, facts.st_mtime_ns

    before = stamp()
    return lambda: "Nothing was written." if stamp() == before else f"The results were complete by then: '{output}'."


def _run(args: argparse.Namespace, request: FileRequest, settings: DenoiseSettings, model: ModelChoice) -> int:
    from ..denoise import denoise_files
    from ..dynamic.denoise import denoise_dynamic, is_dynamic
    from ..model.bundle import Model

    progress = progress_callback(args.progress)
    if args.on:
        print_run(
            _run_on(args, request, settings, str(model.folder if isinstance(model, Model) else model)), args.progress
        )
    elif request.frames or is_dynamic(request.pet):
        print_dynamic(denoise_dynamic(request, settings, model, progress, edge=CLI), args.progress)
    else:
        print_result(denoise_files(request, settings, model, progress, CLI).record, args.progress)
    return 0
