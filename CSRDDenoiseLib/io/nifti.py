"""NIfTI-1 and -2, Analyze and FreeSurfer's MGH, read by nibabel; :mod:`.nifti_place` decides where they lie."""

from __future__ import annotations

import gzip
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator, Mapping, Optional

import nibabel
import numpy as np
from nibabel import imageglobals
from nibabel.filebasedimages import ImageFileError

from ..errors import InputError, reason_of
from ..findings import Finding, info, warning
from .grid import image_from_xyz
from .nifti_place import place_of, units_of_header
from .sidecar import sidecar_frames
from .volume import LARGEST_VALUE, UNKNOWN, Frame, Header, ReadVolume, are_wide, times

SUFFIXES = (".nii", ".nii.gz", ".hdr", ".img", ".hdr.gz", ".img.gz", ".mgz", ".mgh")
SINGLE_FILE_NIFTI = (".nii", ".nii.gz")
_PAIRS = {".hdr": ".img", ".img": ".hdr", ".hdr.gz": ".img.gz", ".img.gz": ".hdr.gz"}
_GZIP_MAGIC = b"\x1f\x8b"
_BLOCK = 1 << 20
_SECONDS_PER_UNIT = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}
_NO_STEP = 1.0
"""What dcm2niix and nibabel write as the time between frames where they know none."""


@dataclass(frozen=True)
class NiftiStudy:
    """A file whose header was read and whose voxels were not.

    Attributes:
        path: the file.
        what: how messages call it.
        image: nibabel's image.
        frames: when its time frames are.
        findings: what was noticed about the file.
    """

    path: Path
    what: str
    image: Any
    frames: tuple[Frame, ...]
    findings: tuple[Finding, ...] = ()


def open_nifti(path: Path, what: str, sidecar: Mapping[str, Any]) -> NiftiStudy:
    """Read the header of a file that nibabel supports.

    Raises:
        InputError: damaged, cut short, or more than one value a voxel.
    """
    image = _opened(path, what)
    _check_header(image, path, what)
    findings = (*_check_length(image, path, what), *_scale_findings(image, what))
    frames = _frames(image, path, what, sidecar)
    if len(frames) > 1 and path.name.lower().endswith(".gz") and not _is_misnamed(path):
        # frames are read in their order, and a file that stays open need not be decompressed from its begin each time
        image = nibabel.load(path, keep_file_open=True)
    return NiftiStudy(path, what, image, frames, findings)


def read_nifti(path: Path, what: str, frame: Optional[int], sidecar: Mapping[str, Any]) -> ReadVolume:
    """Read one volume of a file; see :func:`CSRDDenoiseLib.io.read.read`.

    Raises:
        InputError: as :func:`open_nifti`; several time frames and none chosen; as :func:`nifti_frame`.
    """
    study = open_nifti(path, what, sidecar)
    return nifti_frame(study, _chosen(study.frames, frame, study.image.shape, path, what))


def nifti_frame(study: NiftiStudy, index: int) -> ReadVolume:
    """Read the voxels of one time frame.

    Raises:
        InputError: cut short, sheared, or without a place.
    """
    image = study.image
    grid, place = place_of(image, study.path, study.what)
    values = _values(image, index, study.path, study.what)
    header = Header(
        format=_format(image),
        files=_files(image) or (study.path,),
        orientation=place.orientation,
        frames=study.frames,
        frame=index,
        nifti=image.header if isinstance(image.header, nibabel.Nifti1Header) else None,
    )
    return ReadVolume(image_from_xyz(values, grid), UNKNOWN, (*study.findings, *place.findings), header)


def _format(image: Any) -> str:
    name = type(image).__name__.replace("Image", "")
    if name.startswith("Nifti"):
        return name.replace("Nifti", "NIfTI-").replace("Pair", " pair")
    return name if name == "MGH" else "Analyze"


def _files(image: Any) -> tuple[Path, ...]:
    named = dict.fromkeys(Path(entry.filename) for entry in image.file_map.values() if entry.filename)
    return tuple(path for path in named if path.exists())


def suffix_of(path: Path) -> str:
    """Return the suffix by which nibabel reads a file, or an empty string."""
    matches = [suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix)]
    return max(matches, key=len, default="")


