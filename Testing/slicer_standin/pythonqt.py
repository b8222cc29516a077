"""How PythonQt shows Qt: properties are attributes, enumerations are integers, unknown names raise AttributeError.

A proxy holds a PySide6 object and lets through what the record of a real Slicer has, in the way it has it.
"""

import enum
import inspect
from typing import ClassVar

from PySide6 import QtCore, QtGui, QtWidgets

from .api import METHOD_KINDS, SIGNAL, kinds_of

_classes = {}
SIGNATURES = {
    "slicer.qMRMLNodeComboBox": (
        "currentNodeChanged(vtkMRMLNode*)",
        "currentNodeChanged(bool)",
        "currentNodeIDChanged(QString)",
        "nodeAdded(vtkMRMLNode*)",
        "nodeAddedByUser(vtkMRMLNode*)",
    ),
    "slicer.qMRMLWidget": ("mrmlSceneChanged(vtkMRMLScene*)",),
    "ctk.ctkCollapsibleButton": ("contentsCollapsed(bool)",),
    "ctk.ctkSliderWidget": ("valueChanged(double)",),
}
"""Signals as the headers of Slicer and CTK declare them, for widgets that are imitated."""


class _ProxyType(type):
    """Gives a proxy class its static methods and its enumerators."""

    def __new__(cls, name, bases, body):
        made = super().__new__(cls, name, bases, body)
        if "qt_class" in body:
            _classes[body["qt_class"]] = made
        return made

    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        if name not in kinds_of(cls.record):
            raise AttributeError(f"type object '{cls.record}' has no attribute '{name}'")
        value = getattr(cls.qt_class, name)
        if isinstance(value, enum.Enum):
            return _number(value)
        return lambda *arguments: wrap(value(*unwrap(arguments)))


class Proxy(metaclass=_ProxyType):
    """A Qt object as PythonQt shows it. Subclasses name their record and the PySide6 class that does the work."""

    record = "qt.QWidget"

    def __init__(self, *arguments):
        _hold(self, self.qt_class(*unwrap(arguments)))

    @classmethod
    def holding(cls, qt_object):
        """Return a proxy of an object that exists already."""
        proxy = cls.__new__(cls)
        _hold(proxy, qt_object)
        return proxy

    def __getattr__(self, name):
        if name == "name" and "objectName" in kinds_of(self.record):
            name = "objectName"
        kind = kinds_of(self.record).get(name)
        if kind is None:
            raise AttributeError(f"{self.record.split('.')[-1]} has no attribute named '{name}'")
        qt_object = self._qt
        if kind == SIGNAL:
            return _Signal(self, name)
        if kind in METHOD_KINDS:
            method = getattr(qt_object, name)
            return lambda *arguments: wrap(method(*unwrap(arguments)))
        if isinstance(getattr(type(qt_object), name, None), enum.Enum):
            return _number(getattr(type(qt_object), name))
        return wrap(_property(qt_object, name))

    def __setattr__(self, name, value):
        kind = kinds_of(self.record).get("objectName" if name == "name" else name)
        if kind is None or kind in METHOD_KINDS or kind == SIGNAL:
            raise AttributeError(f"creating new attributes on C++ objects is not allowed: {name}")
        _set_property(self._qt, name, unwrap([value])[0])

    def __eq__(self, other):
        return isinstance(other, Proxy) and self._qt is other._qt

    def __hash__(self):
        return hash(self._qt)

    def connect(self, signature, receiver):
        """Connect by signature, as ``connect('clicked()', f)``, which drops the arguments."""
        name, arguments = signature.rstrip(")").split("(")
        signal = _Signal(self, name)
        if not self._has_signal(signature):
            # Slicer prints a warning and connects nothing
            raise AttributeError(f"{self.record} has no signal '{signature}'")
        return signal.connect_with(receiver, len([part for part in arguments.split(",") if part]))

    def _has_signal(self, signature):
        normal = QtCore.QMetaObject.normalizedSignature(signature).data().decode()
        known = SIGNATURES.get(self.record, ())
        return normal in known if known else self._qt.metaObject().indexOfSignal(normal) >= 0

    def disconnect(self, signature, receiver):
        """Undo :meth:`connect`."""
        _Signal(self, signature.split("(")[0]).disconnect(receiver)


