"""The panel: the user's choices in, progress and results out. It decides nothing about the work itself."""

from pathlib import Path
from typing import Any, Optional

import qt
import slicer
from slicer.i18n import tr as _

from CSRDDenoiseLib.errors import Cancelled, CSRDError, InputError
from CSRDDenoiseLib.presses import once

from . import readiness, wording
from .batch import Batch, BatchTable, ended_text
from .job import UNDER_WAY, LogicProtocol
from .nodes import Outputs, remove_estimates_with_results
from .parameters import (
    INPUTS,
    REGION,
    RESULTS,
    SETTINGS_WIDGETS,
    CSRDDenoiseParameterNode,
    Lists,
    apply_defaults,
    outputs_of,
    replaced,
    save_defaults,
    settings_of,
)
from .views.messages import Messages, double_click
from .views.results import Results, settle
from .volumes import DenoisedVolumes, Volume, has_record

APPLY_KEY = "Alt+A"
SECTIONS = ("inputs", "outputs", "model", "advanced")


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
        self._denoised: Optional[Volume] = None
        self._job = None
        self._messages = Messages(ui)
        self._results = Results(ui, logic, self._messages.say, self._endIdleWorker)
        self._batch = Batch(self._start, self.onProgress, self._refreshResults, self.onBatchFinished)
        self._table = BatchTable(ui, self._batch, self._chosen, self._messages.say)
        self._lists = Lists(ui, readiness.model_choices)
        self._questions = readiness.Questions(logic.ask, self._lists.fillDevices, self._messages.log)
        self._inspections = wording.Inspections(logic.startInspect, self.refresh)
        logic.onWorkerMessage = self.onWorkerMessage
        remove_estimates_with_results(slicer.mrmlScene)
        self._connect()
        self._showRunning(False)

    # Life of the panel

    def enter(self) -> None:
        """The user opened the module."""
        self.entered = True
        self.setParameterNode(self.logic.getParameterNode())

    def exit(self) -> None:
        """The user went to another module: a run and a moved slider go on, an idle worker ends."""
        self.entered = False
        self._endIdleWorker()

    def close(self) -> None:
        """The scene closes: everything under way ends. The choices stay connected and go back to their defaults."""
        self._results.stop()
        self._denoised = None
        self.logic.close()
        self._results.leave()
        if self._batch.running:
            self._end(_("The table was stopped because the scene was closed."))
        self._batch.stop()
        self._questions.forget()
        self._inspections.forget()

    def startAgain(self, parameters: CSRDDenoiseParameterNode) -> None:
        """The scene is empty: begin with what the user chose last."""
        apply_defaults(parameters)
        self.setParameterNode(parameters)

    def release(self) -> None:
        """The module closes or is read again: end everything and hear no more of the scene.

        The widgets stay connected to the choices, because that keeps the wrapper alive as long as its node; see
        :meth:`CSRDDenoiseLogic.getParameterNode`. They choose nothing any more, as selectors do when a scene is read.
        """
        self.close()
        for widget in vars(self.ui).values():
            widget.blockSignals(True)
        if self._parameters is not None:
            self._parameters.RemoveObserver(self._observerTag)

    def forgetNode(self, node: Any) -> None:
        """A node is about to leave the scene: where it is selected, nothing is, and not its neighbour in the list."""
        if self._parameters is None or node is None or slicer.mrmlScene.IsClosing():
            return
        self._results.forget(node)
        for name in (*INPUTS, REGION, *RESULTS):
            if getattr(self._parameters, name) is node:
                setattr(self._parameters, name, None)

    def chosenNodes(self) -> "dict[str, Any]":
        """Return the nodes that are chosen."""
        choices = self._parameters
        return {name: choices.parameterNode.GetNodeReference(name) for name in (*INPUTS, REGION, *RESULTS)}

    def setParameterNode(self, parameters: CSRDDenoiseParameterNode, nodes: "Optional[dict[str, Any]]" = None) -> None:
        """Show and follow these choices; with ``nodes`` choose them."""
        if parameters is not self._parameters:
            self._connectParameters(parameters)
        with slicer.util.NodeModify(parameters.parameterNode):
            for name, node in (nodes or {}).items():
                setattr(parameters, name, node)
            # while a scene is read a reference comes before its node: choices and selectors miss it until a change
            parameters.Modified()
        self.refresh()

    def _connectParameters(self, parameters: CSRDDenoiseParameterNode) -> None:
        if self._parameters is not None:
            # connectGui loses its tag in Slicer 5.6, connectParametersToGui does not
            self._parameters.disconnectGui(self._guiTag)
            self._parameters.RemoveObserver(self._observerTag)
        self._parameters = parameters
        selectors = {name: f"{name}Selector" for name in (*INPUTS, *RESULTS)}
        widgets = {name: getattr(self.ui, widget) for name, widget in {**selectors, **SETTINGS_WIDGETS}.items()}
        self._guiTag = parameters.connectParametersToGui(widgets)
        self._observerTag = parameters.AddObserver("ModifiedEvent", self.onParametersModified)

    # What the widgets show

    def refresh(self) -> None:
        """Show the present choices, what was understood of them, and whether a run can start."""
        parameters = self._parameters
        if parameters is None or slicer.mrmlScene.IsClosing() or slicer.mrmlScene.IsImporting():
            return
        if strange := replaced(parameters):
            there_not = _("This version does not have these settings of the scene: {settings}. Its defaults are used.")
            self._messages.say(there_not.format(settings=strange))
        self._lists.show(parameters, readiness.settings_for(parameters.model, settings_of(parameters)))
        pet, mr = parameters.pet, parameters.mr
        warnings = wording.mr_warnings(pet, mr)
        if pet is not None and mr is None and readiness.needs_mr(parameters.model):
            warnings = [_("The chosen model needs an MR.")]
        mayAsk = self.entered and not self.logic.busy
        seen = self._inspections.lines(pet, "PET", mayAsk), self._inspections.lines(mr, "MR", mayAsk)
        self.ui.petInfoLabel.text = wording.described(pet, seen[0], wording.pet_warnings(pet))
        self.ui.mrInfoLabel.text = wording.described(mr, seen[1], warnings)
        self.ui.modelCardLabel.text = readiness.card(parameters.model)
        self.ui.estimateLabel.text = self._questions.estimate(parameters, mayAsk)
        self.ui.placeLabel.text = self._questions.reached(parameters.place, mayAsk)
        self._refreshApply()
        self._refreshResults()

    def onParametersModified(self, _caller: Any = None, _event: Any = None) -> None:
        """A choice changed, by a widget or by a script: the outputs are those of one result, and of this PET."""
        if not self.logic.busy:
            # first: what is set here comes back to this method
            before, self._denoised = self._denoised, self._parameters.denoised
            settle(self._parameters, before)
        self.refresh()

    def _refreshApply(self) -> None:
        if self.logic.busy:
            return
        ready = self._parameters is not None and self._parameters.pet is not None
        self.ui.applyButton.enabled = ready
        self.ui.applyButton.toolTip = _("Denoise the PET (Alt+A)") if ready else _("Choose a PET volume first.")

    def _refreshResults(self) -> None:
        denoised = None if self._parameters is None else self._parameters.denoised
        self._results.refresh(denoised, *(() if denoised is None else self._maps()))
        self.ui.reportButton.enabled = has_record(denoised) and not self.logic.busy
        self._table.refresh(self.logic.busy)

    def _showRunning(self, running: bool) -> None:
        self.ui.applyButton.text = _("Cancel") if running else _("Apply")
        # a button loses its key with its text
        self.ui.applyButton.setShortcut(qt.QKeySequence(APPLY_KEY))
        if running:
            self._messages.begin()
            self.ui.applyButton.toolTip = _("Stop the run (Alt+A); the scene stays as it is.")
            self.ui.applyButton.enabled = True
        self.ui.progressBar.setVisible(running)
        for section in SECTIONS:
            getattr(self.ui, f"{section}CollapsibleButton").setEnabled(not running)
        self._refreshApply()
        self._refreshResults()

    # What the user does

    def onApply(self, *_arguments: Any) -> None:
        """Apply was pressed, which is Cancel while a run is under way."""
        job = self._batch if self._batch.running else self._job
        if self.logic.busy and job is not None:
            self._messages.say(_("Cancelling..."))
            self.ui.applyButton.enabled = False
            job.cancel()
            return
        try:
            self._run()
        except CSRDError as error:
            self.onError(error)

    def _run(self) -> None:
        parameters = self._parameters
        self._messages.begin()
        if not readiness.install_packages():
            self._messages.say(
                _("The packages were not installed, so nothing was done. Press Apply to be asked again.")
            )
            return
        self.onParametersModified()  # the PET may be another one since a comparison, which keeps the logic busy
        outputs = outputs_of(parameters)
        self._start(*self._chosen(), self.onProgress, self.onFinished, self.onError, outputs)
        self._messages.say(_("Writing the volumes for the denoising process..."))
        self._messages.log(_("Settings: {settings}").format(settings=settings_of(parameters).as_dict()))

    def _start(
        self,
        pet: Volume,
        mr: Optional[Volume],
        region: Any,
        onProgress: Any,
        onFinished: Any,
        onError: Any,
        outputs: Optional[Outputs] = None,
        isSequence: bool = False,
    ) -> Any:
        """Start a run with the settings of the panel; without outputs they are made."""
        parameters = self._parameters
        save_defaults(parameters)
        self.ui.progressBar.value = 0
        self._job = (self.logic.startSequence if isSequence else self.logic.start)(
            pet,
            mr,
            model=parameters.model,
            outputs=outputs or Outputs(None, None, None, parameters.makeUncertainty, None, parameters.makeSupport),
            # a sequence takes none, which is said at the end of the table
            fullDoseReferenceVolume=None if isSequence else parameters.fullDoseReference,
            regionNode=region,
            place=parameters.place,
            onProgress=onProgress,
            onFinished=onFinished,
            onError=onError,
            **settings_of(parameters).as_dict(),
        )
        self._showRunning(True)
        return self._job

    def _chosen(self) -> "tuple[Optional[Volume], Optional[Volume], Any]":
        parameters = self._parameters
        return (None, None, None) if parameters is None else (parameters.pet, parameters.mr, parameters.region)

    def onRunPairs(self, *_arguments: Any) -> None:
        """Run the pairs of the table, or stop them."""
        if self._batch.running:
            self._batch.cancel()
            return
        try:
            if self.logic.busy:
                raise InputError(UNDER_WAY)
            if readiness.install_packages():
                self._batch.run()
        except CSRDError as error:
            self.onError(error)

    def onBatchFinished(self) -> None:
        """The table is done."""
        self._end(ended_text(self._batch.entries, self._parameters.fullDoseReference))
        self._endIdleWorker()

    def onImportModel(self, *_arguments: Any) -> None:
        """Ask for a model folder and choose it."""
        folder = qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), _("Folder of the model"))
        if folder:
            self.importModel(str(folder))

    def importModel(self, folder: str) -> None:
        """Offer the model in a folder and choose it, or say why it cannot be used."""
        try:
            value = readiness.import_model(folder)
        except CSRDError as error:
            self._messages.say(str(error))
            return
        self._lists.fillModels()
        self._parameters.model = value
        self.refresh()

    def onCompare(self, *_arguments: Any) -> None:
        """Show the results side by side, with the PET that they were made from."""
        denoised = None if self._parameters is None else self._parameters.denoised
        if denoised is not None:
            self._results.compare(denoised, *self._maps())

    def _maps(self) -> "list[Optional[Volume]]":
        return [getattr(self._parameters, name) for name in RESULTS[1:]]

    def onReport(self, *_arguments: Any) -> None:
        """Draw the report of the result and open it."""
        parameters = self._parameters
        if parameters is None or parameters.denoised is None:
            return
        if self._results.following:
            self._messages.say(_("The maps still follow the slider. Open the report again in a moment."))
            return
        try:
            self.ui.progressBar.value = 0
            self._job = self.logic.startReport(
                parameters.denoised,
                parameters.uncertainty,
                onProgress=self.onProgress,
                onFinished=self.onReportFinished,
                onError=self.onError,
            )
            self._showRunning(True)
            self._messages.say(_("Drawing the report..."))
        except CSRDError as error:
            self.onError(error)

    # What the logic reports

    def onProgress(self, progress: "dict[str, Any]") -> None:
        """A run came further."""
        self.ui.progressBar.value = round(100 * progress["fraction"])
        text = wording.progress_text(progress)
        self._messages.log(text)
        if progress.get("eta_seconds") is not None:
            text = _("{text}, {time} left").format(text=text, time=wording.duration(progress["eta_seconds"]))
        self.ui.statusLabel.text = text

    def onFinished(self, result: DenoisedVolumes) -> None:
        """A run ended well: show its volumes."""
        parameters = self._parameters or self.logic.getParameterNode()
        with slicer.util.NodeModify(parameters.parameterNode):
            for name in RESULTS:
                setattr(parameters, name, getattr(result, f"{name}Volume"))
        self._end(wording.result_text(result))
        self._results.compare(*(getattr(result, f"{name}Volume") for name in RESULTS))
        self._endIdleWorker()

    def onReportFinished(self, path: Path) -> None:
        """A report is there: open it in the web browser."""
        self._end(_("The report is in {path}.").format(path=path))
        if not qt.QDesktopServices.openUrl(qt.QUrl(path.as_uri())):
            closed = _("No web browser opened the report. It is in {path}; open it, or a copy in another folder.")
            self._messages.say(closed.format(path=path))
        self._endIdleWorker()

    def onError(self, error: Exception) -> None:
        """A run failed or was cancelled; the scene is as it was before."""
        details = "" if isinstance(error, (Cancelled, readiness.PackagesMissing)) else getattr(error, "details", "")
        self._end(str(error), details)
        self._messages.log(details)
        self._endIdleWorker()

    def _end(self, text: str, details: str = "") -> None:
        self._job = None
        if not self.logic.worker.running:
            # it took along what it was asked
            self._questions.forget()
        self._showRunning(False)
        self._messages.say(text, details)
        self.refresh()

    def onWorkerMessage(self, message: "dict[str, Any]") -> None:
        """The worker answered a question that is no run."""
        if self._questions.receive(message):
            self.refresh()

    # Parts

    def _endIdleWorker(self) -> None:
        if not (self.entered or self.logic.busy or self._results.following):
            self.logic.close()
            self._questions.forget()

    def _connect(self) -> None:
        ui = self.ui
        ui.applyButton.clicked.connect(once(self.onApply, double_click))
        ui.compareButton.clicked.connect(self.onCompare)
        ui.reportButton.clicked.connect(self.onReport)
        ui.importModelButton.clicked.connect(self.onImportModel)
        ui.runPairsButton.clicked.connect(once(self.onRunPairs, double_click))
