"""NIfTI-1 and -2, Analyze and FreeSurfer's MGH, read by nibabel; where they lie is decided here.

The sform decides where its code is above 0, else the qform, as in nibabel, SPM, FSL and ANTs. A disagreement of the two
is measured and reported. Without either (codes 0 and 0, Analyze) nibabel's convention is taken and reported.
"""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Mapping, Optional

import nibabel
import numpy as np
from nibabel import imageglobals
from nibabel.filebasedimages import ImageFileError
from nibabel.openers import ImageOpener
from nibabel.spatialimages import HeaderDataError

from ..errors import InputError
from ..findings import Finding, info, warning
from .grid import Grid, disagreement_mm, image_from_xyz, shear_mm
from .sidecar import sidecar_frames
from .volume import Frame, Header, ReadVolume, times

SUFFIXES = (".nii", ".nii.gz", ".hdr", ".img", ".hdr.gz", ".img.gz", ".mgz", ".mgh")
SINGLE_FILE_NIFTI = (".nii", ".nii.gz")
SAME_PLACE_MM = 0.1
"""Forms that agree to this distance at every corner say the same."""
LARGEST_SHEAR = 0.5
"""Shear, as a part of the smallest voxel side, up to which the nearest rectangular grid is taken."""
SAME_VOXEL = 0.01

_PAIRS = {".hdr": ".img", ".img": ".hdr", ".hdr.gz": ".img.gz", ".img.gz": ".hdr.gz"}
_GZIP_MAGIC = b"\x1f\x8b"
_BLOCK = 1 << 20
_MM_PER_UNIT = {"meter": 1000.0, "mm": 1.0, "micron": 0.001, "unknown": 1.0}
_SECONDS_PER_UNIT = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}
_PLAUSIBLE_VOXEL_MM = (0.05, 50.0)


@dataclass(frozen=True)
class _Place:
    """Where the volume lies: an affine (4, 4) in mm, R-A-S, what decided it, and what was noticed."""

    affine: np.ndarray
    orientation: str
    findings: tuple[Finding, ...]


def read_nifti(path: Path, what: str, frame: Optional[int], sidecar: Mapping[str, Any]) -> ReadVolume:
    """Read a file that nibabel knows; see :func:`CSRDDenoiseLib.io.read.read`.

    Raises:
        InputError: damaged, cut short, sheared, or not one volume of one value a voxel.
    """
    image = _opened(path, what)
    frames = _frames(image, path, what, sidecar)
    index = _chosen(frames, frame, image.shape, path, what)
    place = _place(image, path, what)
    size = image.shape[:3]
    shear = shear_mm(size, place.affine)
    grid = Grid.from_affine(size, place.affine)
    findings = place.findings
    if shear > LARGEST_SHEAR * min(grid.spacing):
        raise InputError(
            f"The {place.orientation} of the {what} '{path}' is sheared: its axes are not perpendicular, and its "
            f"corners lie up to {shear:.1f} mm from those of a rectangular grid. Resample it to a rectangular grid "
            f"first{_of_other_form(findings)}."
        )
    if shear > SAME_PLACE_MM:
        findings = (*findings, warning("orientation.shear", what=what, distance_mm=round(shear, 2)))
    values = _values(image, index, path, what)
    header = Header(
        format=type(image).__name__.replace("Image", "").replace("Nifti", "NIfTI-").replace("Pair", " pair"),
        files=_files(image) or (path,),
        orientation=place.orientation,
        frames=frames,
        frame=index,
        nifti=image.header if isinstance(image.header, nibabel.Nifti1Header) else None,
    )
    if not header.format.startswith(("NIfTI", "MGH")):
        header = Header(**{**vars(header), "format": "Analyze"})
    return ReadVolume(image_from_xyz(values, grid), "unknown", findings, header)


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
        with imageglobals.LoggingOutputSuppressor():
            image = _from_bytes(path) if _is_misnamed(path) else nibabel.load(path)
    except MemoryError:
        raise
    # damaged headers raise whatever numpy and nibabel make of them
    except Exception as error:
        raise InputError(f"The {what} '{path}' cannot be read as an image: {_reason(error, path)}") from error
    if len(image.shape) < 3:
        raise InputError(
            f"The {what} '{path}' has {len(image.shape)} dimensions ({times(image.shape)}); a 3D volume is needed."
        )
    _check_length(image, path, what)
    return image


def _swapped_gz(name: str) -> str:
    return name[:-3] if name.lower().endswith(".gz") else f"{name}.gz"


