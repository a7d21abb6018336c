"""The compiled workflow: nodes, the bindings of their inputs, and a JSON form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from flowlearner.interface import Interface, default_text
from flowlearner.operation import Operator
from flowlearner.secrecy import HIDDEN, holds_secret
from flowlearner.spec import TypeSpec


@dataclass(frozen=True)
class Literal:
    """A value that is known while compiling."""

    value: Any


@dataclass(frozen=True)
class ParamRef:
    """A parameter of the workflow."""

    name: str


@dataclass(frozen=True)
class RunSeed:
    """The seed of the run, for a Seed parameter that is left unbound."""


@dataclass(frozen=True)
class NodeRef:
    """One output of a node."""

    node: str
    output: str


@dataclass(frozen=True)
class Collection:
    """A list, tuple, dict or NamedTuple of bindings.

    Attributes:
        make: `list`, `tuple`, `dict` or the NamedTuple class.
        keys: the keys of a dict, in order; empty otherwise.
    """

    make: Any
    items: tuple[Binding, ...]
    keys: tuple[Any, ...] = ()


Binding = Literal | ParamRef | RunSeed | NodeRef | Collection


def iter_refs(binding: Binding) -> Iterator[NodeRef]:
    """Yield every node output that a binding reads."""
    if isinstance(binding, NodeRef):
        yield binding
    elif isinstance(binding, Collection):
        for item in binding.items:
            yield from iter_refs(item)


def holds_binding(binding: Binding, part: Binding) -> bool:
    """Tell whether a binding is this one, or has it inside."""
    items = binding.items if isinstance(binding, Collection) else ()
    return binding is part or any(holds_binding(item, part) for item in items)


def iter_params(binding: Binding) -> Iterator[str]:
    """Yield the name of every workflow parameter that a binding reads."""
    if isinstance(binding, ParamRef):
        yield binding.name
    elif isinstance(binding, Collection):
        for item in binding.items:
            yield from iter_params(item)


@dataclass(frozen=True)
class Limit:
    """What a nested workflow asks of what is handed on to it.

    Attributes:
        binding: what is handed on.
        type: as which the nested workflow takes it.
        where: "workflow.parameter" of the nested one.
    """

    binding: Binding
    type: TypeSpec
    where: str


@dataclass(frozen=True)
class Node:
    """One operator call.

    Attributes:
        name: unique and stable: the operator's name, numbered from the second call on, prefixed
            by the name of a nested workflow.
        location: "file:line" of the call.
        limits: what the nested workflows that the call is in ask of what it reads.
    """

    name: str
    operator: Operator[Any, Any]
    inputs: Mapping[str, Binding]
    location: str
    position: int
    limits: tuple[Limit, ...] = ()

    @property
    def upstream(self) -> tuple[str, ...]:
        """Names of the nodes that this one reads, in input order, without repeats."""
        return tuple(dict.fromkeys(ref.node for b in self.inputs.values() for ref in iter_refs(b)))


@dataclass(frozen=True)
class Graph:
    """A compiled workflow. Nodes are in the order of their calls, which is a topological order.

    Attributes:
        static: the plain values that this graph was compiled for.
        unused: names of nodes whose outputs nothing reads; they run all the same.
        limits: what nested workflows ask of this one's parameters and nodes.
    """

    workflow: str
    interface: Interface
    nodes: tuple[Node, ...]
    outputs: Mapping[str, Binding]
    static: Mapping[str, Any] = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    limits: tuple[Limit, ...] = ()
    by_name: Mapping[str, Node] = field(default_factory=dict, repr=False, compare=False)
    downstream: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        readers: dict[str, list[str]] = {n.name: [] for n in self.nodes}
        for node in self.nodes:
            for name in node.upstream:
                readers[name].append(node.name)
        object.__setattr__(self, "by_name", {n.name: n for n in self.nodes})
        object.__setattr__(self, "downstream", {k: tuple(v) for k, v in readers.items()})

    def find_descendants(self, names: Iterator[str] | list[str]) -> set[str]:
        """Return every node that reads one of `names`, directly or not."""
        found: set[str] = set()
        todo = list(names)
        while todo:
            for reader in self.downstream[todo.pop()]:
                if reader not in found:
                    found.add(reader)
                    todo.append(reader)
        return found

    def to_json(self) -> dict[str, Any]:
        """Return the graph as JSON; equal graphs give equal JSON in every process."""
        return {
            "format": 1,
            "workflow": self.workflow,
            "interface": self.interface.to_json(),
            "static": {k: default_text(v) for k, v in sorted(self.static.items())},
            "nodes": [
                {
                    "name": node.name,
                    "operator": node.operator.name,
                    "inputs": {
                        name: binding_json(b, holds_secret(node.operator.interface.by_name[name].type))
                        for name, b in node.inputs.items()
                    },
                    "outputs": {o.name: str(o.type) for o in node.operator.interface.outputs},
                    "upstream": list(node.upstream),
                    "resources": {
                        "cpus": node.operator.resources.cpus,
                        "gpus": node.operator.resources.gpus,
                        "memory_bytes": node.operator.resources.memory_bytes,
                        "retries": node.operator.resources.retries,
                        "timeout_s": node.operator.resources.timeout_s,
                        "isolate": node.operator.resources.isolate,
                    },
                    "cache": node.operator.cache,
                    "effects": node.operator.effects,
                }
                for node in self.nodes
            ],
            "outputs": {name: binding_json(b) for name, b in self.outputs.items()},
            "unused": list(self.unused),
        }


def binding_json(binding: Binding, is_secret: bool = False) -> dict[str, Any]:
    """Return one binding as JSON; a literal that JSON lacks is shown by name or type, a secret not at all."""
    if isinstance(binding, NodeRef):
        return {"node": binding.node, "output": binding.output}
    if isinstance(binding, ParamRef):
        return {"param": binding.name}
    if isinstance(binding, RunSeed):
        return {"run_seed": True}
    if isinstance(binding, Literal):
        return {"literal": HIDDEN if is_secret else default_text(binding.value)}
    items = [binding_json(i, is_secret) for i in binding.items]
    if binding.make is dict:
        return {"dict": {str(k): i for k, i in zip(binding.keys, items, strict=True)}}
    return {"list" if binding.make is list else "tuple": items}