def _opened(path: Path, what: str) -> Any:
    other = _PAIRS.get(suffix_of(path))
    if other:
        partner = path.with_name(path.name[: -len(suffix_of(path))] + other)
        if not any(each.exists() for each in (partner, partner.with_name(_swapped_gz(partner.name)))):
            raise InputError(f"The {what} '{path}' needs its other half '{partner.name}' beside it, which is missing.")
    try:
        with _quiet():
            image: Any = _from_bytes(path) if _is_misnamed(path) else nibabel.load(path)
    except MemoryError:
        raise
    # damaged headers raise whatever numpy and nibabel make of them
    except Exception as error:
        raise InputError(f"The {what} '{path}' cannot be read as an image: {_reason(error, path)}") from error
    if len(image.shape) < 3:
        raise InputError(
            f"The {what} '{path}' has {len(image.shape)} dimensions ({times(image.shape)}); a 3D volume is needed."
        )
    if min(image.shape) < 1:
        raise InputError(
            f"The header of the {what} '{path}' gives it {times(image.shape)} voxels, so that there are none. Correct "
            "its size, or export it again."
        )
    return image


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep nibabel's log off the screen; what it finds wrong is refused or reported here."""
    before, imageglobals.logger.disabled = imageglobals.logger.disabled, True
    try:
        yield
    finally:
        imageglobals.logger.disabled = before


def _swapped_gz(name: str) -> str:
    return name[:-3] if name.lower().endswith(".gz") else f"{name}.gz"


def _is_misnamed(path: Path) -> bool:
    """Whether a single file is compressed and not named so, or the other way round; nibabel decides by the name.

    A suffix that is partly in upper case is one that nibabel looks for under another name.
    """
    name, suffix = path.name.lower(), path.name[len(path.name) - len(suffix_of(path)) :]
    if not name.endswith((*SINGLE_FILE_NIFTI, ".mgz", ".mgh")):
        return False
    if suffix not in (suffix.lower(), suffix.upper()):
        return True
    with path.open("rb") as stream:
        return (stream.read(2) == _GZIP_MAGIC) != name.endswith((".gz", ".mgz"))


def _from_bytes(path: Path) -> Any:
    content = path.read_bytes()
    if content[:2] == _GZIP_MAGIC:
        content = gzip.decompress(content)
    kinds: tuple[Any, ...] = (nibabel.Nifti1Image, nibabel.Nifti2Image)
    if suffix_of(path).startswith(".mg"):
        return nibabel.MGHImage.from_bytes(content)
    kind = next((each for each in kinds if each.header_class.may_contain_header(content[:1024])), kinds[0])
    return kind.from_bytes(content)


def _check_header(image: Any, path: Path, what: str) -> None:
    """Refuse a header whose entries about the values contradict each other; nibabel follows one without a warning.

    Fields: https://nifti.nimh.nih.gov/nifti-1/documentation/nifti1fields (bitpix, vox_offset, scl_slope).
    """
    if not isinstance(image.header, nibabel.Nifti1Header):
        return
    kind = type(image.header)
    entry = image.file_map.get("header", image.file_map["image"])
    with entry.get_prepare_fileobj("rb") as stream:
        stated = kind(stream.read(kind.template_dtype.itemsize), check=False)
    bits, right = int(stated["bitpix"]), 8 * image.get_data_dtype().itemsize
    if bits not in (0, right):
        raise InputError(
            f"The header of the {what} '{path}' contradicts itself: {bits} bits a voxel (bitpix), and {right} by its "
            "datatype. Export it again."
        )
    first = int(getattr(image.dataobj, "offset", 0))
    if kind.is_single and first < kind.single_vox_offset:
        raise InputError(
            f"The header of the {what} '{path}' says that its voxels begin at byte {first} (vox_offset), which lies "
            "inside of the header. Export it again."
        )
    if abs(stated["scl_slope"]) > LARGEST_VALUE:
        raise InputError(
            f"The header of the {what} '{path}' has the scl_slope {float(stated['scl_slope']):.3g}, beyond what is "
            f"computed with (up to {LARGEST_VALUE:g}). Export it again, or correct its header."
        )


