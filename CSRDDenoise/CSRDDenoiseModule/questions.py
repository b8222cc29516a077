"""What the panel asks the worker besides runs: the devices, and how fast this computer is."""

from typing import Any, Callable

from slicer.i18n import tr as _

from CSRDDenoiseLib.errors import CSRDError
from CSRDDenoiseLib.infer.cost import calibration_from
from CSRDDenoiseLib.model.bundle import DEFAULT_MODEL

from .estimate import estimate_sentence, keep_calibration, kept_calibration
from .packages import missing_packages
from .parameters import CSRDDenoiseParameterNode, settings_of

INFO, CALIBRATE = "info", "calibrate"


class Questions:
    """Asks the worker each question once, and estimates a run from the answers.

    Args:
        ask: sends a request to the worker.
        onDevices: receives the devices, each a dict with ``name``, ``description`` and ``memory_bytes``.
        log: receives what went wrong, one sentence.
    """

    def __init__(
        self,
        ask: "Callable[[dict[str, Any]], None]",
        onDevices: "Callable[[list[dict[str, Any]]], None]",
        log: Callable[[str], None],
    ):
        self._send = ask
        self._onDevices = onDevices
        self._log = log
        self._problem = ""
        self._asked: set[Any] = set()

    def estimate(self, parameters: CSRDDenoiseParameterNode, mayAsk: bool) -> str:
        """Return how long a run with these parameters takes and what it needs, or why that is not known yet.

        Args:
            parameters: the choices.
            mayAsk: whether the worker may be asked for what is not known.
        """
        if parameters.pet is None or parameters.pet.GetImageData() is None:
            return ""
        device, model = parameters.device, parameters.model or DEFAULT_MODEL
        calibration = kept_calibration(device, model)
        requests = [{"command": INFO}]
        if calibration is None:
            requests.append({"command": CALIBRATE, "device": device, "model": model})
        possible = not mayAsk or all(self._ask(request) for request in requests)
        if calibration is None:
            if not possible:
                return _("The time is told once the Python packages are installed; Apply asks for them.")
            return self._problem or _("Measuring the speed of this computer...")
        try:
            return estimate_sentence(calibration, parameters.pet, settings_of(parameters))
        except CSRDError as error:
            return str(error)

    def receive(self, message: "dict[str, Any]") -> bool:
        """Take a message of the worker that belongs to no run; return whether it changes what the panel shows."""
        if message["event"] == "error":
            self._problem = message["message"]
            self._log(self._problem)
            return True
        if message["event"] != "result":
            return False
        self._problem = ""
        if message["id"] == INFO:
            self._onDevices(message["devices"])
        elif message["id"] == CALIBRATE:
            keep_calibration(message["device"], message["model"], calibration_from(message))
        return True

    def forget(self) -> None:
        """The worker ended: the next one may be asked again."""
        self._asked.clear()

    def _ask(self, request: "dict[str, str]") -> bool:
        """Send the worker a question once; False if it cannot be asked because packages are missing."""
        question = tuple(request.values())
        if question in self._asked:
            return True
        try:
            if missing_packages():
                return False
            self._send({**request, "id": request["command"]})
        except CSRDError as error:
            self._log(str(error))
            return False
        self._asked.add(question)
        return True
