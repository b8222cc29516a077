"""The panel: the user's choices in, progress and results out. It decides nothing about the work itself."""

import time
from pathlib import Path
from typing import Any, Optional, Protocol

import qt
import slicer
from slicer.i18n import tr as _

from CSRDDenoiseLib.errors import Cancelled, CSRDError
from CSRDDenoiseLib.estimate import calibration_from
from CSRDDenoiseLib.model.bundle import DEFAULT_MODEL
from CSRDDenoiseLib.quality.dose import dose_sentence
from CSRDDenoiseLib.settings import PRESETS, SAMPLERS, DenoiseSettings

from . import describe, estimate, models
from .comparison import show_comparison, summary_of, summary_rows
from .job import DenoisedVolumes
from .packages import PackagesMissing, install_packages, missing_packages
from .parameters import CUSTOM_PRESET, CSRDDenoiseParameterNode, apply_preset, preset_of, settings_of
from .report import has_record
from .results import Outputs

INFO, CALIBRATE = "info", "calibrate"
AUTOMATIC = "auto"
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
        self._updating = False
        self._job = None
        self._details = ""
        self._problem = ""
        self._asked: set[Any] = set()
        logic.onWorkerMessage = self.onWorkerMessage
        self._fillLists()
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
        self._asked.clear()

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
        if parameters is None or self._updating or slicer.mrmlScene.IsClosing() or slicer.mrmlScene.IsImporting():
            return
        self._updating = True
        try:
            _select(self.ui.modelComboBox, parameters.model or DEFAULT_MODEL)
            _select(self.ui.presetComboBox, preset_of(parameters))
            _select(self.ui.samplerComboBox, parameters.sampler)
            _select(self.ui.deviceComboBox, parameters.device)
        finally:
            self._updating = False
        pet, mr = parameters.pet, parameters.mr
        warnings = describe.mr_warnings(pet, mr)
        if pet is not None and mr is None and models.needs_mr(parameters.model):
            warnings = [_("The chosen model needs an MR.")]
        self.ui.petInfoLabel.text = _lines(pet, describe.pet_warnings(pet))
        self.ui.mrInfoLabel.text = _lines(mr, warnings)
        self.ui.modelCardLabel.text = models.card(parameters.model)
        self.ui.estimateLabel.text = self._estimate()
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

    def onPresetChosen(self, *_arguments: Any) -> None:
        """A preset was chosen: set what it stands for."""
        preset = self._chosen(self.ui.presetComboBox)
        if preset in PRESETS:
            with slicer.util.NodeModify(self._parameters):
                apply_preset(self._parameters, preset)

    def onModelChosen(self, *_arguments: Any) -> None:
        """A model was chosen."""
        value = self._chosen(self.ui.modelComboBox)
        if value is not None:
            self._parameters.model = value

    def onSamplerChosen(self, *_arguments: Any) -> None:
        """A sampler was chosen."""
        value = self._chosen(self.ui.samplerComboBox)
        if value is not None:
            self._parameters.sampler = value

    def onDeviceChosen(self, *_arguments: Any) -> None:
        """A device was chosen."""
        value = self._chosen(self.ui.deviceComboBox)
        if value is not None:
            self._parameters.device = value

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
        self._fillModels()
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
        text = _stage_title(progress["stage"])
        if progress["of"] > 1:
            text = _("{stage}: step {step} of {of}").format(stage=text, step=progress["step"], of=progress["of"])
        if progress.get("message"):
            text = f"{text} ({progress['message']})"
        self.log(text)
        if progress.get("eta_seconds") is not None:
            text = _("{text}, {time} left").format(text=text, time=estimate.duration(progress["eta_seconds"]))
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
        seconds = result.provenance.get("seconds", {}).get("total", 0)
        done = _("Done in {time}.").format(time=estimate.duration(seconds))
        dose = dose_sentence(result.provenance["quality"])
        self._say(" ".join(filter(None, [done, *_registered(result), dose, *result.warnings])))
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
        if message["event"] == "error":
            self._problem = message["message"]
            self.log(message["message"])
            self.refresh()
        if message["event"] != "result":
            return
        self._problem = ""
        if message["id"] == INFO:
            self._fillDevices(message["devices"])
        elif message["id"] == CALIBRATE:
            estimate.keep_calibration(message["device"], message["model"], calibration_from(message))
        self.refresh()

    # Parts

    def _estimate(self) -> str:
        parameters = self._parameters
        if parameters.pet is None or parameters.pet.GetImageData() is None:
            return ""
        device, model = parameters.device, parameters.model or DEFAULT_MODEL
        calibration = estimate.kept_calibration(device, model)
        if calibration is None:
            return self._askForCalibration(device, model)
        self._ask(INFO, {"command": "info"})
        try:
            settings: DenoiseSettings = settings_of(parameters)
        except CSRDError as error:
            return str(error)
        return estimate.estimate_sentence(calibration, parameters.pet, settings)

    def _askForCalibration(self, device: str, model: str) -> str:
        self._ask(INFO, {"command": "info"})
        asked = self._ask((CALIBRATE, device, model), {"command": CALIBRATE, "device": device, "model": model})
        if asked:
            return self._problem or _("Measuring the speed of this computer...")
        return _("The time is told once the Python packages are installed; Apply asks for them.")

    def _ask(self, question: Any, request: "dict[str, Any]") -> bool:
        """Send the worker a question once; False if it cannot be asked because packages are missing."""
        if question in self._asked:
            return True
        if not self.entered or self.logic.busy:
            return True
        try:
            if missing_packages():
                return False
            self.logic.ask({**request, "id": request["command"]})
        except CSRDError as error:
            self.log(str(error))
            return False
        self._asked.add(question)
        return True

    def _endIdleWorker(self) -> None:
        if not self.entered and not self.logic.busy:
            self.logic.worker.end()
            self._asked.clear()

    def _chosen(self, combo: qt.QComboBox) -> Optional[str]:
        """Return the value that the user chose in a list, or None while the panel itself changes it."""
        if self._updating or self._parameters is None or combo.currentIndex < 0:
            return None
        return str(combo.itemData(combo.currentIndex))

    def _fillLists(self) -> None:
        self._fillModels()
        _fill(self.ui.presetComboBox, {**{name: _preset_title(name) for name in PRESETS}, CUSTOM_PRESET: _("Custom")})
        _fill(self.ui.samplerComboBox, {name: _sampler_title(name) for name in SAMPLERS})
        self._fillDevices([])

    def _fillModels(self) -> None:
        self._updating = True
        _fill(self.ui.modelComboBox, {choice.value: choice.title for choice in models.model_choices()})
        self._updating = False

    def _fillDevices(self, devices: "list[dict[str, Any]]") -> None:
        titles = {AUTOMATIC: _("Automatic")}
        for device in devices or [{"name": "cpu", "description": "", "memory_bytes": None}]:
            titles[device["name"]] = _device_title(device)
        self._updating = True
        _fill(self.ui.deviceComboBox, titles)
        self._updating = False

    def _connect(self) -> None:
        ui = self.ui
        ui.applyButton.clicked.connect(self.onApply)
        ui.compareButton.clicked.connect(self.onCompare)
        ui.reportButton.clicked.connect(self.onReport)
        ui.detailsButton.clicked.connect(self.onDetails)
        ui.copyLogButton.clicked.connect(self.onCopyLog)
        ui.importModelButton.clicked.connect(self.onImportModel)
        ui.presetComboBox.currentIndexChanged.connect(self.onPresetChosen)
        ui.modelComboBox.currentIndexChanged.connect(self.onModelChosen)
        ui.samplerComboBox.currentIndexChanged.connect(self.onSamplerChosen)
        ui.deviceComboBox.currentIndexChanged.connect(self.onDeviceChosen)


