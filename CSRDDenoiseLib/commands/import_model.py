"""``csrd-denoise import-model``: a snapshot of the paper's authors becomes a model folder; no code of it is run."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import InputError
from ..io.read import check_readable
from ..model.bundle import METADATA_FILE
from .arguments import check_folder, number


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command and its options."""
    parser.description = (
        "Turn network-snapshot-XXXXXX.pkl of the published training code into a model folder for "
        "'denoise --model FOLDER'. The file is read as data; no code in it is run. The weights keep their own licence."
    )
    parser.add_argument("snapshot", type=Path, metavar="SNAPSHOT", help="the .pkl file")
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="the model folder to write")
    parser.add_argument("--name", help="name of the model (default: the folder's name)")
    parser.add_argument(
        "--spacing",
        type=number(0.5, 10),
        default=2.0,
        metavar="MM",
        help="voxel edge of the images it was trained on, which a snapshot does not hold (default: %(default)s)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the model of a folder that exists")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Import the snapshot and print what it is."""
    from ..model.snapshot import import_snapshot

    check_readable(args.snapshot, "snapshot", is_image=False)
    if args.snapshot.is_dir():
        raise InputError(f"The snapshot '{args.snapshot}' is a folder; give the .pkl file in it.")
    check_folder(args.output)
    if (args.output / METADATA_FILE).exists() and not args.overwrite:
        raise InputError(f"'{args.output}' holds a model already; choose another folder or use --overwrite.")
    name = args.name or args.output.resolve().name
    metadata = import_snapshot(args.snapshot, args.output, name, args.spacing)
    facts = metadata.architecture
    print(
        f"Imported '{metadata.name}' into {args.output}: {facts['type']} of width {facts['model_channels']}, "
        f"multipliers {facts['channel_mult']}, {facts['num_blocks']} blocks a level, at {args.spacing:g} mm voxels."
    )
    print(f"Use it with: csrd-denoise denoise --model {args.output} ...")
    return 0
