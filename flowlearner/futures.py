"""Futures and the tracer that records operator calls while a workflow compiles.

Every mistake is collected and tracing goes on where it can.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from flowlearner.errors import Problem, shorten, suggest
from flowlearner.graph import Binding, Collection, Literal, Node, NodeRef, ParamRef, RunSeed
from flowlearner.interface import (
    MISSING,
    Interface,
    Mismatch,
    Param,
    TypeSpec,
    conform,
    explain_mismatch,
    is_namedtuple,
    is_subtype,
    make_spec,
    type_text,
)
from flowlearner.operation import Operator, active_tracer, split_map

_PACKAGE = str(Path(__file__).parent) + os.sep
ANY = make_spec(Any)


class TraceStop(Exception):
    """Tracing cannot go on after a mistake that was recorded."""


class Inlinable(Protocol):
    """What the tracer needs of a workflow that is called inside another one."""

    @property
    def name(self) -> str: ...

    @property
    def fn(self) -> Callable[..., Any]: ...

    @property
    def interface(self) -> Interface: ...


class Future:
    """What an operator call, or a workflow parameter, is while the workflow compiles.

    It can be given to operators, put into lists, and returned. Using it as a value is a mistake,
    because there is no value yet.
    """

    __slots__ = ("_binding", "_label", "_tracer", "_type")

    def __init__(self, tracer: Tracer, binding: Binding, spec: TypeSpec, label: str) -> None:
        self._tracer = tracer
        self._binding = binding
        self._type = spec
        self._label = label

    def __repr__(self) -> str:
        return f"<future {self._label}: {self._type}>"

    def __hash__(self) -> int:
        return id(self)

    def _misuse(self, action: str) -> None:
        self._tracer.problem(
            f"{self._label} is {action}, but it is a future: there is no value while the workflow compiles. "
            f"{self._cure()}",
            kind="future-as-value",
        )

    def _cure(self) -> str:
        if isinstance(self._binding, ParamRef) and "." not in self._binding.name:
            declared = f"Static[{self._type}]"
            return (
                f"Annotate the parameter as {declared} to have its value here, or move this into an operator."
            )
        return "Move this into an operator, which receives the value."

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        if self._type.base is not Any or self._type.kind == "model":
            self._tracer.problem(
                f"{self._label} has no output '{name}': it is a single {self._type}. "
                "Read attributes of a value inside an operator.",
                kind="unknown-attribute",
            )
        else:
            self._misuse(f"read for its attribute '{name}'")
        return self._tracer.unknown(f"{self._label}.{name}")

    def __bool__(self) -> bool:
        self._misuse("used as a condition")
        return True

    def __iter__(self) -> Iterator[Any]:
        self._misuse("iterated over or unpacked")
        raise TraceStop

    def __len__(self) -> int:
        self._misuse("asked for its length")
        return 0

    def __contains__(self, item: object) -> bool:
        self._misuse("searched with 'in'")
        return True

    def __getitem__(self, key: Any) -> Any:
        self._misuse(f"indexed with [{key!r}]")
        return self._tracer.unknown(f"{self._label}[{key!r}]")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self._misuse("called")
        return self._tracer.unknown(f"{self._label}()")

    def __format__(self, spec: str) -> str:
        self._misuse("put into text")
        return repr(self)

    def __str__(self) -> str:
        self._misuse("turned into text")
        return repr(self)

    def __int__(self) -> int:
        self._misuse("turned into an int")
        return 0

    def __float__(self) -> float:
        self._misuse("turned into a float")
        return 0.0

    def __index__(self) -> int:
        self._misuse("used as an index")
        return 0

    def __eq__(self, other: object) -> bool:
        self._misuse("compared")
        return True

    def __ne__(self, other: object) -> bool:
        self._misuse("compared")
        return True

    def __setattr__(self, name: str, value: Any) -> None:
        if name in Future.__slots__:
            object.__setattr__(self, name, value)
        else:
            self._misuse(f"changed at its attribute '{name}'")


def _forbid(action: str) -> Callable[..., Any]:
    def method(self: Future, *_: Any) -> Any:
        self._misuse(action)
        return self._tracer.unknown(f"({self._label})")

    return method


def _forbid_comparison(self: Future, _: object) -> bool:
    self._misuse("compared")
    return True


for _name in ("lt", "le", "gt", "ge"):
    setattr(Future, f"__{_name}__", _forbid_comparison)
for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor"):
    setattr(Future, f"__{_name}__", _forbid("used in arithmetic"))
    setattr(Future, f"__r{_name}__", _forbid("used in arithmetic"))
for _name in ("neg", "pos", "abs", "invert"):
    setattr(Future, f"__{_name}__", _forbid("used in arithmetic"))
for _name in ("setitem", "delitem"):
    setattr(Future, f"__{_name}__", _forbid("changed in place"))
for _name in ("enter", "exit"):
    setattr(Future, f"__{_name}__", _forbid("used in a 'with' statement"))


class _Outputs:
    """Mixin of the NamedTuple of futures that a call with several outputs gives."""

    _tracer: Tracer
    _label: str
    _fields: tuple[str, ...]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        fields = self._fields
        self._tracer.problem(
            f"{self._label} has no output '{name}'; it gives {shorten(fields)}.{suggest(name, fields)}",
            kind="unknown-output",
        )
        return self._tracer.unknown(f"{self._label}.{name}")


@cache
def _outputs_class(cls: Any) -> Any:
    return type(cls.__name__, (cls, _Outputs), {})


class Tracer:
    """Records one compilation: nodes, problems and the place in nested workflows."""

    def __init__(self, workflow: str) -> None:
        self.workflow = workflow
        self.nodes: list[Node] = []
        self.problems: list[Problem] = []
        self._counts: dict[str, int] = {}
        self._scope: list[tuple[str, Inlinable]] = []

    @contextmanager
    def active(self) -> Iterator[None]:
        """Operator calls of this context are recorded here."""
        token = active_tracer.set(self)
        try:
            yield
        finally:
            active_tracer.reset(token)

    def problem(
        self, message: str, *, kind: str, node: str | None = None, location: str | None = None
    ) -> None:
        found = Problem(message, self.workflow, node, location or find_location(), kind)
        if found not in self.problems:
            self.problems.append(found)

    def unknown(self, label: str) -> Future:
        """Return a future that fits everywhere, so that one mistake is reported once."""
        return Future(self, Literal(None), ANY, label)

    def call(self, operator: Operator[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        name = self._make_name(operator.name)
        location = find_location()
        given = self._bind(operator.interface, args, kwargs, name, location)
        inputs: dict[str, Binding] = {}
        for param in operator.interface.params:
            if param.name in given:
                bound = self._make_binding(given[param.name], param, name, location)
            elif param.type.kind == "seed" and param.default in (MISSING, None):
                bound = RunSeed()
            else:
                bound = Literal(None if param.default is MISSING else _as_default(param))
            inputs[param.name] = bound
        self.nodes.append(Node(name, operator, inputs, location, len(self.nodes)))
        return self._make_outputs(operator.interface, name)

    def map(self, operator: Operator[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        try:
            calls = split_map(operator, args, kwargs)
        except ValueError as error:
            cure = ""
            if any(isinstance(v, Future) for v in (*args, *kwargs.values())):
                cure = " The list must be known while compiling: take it from a Static parameter or write it."
            self.problem(f"{error}.{cure}", kind="map", node=operator.name)
            return []
        return [self.call(operator, a, k) for a, k in calls]

    def inline(self, workflow: Inlinable, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Trace a workflow that is called inside this one; its nodes carry its name as a prefix."""
        name = self._make_name(workflow.name)
        location = find_location()
        if any(active is workflow for _, active in self._scope) or workflow.name == self.workflow:
            path = [self.workflow, *(w.name for _, w in self._scope), workflow.name]
            self.problem(
                f"a cycle: {' calls '.join(dict.fromkeys(path))}, which calls {workflow.name} again. "
                "A workflow cannot contain itself.",
                kind="cycle",
                location=location,
            )
            return self.unknown(name)
        given = self._bind(workflow.interface, args, kwargs, name, location)
        values: dict[str, Any] = {}
        for param in workflow.interface.params:
            values[param.name] = self._inline_value(param, given, name, location)
        self._scope.append((name, workflow))
        try:
            returned = workflow.fn(**values)
        finally:
            self._scope.pop()
        outputs = self.read_outputs(workflow, returned, name)
        return self._pack(workflow.interface, outputs, name)

    def _inline_value(self, param: Param, given: dict[str, Any], name: str, location: str) -> Any:
        label = f"'{name}.{param.name}'"
        if param.name in given:
            if param.is_static:
                value = given[param.name]
                if isinstance(value, Future):
                    self.problem(
                        f"parameter '{param.name}' is Static, so it takes a plain value, "
                        f"but gets the future {value._label}",
                        kind="static",
                        node=name,
                        location=location,
                    )
                    raise TraceStop
                return value
            binding = self._make_binding(given[param.name], param, name, location)
        elif param.is_static:
            return None if param.default is MISSING else param.default
        elif param.type.kind == "seed" and param.default in (MISSING, None):
            binding = RunSeed()
        else:
            binding = Literal(None if param.default is MISSING else _as_default(param))
        return Future(self, binding, param.type, label)

    def read_outputs(self, workflow: Inlinable, returned: Any, node: str | None) -> dict[str, Binding]:
        """Check what a workflow returned against what it declares; return the bindings by name."""
        interface = workflow.interface
        declared = {o.name: o for o in interface.outputs}
        location = location_of(workflow.fn)
        values = self._name_values(workflow, returned, node)
        missing = [n for n in declared if n not in values]
        surplus = [n for n in values if n not in declared]
        if missing or surplus:
            parts = [f"declares {shorten(declared)}", f"returns {shorten(values)}"]
            if missing:
                parts.append(f"missing: {shorten(missing)}")
            if surplus:
                parts.append(f"undeclared: {shorten(surplus)}")
            self.problem(
                "; ".join(parts) + ". Return what is declared, or change the declaration.",
                kind="outputs",
                node=node,
                location=location,
            )
        outputs: dict[str, Binding] = {}
        for name, output in declared.items():
            if name in values:
                param = Param(name, output.type)
                outputs[name] = self._make_binding(values[name], param, node, location, word="output")
        return outputs

    def _name_values(self, workflow: Inlinable, returned: Any, node: str | None) -> dict[str, Any]:
        interface = workflow.interface
        if interface.output_class is not None:
            if is_namedtuple(type(returned)):
                return dict(zip(returned._fields, returned, strict=True))
            if isinstance(returned, dict):
                return dict(returned)
            if isinstance(returned, tuple) and len(returned) == len(interface.outputs):
                return {o.name: v for o, v in zip(interface.outputs, returned, strict=True)}
            if isinstance(returned, Future) and returned._type.is_any:
                return {o.name: returned for o in interface.outputs}
            return {} if returned is None else {type_text(type(returned)): returned}
        if not interface.outputs:
            return {} if returned is None else {"result": returned}
        if returned is None and not interface.outputs[0].type.optional:
            return {}
        return {interface.outputs[0].name: returned}

    def _pack(self, interface: Interface, outputs: dict[str, Binding], name: str) -> Any:
        if not interface.outputs:
            return None
        futures = {
            o.name: Future(self, outputs[o.name], o.type, f"'{name}.{o.name}'")
            if o.name in outputs
            else self.unknown(f"'{name}.{o.name}'")
            for o in interface.outputs
        }
        if interface.output_class is None:
            single = next(iter(futures.values()))
            single._label = f"'{name}'"
            return single
        packed = _outputs_class(interface.output_class)(**futures)
        packed._tracer, packed._label = self, f"'{name}'"
        return packed

    def _make_outputs(self, interface: Interface, name: str) -> Any:
        return self._pack(interface, {o.name: NodeRef(name, o.name) for o in interface.outputs}, name)

    def _make_name(self, base: str) -> str:
        prefix = f"{self._scope[-1][0]}." if self._scope else ""
        count = self._counts.get(prefix + base, 0) + 1
        self._counts[prefix + base] = count
        return prefix + base if count == 1 else f"{prefix}{base}_{count}"

    def _bind(
        self, interface: Interface, args: tuple[Any, ...], kwargs: dict[str, Any], node: str, location: str
    ) -> dict[str, Any]:
        positional = [p for p in interface.params if not p.keyword_only]
        given: dict[str, Any] = {p.name: v for p, v in zip(positional, args, strict=False)}

        def report(message: str, kind: str) -> None:
            self.problem(message, kind=kind, node=node, location=location)

        if len(args) > len(positional):
            report(
                f"takes {len(positional)} positional arguments ({shorten(p.name for p in positional)}) "
                f"but gets {len(args)}. Remove the surplus.",
                "surplus-argument",
            )
        for name, value in kwargs.items():
            if name not in interface.by_name:
                known = list(interface.by_name)
                report(
                    f"has no parameter '{name}'; it takes {shorten(known)}.{suggest(name, known)}",
                    "unknown-argument",
                )
            elif name in given:
                report(f"gets argument '{name}' twice, by position and by name", "surplus-argument")
            else:
                given[name] = value
        missing = [p for p in interface.params if p.required and p.name not in given]
        if missing:
            wanted = shorten(f"{p.name}: {p.type}" for p in missing)
            report(f"needs a value for {wanted}", "missing-argument")
        return given

    def _make_binding(
        self, value: Any, param: Param, node: str | None, location: str, word: str = "input"
    ) -> Binding:
        def report(reason: str, kind: str = "type") -> None:
            self.problem(f"{word} '{param.name}' {reason}", kind=kind, node=node, location=location)

        spec = param.type
        if isinstance(value, Future):
            reason = explain_mismatch(value._type, spec)
            if reason:
                report(f"{reason} from {value._label}", "columns" if "column" in reason else "type")
            return value._binding
        if isinstance(value, _Outputs) and not (is_namedtuple(spec.base) or spec.is_any):
            fields = value._fields
            options = shorten(f"{value._label[1:-1]}.{f}" for f in fields)
            report(f"expects {spec} but gets all outputs of {value._label}. Choose one of: {options}")
            return Literal(None)
        if _holds_future(value):
            return self._make_collection(value, param, node, location, report)
        if isinstance(value, Operator) or param.takes_operator:
            if not isinstance(value, Operator):
                report(f"expects an operator, found {type_text(type(value))}")
            elif not param.takes_operator and not spec.is_any:
                report(
                    f"expects {spec}, found the operator '{value.name}' itself. Call it: {value.name}(...)"
                )
            return Literal(value)
        if spec.is_table and isinstance(value, (str, Path)):
            return Literal(str(value))
        if value is None and spec.kind == "seed":
            return Literal(None)
        try:
            return Literal(conform(value, spec, "value"))
        except Mismatch as error:
            report(str(error).removeprefix("value: "), "value")
            return Literal(value)

    def _make_collection(
        self, value: Any, param: Param, node: str | None, location: str, report: Callable[[str], None]
    ) -> Binding:
        spec = param.type
        container = type(value) if type(value) in (list, dict) else tuple
        if not spec.is_any and not is_subtype(container, _origin(spec.base)):
            report(f"expects {spec} but gets a {container.__name__} of futures")
            return Literal(None)
        if isinstance(value, dict):
            inner = make_spec(_type_arg(spec.base, 1))
            items = [Param(f"{param.name}[{k!r}]", inner) for k in value]
            values = list(value.values())
        else:
            values = list(value)
            hints = _item_hints(spec.base, len(values))
            items = [Param(f"{param.name}[{i}]", make_spec(h)) for i, h in enumerate(hints)]
        bound = tuple(self._make_binding(v, p, node, location) for v, p in zip(values, items, strict=True))
        make: Any = spec.base if is_namedtuple(spec.base) else container
        return Collection(make, bound, tuple(value) if isinstance(value, dict) else ())


