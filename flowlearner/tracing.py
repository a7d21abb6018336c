"""The tracer: records operator calls while a workflow compiles, and every mistake in them.

Tracing goes on after a mistake where it can: what the mistake would have given is an unknown future.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, get_args, get_origin

from flowlearner.bodies import find_hidden_tests
from flowlearner.errors import Problem, find_nearest, shorten, suggest
from flowlearner.futures import (
    ANY,
    FOREIGN,
    NO_VALUE,
    NUMBER,
    Future,
    Outputs,
    UnknownFuture,
    declared_class,
    make_outputs,
)
from flowlearner.given import (
    bind_default,
    describe,
    error_text,
    explain_future,
    find_hidden_future,
    holds_future,
    is_workflow,
    name_values,
    refine,
)
from flowlearner.graph import (
    Binding,
    Collection,
    Limit,
    Literal,
    Node,
    NodeRef,
    ParamRef,
    RunSeed,
    holds_binding,
)
from flowlearner.interface import MISSING, Interface, Param, conform_operator
from flowlearner.operation import Operator, active_tracer, split_map
from flowlearner.places import find_library, find_location, find_raised, location_of
from flowlearner.spec import (
    Mismatch,
    conform,
    is_limited,
    is_namedtuple,
    list_item_specs,
    takes_container,
    with_article,
)

# A loop on a future usually ends with its second round; one that does not is left by an exception.
MISUSES_LIMIT = 1000


class Inlinable(Protocol):
    """What the tracer needs of a workflow."""

    @property
    def name(self) -> str: ...

    @property
    def fn(self) -> Callable[..., Any]: ...

    @property
    def interface(self) -> Interface: ...


@dataclass(frozen=True)
class _Place:
    """Where a value is bound: whose input or output, and on which line."""

    node: str | None
    location: str
    word: str = "input"


@dataclass(frozen=True)
class _Scope:
    """A nested workflow whose body is being traced, and what it asks of what is handed on to it."""

    name: str
    workflow: Inlinable
    limits: tuple[Limit, ...]


@dataclass
class Tracer:
    """Records one compilation: nodes, problems, and the place in nested workflows."""

    workflow: Inlinable
    nodes: list[Node] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    limits: list[Limit] = field(default_factory=list)
    # What takes the place of a node, or of an operator wherever it is called, by name.
    replacing: Mapping[str, Operator[Any, Any]] = field(default_factory=dict)
    # Each name so far, with the highest number behind it.
    _names: dict[str, int] = field(default_factory=dict)
    _mistakes: set[tuple[str, str, str | None]] = field(default_factory=set)
    # How often a future was misused in one way on one line.
    _misuses: Counter[tuple[str, str]] = field(default_factory=Counter)
    _scopes: list[_Scope] = field(default_factory=list)

    # What is called from outside: the compiler, operators, workflows and futures

    def trace(self, values: Mapping[str, Any]) -> dict[str, Binding]:
        """Call the workflow's function with futures and plain values; return its outputs' bindings."""
        token = active_tracer.set(self)
        try:
            return self._trace_body(self.workflow, values, None)
        finally:
            active_tracer.reset(token)

    def make_param(self, param: Param) -> Future:
        """Return the future of a parameter of the workflow that is compiled."""
        return Future(self, ParamRef(param.name), param.type, f"parameter '{param.name}'")

    def problem(
        self, message: str, *, kind: str, node: str | None = None, location: str | None = None
    ) -> None:
        node = node or (self._scopes[-1].name if self._scopes else None)
        found = Problem(message, self.workflow.name, node, location or find_location(_BODY), kind)
        # A mistake in a loop is one, though each round makes another node.
        mistake = (NUMBER.sub("", message), NUMBER.sub("", node or ""), found.location)
        if mistake not in self._mistakes:
            self._mistakes.add(mistake)
            self.problems.append(found)

    @property
    def is_active(self) -> bool:
        return active_tracer.get() is self

    def is_first(self, what: str, location: str | None = None) -> bool:
        key = (what, location or find_location(_BODY))
        self._misuses[key] += 1
        if self._misuses[key] > MISUSES_LIMIT:
            raise RuntimeError("a loop that waits for the value of a future does not end")
        return self._misuses[key] == 1

    def find_library(self) -> str | None:
        return find_library(_BODY)

    def call(self, operator: Operator[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Add a node; return the futures of its outputs."""
        place = _Place(self._make_name(operator.name), find_location(_BODY))
        given = self._match_arguments(operator.interface, args, kwargs, place)
        other = self.replacing.get(place.node or "", self.replacing.get(operator.name))
        if other is not None:
            taking = f"'{other.name}', which takes its place, "
            operator, given = other, self._match_arguments(other.interface, (), given, place, taking)
        inputs: dict[str, Binding] = {}
        for param in operator.interface.params:
            if param.name not in given:
                inputs[param.name] = bind_default(param)
            elif param.is_static and isinstance(given[param.name], Future):
                self._report_static(param, given[param.name], place)
                inputs[param.name] = Literal(None)
            else:
                inputs[param.name] = self._bind(given[param.name], param, place)
        name = place.node or operator.name
        limits = tuple(
            limit
            for scope in self._scopes
            for limit in scope.limits
            if any(holds_binding(b, limit.binding) for b in inputs.values())
        )
        self.nodes.append(Node(name, operator, inputs, place.location, len(self.nodes), limits))
        outputs = {o.name: NodeRef(name, o.name) for o in operator.interface.outputs}
        return self._pack(operator.interface, outputs, name)

    def map(self, operator: Operator[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        """Add a node for each element of the lists among the arguments."""
        try:
            calls = split_map(operator, args, kwargs)
        except ValueError as error:
            cure = ""
            if any(isinstance(v, Future) for v in (*args, *kwargs.values())):
                cure = (
                    " The list must be known while compiling: take it from a Static parameter, write it out, "
                    "or move the loop into an operator."
                )
            self.problem(f"{error}.{cure}", kind="map", node=operator.name)
            return []
        return [self.call(operator, a, k) for a, k in calls]

    def inline(self, workflow: Inlinable, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Trace a workflow that is called inside this one; its nodes carry its name as a prefix."""
        name = self._make_name(workflow.name)
        place = _Place(name, find_location(_BODY))
        outer = [self.workflow, *(scope.workflow for scope in self._scopes)]
        if any(active.fn is workflow.fn for active in outer):
            path = " calls ".join([*(w.name for w in outer), workflow.name])
            self.problem(
                f"a cycle: {path}. A workflow cannot contain itself; repeat steps by a loop over a list "
                "or a Static parameter.",
                kind="cycle",
                node=name,
                location=place.location,
            )
            return self._pack(workflow.interface, {}, name)
        given = self._match_arguments(workflow.interface, args, kwargs, place)
        values: dict[str, Any] = {}
        limits: list[Limit] = []
        for param in workflow.interface.params:
            if param.is_static:
                value = self._take_static(param, given, place)
                if value is MISSING:
                    # Without the value its body cannot be traced.
                    return self._pack(workflow.interface, {}, name)
                values[param.name] = value
                continue
            label = f"'{name}.{param.name}'"
            if param.name in given:
                value = given[param.name]
                binding = self._bind(value, param, place)
                spec = refine(param.type, value)
                if not isinstance(binding, Literal | RunSeed) and is_limited(param.type):
                    limits.append(Limit(binding, param.type, label[1:-1]))
                cls = UnknownFuture if isinstance(value, UnknownFuture) else Future
                values[param.name] = cls(self, binding, spec, label)
            else:
                values[param.name] = Future(self, bind_default(param), param.type, label)
        self.limits += limits
        self._scopes.append(_Scope(name, workflow, tuple(limits)))
        try:
            outputs = self._trace_body(workflow, values, name)
        finally:
            self._scopes.pop()
        return self._pack(workflow.interface, outputs, name)

    # Bodies of workflows and what they return

    def _trace_body(
        self, workflow: Inlinable, values: Mapping[str, Any], node: str | None
    ) -> dict[str, Binding]:
        for test in find_hidden_tests(workflow.fn):
            location = f"{workflow.fn.__code__.co_filename}:{test.line}"
            called = Future(self, Literal(None), ANY, f"'{test.name}'")
            value = values.get(test.name, called)
            if isinstance(value, Future):
                value.note_misuse(test.action, location)
        try:
            returned = workflow.fn(**values)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a body may raise anything; it is one more problem
            self._record_exception(workflow, error, node)
            return {}
        return self._read_outputs(workflow, returned, node)

    def _record_exception(self, workflow: Inlinable, error: BaseException, node: str | None) -> None:
        location = find_raised(error) or location_of(workflow.fn)
        if any(p.location == location for p in self.problems):
            return  # It follows from what is already listed of this line.
        wrong = _OUTPUT_ERROR.match(str(error)) if isinstance(error, TypeError) else None
        cls = workflow.interface.output_class
        if wrong and cls is not None and wrong["cls"] == cls.__name__:
            names = ", ".join(re.findall(r"'(\w+)'", wrong["what"]))
            verb = "returns" if wrong["what"].startswith("got") else "does not return"
            if wrong["count"]:
                verb, names = "returns", f"{int(wrong['count']) - 1} values"
            self.problem(
                f"declares {shorten(cls._fields)} but {verb} {names}. Return what '{cls.__name__}' declares, "
                "or change the declaration.",
                kind="outputs",
                node=node,
                location=location,
            )
            return
        cascade = " (it may follow from the problems above)" if self.problems else ""
        raised = f"{type(error).__name__}: {error_text(error).rstrip('.')}{cascade}"
        self.problem(
            f"its body raised {raised}. A workflow's body only composes operators; work on values belongs "
            "into an operator.",
            kind="body",
            node=node,
            location=location,
        )

    def _read_outputs(self, workflow: Inlinable, returned: Any, node: str | None) -> dict[str, Binding]:
        """Check what a workflow returned against what it declares; return the bindings by name."""
        place = _Place(node, location_of(workflow.fn), "output")
        declared = {o.name: o for o in workflow.interface.outputs}
        values = name_values(workflow.interface, returned)
        reason = ""
        if isinstance(values, str):
            reason = values
            values = dict.fromkeys(declared, self._unknown("an output"))
        elif values.keys() != declared.keys():
            missing = [n for n in declared if n not in values]
            surplus = [n for n in values if n not in declared]
            reason = f"declares {shorten(declared)}; returns {shorten(values)}"
            reason += f"; missing: {shorten(missing)}" if missing else ""
            reason += f"; undeclared: {shorten(surplus)}" if surplus else ""
            reason += ". Return what is declared, or change the declaration."
        if reason:
            self.problem(reason, kind="outputs", node=node, location=place.location)
        return {
            name: self._bind(values[name], Param(name, output.type), place)
            for name, output in declared.items()
            if name in values
        }

    def _pack(self, interface: Interface, outputs: Mapping[str, Binding], name: str) -> Any:
        """Return what a call gives: a future, a NamedTuple of them, or None; what is left out is unknown."""
        if not interface.outputs:
            return None
        is_single = interface.output_class is None
        futures: dict[str, Future] = {}
        for output in interface.outputs:
            label = f"'{name}'" if is_single else f"'{name}.{output.name}'"
            bound = outputs.get(output.name)
            futures[output.name] = (
                self._unknown(label) if bound is None else Future(self, bound, output.type, label)
            )
        if is_single:
            return next(iter(futures.values()))
        return make_outputs(interface.output_class, futures, self, f"'{name}'")

    def _unknown(self, label: str) -> Future:
        return UnknownFuture(self, Literal(None), ANY, label)

    # Arguments of calls

    def _match_arguments(
        self,
        interface: Interface,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        place: _Place,
        who: str = "",
    ) -> dict[str, Any]:
        def report(message: str, kind: str) -> None:
            self.problem(who + message, kind=kind, node=place.node, location=place.location)

        positional = [p for p in interface.params if not p.keyword_only]
        given: dict[str, Any] = {p.name: v for p, v in zip(positional, args, strict=False)}
        if len(args) > len(positional):
            noun = "argument" if len(positional) == 1 else "arguments"
            report(
                f"takes {len(positional)} positional {noun} ({shorten(p.name for p in positional)}) "
                f"but gets {len(args)}. Remove the surplus, or give arguments by name.",
                "surplus-argument",
            )
        known = list(interface.by_name)
        for name, value in kwargs.items():
            if name not in interface.by_name:
                cure = suggest(name, known) or " Remove it."
                report(f"has no parameter '{name}'; it takes {shorten(known)}.{cure}", "unknown-argument")
                meant = find_nearest(name, known)
                if meant is not None and meant not in kwargs:
                    given.setdefault(meant, value)
            elif name in given:
                report(f"gets '{name}' by position and by name. Give it once.", "surplus-argument")
            else:
                given[name] = value
        missing = [p for p in interface.params if p.required and p.name not in given]
        if missing:
            wanted = shorten(f"'{p.name}: {p.type}'" for p in missing)
            report(f"needs a value for {wanted}. Add it to the call.", "missing-argument")
        return given

    def _take_static(self, param: Param, given: Mapping[str, Any], place: _Place) -> Any:
        """Return the plain value of a static parameter of a nested workflow, or MISSING after a mistake."""
        if param.name not in given:
            return param.default
        value = given[param.name]
        if isinstance(value, Future):
            self._report_static(param, value, place)
            return MISSING
        before = len(self.problems)
        bound = self._bind(value, param, place)
        if len(self.problems) > before:
            return MISSING
        return bound.value if isinstance(bound, Literal) else value

    def _report_static(self, param: Param, value: Future, place: _Place) -> None:
        if isinstance(value, UnknownFuture):
            return
        wanted = "an operator" if param.takes_operator else f"a plain {param.type}"
        cure = "Write the value out, or take it from a Static parameter of the workflow."
        message = (
            f"input '{param.name}' is static: it takes {wanted} but gets the future {value._label}. {cure}"
        )
        self.problem(message, kind="static", node=place.node, location=place.location)

    # One value for one input or output

    def _bind(self, value: Any, param: Param, place: _Place) -> Binding:
        spec = param.type
        what = f"{place.word} '{param.name}'"

        def report(reason: str, kind: str = "type") -> Binding:
            self.problem(f"{what}{reason}", kind=kind, node=place.node, location=place.location)
            return Literal(None)

        if isinstance(value, Future) and value._journal is not self:
            return report(f" gets {value._label}, {FOREIGN}", "foreign-future")
        if isinstance(value, UnknownFuture):
            return value._binding
        if isinstance(value, Future):
            for kind, reason in explain_future(value, spec):
                report(f" {reason}", kind)
            return value._binding
        if isinstance(value, Outputs) and not (
            spec.is_any or is_namedtuple(spec.base) or takes_container(spec, tuple)
        ):
            options = shorten(f"{value._label[1:-1]}.{f}" for f in value._fields)
            return report(
                f" expects {spec} but gets all outputs of {value._label}. Choose one of: {options}."
            )
        if holds_future(value):
            return self._bind_collection(value, param, place, report)
        if param.takes_operator and not isinstance(value, Operator | None):
            cure = "Give the operator itself, without calling it."
            return report(f" expects an operator but gets {describe(value)}. {cure}")
        step = "operator" if isinstance(value, Operator) else "workflow" if is_workflow(value) else ""
        if step and not param.takes_operator and not spec.is_any:
            name = value.name
            return report(f" expects {spec} but gets the {step} '{name}' itself. Call it: {name}(...).")
        if spec.is_table and isinstance(value, (str, os.PathLike)):
            return Literal(os.fspath(value))
        if value is None and spec.kind == "seed":
            return RunSeed()
        if inside := find_hidden_future(value):
            made = f"{describe(value)}, made of the future {inside}"
            cure = "Make it in an operator, which receives the values."
            return report(f" gets {made}: {NO_VALUE}. {cure}", "future-as-value")
        if spec.kind == "model" and isinstance(value, str) and not value.startswith("artifact:"):
            return report(
                f" expects Model but gets the text {value!r}. Give what an operator returns as Model."
            )
        try:
            if param.takes_operator:
                return Literal(conform_operator(value, param, what))
            return Literal(value if isinstance(value, Operator) else conform(value, spec, what))
        except Mismatch as error:
            reason = str(error).removeprefix(what)
            stop = "" if reason.endswith("?") else "."
            return report(f"{reason}{stop} Give a value that fits, or change the annotation.", "value")

    def _bind_collection(
        self, value: Any, param: Param, place: _Place, report: Callable[[str], Binding]
    ) -> Binding:
        base = param.type.base
        count = len(value)
        if is_namedtuple(type(value)) and (param.type.is_any or is_namedtuple(base)):
            make: Any = declared_class(value)
            fits = param.type.is_any or base._fields == make._fields
            make = make if param.type.is_any else base
            specs = list_item_specs(base, make, count)
        else:
            make = next(c for c in (list, dict, set, frozenset, tuple) if isinstance(value, c))
            fits = takes_container(param.type, make)
            specs = list_item_specs(base, make, count)
        items_wanted = get_args(base) if make is tuple and get_origin(base) is tuple else ()
        if fits and items_wanted and items_wanted[-1] is not Ellipsis and len(items_wanted) != count:
            return report(
                f" expects {param.type} of {len(items_wanted)} items but gets {count}. Give as many."
            )
        if make in (set, frozenset):
            return Literal(None)  # listed when the futures were put into it
        if not fits:
            cure = f"Give {with_article(param.type)}."
            return report(f" expects {param.type} but gets a {make.__name__} of futures. {cure}")
        keys = tuple(value) if make is dict else ()
        items = value.values() if make is dict else value
        bound = tuple(
            self._bind(item, Param(f"{param.name}[{key!r}]", spec), place)
            for key, item, spec in zip(keys or range(count), items, specs, strict=True)
        )
        return Collection(make, bound, keys)

    # Names and lines

    def _make_name(self, base: str) -> str:
        """Return a name that no node has yet; the first call has the plain one."""
        base = f"{self._scopes[-1].name}.{base}" if self._scopes else base
        name, number = base, self._names.get(base, 0)
        while name in self._names:
            number += 1
            name = f"{base}_{number}"
        self._names[base] = max(number, 1)
        self._names.setdefault(name, 1)
        return name


_BODY = Tracer._trace_body.__code__
_OUTPUT_ERROR = re.compile(
    r"^(?:.*\.)?(?P<cls>\w+)\.__new__\(\) "
    r"(?P<what>got an unexpected keyword argument .*|missing \d+ required .*"
    r"|takes \d+ positional arguments? but (?P<count>\d+) were given)$"
)
