"""Draw the pictures of docs/slicer.md: ``python .ci/slicer_pictures.py docs/images`` (about two minutes).

A run of the bundled example through the module in the stand-in for Slicer (``Testing/slicer_standin``), by the widgets
of its panel.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
sys.path[:0] = [str(ROOT), str(ROOT / "Testing")]


def main() -> None:
    """Draw them all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the pictures go")
    folder = parser.parse_args().folder
    from slicer_helpers import ENTRY, SLICER, click, run_to_end, tick, wait_until
    from slicer_standin.pictures import draw_layout

    SLICER.app.layoutManager().viewport()._qt.resize(1900, 900)
    area = ENTRY.widgetRepresentation()
    area._qt.resize(480, 1300)
    area.show()
    area.enter()
    ui = area.self().ui
    pet, mr, full = ENTRY.python.load_sample()
    ui.petSelector.setCurrentNode(pet)
    ui.mrSelector.setCurrentNode(mr)
    run_to_end(ui)
    print(ui.statusLabel.text)
    draw_layout(folder / "slicer-comparison.png", 1200, 440)

    tick(ui.wipeCheckBox)
    ui.fadeSlider.value = 0.5
    click(ui.profileButton)
    wait_until(lambda: False, 0.2)
    draw_layout(folder / "slicer-wipe-profile.png", 1200, 440)

    tick(ui.wipeCheckBox)
    ui.fadeSlider.value = 0.0
    SLICER.mrmlScene.RemoveNode(ui.profileSelector.currentNode())
    tick(ui.projectionCheckBox)
    ui.plotComboBox.setCurrentIndex(0)
    draw_layout(folder / "slicer-mip.png", 1200, 440)

    tick(ui.projectionCheckBox)
    ui.fullDoseCollapsibleButton.collapsed = False
    ui.fullDoseSelector.setCurrentNode(full)
    ui.regionsSelector.setCurrentNode(_labels(SLICER))
    click(ui.fullDoseButton)
    wait_until(lambda: "Comparing" not in ui.statusLabel.text)
    print(ui.statusLabel.text)
    draw_layout(folder / "slicer-full-dose.png", 1200, 560)
    for row in range(ui.fullDoseTable.rowCount):
        print("  ".join(ui.fullDoseTable.item(row, column).text() for column in range(3)))
    area.exit()
    area.self().cleanup()
    sys.stdout.flush()
    # VTK's windows and Qt's application do not agree on who goes first
    os._exit(0)


def _labels(slicer: Any) -> Any:
    """Return the label map of the bundled example."""
    from CSRDDenoiseLib.resources import SAMPLE_DATA, resource_folder

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "Regions")
    storage = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
    storage.SetFileName(str(resource_folder() / SAMPLE_DATA / "labels.nii.gz"))
    assert storage.ReadData(node)
    return node


if __name__ == "__main__":
    main()