def _as_default(param: Param) -> Any:
    try:
        return conform(param.default, param.type)
    except Mismatch:
        return param.default


def _holds_future(value: Any) -> bool:
    if isinstance(value, Future):
        return True
    if isinstance(value, dict):
        return any(_holds_future(v) for v in value.values())
    return isinstance(value, (list, tuple)) and any(_holds_future(v) for v in value)


def _origin(base: Any) -> Any:
    return getattr(base, "__origin__", base)


def _type_arg(base: Any, index: int) -> Any:
    args = getattr(base, "__args__", ())
    return args[index] if len(args) > index else Any


def _item_hints(base: Any, count: int) -> list[Any]:
    args = getattr(base, "__args__", ())
    if is_namedtuple(base):
        hints = getattr(base, "__annotations__", {})
        return [hints.get(f, Any) if not isinstance(hints.get(f), str) else Any for f in base._fields][:count]
    if _origin(base) is tuple and args and args[-1] is not Ellipsis and len(args) == count:
        return list(args)
    return [args[0] if args else Any] * count


def find_location() -> str:
    """Return "file:line" of the innermost frame outside this package."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        filename = frame.f_code.co_filename
        if not filename.startswith(_PACKAGE) and filename != "<string>":
            return f"{filename}:{frame.f_lineno}"
        frame = frame.f_back
    return "?"


def location_of(fn: Callable[..., Any]) -> str:
    code = fn.__code__
    return f"{code.co_filename}:{code.co_firstlineno}"
