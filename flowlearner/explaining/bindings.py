"""What inputs are bound to, as stored graphs have it (see `graph.binding_json`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

COLLECTIONS = ("list", "tuple", "dict")
_KINDS = ("node", "param", "run_seed", "literal", *COLLECTIONS)


def kind_of(binding: Any) -> str:
    """Return "node", "param", "run_seed", "literal", "list", "tuple" or "dict"; empty where it is unknown."""
    return next((k for k in _KINDS if isinstance(binding, Mapping) and k in binding), "")


def iter_leaves(binding: Any) -> Iterator[Any]:
    """Yield a binding, or of a collection the bindings in it at any depth."""
    kind = kind_of(binding)
    if kind not in COLLECTIONS:
        yield binding
        return
    items = binding[kind]
    for item in items.values() if isinstance(items, Mapping) else items:
        yield from iter_leaves(item)


def iter_upstream(binding: Any) -> Iterator[tuple[str, str]]:
    """Yield each node and output that a binding reads."""
    for leaf in iter_leaves(binding):
        if kind_of(leaf) == "node":
            yield leaf["node"], leaf["output"]
