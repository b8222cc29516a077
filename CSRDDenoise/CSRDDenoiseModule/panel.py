"""The panel: the user's choices in, progress and results out. It decides nothing about the work itself."""

import time
from pathlib import Path
from typing import Any, Optional, Protocol

import qt
import slicer
from slicer.i18n import tr as _

from CSRDDenoiseLib.errors import Cancelled, CSRDError

from . import describe, models
from .comparison import show_comparison, summary_of, summary_rows
from .estimate import duration
from .job import DenoisedVolumes
from .lists import Lists
from .packages import PackagesMissing, install_packages
from .parameters import CSRDDenoiseParameterNode, settings_of
from .questions import Questions
from .report import has_record
from .results import Outputs
from .wording import progress_text, result_text

VOLUMES = ("pet", "mr", "fullDoseReference", "denoised", "difference", "uncertainty", "support")


class LogicProtocol(Protocol):
    """What the panel needs of the logic; a test may give it another."""

    busy: bool
    worker: Any
    onWorkerMessage: Any

    def getParameterNode(self) -> CSRDDenoiseParameterNode: ...
    def start(self, petVolume: Any, mrVolume: Any = None, **options: Any) -> Any: ...
    def startReport(self, denoisedVolume: Any, uncertaintyVolume: Any = None, **options: Any) -> Any: ...
    def ask(self, request: "dict[str, Any]") -> None: ...
    def close(self) -> None: ...