def _check_length(image: Any, path: Path, what: str) -> tuple[Finding, ...]:
    """Refuse a file that is too short for its header, or whose compression is damaged, before anything is allocated.

    Returns:
        A warning if the file has at least one slice more than the header states.
    """
    wanted = int(np.prod(image.shape, dtype=object)) * image.get_data_dtype().itemsize
    file = image.file_map["image"].filename
    if not file:
        return ()
    try:
        found = _length(Path(file))
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"The {what} '{path}' is cut short or damaged: {error}. Copy it again.") from error
    if found < wanted:
        raise InputError(
            f"The {what} '{path}' is cut short: its header ({times(image.shape)}) needs {wanted} bytes of values, and "
            f"the file holds {found} bytes. Copy it again."
        )
    if not isinstance(image.header, nibabel.Nifti1Header):
        return ()
    there, needed = (n // image.get_data_dtype().itemsize for n in (found - int(image.dataobj.offset), wanted))
    longer = there >= needed + int(np.prod(image.shape[:2]))
    return (warning("voxels.more", what=what, needed=needed, there=there),) if longer else ()


def _scale_findings(image: Any, what: str) -> tuple[Finding, ...]:
    """Report the scale of an Analyze file: a field that SPM uses so, and other programs as they like."""
    if isinstance(image.header, nibabel.Nifti1Header) or not isinstance(image.header, nibabel.AnalyzeHeader):
        return ()
    slope = float(image.dataobj.slope)
    return () if slope == 1 else (info("values.analyze_scale", what=what, slope=slope),)


def _length(file: Path) -> int:
    """Return the bytes in a file; a compressed one is read to its checksum, which nibabel does not do."""
    with file.open("rb") as stream:
        if stream.read(2) != _GZIP_MAGIC:
            return file.stat().st_size
    with gzip.open(file) as stream:
        total = 0
        while block := stream.read(_BLOCK):
            total += len(block)
    return total


def _frames(image: Any, path: Path, what: str, sidecar: Mapping[str, Any]) -> tuple[Frame, ...]:
    extra = image.shape[3:]
    if image.get_data_dtype().names or (extra[1:] and any(n != 1 for n in extra[1:])):
        count = len(image.get_data_dtype().names or ()) or int(np.prod(extra[1:]))
        raise InputError(f"The {what} '{path}' has {count} values per voxel ({times(image.shape)}); one is needed.")
    count = int(extra[0]) if extra else 1
    stated = sidecar_frames(sidecar, count)
    if stated:
        return stated
    step, begin = _time_step(image)
    if count == 1 or step is None:
        return (Frame(),) * count
    return tuple(Frame(begin + step * index, step) for index in range(count))


def _time_step(image: Any) -> tuple[Optional[float], float]:
    """Return seconds between frames and the first one's begin, if a NIfTI header states them; 1 is no statement."""
    if not isinstance(image.header, nibabel.Nifti1Header):
        return None, 0.0
    factor = _SECONDS_PER_UNIT.get(units_of_header(image.header)[1])
    step, begin = float(image.header["pixdim"][4]), float(image.header["toffset"])
    if factor is None or not np.isfinite(step) or step <= 0 or step == _NO_STEP:
        return None, 0.0
    return step * factor, begin * factor if np.isfinite(begin) else 0.0


def _chosen(frames: tuple[Frame, ...], frame: Optional[int], shape: tuple[int, ...], path: Path, what: str) -> int:
    if frame is None and len(frames) == 1:
        return 0
    if frame is None:
        raise InputError(
            f"The {what} '{path}' has {len(shape)} dimensions ({times(shape)}): it is a dynamic study of "
            f"{describe_frames(frames)}. A 3D volume is needed, for instance one frame of it or the mean of several."
        )
    if not 0 <= frame < len(frames):
        raise InputError(f"The {what} '{path}' has {len(frames)} frame(s), so there is no frame {frame + 1}.")
    return frame


def describe_frames(frames: tuple[Frame, ...]) -> str:
    """Return the number of frames and when they are, for a message."""
    starts = [frame.start_s for frame in frames]
    last = frames[-1]
    if None in starts or last.start_s is None:
        return f"{len(frames)} frames"
    end = last.start_s + (last.duration_s or 0)
    return f"{len(frames)} frames ({starts[0]:.0f} to {end:.0f} s)"


def _values(image: Any, index: int, path: Path, what: str) -> np.ndarray:
    """Return one volume (x, y, z), scaled by the header, of the type of :attr:`.volume.ReadVolume.image`."""
    rest = (slice(None),) * 3 + ((index,) if len(image.shape) > 3 else ()) + (0,) * (len(image.shape) - 4)
    try:
        values = np.asanyarray(image.dataobj[rest] if len(image.shape) > 3 else image.dataobj)
    except MemoryError:
        raise
    except Exception as error:
        raise InputError(
            f"The {what} '{path}' is cut short or damaged ({_reason(error, path).rstrip('.')}). Copy it again."
        ) from error
    if np.iscomplexobj(values):
        raise InputError(f"The {what} '{path}' holds complex numbers; a magnitude image is needed.")
    is_double = image.get_data_dtype().kind == "f" and image.get_data_dtype().itemsize >= 8
    return values.astype(np.float64 if is_double or are_wide(values) else np.float32)


def _reason(error: Exception, path: Path) -> str:
    if isinstance(error, ImageFileError):
        return f"it is no {suffix_of(path)} file, or damaged."
    if isinstance(error, KeyError):
        # of nibabel's tables: those of MGH have no words for a key that is missing
        return f"its header has the type {reason_of(error)}, which is not known."
    return f"{reason_of(error)}."
