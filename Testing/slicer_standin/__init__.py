"""A stand-in for the parts of 3D Slicer that PyPI lacks, for tests without Slicer.

MRML, VTK and Qt are the real ones (``slicer-core``, ``PySide6``, offscreen). What is imitated is how PythonQt shows Qt
(:mod:`.pythonqt`), the few CTK and qMRML widgets of the panel (:mod:`.widgets`), the application (:mod:`.application`),
the scripted module classes (:mod:`.scripted`) and the parameter node wrapper (:mod:`.parameter_node`).

``api.json`` lists every name that a real Slicer 5.6.2 gave the classes used here, and of which kind; ``api_5_12.json``
what of it Slicer 5.12 and Qt 6 no longer have, and what they have more. A name that one of the two versions lacks does
not exist here either, and fails as it does in Slicer.
"""

from .install import install, load_module

__all__ = ["install", "load_module"]
