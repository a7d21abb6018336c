"""A workflow as it is declared, and the compiler that turns it into a graph."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Never

from flowlearner.artifacts import find_codec
from flowlearner.errors import CompileError, ParameterError, shorten
from flowlearner.fingerprint import Fingerprint, compute_fingerprint
from flowlearner.graph import Binding, Graph, iter_refs
from flowlearner.interface import MISSING, Interface, Param, conform_operator, make_interface
from flowlearner.operation import Operator, active_tracer
from flowlearner.places import location_of
from flowlearner.spec import Mismatch, conform, type_text
from flowlearner.tracing import Tracer


class CompileWarning(UserWarning):
    """A workflow that compiles but is probably not what was meant."""


class Definition:
    """A decorated workflow function with its typed interface.

    Attributes:
        fn: the function; it runs only to be compiled.
        name: its name.
        interface: parameters and outputs.
    """

    __flowlearner_workflow__ = True

    def __init__(self, fn: Callable[..., Any], localns: Mapping[str, Any] | None = None) -> None:
        self.interface: Interface = make_interface(fn, "workflow", localns)
        wrapper: Any = self
        functools.update_wrapper(wrapper, fn)
        self.fn = fn
        self.name = fn.__name__

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Inside a compile, inline the workflow; outside, run it as plain Python."""
        tracer = active_tracer.get()
        if isinstance(tracer, Tracer):
            return tracer.inline(self, args, kwargs)
        return self.fn(*args, **kwargs)

    def fingerprint(self) -> Fingerprint:
        return compute_fingerprint(self.fn)

    def compile(self, /, *surplus: Never, **static: Any) -> Graph:
        """Trace the workflow into a typed graph. No operator runs.

        Args:
            surplus: refused: values are given by name.
            static: values of `Static` and operator parameters; others keep their defaults.

        Raises:
            CompileError: with every problem that was found.
            ParameterError: a name in `static` is not a static parameter, or one without default is left out.
        """
        self.refuse_positional(surplus)
        return self.compile_with(static, {})

    def compile_with(self, static: Mapping[str, Any], operators: Mapping[str, Operator[Any, Any]]) -> Graph:
        """Trace the workflow as `compile` does, with other operators in the place of some.

        Args:
            operators: what takes the place of a node, or of an operator wherever it is called, by name.
        """
        plain = self._bind_static(static)
        tracer = Tracer(self, replacing=operators)
        outputs = tracer.trace(
            {p.name: plain[p.name] if p.is_static else tracer.make_param(p) for p in self.interface.params}
        )
        self._check_codecs(tracer)
        if tracer.problems:
            raise CompileError(self.name, tracer.problems)
        graph = Graph(
            workflow=self.name,
            interface=self.interface,
            nodes=tuple(tracer.nodes),
            outputs=outputs,
            static=plain,
            unused=find_unused(tracer, outputs),
            limits=tuple(tracer.limits),
        )
        if graph.unused:
            code = self.fn.__code__
            warnings.warn_explicit(
                f"workflow '{self.name}': nothing uses the outputs of {shorten(graph.unused)}; "
                "they run all the same. Return or remove them.",
                CompileWarning,
                code.co_filename,
                code.co_firstlineno,
            )
        return graph

    def refuse_positional(self, surplus: Sequence[Any]) -> None:
        """Raise ParameterError for values that were given without the names of their parameters."""
        if surplus:
            names = [*self.interface.by_name, *["..."] * len(surplus)]
            example = ", ".join(f"{n}=..." if n != "..." else n for n in names[: len(surplus)])
            raise ParameterError(f"workflow '{self.name}': give its parameters by name: {example}")

    def _bind_static(self, given: Mapping[str, Any]) -> dict[str, Any]:
        static = {p.name: p for p in self.interface.params if p.is_static}
        problems: list[str] = []
        for name in given:
            if name in self.interface.by_name and name not in static:
                problems.append(
                    f"'{name}' is a future while compiling; only Static and operator parameters take a value "
                    f"here: {shorten(static)}"
                )
            elif name not in static:
                problems.append(self.interface.explain_unknown(name))
        values: dict[str, Any] = {}
        for name, param in static.items():
            values[name] = given.get(name, param.default)
            if values[name] is MISSING:
                problems.append(f"needs a value for '{name}: {param.type}' to compile")
            elif name in given:
                try:
                    values[name] = _conform_static(param, given[name])
                except Mismatch as error:
                    problems.append(str(error))
        if problems:
            raise ParameterError(f"workflow '{self.name}': {'; '.join(problems)}")
        return values

    def _check_codecs(self, tracer: Tracer) -> None:
        cure = (
            "Use a supported type, register a codec with flowlearner.register_codec, or opt in to pickle: "
            "Annotated[..., Pickled()]."
        )
        for param in self.interface.params:
            if not param.is_static and param.type.kind != "secret" and find_codec(param.type.hint) is None:
                tracer.problem(
                    f"parameter '{param.name}': no codec stores {type_text(param.type.hint)}. {cure}",
                    kind="codec",
                    location=location_of(self.fn),
                )
        seen: set[Any] = set()
        for node in tracer.nodes:
            if node.operator in seen:
                continue
            seen.add(node.operator)
            for output in node.operator.interface.outputs:
                if find_codec(output.type.hint) is None:
                    tracer.problem(
                        f"output '{output.name}': no codec stores {type_text(output.type.hint)}. {cure}",
                        kind="codec",
                        node=node.name,
                        location=location_of(node.operator.fn),
                    )


def _conform_static(param: Param, value: Any) -> Any:
    where = f"parameter '{param.name}'"
    if param.takes_operator:
        return conform_operator(value, param, where)
    return conform(value, param.type, where)


def find_unused(tracer: Tracer, outputs: Mapping[str, Binding]) -> tuple[str, ...]:
    """Return nodes with outputs that neither another node nor the workflow reads."""
    used = {ref.node for b in outputs.values() for ref in iter_refs(b)}
    for node in tracer.nodes:
        used.update(node.upstream)
    return tuple(
        n.name
        for n in tracer.nodes
        if n.name not in used and n.operator.interface.outputs and not n.operator.effects
    )
