"""A simulated subject: one head, one tracer, one scanner, one full-dose scan and its thinned low doses."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Optional, Sequence

import numpy as np
import torch

from ...errors import InputError
from .anatomy import Anatomy, deform
from .families import draw_from_families
from .lesions import add_mr_lesions, add_pet_lesions, add_white_matter_lesions, place_blobs
from .magnetic import draw_mr
from .osem import reconstruct
from .planes import SquarePlanes
from .projector import make_projectors
from .scanner import Scanner, acquire, attenuation_map, draw_scanner, expected, thin
from .tracer import SHARES, TRACERS, draw_uptake

FACTS = "subject.json"
OF_SOME_SUBJECTS = ("low_dose_[0-9]*_[0-9]*.nii.gz", "noise_free.nii.gz")
"""Files of a subject's folder that another subject may lack; the others are there for all."""
PAPER_DOSES = (1 / 4, 1 / 6, 1 / 8, 1 / 10)
_LARGEST_DENOMINATOR = 200
_NECK_MM = 25.0


@dataclass(frozen=True)
class SimulationSettings:
    """What is drawn and what is fixed.

    Attributes:
        doses: fractions of the full dose to reconstruct.
        tracer: one of :data:`tracer.TRACERS`, or None to draw one.
        scanner: a scanner to use as it is, or None to draw one.
        deformation: strength of the random change of the anatomy, 0 to 1.
        lesions: most lesions that only the PET shows; as many may be in the MR alone.
        lesion_radius_mm: smallest and largest radius of a lesion.
        noise_free: also reconstruct the expected counts, for the ceiling no denoiser can pass.
        families: part of :mod:`.families` to draw the scanner from, or ``PART:NAME``; None draws one that is usual.
        varied: more that differs from head to head: neck, uptake of the face, gradients, white-matter lesions of the
            MR alone.
    """

    doses: tuple[float, ...] = PAPER_DOSES
    tracer: Optional[str] = None
    scanner: Optional[Scanner] = None
    deformation: float = 1.0
    lesions: int = 6
    lesion_radius_mm: tuple[float, float] = (4.0, 14.0)
    noise_free: bool = False
    families: Optional[str] = None
    varied: bool = False


@dataclass(frozen=True)
class Subject:
    """Arrays (D, H, W) in anatomical order on the scanner's grid; PET in the unit of ``activity``.

    Attributes:
        t1: the MR.
        activity: what the tracer did, without blur or noise.
        full_dose: reconstruction of all counts.
        low_doses: dose fraction -> reconstruction of the thinned counts, same scale.
        labels: region labels; 1001.. hot and 2001.. cold lesions of the PET alone, 3001.. structures of the MR alone.
        tissue: tissue classes of :mod:`anatomy`.
        spacing: voxel side in mm.
        noise_free: reconstruction of the expected counts, if asked for.
        facts: anatomy, tracer, scanner and seed.
    """

    t1: np.ndarray
    activity: np.ndarray
    full_dose: np.ndarray
    low_doses: dict[float, np.ndarray]
    labels: np.ndarray
    tissue: np.ndarray
    spacing: float
    noise_free: Optional[np.ndarray]
    facts: dict


def simulate_subject(anatomy: Anatomy, settings: SimulationSettings, seed: int, device: str = "cpu") -> Subject:
    """Simulate one subject; the same anatomy, settings, seed and device give the same subject.

    Args:
        anatomy: the head to start from.
        settings: what to draw.
        seed: the only source of randomness.
        device: torch device of projection and reconstruction.
    """
    rng = np.random.default_rng(seed)
    family, scanner = draw_from_families(settings.families, rng) if settings.families else ("", draw_scanner(rng))
    scanner = settings.scanner or scanner
    tracer = settings.tracer or str(rng.choice(TRACERS, p=SHARES))
    below_mm = rng.uniform(5, 50) if settings.varied else _NECK_MM
    anatomy = deform(anatomy, scanner.spacing, rng, settings.deformation, below_mm)
    activity = draw_uptake(anatomy, tracer, rng, settings.varied)

    def draw_blobs() -> list[np.ndarray]:
        return place_blobs(anatomy, int(rng.integers(0, settings.lesions + 1)), settings.lesion_radius_mm, rng)

    activity, labels = add_pet_lesions(activity, anatomy.labels, draw_blobs(), rng)
    mr, labels = add_mr_lesions(draw_mr(anatomy, rng), labels, draw_blobs(), rng)
    if settings.varied:
        mr = add_white_matter_lesions(mr, anatomy, rng)
    images = _scan(activity, anatomy.tissue, scanner, settings, seed, device)
    facts = {
        "anatomy": anatomy.name,
        "tracer": tracer,
        "family": family,
        "seed": seed,
        "scanner": asdict(scanner),
        "settings": asdict(replace(settings, scanner=None)),
    }
    full, *low = images[: 1 + len(settings.doses)]
    noise_free = images[-1] if settings.noise_free else None
    low_doses = dict(zip(settings.doses, low))
    return Subject(mr, activity, full, low_doses, labels, anatomy.tissue, scanner.spacing, noise_free, facts)


