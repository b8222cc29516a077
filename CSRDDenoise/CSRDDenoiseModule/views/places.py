"""Where a run is made: this computer, or a Dask scheduler with the certificates for it; remembered for each user.

The address is kept in the scene. The folder of certificates is this computer's and stays in Slicer's settings.
"""

import json
from typing import Any, Optional

import qt
import slicer
from slicer.i18n import tr as _

from ..parameters import CSRDDenoiseParameterNode

PLACES_KEY, CERTIFICATES_KEY = "CSRDDenoise/Places", "CSRDDenoise/Certificates"
HERE, DASKS_OWN, MOST_KEPT = "", "", 8
TLS = "tls://"


def on_place(address: str) -> "dict[str, Any]":
    """Return what a request to the worker has to say of a place, with the chosen certificates; nothing for HERE."""
    if address == HERE:
        return {}
    folder = next(iter(kept_certificates()), DASKS_OWN)
    needed = address.startswith(TLS) and folder != DASKS_OWN
    return {"on": {"address": address, **({"tls": folder} if needed else {})}}


def keep_place(address: str) -> None:
    """Remember the address of a Dask scheduler in Slicer's settings."""
    if address != HERE:
        _keep(PLACES_KEY, address)


def kept_places() -> "list[str]":
    """Return the addresses that were used before, the last one first."""
    return _kept(PLACES_KEY)


def keep_certificates(folder: str) -> None:
    """Remember a folder of certificates in Slicer's settings, as the one that is used; empty for Dask's own."""
    _keep(CERTIFICATES_KEY, folder)


def kept_certificates() -> "list[str]":
    """Return the folders of certificates that were chosen before, the one that is used first."""
    return _kept(CERTIFICATES_KEY)


class Places:
    """The choice of a place and of certificates.

    Args:
        ui: the widgets by their object names.
    """

    def __init__(self, ui: Any):
        self._ui = ui
        self._parameters: Optional[CSRDDenoiseParameterNode] = None
        self._updating = False
        self._fill(ui.placeComboBox, {HERE: _("This computer"), **{address: address for address in kept_places()}})
        self._fillCertificates()
        ui.placeComboBox.currentIndexChanged.connect(self.onPlaceChosen)
        ui.certificatesComboBox.currentIndexChanged.connect(self.onCertificatesChosen)
        ui.certificatesButton.clicked.connect(self.onChooseFolder)

    def show(self, parameters: CSRDDenoiseParameterNode) -> None:
        """Show the place of these parameters; what the user chooses from now on goes there."""
        self._parameters = parameters
        self._updating = True
        try:
            select_in(self._ui.placeComboBox, parameters.place)
        finally:
            self._updating = False

    def onPlaceChosen(self, *_arguments: Any) -> None:
        """A place to run was chosen, or an address was typed, which Qt has made an entry without a value."""
        combo = self._ui.placeComboBox
        if self._updating or self._parameters is None or combo.currentIndex < 0:
            return
        value = combo.itemData(combo.currentIndex)
        address = str(combo.currentText).strip() if value is None else str(value)
        combo.setItemData(combo.currentIndex, address)
        keep_place(address)
        self._parameters.place = address

    def onCertificatesChosen(self, *_arguments: Any) -> None:
        """Another folder of certificates was chosen: the place is asked anew."""
        combo = self._ui.certificatesComboBox
        if not self._updating and combo.currentIndex >= 0:
            self._useCertificates(str(combo.itemData(combo.currentIndex)))

    def onChooseFolder(self, *_arguments: Any) -> None:
        """Ask for a folder of certificates and use it."""
        folder = qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), _("Folder of the certificates"))
        if folder:
            self._useCertificates(str(folder))

    def _useCertificates(self, folder: str) -> None:
        keep_certificates(folder)
        self._fillCertificates()
        if self._parameters is not None:
            self._parameters.parameterNode.Modified()

    def _fillCertificates(self) -> None:
        """Offer Dask's own and the folders used before, in the order of their names; the one that is used is chosen."""
        used = next(iter(kept_certificates()), DASKS_OWN)
        folders = sorted(folder for folder in kept_certificates() if folder != DASKS_OWN)
        titles = {DASKS_OWN: _("Those of Dask's configuration"), **{folder: folder for folder in folders}}
        self._fill(self._ui.certificatesComboBox, titles, used)

    def _fill(self, combo: qt.QComboBox, titles: "dict[str, str]", chosen: str = "") -> None:
        self._updating = True
        fill_list(combo, titles)
        select_in(combo, chosen)
        self._updating = False


def fill_list(combo: qt.QComboBox, titles: "dict[str, str]") -> None:
    """Offer values by their titles in a list."""
    combo.clear()
    for value, title in titles.items():
        combo.addItem(title, value)


def select_in(combo: qt.QComboBox, value: str) -> None:
    """Choose a value in a list; one that is not in it (a scene from elsewhere) is added."""
    index = combo.findData(value)
    if index < 0:
        combo.addItem(_("{value} (not here)").format(value=value), value)
        index = combo.findData(value)
    combo.setCurrentIndex(index)


def _keep(key: str, value: str) -> None:
    """Remember a value in Slicer's settings, before those of earlier times."""
    others = [known for known in _kept(key) if known != value]
    qt.QSettings().setValue(key, json.dumps([value, *others][:MOST_KEPT]))


def _kept(key: str) -> "list[str]":
    try:
        return [str(value) for value in json.loads(qt.QSettings().value(key) or "[]")]
    except (TypeError, ValueError):
        return []
