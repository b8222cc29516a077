"""Where the bundled models and the example volumes lie."""

from __future__ import annotations

from pathlib import Path

from .errors import InputError

MODELS = "Models"
SAMPLE_DATA = "SampleData"
LOW_DOSE, MR, FULL_DOSE = "low_dose_1_10.nii.gz", "mr.nii.gz", "full_dose.nii.gz"


def resource_folder() -> Path:
    """Return the folder that holds ``Models`` and ``SampleData``.

    It lies inside the package (pip), beside it under ``CSRDDenoise`` (source checkout), or beside it as ``Resources``
    (installed Slicer extension).

    Raises:
        InputError: none of the three exists.
    """
    package = Path(__file__).resolve().parent
    candidates = (package / "resources", package.parent / "CSRDDenoise" / "Resources", package.parent / "Resources")
    for folder in candidates:
        if (folder / MODELS).is_dir() or (folder / SAMPLE_DATA).is_dir():
            return folder
    places = ", ".join(str(folder) for folder in candidates)
    raise InputError(f"The bundled models and sample data are missing (looked in {places}). Install the package again.")