class _Signal:
    """A signal of a proxy."""

    # Slicer hands over the exit code alone
    most_arguments: ClassVar[dict] = {"finished": 1}

    def __init__(self, proxy, name):
        if kinds_of(proxy.record).get(name) != SIGNAL:
            raise AttributeError(f"{proxy.record} has no signal '{name}'")
        self._proxy, self._name = proxy, name

    def connect(self, receiver):
        return self.connect_with(receiver, self.most_arguments.get(self._name))

    def connect_with(self, receiver, most):
        slot = _slot(receiver, most, self._parameters())
        getattr(self._proxy._qt, self._name).connect(slot)
        self._proxy._slots.append((self._name, receiver, slot))
        return True

    def _parameters(self):
        """Return how many parameters the signal has in its longest form, the one PythonQt takes."""
        meta = self._proxy._qt.metaObject()
        methods = [meta.method(index) for index in range(meta.methodCount())]
        return max(each.parameterCount() for each in methods if bytes(each.name().data()).decode() == self._name)

    def disconnect(self, receiver):
        for entry in self._proxy._slots:
            if entry[0] == self._name and entry[1] == receiver:
                getattr(self._proxy._qt, self._name).disconnect(entry[2])
                self._proxy._slots.remove(entry)
                return True
        return False


def _slot(receiver, most, parameters):
    """Return a function of that many parameters that passes on as many of them as the receiver takes."""
    limit = min(_positional(receiver), parameters if most is None else most)

    def call(*arguments):
        receiver(*[wrap(argument) for argument in arguments[:limit]])

    # PySide6 looks at the number of parameters to choose among the forms of a signal
    return {0: lambda: call(), 1: lambda a: call(a), 2: lambda a, b: call(a, b)}.get(parameters, call)


def _positional(receiver):
    if not (inspect.isfunction(receiver) or inspect.ismethod(receiver)):
        # PythonQt counts the parameters of nothing else, and passes all arguments
        return 99
    kinds = [parameter.kind for parameter in inspect.signature(receiver).parameters.values()]
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return 99
    return sum(kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD) for kind in kinds)


def wrap(value):
    """Return a Qt value as PythonQt returns it."""
    if isinstance(value, enum.Enum):
        return _number(value)
    if isinstance(value, (list, tuple)):
        return tuple(wrap(part) for part in value)
    known = getattr(value, "_proxy", None)
    if known is not None:
        return known
    for base in type(value).__mro__:
        if base in _classes:
            return _classes[base].holding(value)
    return value


def unwrap(arguments):
    """Return the Qt objects behind proxies among the arguments."""
    return [argument._qt if isinstance(argument, Proxy) else argument for argument in arguments]


def _hold(proxy, qt_object):
    object.__setattr__(proxy, "_qt", qt_object)
    object.__setattr__(proxy, "_slots", [])
    if isinstance(qt_object, QtCore.QObject):
        # one proxy an object, so that handlers can be disconnected through whatever name reaches it
        qt_object._proxy = proxy


def _number(value):
    return int(value.value) if not isinstance(value, int) else int(value)


def _property(qt_object, name):
    if isinstance(qt_object, QtCore.QObject) and qt_object.metaObject().indexOfProperty(name) >= 0:
        try:
            return qt_object.property(name)
        except RuntimeError:
            # an enumeration that PySide6 cannot read as a property
            return getattr(qt_object, name)()
    return getattr(qt_object, name)()


def _set_property(qt_object, name, value):
    name = "objectName" if name == "name" else name
    if qt_object.metaObject().indexOfProperty(name) >= 0:
        qt_object.setProperty(name, value)
    else:
        getattr(qt_object, f"set{name[0].upper()}{name[1:]}")(value)


def _proxy_class(record, qt_class):
    return _ProxyType(record.split(".")[-1], (Proxy,), {"record": record, "qt_class": qt_class})


QT_CLASSES = {
    record.split(".")[-1]: _proxy_class(record, qt_class)
    for record, qt_class in {
        "qt.QWidget": QtWidgets.QWidget,
        "qt.QByteArray": QtCore.QByteArray,
        "qt.QCheckBox": QtWidgets.QCheckBox,
        "qt.QComboBox": QtWidgets.QComboBox,
        "qt.QFileDialog": QtWidgets.QFileDialog,
        "qt.QIcon": QtGui.QIcon,
        "qt.QKeySequence": QtGui.QKeySequence,
        "qt.QLabel": QtWidgets.QLabel,
        "qt.QPlainTextEdit": QtWidgets.QPlainTextEdit,
        "qt.QProcess": QtCore.QProcess,
        "qt.QProcessEnvironment": QtCore.QProcessEnvironment,
        "qt.QProgressBar": QtWidgets.QProgressBar,
        "qt.QPushButton": QtWidgets.QPushButton,
        "qt.QSettings": QtCore.QSettings,
        "qt.QSpinBox": QtWidgets.QSpinBox,
        "qt.QTableWidget": QtWidgets.QTableWidget,
        "qt.QTableWidgetItem": QtWidgets.QTableWidgetItem,
        "qt.QTimer": QtCore.QTimer,
        "qt.QVBoxLayout": QtWidgets.QVBoxLayout,
    }.items()
}
