"""Packages that a part of the program needs and a plain installation lacks, and the extra that brings each."""

from __future__ import annotations

import importlib.util

from .errors import InputError

EXTRAS = {
    "skimage": ("scikit-image", "evaluate"),
    "matplotlib": ("matplotlib", "report"),
    "yaml": ("pyyaml", "evaluate"),
    "bm4d": ("bm4d", "bm4d"),
    "pytomography": ("pytomography", "pytomography"),
    "pandas": ("pandas", "readers"),
    "statsmodels": ("statsmodels", "readers"),
    "sklearn": ("scikit-learn", "readers"),
    "distributed": ("distributed", "cluster"),
    "dask_jobqueue": ("dask-jobqueue", "cluster"),
    "rich": ("rich", "cluster"),
    "cryptography": ("cryptography", "cluster"),
    "highdicom": ("highdicom", "dicom"),
}
"""Module -> the package that it comes in, and the extra of this program that installs it."""


def missing_package(module: str, extra: str = "") -> InputError:
    """The error for a module that is not installed; its sentence names the command that installs it.

    Args:
        module: as it is imported.
        extra: that the part of the program needs as a whole; empty for that of :data:`EXTRAS`.
    """
    name = module.partition(".")[0]
    package, usual = EXTRAS.get(name, (name, ""))
    extra = extra or usual
    what = f"'csrd-denoise[{extra}]'" if extra else package
    return InputError(
        f"The Python package '{package}' is not installed. Install it (pip install {what}) and try again."
    )


def require(*modules: str) -> None:
    """Check, before the work, that modules are installed; none is imported.

    Raises:
        InputError: one is not.
    """
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise missing_package(module)
