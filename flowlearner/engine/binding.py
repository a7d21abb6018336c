"""Owns what a node's inputs are bound to: literals, parameters and earlier outputs, with their hashes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from flowlearner.artifacts import choose_codec
from flowlearner.cache import BoundValue
from flowlearner.canonical import digest_parts
from flowlearner.errors import FlowLearnerError
from flowlearner.graph import Binding, Collection, Literal, Node, NodeRef, ParamRef
from flowlearner.inputs import InputResolver
from flowlearner.interface import Param
from flowlearner.operation import Operator
from flowlearner.params import ARTIFACT_PREFIX
from flowlearner.records import Artifact
from flowlearner.secrecy import conceal
from flowlearner.spec import (
    TypeSpec,
    fits,
    holds_kind,
    is_namedtuple,
    is_union,
    list_item_specs,
    make_spec,
)


class Binder:
    """Gives each input of each node its value, as far as it is known.

    Args:
        params: a bound value for each workflow parameter that is not static.
        seed: what an unbound Seed parameter receives.
        resolver: stores the files and tables that a workflow names in its body.

    Attributes:
        produced: artifacts of the nodes that have completed, by node and output.
    """

    def __init__(self, params: Mapping[str, BoundValue], seed: int, resolver: InputResolver) -> None:
        self.produced: dict[tuple[str, str], Artifact] = {}
        self._stored: list[Artifact] = []
        self._params = params
        self._seed = seed
        self._resolver = resolver
        # Literals are bound once; the binding is kept beside, so that its id stays its own.
        self._literals: dict[tuple[int, str], tuple[Binding, BoundValue]] = {}

    def bind_inputs(self, node: Node) -> dict[str, BoundValue]:
        """Return a value for each parameter of a node.

        Raises:
            InputError: a file that the workflow names does not read.
        """
        return {p.name: self.bind(node.inputs[p.name], p) for p in node.operator.interface.params}

    def bind(self, binding: Binding, param: Param) -> BoundValue:
        """Return the value of one input."""
        if isinstance(binding, NodeRef):
            artifact = self.produced[binding.node, binding.output]
            return BoundValue(artifact.hash, artifact)
        if isinstance(binding, ParamRef):
            return self._params[binding.name]
        if isinstance(binding, Collection):
            return self._bind_collection(binding, param)
        key = (id(binding), param.name)
        if key not in self._literals:
            value = binding.value if isinstance(binding, Literal) else self._seed
            self._literals[key] = (binding, self.bind_value(param, value))
        return self._literals[key][1]

    def bind_value(self, param: Param, value: Any) -> BoundValue:
        """Bind a value that is known without running anything; a file or a table by name is stored."""
        bound, stored = bind_given(value, param, self._resolver)
        self._stored += stored
        return bound

    def take_stored(self) -> list[Artifact]:
        """Return the artifacts that were stored since the last time; the catalog does not know them yet."""
        taken, self._stored = self._stored, []
        return taken

    def _bind_collection(self, binding: Collection, param: Param) -> BoundValue:
        specs = list_item_specs(param.type.base, binding.make, len(binding.items))
        items = [self.bind(b, Param(param.name, s)) for b, s in zip(binding.items, specs, strict=True)]
        return _combine(binding.make, binding.keys, items)


def find_secrets(binding: Binding, spec: TypeSpec, found: list[str]) -> None:
    """Collect the texts of secrets that a workflow's body, or an operator's default, gives itself.

    Args:
        spec: the declared type of what is bound.
        found: receives the texts.
    """
    if isinstance(binding, Literal):
        conceal(binding.value, spec, found)
    elif isinstance(binding, Collection):
        specs = list_item_specs(spec.base, binding.make, len(binding.items))
        for item, inner in zip(binding.items, specs, strict=True):
            find_secrets(item, inner, found)


def is_named(param: Param, value: Any) -> bool:
    """Tell whether a value is the name of what is meant: a path, a URL, or "artifact:HASH"."""
    if param.type.kind == "file":
        return value is not None
    if not isinstance(value, (str, os.PathLike)):
        return False
    if param.type.is_table:
        return True
    takes_text = param.type.kind == "secret" or (param.type.base is str and param.type.kind is None)
    return str(value).startswith(ARTIFACT_PREFIX) and not takes_text


def is_artifact(param: Param, value: Any) -> bool:
    """Tell whether a value names an artifact by its hash."""
    return is_named(param, value) and str(value).startswith(ARTIFACT_PREFIX)


def bind_given(value: Any, param: Param, resolver: InputResolver) -> tuple[BoundValue, list[Artifact]]:
    """Bind a value that is known without running anything; files and tables that it names are stored.

    Returns:
        the bound value and what was stored for it.

    Raises:
        InputError: a file does not read.
    """
    param = Param(param.name, _choose_member(param.type, value))
    if is_named(param, value):
        artifact = resolver.resolve(param, value)
        return BoundValue(artifact.hash, artifact), [artifact]
    if not holds_kind(param.type, "file") or not isinstance(value, (list, tuple, dict, set, frozenset)):
        return bind_literal(value, param), []
    if isinstance(value, (set, frozenset)):
        return BoundValue(None, value=value, unstable="it is a set of files. Give a list of them"), []
    cls = type(value)
    make: Any = cls if is_namedtuple(cls) else next(c for c in (list, tuple, dict) if isinstance(value, c))
    keys = tuple(value) if isinstance(value, dict) else ()
    given = list(value.values()) if isinstance(value, dict) else list(value)
    specs = list_item_specs(param.type.base, make, len(given))
    items: list[BoundValue] = []
    stored: list[Artifact] = []
    for key, item, spec in zip(keys or range(len(given)), given, specs, strict=True):
        bound, found = bind_given(item, Param(f"{param.name}[{key!r}]", spec), resolver)
        items.append(bound)
        stored += found
    return _combine(make, keys, items), stored


def _choose_member(spec: TypeSpec, value: Any) -> TypeSpec:
    """Return the member of a union by which a value is a file, or holds some; else the type itself."""
    members = [make_spec(m) for m in get_args(spec.base)] if is_union(spec.base) else []
    holding = [m for m in members if holds_kind(m, "file")]
    return next((m for m in holding if fits(value, m)), spec)


def _combine(make: Any, keys: tuple[Any, ...], items: Sequence[BoundValue]) -> BoundValue:
    unstable = next((i.unstable for i in items if i.unstable), None)
    parts = [make.__name__, *map(repr, keys), *(i.hash or "" for i in items)]
    hash_ = None if unstable else digest_parts("collection/1", *parts)
    return BoundValue(hash_, items=tuple(items), make=make, keys=keys, unstable=unstable)


def bind_literal(value: Any, param: Param) -> BoundValue:
    """Hash a value that is known without running anything."""
    if param.type.kind == "secret" and value is not None:
        return BoundValue(None, value=value, secret=True)
    if isinstance(value, Operator):
        return BoundValue(digest_parts("operator/1", value.fingerprint().digest), value=value)
    try:
        shown = conceal(value, param.type)
        codec = choose_codec(param.type.hint, shown)
        return BoundValue(codec.encode(shown, param.type.hint).hash, value=value)
    except FlowLearnerError as error:
        return BoundValue(None, value=value, unstable=str(error))