def _is_misnamed(path: Path) -> bool:
    """Whether a single file is compressed and not named so, or the other way round; nibabel goes by the name."""
    name = path.name.lower()
    if not name.endswith((*SINGLE_FILE_NIFTI, ".mgz", ".mgh")):
        return False
    with path.open("rb") as stream:
        return (stream.read(2) == _GZIP_MAGIC) != name.endswith((".gz", ".mgz"))


def _from_bytes(path: Path) -> Any:
    content = path.read_bytes()
    if content[:2] == _GZIP_MAGIC:
        content = gzip.decompress(content)
    kinds = [nibabel.MGHImage] if suffix_of(path).startswith(".mg") else [nibabel.Nifti1Image, nibabel.Nifti2Image]
    kind = next((each for each in kinds if each.header_class.may_contain_header(content[:1024])), kinds[0])
    return kind.from_bytes(content)


def _check_length(image: Any, path: Path, what: str) -> None:
    """Refuse a file that is too short for its header, or whose compression is damaged, before anything is allocated."""
    wanted = int(np.prod(image.shape, dtype=object)) * image.get_data_dtype().itemsize
    file = image.file_map["image"].filename
    if not file:
        return
    try:
        found = _length(Path(file))
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"The {what} '{path}' is cut short or damaged: {error}. Copy it again.") from error
    if found < wanted:
        raise InputError(
            f"The {what} '{path}' is cut short: its header ({times(image.shape)}) needs {wanted} bytes of values, and "
            f"the file holds {found} bytes. Copy it again."
        )


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
    told = sidecar_frames(sidecar, count)
    if told:
        return told
    step, begin = _time_step(image)
    if count == 1 or step is None:
        return (Frame(),) * count
    return tuple(Frame(begin + step * index, step) for index in range(count))


def _time_step(image: Any) -> tuple[Optional[float], float]:
    """Return seconds between frames and the first one's begin, where a NIfTI header says so."""
    if not isinstance(image.header, nibabel.Nifti1Header):
        return None, 0.0
    factor = _SECONDS_PER_UNIT.get(_units(image.header)[1])
    step, begin = float(image.header["pixdim"][4]), float(image.header["toffset"])
    if factor is None or not np.isfinite(step) or step <= 0:
        return None, 0.0
    return step * factor, begin * factor if np.isfinite(begin) else 0.0


def _units(header: Any) -> tuple[str, str]:
    try:
        return header.get_xyzt_units()
    except KeyError:
        return "unknown", "unknown"


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
    """Return one volume (x, y, z), scaled as the header says, float64 if it was stored so and float32 otherwise."""
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
    return values.astype(np.float64 if is_double else np.float32)


def _place(image: Any, path: Path, what: str) -> _Place:
    size = image.shape[:3]
    if isinstance(image.header, nibabel.Nifti1Header):
        return _nifti_place(image, _raw_header(image), size, path, what)
    affine = np.array(image.affine, dtype=float)
    _check_affine(affine, "header", path, what)
    if isinstance(image, nibabel.MGHImage):
        oriented = bool(image.header["goodRASFlag"])
    else:
        oriented = bool(getattr(image, "file_map", {}).get("mat") and _has_mat(image))
    if oriented:
        return _Place(affine, "header", ())
    return _Place(affine, "none", (warning("orientation.none", what=what, kind=_kind(image)),))


def _kind(image: Any) -> str:
    return "FreeSurfer file" if isinstance(image, nibabel.MGHImage) else "Analyze file"


def _has_mat(image: Any) -> bool:
    name = image.file_map["mat"].filename
    return bool(name) and Path(name).exists()


def _raw_header(image: Any) -> Any:
    """Return the header as it is stored: nibabel repairs voxel sizes of 0 on reading, without a word."""
    entry = image.file_map.get("header") or image.file_map["image"]
    if not entry.filename:
        return image.header
    with ImageOpener(entry.filename, "rb") as stream:
        return type(image.header)(stream.read(image.header.template_dtype.itemsize), check=False)


def _nifti_place(image: Any, raw: Any, size: tuple[int, ...], path: Path, what: str) -> _Place:
    sform_code, qform_code = int(raw["sform_code"]), int(raw["qform_code"])
    pixdim = np.array(raw["pixdim"][1:4], dtype=float)
    scale, findings = _scale_to_mm(raw, pixdim, what)
    unset = _is_unset(pixdim)
    if sform_code <= 0 and unset:
        raise InputError(
            f"The {what} '{path}' has no voxel size: its header holds {_listed(pixdim)} mm. Export it again, or set "
            "the voxel size."
        )
    if sform_code <= 0:
        affine = _qform(image.header) if qform_code > 0 else np.array(image.header.get_base_affine(), dtype=float)
        _check_affine(affine, "qform", path, what)
        if qform_code > 0:
            return _Place(scale @ affine, "qform", findings)
        return _Place(scale @ affine, "none", (*findings, warning("orientation.none", what=what, kind="NIfTI header")))
    sform = np.array(raw.get_sform(), dtype=float)
    _check_affine(sform, "sform", path, what)
    sides = np.linalg.norm(sform[:3, :3], axis=0)
    findings = (*findings, *_voxel_findings(sides, pixdim, size, path, what))
    if qform_code > 0 and not unset:
        findings = (*findings, *_form_findings(sform, raw, size, (sform_code, qform_code), what))
    return _Place(scale @ sform, "sform", findings)


