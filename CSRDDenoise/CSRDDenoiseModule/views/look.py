"""The tools of the comparison: fade, wipe and toggle of the first view, projections, crosshair, plots, a profile."""

from typing import Any, Callable, Optional

import qt
import slicer
from slicer.i18n import tr as _

from CSRDDenoiseLib.settings import MAPS

from ..nodes import has_image, unit_of
from ..volumes import PET_REFERENCE, SUMMARY, Volume, stored
from .comparison import Comparison, line_ends, remove_wipe
from .display import Shown, map_of
from .full_dose import FULL_DOSE_REFERENCE, REGIONS, compared
from .plots import AGREEMENT, HISTOGRAM, PROFILE, draw, drawn, histogram, profile, show_plot, show_table

PROFILE_DELAY_MILLISECONDS = 30
TRIAL = "CSRDReaderStudy.Trial"
"""Attribute of an image that the module Reader study shows."""


class Look:
    """What the widgets under *Compare side by side* do.

    Args:
        ui: the widgets by their object names.
        say: shows one sentence.
    """

    def __init__(self, ui: Any, say: "Callable[[str], None]"):
        self._ui, self._say = ui, say
        self._comparison = Comparison()
        self._shown: Optional[Shown] = None
        self._line: Any = None
        self._tag: Optional[int] = None
        # a line that is dragged changes many times between two pictures
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(PROFILE_DELAY_MILLISECONDS)
        self._timer.timeout.connect(self.drawProfile)
        for role, title in _plot_titles().items():
            ui.plotComboBox.addItem(title, role)
        ui.toggleButton.clicked.connect(self.onToggle)
        ui.fadeSlider.valueChanged.connect(self.onMoved)
        ui.wipeCheckBox.toggled.connect(self.onWipe)
        ui.projectionCheckBox.toggled.connect(self._comparison.project)
        ui.crosshairCheckBox.toggled.connect(self.onCrosshair)
        ui.plotComboBox.currentIndexChanged.connect(self.onPlotChosen)
        ui.profileButton.clicked.connect(self.onProfile)
        # this signal has another form, with a bool
        ui.profileSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.onLineChosen)

    def setEnabled(self, there: bool) -> None:
        """Switch the tools on or off, with a result or without one."""
        ui = self._ui
        boxes = (ui.wipeCheckBox, ui.projectionCheckBox, ui.crosshairCheckBox)
        for widget in (ui.toggleButton, ui.fadeSlider, ui.plotComboBox, ui.profileButton, *boxes):
            widget.setEnabled(there)

    def show(self, denoised: Volume, *maps: Optional[Volume], plot: str = "") -> None:
        """Show a result side by side with the PET that it was made from; maps of other results are left out.

        Below them stands the plot of this role, or of the one that is chosen, if there is one of this result.
        """
        pet, summary = denoised.GetNodeReference(PET_REFERENCE), stored(denoised, SUMMARY) or {}
        if pet is None:
            self._say(_("The PET of '{name}' is gone. Denoise it again.").format(name=denoised.GetName()))
            return
        if any(node.GetAttribute(TRIAL) for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")):
            # whoever reads would lose the images, and the time would run on
            self._say(_("A reader study is under way. Press Compare side by side after it."))
            return
        for node in (pet, denoised):
            if not has_image(node):
                self._say(_("The volume '{name}' holds no image. Load it again.").format(name=node.GetName()))
                return
        ours = (map_of(node, denoised, kind) for kind, node in zip(MAPS, maps))
        difference, uncertainty, support = (node if node is not None and has_image(node) else None for node in ours)
        self._shown = Shown(pet, denoised, difference, uncertainty, support, summary)
        if summary:
            draw(histogram(summary, unit_of(denoised)))
        self._ui.projectionCheckBox.setChecked(False)
        regions = bool((compared(denoised) or {}).get("agreement")) and drawn(AGREEMENT, denoised) is not None
        self._comparison.show(self._shown, table=regions)
        if regions:
            show_table(REGIONS, denoised)
        self._comparison.crosshair(bool(self._ui.crosshairCheckBox.checked))
        self._ui.fadeSlider.value = 0.0
        self.onMoved(0.0)
        self.drawProfile()
        there = {AGREEMENT: regions, PROFILE: self._line is not None}
        self.showPlot(next((role for role in (plot, self._chosenPlot()) if there.get(role)), HISTOGRAM))

    def follow(self, denoised: Volume) -> None:
        """The voxels of a result were changed by the slider: make anew what was made of them."""
        if self._shown is None or self._shown.denoised is not denoised:
            return
        if summary := stored(denoised, SUMMARY):
            draw(histogram(summary, unit_of(denoised)))
        self.drawProfile()
        if self._ui.wipeCheckBox.checked:
            self._comparison.wipe(self._ui.fadeSlider.value)

    def showPlot(self, role: str) -> None:
        """Show a plot, and the list's entry for it."""
        self._ui.plotComboBox.setCurrentIndex(self._ui.plotComboBox.findData(role))
        show_plot(role, self._shown.denoised if self._shown is not None else None)

    def forget(self, node: Any) -> None:
        """A node is about to leave the scene: if it is the line, none is followed."""
        if node is self._line:
            self._ui.profileSelector.setCurrentNode(None)
        if self._shown is not None:
            self._shown = self._shown.without(node)
            self._comparison.forget(node)

    def leave(self) -> None:
        """Go back to the layout of before the comparison."""
        self.onLineChosen(None)
        for box in (self._ui.projectionCheckBox, self._ui.wipeCheckBox):
            box.setChecked(False)
        self._ui.plotComboBox.setCurrentIndex(0)
        self._comparison.leave()
        self._shown = None

    def onToggle(self, *_arguments: Any) -> None:
        """Switch the first view between PET and denoised."""
        self._ui.fadeSlider.value = 0.0 if self._ui.fadeSlider.value > 0.5 else 1.0

    def onMoved(self, value: float) -> None:
        """The slider moved: fade, or move the split."""
        if self._ui.wipeCheckBox.checked:
            self._comparison.wipe(value)
        else:
            self._comparison.fade(value)

    def onWipe(self, on: bool) -> None:
        """A split takes the place of the fading, or the other way round."""
        if not on:
            remove_wipe()
        self.onMoved(self._ui.fadeSlider.value)

    def onCrosshair(self, on: bool) -> None:
        """Show a crosshair in every view, or none."""
        if self._shown is not None:
            self._comparison.crosshair(on)

    def onPlotChosen(self, *_arguments: Any) -> None:
        """Another plot was chosen."""
        show_plot(self._chosenPlot(), self._shown.denoised if self._shown is not None else None)

    def onProfile(self, *_arguments: Any) -> None:
        """Make a line through the middle of the first view, whose ends can be dragged, and plot along it."""
        ends = line_ends()
        if self._shown is None or ends is None:
            return
        name = slicer.mrmlScene.GenerateUniqueName(_("Line"))
        line = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsLineNode", name)
        line.CreateDefaultDisplayNodes()
        slicer.util.updateMarkupsControlPointsFromArray(line, ends, world=True)
        self._ui.profileSelector.setCurrentNode(line)

    def onLineChosen(self, line: Any) -> None:
        """Follow another line, or none."""
        if self._line is not None:
            self._line.RemoveObserver(self._tag)
        self._line, self._tag = line, None
        if line is not None:
            self._tag = line.AddObserver(line.PointModifiedEvent, self.onLineMoved)
            self.drawProfile()
            self.showPlot(PROFILE)

    def onLineMoved(self, *_arguments: Any) -> None:
        """An end of the line was moved: draw the profile soon."""
        self._timer.start()

    def drawProfile(self) -> None:
        """Draw the values of PET and denoised, and of the full dose if one was compared, along the line."""
        if self._shown is None or self._line is None:
            return
        volumes = {"PET": self._shown.pet, "denoised": self._shown.denoised}
        full = self._shown.denoised.GetNodeReference(FULL_DOSE_REFERENCE)
        if full is not None and has_image(full):
            volumes["full dose"] = full
        try:
            plot = profile(volumes, self._line, unit_of(self._shown.denoised))
        except ImportError as error:
            self._say(_("No profile: {error}. Apply asks to install what is missing.").format(error=error))
            return
        if plot is not None:
            draw(plot)

    def _chosenPlot(self) -> str:
        combo = self._ui.plotComboBox
        return str(combo.itemData(combo.currentIndex))


def _plot_titles() -> "dict[str, str]":
    return {HISTOGRAM: _("Difference in the head"), PROFILE: _("Profile"), AGREEMENT: _("Regions, full dose")}
