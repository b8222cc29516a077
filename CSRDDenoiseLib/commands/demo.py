"""``csrd-denoise demo``: denoise the bundled low dose and compare it with the full dose."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..extras import require
from ..resources import FULL_DOSE, LOW_DOSE, MR, SAMPLE_DATA, resource_folder
from ..sentences import CLI
from .denoise import settings_from_args
from .effects import check_effects, facts_of_model
from .options import HOW, add_groups
from .outcome import print_result
from .progress import progress_callback

if TYPE_CHECKING:
    import SimpleITK as sitk

FIGURE, UNCERTAINTY = "comparison.png", "uncertainty.nii.gz"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command and its options."""
    parser.description = (
        "Denoise the bundled example (simulated; a tenth of the counts), print a table before and after "
        "against the full dose, and write the volumes and a picture."
    )
    parser.add_argument("--output", type=Path, default="demo-output", metavar="FOLDER", help="default: %(default)s")
    parser.add_argument("--overwrite", action="store_true", help="replace outputs that exist")
    add_groups(parser, *HOW)
    parser.set_defaults(run=run, parser=parser)


def run(args: argparse.Namespace) -> int:
    """Denoise the bundled example."""
    # the table and the picture come after the work, and need what a plain installation lacks
    require("skimage", "matplotlib")
    check_effects(args.parser, args, facts_of_model(args.model))
    from ..denoise import FileRequest, denoise_files
    from ..io.read import read_volume
    from ..model.bundle import find_model, read_metadata
    from ..run.sidecars import remove_former

    settings = read_metadata(find_model(args.model)).settings_of(settings_from_args(args))

    data = resource_folder() / SAMPLE_DATA
    request = FileRequest(
        pet=data / LOW_DOSE,
        mr=data / MR,
        output=args.output / "denoised.nii.gz",
        difference=args.output / "difference.nii.gz",
        uncertainty=args.output / UNCERTAINTY if settings.has_uncertainty else None,
        overwrite=args.overwrite,
    )
    try:
        args.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"The output folder '{args.output}' cannot be made: {error.strerror}.") from error
    result = denoise_files(request, settings, args.model, progress_callback(args.progress), CLI)
    remove_former((args.output / UNCERTAINTY,), request)
    images = {
        "low dose 1/10": read_volume(data / LOW_DOSE),
        "denoised": result.denoised,
        "difference": result.difference,
        "uncertainty": result.uncertainty,
        "full dose": read_volume(data / FULL_DOSE),
    }
    table = _compare({name: image for name, image in images.items() if image}, args.output / FIGURE)
    print(table, file=sys.stderr if args.progress == "json" else sys.stdout)
    print_result(result.record, args.progress)
    return 0


def _compare(images: dict[str, sitk.Image], figure: Path) -> str:
    """Write the picture; return the table before and after."""
    import SimpleITK as sitk

    from .. import measures
    from ..io.grid import Grid
    from ..prepare.align import ORIENTATION
    from ..report.planes import write_comparison
    from ..scan import find_head

    oriented = {name: sitk.DICOMOrient(image, ORIENTATION) for name, image in images.items()}
    arrays = {name: sitk.GetArrayFromImage(image) for name, image in oriented.items()}
    spacing, full = Grid.of(oriented["full dose"]).array_spacing, arrays["full dose"]
    head = find_head(full, spacing)
    assert head is not None  # the bundled example shows one
    lines, notes = [f"{'':16}{'PSNR (dB)':>10}{'SSIM':>8}{'bias (%)':>10}"], {}
    for name in ("low dose 1/10", "denoised"):
        psnr = measures.psnr(arrays[name], full, head.mask)
        ssim = measures.ssim(arrays[name], full, head.mask)
        bias = 100 * measures.bias(arrays[name], full, head.mask)
        lines.append(f"{name:16}{psnr:10.2f}{ssim:8.4f}{bias:+10.2f}")
        notes[name] = f"{psnr:.1f} dB"
    write_comparison(arrays, figure, spacing, notes=notes)
    return "\n".join([*lines, f"Inside the head, against the full dose. Picture: {figure}"])
