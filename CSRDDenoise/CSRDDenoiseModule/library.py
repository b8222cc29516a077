"""Makes ``import CSRDDenoiseLib`` work in a source checkout, a build tree and an installed extension alike."""

import sys
from pathlib import Path

LIBRARY = "CSRDDenoiseLib"


def library_root() -> Path:
    """Return the folder that holds the package ``CSRDDenoiseLib`` belonging to this module.

    Raises:
        ImportError: the package lies neither beside the module (installed, build tree) nor one folder up (source).
    """
    here = Path(__file__).resolve()
    for root in here.parents[1:3]:
        if (root / LIBRARY / "__init__.py").is_file():
            return root
    raise ImportError(f"The package {LIBRARY} is missing beside {here.parents[1]}. Install the extension again.")


def make_library_importable() -> None:
    """Put the folder of the library first on the path, so that no other version of it is picked up."""
    root = str(library_root())
    if root in sys.path:
        sys.path.remove(root)
    sys.path.insert(0, root)


def forget_modules() -> None:
    """Remove this package and the library from the imported modules, so that a reload reads them again."""
    for name in list(sys.modules):
        if name.split(".")[0] in (LIBRARY, __package__):
            del sys.modules[name]