def _is_unset(pixdim: np.ndarray) -> bool:
    return bool((~np.isfinite(pixdim)).any() or (pixdim == 0).any())


def _voxel_findings(
    sides: np.ndarray, pixdim: np.ndarray, size: tuple[int, ...], path: Path, what: str
) -> tuple[Finding, ...]:
    """Compare the voxel size of the sform with the header's own; a unit sform beside real voxels is refused."""
    if np.allclose(sides, np.abs(pixdim), rtol=SAME_VOXEL):
        return ()
    is_default = _is_unset(pixdim) or bool((np.abs(pixdim) == 1).all())
    distance = float(np.linalg.norm((np.array(size) - 1) * (sides - np.abs(pixdim))))
    if not is_default and np.allclose(sides, 1, rtol=1e-3):
        raise InputError(
            f"The two forms of the {what} '{path}' disagree: its sform has voxels of {_listed(sides)} mm (a unit "
            f"matrix) and its header (pixdim, which the qform uses) {_listed(pixdim)} mm, so they place its corners up "
            f"to {distance:.0f} mm apart. Correct the sform, for instance by setting it to the qform (nibabel: "
            "image.set_sform(image.get_qform(), 1))."
        )
    values = {"what": what, "sides": sides.round(4).tolist(), "pixdim": _listed(pixdim)}
    return (warning("orientation.voxel_size", **values),)


def _form_findings(
    sform: np.ndarray, raw: Any, size: tuple[int, ...], codes: tuple[int, int], what: str
) -> tuple[Finding, ...]:
    distance = disagreement_mm(size, sform, _qform(raw))
    if not np.isfinite(distance):
        return (warning("orientation.qform_broken", what=what),)
    if distance <= SAME_PLACE_MM:
        return ()
    values = {"what": what, "distance_mm": round(distance, 2), "sform_code": codes[0], "qform_code": codes[1]}
    return (warning("orientation.forms_disagree", **values),)


def _qform(header: Any) -> np.ndarray:
    """Return the qform (4, 4), NaN where its quaternion is none."""
    try:
        return np.array(header.get_qform(), dtype=float)
    except (ValueError, HeaderDataError):
        return np.full((4, 4), np.nan)


def _of_other_form(findings: tuple[Finding, ...]) -> str:
    found = next((each for each in findings if each.code == "orientation.forms_disagree"), None)
    if not found:
        return ""
    distance = found.values["distance_mm"]
    return f" (or correct the sform: the qform beside it places the corners up to {distance:.1f} mm away)"


def _scale_to_mm(raw: Any, pixdim: np.ndarray, what: str) -> tuple[np.ndarray, tuple[Finding, ...]]:
    """Return the factor (4, 4) from the header's unit of length to mm; one that cannot be is ignored."""
    unit = _units(raw)[0]
    factor = _MM_PER_UNIT.get(unit, 1.0)
    if factor == 1.0:
        return np.eye(4), ()
    sides = np.linalg.norm(raw.get_sform()[:3, :3], axis=0) if int(raw["sform_code"]) > 0 else np.abs(pixdim)
    low, high = _PLAUSIBLE_VOXEL_MM
    if bool(((sides * factor >= low) & (sides * factor <= high)).all()):
        return np.diag([factor, factor, factor, 1.0]), (info("units.length", what=what, unit=unit),)
    return np.eye(4), (warning("units.length_ignored", what=what, unit=unit, sides=sides.tolist()),)


def _check_affine(affine: np.ndarray, form: str, path: Path, what: str) -> None:
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise InputError(
            f"The {form} of the {what} '{path}' is no place in space: its matrix is singular or not finite "
            f"({_listed(affine[:3].ravel())}). Export it again, or correct its header."
        )


def _listed(values: np.ndarray) -> str:
    return ", ".join(f"{value:.4g}" for value in values)


def _reason(error: Exception, path: Path) -> str:
    if isinstance(error, ImageFileError):
        return f"it is no {suffix_of(path)} file, or damaged."
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{lines[-1].rstrip('.')}." if lines else f"{type(error).__name__}."
