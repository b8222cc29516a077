"""``slicer.parameterNodeWrapper`` as far as the module uses it, storing as Slicer 5.6 stores.

Numbers and texts are parameters of the node, nodes are node references of the parameter's name, the members of a
parameter pack are parameters ``pack.member``; a value of the wrong type or out of range is refused; widgets and
parameters follow each other in both directions. A wrapper keeps what it read last, and reads again only when the node
says that it changed: a node reference that is resolved later is not seen until then.
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
        self.is_pack = getattr(self.type, "_is_parameterPack", False)
        if not self.is_node and not self.is_pack and self.type not in (bool, int, float, str):
            raise TypeError(f"Unable to create serializer for type: {self.type}")
        self.default = default

    @property
    def members(self):
        return {name: _Parameter(f"{self.name}.{name}", *about) for name, about in self.type.allParameters.items()}

    def is_in(self, node):
        # as in Slicer, the first member stands for all of a pack
        return next(iter(self.members.values())).is_in(node) if self.is_pack else node.HasParameter(self.name)

    def read(self, node):
        if self.is_pack:
            return _ObservedPack(self, node)
        if self.is_node:
            return node.GetNodeReference(self.name)
        text = node.GetParameter(self.name)
        return text == "True" if self.type is bool else self.type(text)

    def write(self, node, value):
        if self.is_pack:
            with NodeModify(node):
                for name, member in self.members.items():
                    member.write(node, getattr(value, name) if value is not None else member.default)
            return
        self.check(value)
        if self.is_node:
            node.SetParameter(self.name, "")
            node.SetNodeReferenceID(self.name, value.GetID() if value is not None else None)
            return
        node.SetParameter(self.name, str(value))

    def check(self, value):
        if value is None and self.is_node:
            return
        if value is None:
            raise ValueError("Value must not be None")
        if not isinstance(value, (int, float) if self.type is float else self.type):
            raise TypeError(f"Value must be of type '{self.type}', is type '{type(value)}' value '{value}'")
        if self.range is not None:
            self.range.validate(value)


class _ObservedPack:
    """A pack as a wrapper hands it out, a copy of the values: what is set goes to the node with all that the copy has.

    Only members can be set.
    """

    def __init__(self, parameter, node):
        members = parameter.members
        values = {name: member.read(node) for name, member in members.items()}
        # as in Slicer, a value out of range is refused when it is read too
        for name, member in members.items():
            member.check(values[name])
        object.__setattr__(self, "_about", (members, node, values))

    def __getattr__(self, name):
        values = object.__getattribute__(self, "_about")[2]
        if name not in values:
            raise AttributeError(f"'ObservedParameterPack' has no attribute '{name}'")
        return values[name]

    def __setattr__(self, name, value):
        members, node, values = self._about
        if name not in members:
            raise AttributeError(f"'ObservedParameterPack' has no attribute '{name}', none can be added dynamically")
        members[name].check(value)
        values[name] = value
        with NodeModify(node):
            for each, member in members.items():
                member.write(node, values[each])


class _Kept:
    """The value of one parameter as a wrapper keeps it: read again when the node says that it changed."""

    def __init__(self, parameter, node):
        self._parameter, self._node, self._writing = parameter, node, False
        self.value = self._read()
        # as in Slicer, without keeping the wrapper alive, and in the order of the node's other observers
        this = weakref.ref(self)
        self._tag = node.AddObserver("ModifiedEvent", lambda *_: this() is not None and this()._changed())

    def __del__(self):
        self._node.RemoveObserver(self._tag)

    def write(self, value):
        self._writing = True
        try:
            with NodeModify(self._node):
                self._parameter.write(self._node, value)
                self.value = self._read()
        finally:
            self._writing = False

    def _changed(self):
        if not self._writing:
            self.value = self._read()

    def _read(self):
        # after a scene was closed the node is empty, and a read puts the default back
        if not self._parameter.is_in(self._node):
            self._parameter.write(self._node, self._parameter.default)
        return self._parameter.read(self._node)


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
            # as Slicer does, which fails for an abstract class
            widget.nodeTypes = [parameter.type().GetClassName()]
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
        for parameter in self.allParameters.values():
            if not parameter.is_in(parameterNode):
                parameter.write(parameterNode, parameter.default)
        self._kept = {name: _Kept(parameter, parameterNode) for name, parameter in self.allParameters.items()}

    def connectParametersToGui(self, mapping):
        connectors = {name: self._connector(name, widget) for name, widget in mapping.items()}
        tag, self._next_tag = self._next_tag, self._next_tag + 1
        self._guis[tag] = connectors
        for name, connector in connectors.items():
            connector.write(self._value(name))
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

    def _parameter(self, name):
        top, _, member = name.partition(".")
        if top not in self.allParameters:
            raise ValueError(f"Cannot find a param with the given name: {name}")
        parameter = self.allParameters[top]
        if not member:
            return parameter
        if not parameter.is_pack or member not in parameter.members:
            raise ValueError(f"{parameter.type} has no member '{member}'")
        return parameter.members[member]

    def _value(self, name):
        top, _, member = name.partition(".")
        return getattr(getattr(self, top), member) if member else getattr(self, top)

    def _connector(self, name, widget):
        def changed():
            if not self._updating:
                with NodeModify(self):
                    top, _, member = name.partition(".")
                    owner, attribute = (getattr(self, top), member) if member else (self, top)
                    setattr(owner, attribute, connector.read())

        connector = _Connector(widget, self._parameter(name), changed)
        return connector

    def _update_gui(self):
        if self._updating:
            return
        self._updating = True
        try:
            for connectors in self._guis.values():
                for name, connector in connectors.items():
                    connector.write(self._value(name))
        finally:
            self._updating = False


def parameterPack(decorated):
    """Make a class whose annotated members are kept together in a parameter node."""
    hints = typing.get_type_hints(decorated, include_extras=True)
    if not hints:
        raise ValueError("Unable to find any members in parameterPack")
    parameters = {name: (annotation, getattr(decorated, name)) for name, annotation in hints.items()}
    for name, (annotation, default) in parameters.items():
        _Parameter(name, annotation, default).write(slicer.vtkMRMLScriptedModuleNode(), default)
    decorated.allParameters, decorated._is_parameterPack = parameters, True
    return decorated


def parameterNodeWrapper(decorated):
    """Make a class whose annotated attributes live in a parameter node."""
    parameters = {
        name: _Parameter(name, annotation, getattr(decorated, name, None))
        for name, annotation in typing.get_type_hints(decorated, include_extras=True).items()
    }
    body = {name: _property_of(name) for name in parameters}
    return type(decorated.__name__, (_Wrapper,), {**body, "allParameters": parameters, "__doc__": decorated.__doc__})


def _property_of(name):
    return property(lambda self: self._kept[name].value, lambda self, value: self._kept[name].write(value))
