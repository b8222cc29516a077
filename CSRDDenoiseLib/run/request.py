"""What can be wrong with a request, found before any heavy work.

Every function raises :class:`InputError`, one sentence with the numbers, or returns findings where a run is possible.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Mapping, Optional

from ..checks.volumes import INPUT_NAMES
from ..errors import InputError
from ..extras import require
from ..io.dicom_files import series_folder
from ..io.names import located
from ..io.outputs import check_format, is_dicom_folder
from ..io.read import check_readable, is_dicom_path
from ..io.write import check_output_folder, check_output_path, record_path, sidecar_path
from ..limits import OneOf, check_limits
from ..settings import MAPS, MOTIONS, OUTPUT_FORMATS, OUTPUT_UNITS, SAME, WARN, DenoiseSettings

if TYPE_CHECKING:
    from ..model.metadata import ModelMetadata

PAGE_SUFFIXES = (".html", ".htm", ".xhtml")


@dataclass(frozen=True)
class Origin:
    """Who asked for a run that another machine does.

    Attributes:
        place: who works, for the record; empty for this machine.
        paths: name of an input or output -> its path where the run was asked for; none where both have the same files.
    """

    place: str
    paths: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class FileRequest:
    """The files of one run; paths may be strings.

    Attributes:
        pet: low-dose PET, a file or a DICOM series folder.
        output: where the denoised PET goes; its JSON record goes beside it.
        mr: MR of the same head, or None.
        difference: where denoised - PET goes, or None.
        uncertainty: where the error to expect (one standard deviation, in the unit of the outputs) goes, or None.
        support: where the map of what the counts do not support goes, or None.
        overwrite: replace outputs that exist.
        report: folder of the quality report, made if need be, or None; needs matplotlib.
        labels: label map whose regions the report measures, or None.
        bare: where the model's bare estimate goes, from which the result for any ``keep_above_mm`` follows, or None.
        full_dose_reference: full-dose PET of any head, of the same scanner and protocol, that the dose is
            relative to, or None.
        motion: of the head between the frames of a dynamic PET: "warn" beyond 3 mm, or "off" to not measure it.
        region: mask, on any grid in physical space, of what is denoised; the rest stays as it was measured; or None.
        headers: files that the PET was loaded from, whose headers state how it becomes SUV; see :mod:`..io.headers`.
        frames: time frames of a dynamic PET that are denoised, from 1 ("5-", "3-8", "2,4"), or None for all.
        output_unit: "same" as the PET's, or "suv" (body weight).
        format: "dicom" for a DICOM series in a folder, or None: by the suffix, and DICOM where the output has none and
            the PET is DICOM.
        origin: who asked for it, where another machine works; None on this one.

    Raises:
        InputError: ``motion``, ``output_unit`` or ``format`` is not known.

    Example:
        >>> request = FileRequest(pet="low.nii.gz", mr="t1.nii.gz", output="denoised.nii.gz", report="reports")
        >>> request.page.as_posix()
        'reports/denoised.html'
    """

    pet: Path
    output: Path
    mr: Optional[Path] = None
    difference: Optional[Path] = None
    uncertainty: Optional[Path] = None
    overwrite: bool = False
    report: Optional[Path] = None
    labels: Optional[Path] = None
    support: Optional[Path] = None
    full_dose_reference: Optional[Path] = None
    output_unit: Annotated[str, OneOf(OUTPUT_UNITS)] = SAME
    format: Optional[Annotated[str, OneOf(OUTPUT_FORMATS)]] = None
    bare: Optional[Path] = None
    region: Optional[Path] = None
    headers: tuple[Path, ...] = ()
    motion: Annotated[str, OneOf(MOTIONS)] = WARN
    frames: Optional[str] = None
    origin: Optional[Origin] = None

    def __post_init__(self) -> None:
        for name in (*INPUT_NAMES, "output", *MAPS, "report"):
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else Path(value))
        object.__setattr__(self, "headers", tuple(map(Path, self.headers)))
        object.__setattr__(self, "frames", None if self.frames is None else str(self.frames))
        check_limits(self, "The request")

    @property
    def inputs(self) -> dict[str, Path]:
        """Name -> path of what is read."""
        return {name: getattr(self, name) for name in INPUT_NAMES if getattr(self, name)}

    @property
    def volumes(self) -> dict[str, Path]:
        """Name -> path of the volumes that are asked for."""
        named = {
            "denoised": self.output,
            **{name: getattr(self, name) for name in MAPS},
        }
        return {name: path for name, path in named.items() if path}

    @property
    def outputs(self) -> dict[str, Path]:
        """Name -> path of everything that is written beside the record."""
        return {**self.volumes, **({"report": self.page} if self.page else {})}

    @cached_property
    def dicom(self) -> frozenset[str]:
        """Names of the volumes that are written as DICOM series."""
        is_dicom = is_dicom_path(self.pet)
        return frozenset(name for name, path in self.volumes.items() if is_dicom_folder(path, is_dicom))

    def path_in_record(self, name: str) -> str:
        """Return the path of an input or output as the record has it: where the run was asked for."""
        path, field_name = {**self.inputs, **self.outputs}[name], "output" if name == "denoised" else name
        known = self.origin.paths.get(field_name) if self.origin else None
        if known is None:
            return str(located(path))
        return str(Path(known) / path.name) if name == "report" else known

    @property
    def place(self) -> Optional[str]:
        """Which other machine works, or None."""
        return (self.origin.place or None) if self.origin else None

    @property
    def page(self) -> Optional[Path]:
        """Where the report goes, named after the denoised PET: ``denoised.nii.gz`` -> ``FOLDER/denoised.html``."""
        return self.report and self.report / sidecar_path(self.output).with_suffix(".html").name


def check_request(request: FileRequest, settings: DenoiseSettings) -> None:
    """Refuse a request that cannot end well, from its paths alone."""
    for name, path in request.inputs.items():
        check_readable(path, INPUT_NAMES[name])
    if request.mr and is_same(request.pet, request.mr):
        raise InputError(f"The PET and the MR are the same path '{request.pet}'; give the MR or leave it out.")
    for name, path in request.volumes.items():
        check_format(path, name, is_dicom_path(request.pet), request.format is not None, request.overwrite)
    check_register(settings, with_mr=request.mr is not None)
    if "support" in request.dicom:
        require("highdicom")
    if request.uncertainty:
        check_uncertainty(settings)
    if request.page:
        require("matplotlib")
        _check_report(request.page)
    elif request.labels:
        raise InputError("The label map is for the report; ask for one, or leave the labels out.", hint="report")
    _check_outputs(request)


def check_uncertainty(settings: DenoiseSettings) -> None:
    """Refuse to give an uncertainty where the settings make no draws to take a spread over."""
    if settings.sampler == "mean":
        raise InputError(
            "The sampler 'mean' (preset 'fast') draws no samples, so there is no uncertainty; choose the preset "
            "'balanced' or 'quality', or the sampler 'dpmpp' or 'heun' with 2 or more steps."
        )
    if not settings.has_uncertainty:
        few = "steps" if settings.steps < 2 else "samples"
        raise InputError(f"The uncertainty needs 2 or more {few}, and {getattr(settings, few)} is asked for.")


def check_draws(request: FileRequest, metadata: ModelMetadata) -> None:
    """Refuse to give an uncertainty of a model that draws no samples."""
    if request.uncertainty and not metadata.draws:
        raise InputError(
            f"The model '{metadata.name}' draws no samples, so there is no uncertainty; leave the uncertainty out, or "
            "choose another model."
        )


def check_register(settings: DenoiseSettings, with_mr: bool) -> None:
    """Refuse to register an MR that there is not."""
    if settings.register and not with_mr:
        raise InputError("There is no MR to register to the PET; give one, or do not ask for the registration.")


def check_model(metadata: ModelMetadata, with_mr: bool) -> None:
    """Refuse to run without MR a model that was never trained so."""
    if not with_mr and not metadata.mr_optional:
        raise InputError(f"The model '{metadata.name}' needs an MR; give one, or choose another model.")


def _check_report(page: Path) -> None:
    """Refuse the name of a page where the folder of the page is asked for."""
    if page.parent.suffix.lower() in PAGE_SUFFIXES:
        raise InputError(
            f"The report goes to a folder, and '{page.parent}' is the name of a page; give a folder. The page in it is "
            f"named after the denoised PET: '{page.name}'."
        )


def _check_outputs(request: FileRequest) -> None:
    outputs = {**request.outputs, "record": record_path(request.output)}
    # a file's own JSON (BIDS), and the record of the run that made it, are part of the input
    beside = [name(path) for path in request.inputs.values() for name in (sidecar_path, record_path)]
    guarded = [*request.inputs.values(), *(path for path in beside if path.exists())]
    series = [given.resolve() for given in map(series_folder, request.inputs.values()) if given]
    seen: dict[Path, str] = {}
    for name, path in outputs.items():
        is_folder = name in request.dicom
        check_output_path(path, name, is_folder)
        place = path.resolve()
        if place in seen:
            raise InputError(f"The {name} and the {seen[place]} would both go to '{path}'; give each its own path.")
        seen[place] = name
        if any(is_same(path, other) for other in guarded):
            raise InputError(f"The {name} would overwrite an input, '{path}'; give another path.")
        inside = next((folder for folder in series if folder in place.parents), None)
        if is_folder and inside:
            raise InputError(
                f"The {name} '{path}' lies in the input folder '{inside}', whose series would be mixed up with it "
                "afterwards; give a folder outside of it."
            )
        if path.exists() and not request.overwrite and not is_folder:
            raise InputError(
                f"The {name} '{path}' exists already; choose another name, or have it replaced.", hint="overwrite"
            )
    for folder in {(path.resolve() if path.is_symlink() else path).parent for path in outputs.values()}:
        # the report's folder is made when the report is written
        check_output_folder(folder.parent if folder == request.report and not folder.exists() else folder)


def is_same(one: Path, other: Path) -> bool:
    """Whether two paths lead to one file."""
    return one.resolve() == other.resolve() or (one.exists() and other.exists() and one.samefile(other))
