"""Are the inputs volumes that can be used: of one value a voxel, finite, large enough, and each another image?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping, Optional, Sequence

import numpy as np
import SimpleITK as sitk

from ..errors import InputError, NotFinite
from ..findings import Finding, warning
from ..io.grid import image_like
from ..io.itk_checks import check_axes
from ..io.volume import check_range
from ..prepare.region import check_region
from .label_map import check_label_map

MIN_EXTENT_MM = 24.0
MAX_EXTENT_MM, MAX_VOXEL_MM = 3000.0, 30.0
"""Of a PET: the longest field of view is 2 m, and the coarsest slices are 15 mm."""
MIN_VOXELS = 4
MAX_NEGATIVE = 0.45
_SAME = 1 - 1e-5
"""Squared correlation of one image in two files; 12 bits leave 2e-6, a dose of 9/10 takes 5e-4 away."""
_SAME_FACTOR = 5e-4
_COMPARED = 1 << 20
"""About how many voxels are compared."""
INPUT_NAMES = {
    "pet": "PET",
    "mr": "MR",
    "labels": "label map",
    "full_dose_reference": "full-dose reference",
    "region": "region",
}
"""How messages call the inputs of a request."""


@dataclass(frozen=True)
class Inputs:
    """Images that passed the checks, and what these found.

    Attributes:
        pet, mr, reference: as they were given.
        placed_mr: the MR where it is to be used.
        region: mask of what is denoised, or None for all.
        findings: so far.
    """

    pet: sitk.Image
    mr: Optional[sitk.Image]
    reference: Optional[sitk.Image]
    placed_mr: Optional[sitk.Image] = None
    region: Optional[sitk.Image] = None
    findings: tuple[Finding, ...] = ()


def check_volumes(images: Mapping[str, Optional[sitk.Image]], nan_to_zero: bool) -> Inputs:
    """Check the images of a run, by the names of :data:`INPUT_NAMES`.

    Raises:
        InputError: one cannot be used.
        TypeError: there is no PET.
    """
    given, mr, reference = (images.get(name) for name in ("pet", "mr", "full_dose_reference"))
    if given is None:
        raise TypeError("A PET is needed.")
    pet, findings = check_pet(given, nan_to_zero)
    if mr is not None:
        mr, found = check_mr(mr, pet, nan_to_zero)
        findings = (*findings, *found)
    if reference is not None:
        reference, found = check_reference(reference, pet, nan_to_zero)
        findings = (*findings, *found)
    region = images.get("region")
    if region is not None:
        _check_kind(region, INPUT_NAMES["region"])
        check_region(region, pet)
    return Inputs(pet, mr, reference, region=region, findings=findings)


def check_pet(
    pet: sitk.Image, nan_to_zero: bool, what: str = INPUT_NAMES["pet"]
) -> tuple[sitk.Image, tuple[Finding, ...]]:
    """Refuse a PET that is not a volume of activity; return it as floating point, repaired if asked, and findings.

    Args:
        pet: the PET.
        nan_to_zero: whether NaN and infinity are replaced.
        what: what messages call it.
    """
    pet, findings = _check_volume(pet, what, nan_to_zero)
    extent = [n * step for n, step in zip(pet.GetSize(), pet.GetSpacing())]
    if is_too_large(pet.GetSize(), pet.GetSpacing()):
        raise InputError(
            f"The {what} covers {' x '.join(f'{mm:.0f}' for mm in extent)} mm with voxels of "
            f"{' x '.join(f'{side:.4g}' for side in pet.GetSpacing())} mm, and a PET has at most {MAX_EXTENT_MM:g} mm "
            f"and {MAX_VOXEL_MM:g} mm: the voxel size is likely in another unit. Correct the header, or export again."
        )
    if min(extent) < MIN_EXTENT_MM or min(pet.GetSize()) < MIN_VOXELS:
        raise InputError(
            f"The {what} covers only {' x '.join(f'{mm:.1f}' for mm in extent)} mm "
            f"({' x '.join(map(str, pet.GetSize()))} voxels); each side needs at least {MIN_EXTENT_MM:g} mm and "
            f"{MIN_VOXELS} voxels."
        )
    values = sitk.GetArrayViewFromImage(pet)
    negative = _negative_share(values)
    if negative > MAX_NEGATIVE:
        raise InputError(
            f"{negative:.0%} of the {what}'s summed absolute values are negative (at most {MAX_NEGATIVE:.0%} in an "
            "activity); it may be a difference image."
        )
    _check_positive(pet, what)
    return pet, findings


def is_too_large(size: Sequence[int], spacing: Sequence[float]) -> bool:
    """Whether voxels or field of view are larger than those of any PET, as where a header has another unit than mm."""
    return max(spacing) > MAX_VOXEL_MM or max(n * step for n, step in zip(size, spacing)) > MAX_EXTENT_MM


def _negative_share(values: np.ndarray) -> float:
    """Share of the negative voxels in the sum of absolute values; noise about zero in the air adds little to it."""
    positive = float(values.sum(where=values > 0, dtype=np.float64))
    negative = -float(values.sum(where=values < 0, dtype=np.float64))
    return negative / (positive + negative) if negative > 0 else 0.0


def check_mr(mr: sitk.Image, pet: sitk.Image, nan_to_zero: bool) -> tuple[sitk.Image, tuple[Finding, ...]]:
    """Refuse an MR that is no image or is the PET; return it as floating point, repaired if asked, and findings."""
    mr, findings = _check_volume(mr, "MR", nan_to_zero)
    _check_differs(mr, pet, "MR")
    _check_positive(mr, "MR")
    return mr, (*findings, *check_label_map(sitk.GetArrayViewFromImage(mr), what="MR"))


def check_reference(
    reference: sitk.Image, pet: sitk.Image, nan_to_zero: bool
) -> tuple[sitk.Image, tuple[Finding, ...]]:
    """Refuse a full-dose reference as :func:`check_mr` does an MR; return it likewise, and findings."""
    name = INPUT_NAMES["full_dose_reference"]
    reference, findings = _check_volume(reference, name, nan_to_zero)
    _check_differs(reference, pet, name)
    _check_positive(reference, name)
    return reference, findings


def _check_volume(image: sitk.Image, what: str, nan_to_zero: bool) -> tuple[sitk.Image, tuple[Finding, ...]]:
    _check_kind(image, what)
    if image.GetPixelID() not in (sitk.sitkFloat32, sitk.sitkFloat64):
        # a cast by SimpleITK drops the metadata, the unit among them
        image = image_like(image, sitk.GetArrayFromImage(image).astype(np.float32))
    image, findings = _check_finite(image, what, nan_to_zero)
    check_range(image, what)
    values = sitk.GetArrayViewFromImage(image)
    low, high = float(values.min()), float(values.max())
    if low == high:
        raise InputError(f"The {what} is {low:g} everywhere; it holds no image.")
    return image, findings


def _check_kind(image: sitk.Image, what: str) -> None:
    """Refuse what the reader of files refuses too: no volume of one real value a voxel on perpendicular axes."""
    if not isinstance(image, sitk.Image):
        raise InputError(
            f"The {what} is of the type {type(image).__name__}; give a SimpleITK image, or its path to denoise_files."
        )
    kind = image.GetPixelIDTypeAsString()
    if kind.startswith(("complex", "label")):
        raise InputError(f"The {what} holds values of the kind '{kind}'; a volume of real numbers is needed.")
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1 or min(image.GetSize()) < 2:
        size = " x ".join(map(str, image.GetSize()))
        raise InputError(
            f"The {what} has {image.GetDimension()} dimensions ({size}) with {image.GetNumberOfComponentsPerPixel()} "
            "value(s) per voxel; a 3D volume with one value is needed."
        )
    check_axes(image, what)


def same_values(one: sitk.Image, other: sitk.Image) -> str:
    """Return how one image is another in words, such as ``identical to {0}, voxel by voxel``; empty where it is not.

    An image that another program wrote with whole numbers or in another unit differs by a factor and by rounding. Axes
    that are stored the other way round make no difference.
    """
    arrays = [sitk.GetArrayViewFromImage(image) for image in (one, other)]
    if np.array_equal(arrays[0], arrays[1]):
        return "identical to {0}, voxel by voxel"
    if sorted(arrays[0].shape) != sorted(arrays[1].shape):
        return ""
    if one.GetDirection() != other.GetDirection():
        arrays = [sitk.GetArrayFromImage(sitk.DICOMOrient(image, "LPS")) for image in (one, other)]
    if arrays[0].shape != arrays[1].shape:
        return ""
    step = max(1, arrays[0].size // _COMPARED)
    left, right = (array.ravel()[::step].astype(np.float64) for array in arrays)
    covariance = np.cov(left, right)
    if covariance[0, 1] <= 0 or covariance[0, 1] ** 2 <= _SAME * covariance[0, 0] * covariance[1, 1]:
        return ""
    factor = covariance[0, 1] / covariance[1, 1]
    if abs(factor - 1) < _SAME_FACTOR:
        return "equal to {0} up to rounding"
    return f"{factor:.4g} times {{0}} up to rounding"


def _check_differs(image: sitk.Image, pet: sitk.Image, what: str) -> None:
    same = same_values(image, pet)
    if same:
        raise InputError(f"The {what} is {same.format('the PET')}; give the {what} or leave it out.")


def _check_positive(image: sitk.Image, what: str) -> None:
    most = float(sitk.GetArrayViewFromImage(image).max())
    if most <= 0:
        raise InputError(f"The {what} has no positive value (maximum {most:g}); export it again.")


def _check_finite(image: sitk.Image, what: str, nan_to_zero: bool) -> tuple[sitk.Image, tuple[Finding, ...]]:
    values = sitk.GetArrayViewFromImage(image)
    bad = ~np.isfinite(values)
    count = int(bad.sum())
    if not count:
        return image, ()
    share = count / values.size
    if not nan_to_zero:
        raise NotFinite(
            f"The {what} has {count} of {values.size} voxels ({share:.2g} of all) that are NaN or infinite; repair it, "
            "or have them set to zero.",
            hint="nan_to_zero",
        )
    repaired = image_like(image, np.where(bad, 0, values).astype(values.dtype))
    return repaired, (warning("values.replaced", what=what, count=count, size=int(values.size), share=share),)
