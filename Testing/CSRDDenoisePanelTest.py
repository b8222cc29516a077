"""The panel in a real Slicer, driven as a user would; also run without Slicer by ``test_slicer_panel.py``.

In Slicer's Python console: ``import CSRDDenoisePanelTest, unittest; unittest.main(CSRDDenoisePanelTest, exit=False)``
"""

import time
import unittest

import slicer


class CSRDDenoisePanelTest(unittest.TestCase):
    """Select, Apply, result, compare, Cancel."""

    SECONDS = 600
    MODEL = ""

    def setUp(self):
        slicer.mrmlScene.Clear(0)
        self.area = slicer.modules.csrddenoise.widgetRepresentation()
        self.widget = self.area.self()
        self.area.enter()
        self.ui = self.widget.ui

    def tearDown(self):
        self.area.exit()
        slicer.mrmlScene.Clear(0)

    def test_sample_from_selection_to_comparison_and_cancel(self):
        from CSRDDenoise import load_sample

        pet, mr = load_sample()[:2]
        self.assertFalse(self.ui.applyButton.enabled)
        self.ui.petSelector.setCurrentNode(pet)
        self.ui.mrSelector.setCurrentNode(mr)
        self.assertTrue(self.ui.applyButton.enabled)
        self.assertIn("voxels of", self.ui.petInfoLabel.text)
        if self.MODEL:
            self.widget.logic.getParameterNode().model = self.MODEL
        self.ui.presetComboBox.setCurrentIndex(self.ui.presetComboBox.findData("fast"))
        self.ui.applyButton.click()
        self.assertEqual(self.ui.applyButton.text, "Cancel", self.ui.statusLabel.text)
        self.wait_for_end()
        denoised = self.ui.denoisedSelector.currentNode()
        self.assertIsNotNone(denoised, self.ui.statusLabel.text)
        self.assertIn("Done in", self.ui.statusLabel.text)
        self.assertTrue(self.ui.compareButton.enabled)
        self.assertIn("CSRDDifference", slicer.app.layoutManager().sliceViewNames())

        nodes = slicer.mrmlScene.GetNumberOfNodes()
        self.ui.presetComboBox.setCurrentIndex(self.ui.presetComboBox.findData("quality"))
        self.ui.applyButton.click()
        # the second press of a double click does not cancel
        time.sleep(slicer.app.doubleClickInterval / 1000)
        self.ui.applyButton.click()
        self.wait_for_end()
        self.assertIn("Cancelled", self.ui.statusLabel.text)
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodes(), nodes)

    def wait_for_end(self):
        """Let Slicer work until the run has ended."""
        end = time.monotonic() + self.SECONDS
        while self.widget.logic.busy and time.monotonic() < end:
            slicer.app.processEvents()
            time.sleep(0.02)
        self.assertFalse(self.widget.logic.busy)
