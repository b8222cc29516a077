"""The values of a DICOM stack: stored bits decoded, scaled slice by slice, padding set to zero.

A value is stored value x rescale slope + intercept (PS3.3 C.7.6.16.2.9, C.8.9.4.1.5). A stored value is made of the
lowest bits of a word, as many as Bits Stored; the others mean nothing (PS3.5 8.1.1). Pixels of the padding value are no
part of the image (PS3.3 C.7.5.1.1.2).
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Callable, Mapping, Optional, Sequence

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.uid import (
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    RLELossless,
)

from ..errors import InputError, reason_of
from ..findings import Finding, warning
from .dicom_frames import Slice
from .dicom_tags import Tags, quiet

_KNOWN_SYNTAXES = (
    *(ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian),
    *(*JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes, JPEG2000Lossless, JPEG2000, RLELossless),
)
_FOR_DISPLAY = ("", "MONOCHROME1", "MONOCHROME2")
_PADDING = {
    "i": ("PixelPaddingValue", "PixelPaddingRangeLimit"),
    "f": ("FloatPixelPaddingValue", "FloatPixelPaddingRangeLimit"),
}
"""Whether pixels are integers or floating point -> tags of the padding value and of the other end of its range."""


def _is_float(tags: Tags) -> bool:
    # the pixels themselves are not read with the header, and only integers have Bits Stored
    return not tags.has("BitsStored")


def _begins_above(tags: Tags) -> bool:
    high, stored = tags.number("HighBit"), tags.number("BitsStored")
    return high is not None and stored is not None and high != stored - 1


_NOT_READ: Mapping[str, Callable[[Tags], bool]] = {
    "indices of colours (PhotometricInterpretation)": lambda tags: (
        tags.text("PhotometricInterpretation") not in _FOR_DISPLAY
    ),
    "values that a table translates (ModalityLUTSequence)": lambda tags: tags.item("ModalityLUTSequence") is not None,
    "values that do not begin at the lowest bit (HighBit is not BitsStored - 1)": _begins_above,
}
"""Kinds of stored values that are not proportional to a measurement, as far as the header states them."""


def scaling_of(tags: Sequence[Tags], place: str) -> list[tuple[float, float]]:
    """Return slope and intercept of every frame.

    Raises:
        InputError: stored values that are no measured values; a slope that is there for some only, or is none.
    """
    for stored, is_so in _NOT_READ.items():
        bad = [is_so(each) for each in tags]
        if any(bad):
            raise InputError(
                f"{place} stores {stored} in {sum(bad)} of {len(tags)} slices ({_names(tags, bad)}), which is not "
                "read. Export it as grey values with a rescale slope."
            )
    # only PET objects have the tag Units
    is_pet = tags[0].text("Modality") == "PT" or bool(tags[0].text("Units"))
    scaled = any(each.has("RescaleSlope") or each.number("RescaleIntercept") for each in tags)
    if not scaled and (not is_pet or all(_is_float(each) for each in tags)):
        return [(1.0, 0.0)] * len(tags)
    slopes = [each.number("RescaleSlope") for each in tags]
    bad = [not slope or (is_pet and slope < 0) for slope in slopes]
    if any(bad):
        raise InputError(
            f"{place} has no valid rescale slope in {sum(bad)} of {len(tags)} slices ({_names(tags, bad)}): it is "
            "absent, empty, zero, negative or not a number there, so their values are unknown. Export the series again."
        )
    intercepts = [each.number("RescaleIntercept") for each in tags]
    bad = [value is None and each.has("RescaleIntercept") for value, each in zip(intercepts, tags)]
    if any(bad):
        raise InputError(
            f"{place} has a rescale intercept that is empty or not a number in {sum(bad)} of {len(tags)} slices "
            f"({_names(tags, bad)}). Export the series again."
        )
    return [(slope or 1.0, intercept or 0.0) for slope, intercept in zip(slopes, intercepts)]


def _names(tags: Sequence[Tags], chosen: Sequence[bool], most: int = 3) -> str:
    names = [each.path.name if each.count == 1 else f"frame {each.index + 1}" for each, bad in zip(tags, chosen) if bad]
    return ", ".join(sorted(names)[:most]) + (", ..." if len(names) > most else "")


def values_of(stack: Sequence[Slice], place: str, what: str) -> tuple[np.ndarray, tuple[Finding, ...]]:
    """Return the values (D, H, W), float32, and a warning where padding was set to zero.

    Raises:
        InputError: a file is damaged, or its pixels are not those of its header.
    """
    planes, file, stored, padded = [], None, np.empty(0), 0
    for each in stack:
        tags = each.tags
        if tags.path != file:
            file, stored = tags.path, _stored(tags, each.name, place)
        words = stored[tags.index] if stored.ndim == 3 else stored
        plane = (words.astype(np.float64) * each.slope + each.intercept).astype(np.float32)
        is_padding = _is_padding(words, tags) & (plane != 0)
        plane[is_padding] = 0
        padded += int(is_padding.sum())
        planes.append(plane)
    values = np.stack(planes)
    found = (warning("pixels.padding", what=what, count=padded, size=values.size),) if padded else ()
    return values, found


def _is_padding(words: np.ndarray, tags: Tags) -> np.ndarray:
    """Return which pixels are of the padding value, or in its range."""
    value, limit = (tags.number(name) for name in _PADDING["f" if words.dtype.kind == "f" else "i"])
    if value is None:
        return np.zeros(words.shape, dtype=bool)
    ends = [_as_stored(end, words.dtype, tags) for end in (value, value if limit is None else limit)]
    return (words >= min(ends)) & (words <= max(ends))


def _as_stored(value: float, kind: np.dtype, tags: Tags) -> float:
    """Return a padding value as the pixels have it; some writers give one of signed pixels without its sign."""
    bits = tags.number("BitsStored")
    if kind.kind == "f" or bits is None:
        return value
    modulus = 1 << int(bits)
    word = int(value) % modulus
    return word - modulus if kind.kind == "i" and word >= modulus // 2 else word


def _stored(tags: Tags, name: str, place: str) -> np.ndarray:
    """Return the stored values of a file, (frames, H, W) or (H, W)."""
    dataset = pydicom.Dataset()
    try:
        with quiet():
            dataset = pydicom.dcmread(tags.path, force=True)
            if "TransferSyntaxUID" not in dataset.file_meta:
                # a file without its head, as some archives hand out; pydicom has found the encoding of its tags
                dataset.file_meta.TransferSyntaxUID = _bare_syntax(dataset)
            try:
                stored = dataset.pixel_array
            except (NotImplementedError, RuntimeError):
                # a compression that needs one of pydicom's plug-ins; ITK brings its own
                stored = _decoded_by_itk(dataset)
    except MemoryError:
        raise
    # damaged pixel data raise whatever pydicom makes of them
    except Exception as error:
        kind = _unknown_compression(dataset)
        why = f"its compression, {kind}, is not known here. Export" if kind else f"{reason_of(error)}. Copy"
        way = " the series without compression" if kind else " it again"
        raise InputError(f"{place} has a slice that cannot be read, '{name}': {why}{way}.") from error
    wanted = (tags.number("Rows"), tags.number("Columns"))
    if stored.shape[-2:] != wanted or stored.ndim != (3 if tags.count > 1 else 2):
        raise InputError(f"{place} has a slice of another size than its header says, '{name}' {stored.shape}.")
    return _lowest_bits(stored, tags.number("BitsStored"))


def _unknown_compression(dataset: pydicom.Dataset) -> str:
    """Return the name of a compression that neither ITK nor pydicom without plug-ins knows, or nothing."""
    syntax = UID(str(getattr(dataset, "file_meta", {}).get("TransferSyntaxUID", "")))
    return syntax.name if syntax and syntax not in _KNOWN_SYNTAXES else ""


def _lowest_bits(stored: np.ndarray, bits: Optional[float]) -> np.ndarray:
    """Return integers of which the unused bits are zero, or copies of the sign; not every decoder does so."""
    unused = 0 if bits is None or stored.dtype.kind == "f" else 8 * stored.dtype.itemsize - int(bits)
    return stored if unused <= 0 else (stored << unused) >> unused


def _bare_syntax(dataset: pydicom.Dataset) -> UID:
    is_implicit = dataset.original_encoding[0] if hasattr(dataset, "original_encoding") else dataset.is_implicit_VR
    return ImplicitVRLittleEndian if is_implicit else ExplicitVRLittleEndian


def _decoded_by_itk(dataset: pydicom.Dataset) -> np.ndarray:
    """Decompress by ITK, which would invert MONOCHROME1 and apply a slope, so neither is in what it gets."""
    dataset.PhotometricInterpretation = "MONOCHROME2"
    for keyword in ("RescaleSlope", "RescaleIntercept", "SharedFunctionalGroupsSequence"):
        if keyword in dataset:
            delattr(dataset, keyword)
    if "PerFrameFunctionalGroupsSequence" in dataset:
        del dataset.PerFrameFunctionalGroupsSequence
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stored.dcm"
        dataset.save_as(path)
        stored = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    return stored[0] if stored.ndim == 3 and len(stored) == 1 else stored