def _fill(combo: qt.QComboBox, titles: "dict[str, str]") -> None:
    combo.clear()
    for value, title in titles.items():
        combo.addItem(title, value)


def _select(combo: qt.QComboBox, value: str) -> None:
    """Choose a value in a list; one that is not in it (a scene from elsewhere) is added."""
    index = combo.findData(value)
    if index < 0:
        combo.addItem(_("{value} (not here)").format(value=value), value)
        index = combo.findData(value)
    combo.setCurrentIndex(index)


def _lines(volume: Optional[slicer.vtkMRMLScalarVolumeNode], warnings: "list[str]") -> str:
    about = [] if volume is None else [describe.describe(volume)]
    return "\n".join([*about, *warnings])


def _registered(result: DenoisedVolumes) -> "list[str]":
    """Return what there is to say about the MR's move, as a list of sentences."""
    if result.registrationTransform is None:
        return []
    moved = _("The MR was moved by {mm:.1f} mm and {degrees:.1f} degrees; see the transform '{name}'.")
    facts = result.provenance["quality"]["registration"]
    name = result.registrationTransform.GetName()
    return [moved.format(mm=facts["offset_mm"], degrees=facts["angle_degrees"], name=name)]


def _preset_title(name: str) -> str:
    return {"fast": _("Fast"), "balanced": _("Balanced"), "quality": _("Quality")}.get(name, name)


def _sampler_title(name: str) -> str:
    titles = {"dpmpp": _("DPM-Solver++ (2M)"), "heun": _("Heun (EDM)"), "mean": _("Posterior mean")}
    return titles.get(name, name)


def _stage_title(name: str) -> str:
    titles = {
        "read": _("Reading"),
        "align": _("Aligning PET and MR"),
        "normalise": _("Normalising"),
        "sample": _("Sampling"),
        "restore": _("Restoring the PET's grid"),
        "write": _("Writing"),
        "report": _("Drawing the report"),
    }
    return titles.get(name, name)


def _device_title(device: "dict[str, Any]") -> str:
    title = f"{device['name']}: {device['description']}" if device["description"] else device["name"]
    if device["memory_bytes"]:
        title = f"{title}, {device['memory_bytes'] / 2**30:.0f} GiB"
    return title
