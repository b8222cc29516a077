"""Run inside a real Slicer: the module's self test and the panel's test; Slicer ends with the outcome as exit code."""

import sys
import traceback
import unittest
from pathlib import Path

import slicer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "Testing"))


def run() -> bool:
    """Return whether every test passed."""
    import CSRDDenoisePanelTest

    from CSRDDenoise import CSRDDenoiseTest
    from CSRDReaderStudy import CSRDReaderStudyTest

    slicer.util.selectModule("CSRDDenoise")
    CSRDDenoiseTest().runTest()
    slicer.util.selectModule("CSRDReaderStudy")
    CSRDReaderStudyTest().runTest()
    panel = unittest.defaultTestLoader.loadTestsFromModule(CSRDDenoisePanelTest)
    return unittest.TextTestRunner(verbosity=2).run(panel).wasSuccessful()


try:
    passed = run()
except Exception:
    traceback.print_exc()
    passed = False
slicer.util.exit(0 if passed else 1)