def dose_name(dose: float) -> str:
    """The name of a dose fraction in file names: 0.1 -> ``1_10``."""
    fraction = Fraction(dose).limit_denominator(_LARGEST_DENOMINATOR)
    return f"{fraction.numerator}_{fraction.denominator}"


def check_dose_names(doses: Sequence[Fraction]) -> None:
    """Check that :func:`dose_name` writes each dose exactly, so that no two have one file.

    Raises:
        InputError: it would write one as another dose.
    """
    for dose in doses:
        nearest = max(dose.limit_denominator(_LARGEST_DENOMINATOR), Fraction(1, _LARGEST_DENOMINATOR))
        if nearest != dose:
            raise InputError(
                f"The dose {dose} cannot be named in a file, where denominators go up to {_LARGEST_DENOMINATOR}; the "
                f"nearest dose that can is {nearest}."
            )


def nameable_dose(dose: float) -> float:
    """The nearest dose fraction that :func:`dose_name` writes exactly."""
    return float(Fraction(dose).limit_denominator(_LARGEST_DENOMINATOR))


def emulate_dose(full: np.ndarray, low: np.ndarray, low_dose: float, dose: float) -> np.ndarray:
    """Make a dose that was not reconstructed, from the full dose and a low one (arrays of one shape and unit).

    The noise that thinning adds, ``low - full``, has a variance proportional to 1 / dose - 1; it is scaled to that of
    the dose that is wanted. Within 1 % of a real reconstruction in every band of the spectrum.
    """
    return full + np.float32(((1 / dose - 1) / (1 / low_dose - 1)) ** 0.5) * (low - full)


def save_subject(subject: Subject, folder: Path) -> None:
    """Write a subject as NIfTI files and ``subject.json`` into ``folder``, which is made if it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    volumes = {"t1": subject.t1, "activity": subject.activity, "full_dose": subject.full_dose}
    volumes |= {f"low_dose_{dose_name(dose)}": image for dose, image in subject.low_doses.items()}
    if subject.noise_free is not None:
        volumes["noise_free"] = subject.noise_free
    for name, volume in volumes.items():
        write_nifti(volume.astype(np.float32), subject.spacing, folder / f"{name}.nii.gz")
    write_nifti(subject.labels.astype(np.int16), subject.spacing, folder / "labels.nii.gz")
    write_nifti(subject.tissue.astype(np.uint8), subject.spacing, folder / "tissue.nii.gz")
    (folder / FACTS).write_text(json.dumps(subject.facts, indent=2) + "\n")


def write_nifti(volume: np.ndarray, spacing: float, path: Path) -> None:
    """Write a (z, y, x) array, axes to superior, posterior, left, as NIfTI with its centre at the origin."""
    import nibabel

    array = volume.transpose(2, 1, 0)
    affine = np.diag([-spacing, -spacing, spacing, 1.0])
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(array.shape) - 1) / 2)
    image = nibabel.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, path)


def _scan(
    activity: np.ndarray, tissue: np.ndarray, scanner: Scanner, settings: SimulationSettings, seed: int, device: str
) -> list[np.ndarray]:
    """Full dose, each low dose and, if asked for, the noise-free reconstruction, on the grid of ``activity``."""
    planes = SquarePlanes(activity.shape)
    projectors = make_projectors(planes.side, scanner.angles, scanner.subsets, device)
    generator = torch.Generator(device).manual_seed(seed)
    truth, mu = (planes.pad(volume).to(device) for volume in (activity, attenuation_map(tissue)))
    full = acquire(truth, mu, scanner, projectors, generator)
    acquisitions = [full, *(thin(full, dose, generator) for dose in settings.doses)]
    if settings.noise_free:
        acquisitions.append(expected(full))
    return [planes.crop(image).cpu().numpy() for image in reconstruct(acquisitions, scanner, projectors)]
