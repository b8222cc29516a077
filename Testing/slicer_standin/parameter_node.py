"""``slicer.parameterNodeWrapper`` as far as the module uses it, storing as Slicer 5.6 stores.

Numbers and texts are parameters of the node, nodes are node references of the parameter's name; a value of the wrong
type or out of range is refused; widgets and parameters follow each other in both directions.
"""

import typing
import weakref

import slicer
from slicer.util import NodeModify

from .pythonqt import QT_CLASSES
from .widgets import ctkSliderWidget, qMRMLNodeComboBox


class WithinRange:
    """The value must lie between two numbers, ends included."""

    def __init__(self, minimum, maximum):
        self.minimum, self.maximum = minimum, maximum

    def validate(self, value):
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"Value must be within range [{self.minimum}, {self.maximum}], is {value}")


class _Parameter:
    """One typed value in a parameter node."""

    def __init__(self, name, annotation, default):
        self.name = name
        arguments = typing.get_args(annotation) if typing.get_origin(annotation) is typing.Annotated else (annotation,)
        self.type, self.range = arguments[0], next((part for part in arguments[1:]), None)
        self.is_node = isinstance(self.type, type) and issubclass(self.type, slicer.vtkMRMLNode)
        if not self.is_node and self.type not in (bool, int, float, str):
            raise TypeError(f"Unable to create serializer for type: {self.type}")
        self.default = default

    def read(self, node):
        if self.is_node:
            return node.GetNodeReference(self.name)
        text = node.GetParameter(self.name)
        return text == "True" if self.type is bool else self.type(text)

    def write(self, node, value):
        if self.is_node:
            if value is not None and not isinstance(value, self.type):
                raise TypeError(f"Value must be of type '{self.type}', is type '{type(value)}' value '{value}'")
            node.SetParameter(self.name, "")
            node.SetNodeReferenceID(self.name, value.GetID() if value is not None else None)
            return
        if value is None:
            raise ValueError("Value must not be None")
        if not isinstance(value, (int, float) if self.type is float else self.type):
            raise TypeError(f"Value must be of type '{self.type}', is type '{type(value)}' value '{value}'")
        if self.range is not None:
            self.range.validate(value)
        node.SetParameter(self.name, str(value))


class _Connector:
    """Keeps a widget and a parameter equal."""

    kinds: typing.ClassVar[dict] = {
        QT_CLASSES["QCheckBox"]: (bool, "checked", "stateChanged"),
        QT_CLASSES["QSpinBox"]: (int, "value", "valueChanged"),
        ctkSliderWidget: (float, "value", "valueChanged"),
    }

    def __init__(self, widget, parameter, changed):
        self._widget, self._changed = widget, changed
        self._is_node = parameter.is_node and type(widget) is qMRMLNodeComboBox
        if self._is_node:
            widget.nodeTypes = [parameter.type.__name__]
            self._signal = widget.currentNodeChanged
        else:
            expected, self._property, signal = self.kinds.get(type(widget), (None, "", ""))
            if expected is not parameter.type:
                raise RuntimeError(f"Unable to create GUI connector from '{parameter.type}' to '{type(widget)}'")
            if parameter.range is not None:
                widget.minimum, widget.maximum = parameter.range.minimum, parameter.range.maximum
            elif type(widget) is ctkSliderWidget:
                raise RuntimeError("Cannot have a connection to ctkSliderWidget where the float types is unbounded.")
            self._signal = getattr(widget, signal)

    def connect(self):
        self._signal.connect(self._on_changed)

    def disconnect(self):
        self._signal.disconnect(self._on_changed)

    def read(self):
        return self._widget.currentNode() if self._is_node else getattr(self._widget, self._property)

    def write(self, value):
        if self._is_node:
            self._widget.setCurrentNode(value)
        else:
            setattr(self._widget, self._property, value)

    def _on_changed(self):
        self._changed()


class _Wrapper:
    """What the decorated classes become."""

    def __init__(self, parameterNode):
        self.parameterNode = parameterNode
        self._guis, self._next_tag, self._updating = {}, 0, False
        for name, parameter in self.allParameters.items():
            if not parameterNode.HasParameter(name):
                parameter.write(parameterNode, parameter.default)

    def connectParametersToGui(self, mapping):
        connectors = {name: self._connector(name, widget) for name, widget in mapping.items()}
        tag, self._next_tag = self._next_tag, self._next_tag + 1
        self._guis[tag] = connectors
        for name, connector in connectors.items():
            connector.write(getattr(self, name))
            connector.connect()
        this = weakref.ref(self)
        self.AddObserver("ModifiedEvent", lambda *_: this() is not None and this()._update_gui())
        return tag

    def disconnectGui(self, tag):
        for connector in self._guis.pop(tag, {}).values():
            connector.disconnect()

    def AddObserver(self, event, callback, priority=0.0):
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag):
        self.parameterNode.RemoveObserver(tag)

    def StartModify(self):
        return self.parameterNode.StartModify()

    def EndModify(self, wasModified):
        return self.parameterNode.EndModify(wasModified)

    def Modified(self):
        self.parameterNode.Modified()

    def _connector(self, name, widget):
        if name not in self.allParameters:
            raise ValueError(f"Cannot find a param with the given name: {name}")

        def changed():
            if not self._updating:
                with NodeModify(self):
                    setattr(self, name, connector.read())

        connector = _Connector(widget, self.allParameters[name], changed)
        return connector

    def _update_gui(self):
        if self._updating:
            return
        self._updating = True
        try:
            for connectors in self._guis.values():
                for name, connector in connectors.items():
                    connector.write(getattr(self, name))
        finally:
            self._updating = False


def parameterNodeWrapper(decorated):
    """Make a class whose annotated attributes live in a parameter node."""
    parameters = {
        name: _Parameter(name, annotation, getattr(decorated, name, None))
        for name, annotation in typing.get_type_hints(decorated, include_extras=True).items()
    }
    body = {name: _property_of(parameter) for name, parameter in parameters.items()}
    return type(decorated.__name__, (_Wrapper,), {**body, "allParameters": parameters, "__doc__": decorated.__doc__})


def _property_of(parameter):
    def read(self):
        # after a scene was closed the node is empty, and a read puts the default back
        if not self.parameterNode.HasParameter(parameter.name):
            parameter.write(self.parameterNode, parameter.default)
        return parameter.read(self.parameterNode)

    def write(self, value):
        with NodeModify(self.parameterNode):
            parameter.write(self.parameterNode, value)

    return property(read, write)