class Panel:
    """Connects the widgets of ``CSRDDenoise.ui`` with the parameters in the scene and with the logic.

    Args:
        ui: the widgets by their object names.
        logic: does the work.
    """

    def __init__(self, ui: Any, logic: LogicProtocol):
        self.ui = ui
        self.logic = logic
        self.entered = False
        self._parameters: Optional[CSRDDenoiseParameterNode] = None
        self._guiTag: Optional[int] = None
        self._observerTag: Optional[int] = None
        self._job = None
        self._details = ""
        self._lists = Lists(ui)
        self._questions = Questions(logic.ask, self._lists.fillDevices, self.log)
        logic.onWorkerMessage = self.onWorkerMessage
        self._connect()
        self._showRunning(False)

    # Life of the panel

    def enter(self) -> None:
        """The user opened the module."""
        self.entered = True
        self.setParameterNode(self.logic.getParameterNode())

    def exit(self) -> None:
        """The user went to another module: a run goes on, an idle worker ends."""
        self.entered = False
        self._endIdleWorker()

    def close(self) -> None:
        """The scene closes: everything under way ends. The choices stay connected and go back to their defaults."""
        self.logic.close()
        self._questions.forget()

    def release(self) -> None:
        """The module closes or is read again: end everything and hear no more of the scene.

        The widgets stay connected to the choices, because that keeps the wrapper alive as long as its node; see
        :meth:`CSRDDenoiseLogic.getParameterNode`.
        """
        self.close()
        if self._parameters is not None:
            self._parameters.RemoveObserver(self._observerTag)

    def setParameterNode(self, parameters: CSRDDenoiseParameterNode) -> None:
        """Show and follow these choices."""
        if parameters is not self._parameters:
            self._connectParameters(parameters)
        for name in VOLUMES:
            # while a scene is read a reference comes before its volume, and the selectors miss it
            node = parameters.parameterNode.GetNodeReference(name)
            getattr(self.ui, f"{name}Selector").setCurrentNode(node)
        self.refresh()

    def _connectParameters(self, parameters: CSRDDenoiseParameterNode) -> None:
        if self._parameters is not None:
            # connectGui loses its tag in Slicer 5.6, connectParametersToGui does not
            self._parameters.disconnectGui(self._guiTag)
            self._parameters.RemoveObserver(self._observerTag)
        self._parameters = parameters
        self._guiTag = parameters.connectParametersToGui(
            {
                **{name: getattr(self.ui, f"{name}Selector") for name in VOLUMES},
                "registerMr": self.ui.registerCheckBox,
                "makeUncertainty": self.ui.uncertaintyCheckBox,
                "makeSupport": self.ui.supportCheckBox,
                "steps": self.ui.stepsSpinBox,
                "samples": self.ui.samplesSpinBox,
                "patchSize": self.ui.patchSizeSpinBox,
                "overlap": self.ui.overlapSlider,
                "seed": self.ui.seedSpinBox,
            }
        )
        self._observerTag = parameters.AddObserver("ModifiedEvent", self.onParametersModified)

    # What the widgets show

    def refresh(self) -> None:
        """Show the present choices, what was understood of them, and whether a run can start."""
        parameters = self._parameters
        if parameters is None or slicer.mrmlScene.IsClosing() or slicer.mrmlScene.IsImporting():
            return
        self._lists.show(parameters)
        pet, mr = parameters.pet, parameters.mr
        warnings = describe.mr_warnings(pet, mr)
        if pet is not None and mr is None and models.needs_mr(parameters.model):
            warnings = [_("The chosen model needs an MR.")]
        self.ui.petInfoLabel.text = describe.told(pet, describe.pet_warnings(pet))
        self.ui.mrInfoLabel.text = describe.told(mr, warnings)
        self.ui.modelCardLabel.text = models.card(parameters.model)
        mayAsk = self.entered and not self.logic.busy
        self.ui.estimateLabel.text = self._questions.estimate(parameters, mayAsk)
        self._refreshApply()
        self._refreshResults()

    def onParametersModified(self, _caller: Any = None, _event: Any = None) -> None:
        """A choice changed, by a widget or by a script."""
        self.refresh()

    def _refreshApply(self) -> None:
        if self.logic.busy:
            return
        ready = self._parameters is not None and self._parameters.pet is not None
        self.ui.applyButton.enabled = ready
        self.ui.applyButton.toolTip = _("Denoise the PET") if ready else _("Choose a PET volume first.")

    def _refreshReport(self) -> None:
        denoised = None if self._parameters is None else self._parameters.denoised
        self.ui.reportButton.enabled = has_record(denoised) and not self.logic.busy

    def _refreshResults(self) -> None:
        parameters = self._parameters
        denoised = parameters.denoised
        rows = []
        if denoised is not None:
            rows = summary_rows(summary_of(denoised), describe.unit_of(denoised))
        self.ui.compareButton.enabled = parameters.pet is not None and denoised is not None
        self._refreshReport()
        self.ui.resultsTable.setRowCount(len(rows))
        for row, cells in enumerate(rows):
            for column, text in enumerate(cells):
                self.ui.resultsTable.setItem(row, column, qt.QTableWidgetItem(text))
        self.ui.resultsTable.resizeColumnsToContents()

    def _showRunning(self, running: bool) -> None:
        self.ui.applyButton.text = _("Cancel") if running else _("Apply")
        if running:
            self.ui.applyButton.toolTip = _("Stop the run; the scene stays as it is.")
            self.ui.applyButton.enabled = True
        self.ui.progressBar.setVisible(running)
        for name in ("inputsCollapsibleButton", "outputsCollapsibleButton", "modelCollapsibleButton"):
            getattr(self.ui, name).setEnabled(not running)
        self.ui.advancedCollapsibleButton.setEnabled(not running)
        self._refreshApply()
        self._refreshReport()

    def _say(self, text: str, details: str = "") -> None:
        self.ui.statusLabel.text = text
        self._details = details
        self.ui.detailsButton.setVisible(bool(details))
        self.log(text)

    def log(self, text: str) -> None:
        """Add a line to the log."""
        if text:
            self.ui.logTextEdit.appendPlainText(f"{time.strftime('%H:%M:%S')}  {text}")

    # What the user does

    def onApply(self, *_arguments: Any) -> None:
        """Apply was pressed, which is Cancel while a run is under way."""
        if self.logic.busy:
            self._say(_("Cancelling..."))
            self.ui.applyButton.enabled = False
            self._job.cancel()
            return
        try:
            self._run()
        except CSRDError as error:
            self.onError(error)

    def _run(self) -> None:
        parameters = self._parameters
        self._say(_("Checking the Python packages..."))
        if not install_packages():
            self._say(_("The packages were not installed, so nothing was done. Press Apply to be asked again."))
            return
        settings = settings_of(parameters)
        self.ui.progressBar.value = 0
        self._say(_("Starting..."))
        self.log(_("Settings: {settings}").format(settings=settings.as_dict()))
        self._job = self.logic.start(
            parameters.pet,
            parameters.mr,
            model=parameters.model,
            outputs=Outputs(
                parameters.denoised,
                parameters.difference,
                parameters.uncertainty,
                parameters.makeUncertainty,
                parameters.support,
                parameters.makeSupport,
            ),
            onProgress=self.onProgress,
            onFinished=self.onFinished,
            onError=self.onError,
            fullDoseReferenceVolume=parameters.fullDoseReference,
            **settings.as_dict(),
        )
        self._showRunning(True)

    def onImportModel(self, *_arguments: Any) -> None:
        """Ask for a model folder and choose it."""
        folder = qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), _("Folder of the model"))
        if folder:
            self.importModel(str(folder))

    def importModel(self, folder: str) -> None:
        """Offer the model in a folder and choose it, or say why it cannot be used."""
        try:
            value = models.import_model(folder)
        except CSRDError as error:
            self._say(str(error))
            return
        self._lists.fillModels()
        self._parameters.model = value
        self.refresh()

    def onCompare(self, *_arguments: Any) -> None:
        """Show the results side by side."""
        parameters = self._parameters
        if parameters is None or parameters.pet is None or parameters.denoised is None:
            return
        show_comparison(
            parameters.pet, parameters.denoised, parameters.difference, parameters.uncertainty, parameters.support
        )

    def onReport(self, *_arguments: Any) -> None:
        """Draw the report of the result and open it."""
        parameters = self._parameters
        if parameters is None or parameters.denoised is None:
            return
        try:
            self._say(_("Drawing the report..."))
            self.ui.progressBar.value = 0
            self._job = self.logic.startReport(
                parameters.denoised,
                parameters.uncertainty,
                onProgress=self.onProgress,
                onFinished=self.onReportFinished,
                onError=self.onError,
            )
            self._showRunning(True)
        except CSRDError as error:
            self.onError(error)

    def onDetails(self, *_arguments: Any) -> None:
        """Show the technical details of the last error."""
        slicer.util.errorDisplay(self.ui.statusLabel.text, detailedText=self._details)

    def onCopyLog(self, *_arguments: Any) -> None:
        """Copy the log to the clipboard."""
        slicer.app.clipboard().setText(self.ui.logTextEdit.plainText)

    # What the logic tells

    def onProgress(self, progress: "dict[str, Any]") -> None:
        """A run came further."""
        self.ui.progressBar.value = round(100 * progress["fraction"])
        text = progress_text(progress)
        self.log(text)
        if progress.get("eta_seconds") is not None:
            text = _("{text}, {time} left").format(text=text, time=duration(progress["eta_seconds"]))
        self.ui.statusLabel.text = text

    def onFinished(self, result: DenoisedVolumes) -> None:
        """A run ended well: show its volumes."""
        self._job = None
        parameters = self._parameters or self.logic.getParameterNode()
        with slicer.util.NodeModify(parameters):
            parameters.denoised = result.denoisedVolume
            parameters.difference = result.differenceVolume
            parameters.uncertainty = result.uncertaintyVolume
            parameters.support = result.supportVolume
        self._showRunning(False)
        self._say(result_text(result))
        self.refresh()
        show_comparison(
            parameters.pet,
            result.denoisedVolume,
            result.differenceVolume,
            result.uncertaintyVolume,
            result.supportVolume,
        )
        self._endIdleWorker()

    def onReportFinished(self, path: Path) -> None:
        """A report is there: open it in the web browser."""
        self._job = None
        self._showRunning(False)
        self._say(_("The report is in {path}.").format(path=path))
        self.refresh()
        slicer.app.openUrl(path.as_uri())
        self._endIdleWorker()

    def onError(self, error: Exception) -> None:
        """A run failed or was cancelled; the scene is as it was before."""
        self._job = None
        self._showRunning(False)
        details = "" if isinstance(error, (Cancelled, PackagesMissing)) else getattr(error, "details", "")
        self._say(str(error), details)
        if details:
            self.log(details)
        self._endIdleWorker()

    def onWorkerMessage(self, message: "dict[str, Any]") -> None:
        """The worker answered a question that is no run."""
        if self._questions.receive(message):
            self.refresh()

    # Parts

    def _endIdleWorker(self) -> None:
        if not self.entered and not self.logic.busy:
            self.logic.worker.end()
            self._questions.forget()

    def _connect(self) -> None:
        ui = self.ui
        ui.applyButton.clicked.connect(self.onApply)
        ui.compareButton.clicked.connect(self.onCompare)
        ui.reportButton.clicked.connect(self.onReport)
        ui.detailsButton.clicked.connect(self.onDetails)
        ui.copyLogButton.clicked.connect(self.onCopyLog)
        ui.importModelButton.clicked.connect(self.onImportModel)
